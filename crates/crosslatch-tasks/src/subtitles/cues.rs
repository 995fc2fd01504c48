//! From a segment to what a player shows at a time.
//!
//! A segment may be half a minute of speech, which no screen has room for. Its words are laid out in
//! lines of at most so many columns, as few lines as they fit in and all about as long, and if only
//! so many lines may be shown at a time, the segment becomes several cues. Where it is known when each
//! word is spoken, cues follow the words (`spoken`); here, a cue gets the share of its segment's time that
//! its letters are of the text.

use std::ops::Range;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::Style;
use crate::transcript::Segment;

/// What is shown from `start` to `end`, in seconds.
pub(super) struct Cue {
    pub start: f64,
    pub end: f64,
    /// At least one, none of them empty.
    pub lines: Vec<String>,
    /// The word that is spoken, as bytes of the lines with a break between any two.
    pub marked: Option<Range<usize>>,
}

/// The cues of a segment: none if it has no words, else one, or as many as the style asks for.
pub(super) fn cues(segment: &Segment, style: &Style) -> Vec<Cue> {
    let screens = screens(&segment.text, style);
    if screens.is_empty() {
        return Vec::new();
    }
    let lines = screens.concat();
    let letters = |lines: &[String]| lines.iter().map(|line| line.width()).sum::<usize>();
    let (all, length) = (letters(&lines).max(1), segment.end - segment.start);
    let mut shown = 0;
    let mut start = segment.start;
    let cues = screens.into_iter().map(|lines| {
        shown += letters(&lines);
        let end = match shown == all {
            true => segment.end,
            false => segment.start + length * shown as f64 / all as f64,
        };
        let begin = std::mem::replace(&mut start, end);
        Cue {
            start: begin,
            end,
            lines,
            marked: None,
        }
    });
    cues.collect()
}

/// The lines of a text, as many together as are shown at a time. None if the text has no words.
pub(super) fn screens(text: &str, style: &Style) -> Vec<Vec<String>> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() {
        return Vec::new();
    }
    let lines = match style.max_line_width {
        Some(width) => balanced(&words, width),
        None => vec![words.join(" ")],
    };
    let most = style.max_line_count.unwrap_or(lines.len()).max(1);
    let count = lines.len().div_ceil(most);
    let each = lines.len().div_ceil(count);
    lines.chunks(each).map(<[String]>::to_vec).collect()
}

/// Lines of at most `width` columns: as few as possible, and no wider than that number takes.
fn balanced(words: &[&str], width: usize) -> Vec<String> {
    let wide = filled(words, width);
    let fits = words.iter().map(|word| word.width());
    // Narrower than this, a word would be broken that need not be.
    let mut low = fits.filter(|&w| w <= width).max().unwrap_or(1);
    let mut high = width;
    while low < high {
        let middle = low + (high - low) / 2;
        match filled(words, middle).len() == wide.len() {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    filled(words, high)
}

/// Lines, each filled with words as far as they fit in `width` columns. A word that is wider than a
/// line, as a whole sentence of Japanese is, is broken between characters.
fn filled(words: &[&str], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut columns = 0;
    for word in words {
        let wide = word.width();
        let space = usize::from(!line.is_empty());
        if columns + space + wide <= width {
            line.push_str(&" "[..space]);
            line.push_str(word);
            columns += space + wide;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
            columns = 0;
        }
        for letter in word.chars() {
            let wide = letter.width().unwrap_or(0);
            if columns + wide > width && !line.is_empty() {
                lines.push(std::mem::take(&mut line));
                columns = 0;
            }
            line.push(letter);
            columns += wide;
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: usize) -> Vec<String> {
        balanced(&text.split(' ').collect::<Vec<_>>(), width)
    }

    #[test]
    fn lines_are_as_few_as_possible_and_about_as_long() {
        assert_eq!(
            wrapped("the quick brown fox jumps over it", 30),
            ["the quick brown", "fox jumps over it"]
        );
        assert_eq!(wrapped("one two", 7), ["one two"]);
        assert_eq!(wrapped("one two", 6), ["one", "two"]);
        assert_eq!(
            wrapped("incomprehensible it is", 5)[..2],
            ["incom", "prehe"]
        );
    }

    #[test]
    fn text_without_spaces_is_broken_between_characters_of_two_columns() {
        assert_eq!(
            wrapped("今日は天気がいいですね", 12),
            ["今日は天気が", "いいですね"]
        );
        assert_eq!(wrapped("今日", 1), ["今", "日"]);
    }

    #[test]
    fn no_word_is_lost_and_no_line_too_wide_at_any_width() {
        let words = "a bb ccc dddd eeeee ffffff ggggggg hh i jjj kkkkkkkk lllllllllll m";
        let bare = |text: &str| text.replace(' ', "");
        for width in 1..=70 {
            let lines = wrapped(words, width);
            assert!(lines.iter().all(|line| line.width() <= width), "{lines:?}");
            assert_eq!(bare(&lines.concat()), bare(words));
            assert_eq!(
                lines.len(),
                filled(&words.split(' ').collect::<Vec<_>>(), width).len()
            );
        }
    }
}
