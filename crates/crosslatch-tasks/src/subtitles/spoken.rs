//! What a player shows of words whose times are known.
//!
//! The words of a segment are laid out like its text, in lines and as many lines at a time as the style
//! allows, or in groups of at most so many words. A cue is shown from the beginning of its first word to
//! the end of its last. With highlighting, it becomes a cue for each word, which underlines that word, and
//! one for each pause between words, which underlines none, as openai-whisper writes them.
//!
//! Lines are broken at spaces, and words are what the model spoke, so a line may end within a word. Words
//! are found in lines by counting letters that are not spaces, which the layout keeps.

use std::ops::Range;

use super::Style;
use super::cues::{Cue, screens};
use crate::transcript::Word;

/// The cues of the words of a segment.
pub(super) fn cues(words: &[Word], style: &Style) -> Vec<Cue> {
    let most = style.max_words_per_line.unwrap_or(words.len()).max(1);
    let groups = words.chunks(most);
    groups.flat_map(|words| group(words, style)).collect()
}

/// The cues of words that are laid out together.
fn group(words: &[Word], style: &Style) -> Vec<Cue> {
    let text: String = words.iter().map(|word| word.word.as_str()).collect();
    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).count();
    // For each word, which letters of the text are its own.
    let mut count = 0;
    let placed = words.iter().map(|word| {
        let start = count;
        count += letters(&word.word);
        (word, start..count)
    });
    let placed: Vec<(&Word, Range<usize>)> = placed.filter(|(_, own)| !own.is_empty()).collect();
    let mut shown = 0;
    let mut cues = Vec::new();
    for lines in screens(&text, style) {
        let start = shown;
        shown += lines.iter().map(|line| letters(line)).sum::<usize>();
        let inside = |own: &Range<usize>| own.start < shown && own.end > start;
        let inside: Vec<&(&Word, Range<usize>)> =
            placed.iter().filter(|(_, own)| inside(own)).collect();
        let (Some((first, _)), Some((last, _))) = (inside.first(), inside.last()) else {
            continue;
        };
        let whole = Cue {
            start: first.start,
            end: last.end,
            lines,
            marked: None,
        };
        if !style.highlight_words {
            cues.push(whole);
            continue;
        }
        let text = whole.lines.join("\n");
        let mut until = whole.start;
        for (word, own) in inside {
            if word.start > until {
                cues.push(part(&whole, until..word.start, None));
            }
            // A word without a length cannot be seen.
            if word.end > word.start {
                let own = own.start.max(start) - start..own.end.min(shown) - start;
                cues.push(part(&whole, word.start..word.end, bytes(&text, own)));
            }
            until = word.end;
        }
    }
    cues
}

/// A cue for a part of the time of another one.
fn part(whole: &Cue, time: Range<f64>, marked: Option<Range<usize>>) -> Cue {
    Cue {
        start: time.start,
        end: time.end,
        lines: whole.lines.clone(),
        marked,
    }
}

/// The bytes of a text from one of its letters to another, spaces not counted.
fn bytes(text: &str, letters: Range<usize>) -> Option<Range<usize>> {
    let mut all = text.char_indices().filter(|(_, c)| !c.is_whitespace());
    let (start, first) = all.nth(letters.start)?;
    let (end, last) = match letters.len() {
        0 => return None,
        1 => (start, first),
        count => all.nth(count - 2)?,
    };
    Some(start..end + last.len_utf8())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(words: &[&str]) -> Vec<Word> {
        let words = words.iter().zip(0..);
        let words = words.map(|(word, i)| Word {
            start: f64::from(i),
            // Every third word is followed by a pause.
            end: f64::from(i) + if i % 3 == 2 { 0.5 } else { 1.0 },
            word: (*word).to_owned(),
            probability: 1.0,
        });
        words.collect()
    }

    fn shown(words: &[&str], style: &Style) -> Vec<(f64, f64, String)> {
        let cues = cues(&spoken(words), style).into_iter();
        let shown = cues.map(|cue| {
            let mut text = cue.lines.join("/");
            if let Some(marked) = cue.marked {
                text.insert(marked.end, ']');
                text.insert(marked.start, '[');
            }
            (cue.start, cue.end, text)
        });
        shown.collect()
    }

    fn cue(start: f64, end: f64, text: &str) -> (f64, f64, String) {
        (start, end, text.to_owned())
    }

    #[test]
    fn cues_begin_and_end_with_their_words() {
        let words = [" one", " two", " three", " four", " five"];
        let all = shown(&words, &Style::default());
        assert_eq!(all, [cue(0.0, 5.0, "one two three four five")]);
        let style = Style {
            max_words_per_line: Some(2),
            ..Style::default()
        };
        let pairs = [
            cue(0.0, 2.0, "one two"),
            cue(2.0, 4.0, "three four"),
            cue(4.0, 5.0, "five"),
        ];
        assert_eq!(shown(&words, &style), pairs);
        let style = Style {
            max_line_width: Some(9),
            max_line_count: Some(1),
            ..Style::default()
        };
        let lines = [
            cue(0.0, 2.0, "one two"),
            cue(2.0, 2.5, "three"),
            cue(3.0, 5.0, "four five"),
        ];
        assert_eq!(shown(&words, &style), lines);
    }

    #[test]
    fn each_word_is_underlined_in_turn_and_none_in_a_pause() {
        let style = Style {
            highlight_words: true,
            max_line_width: Some(7),
            ..Style::default()
        };
        assert_eq!(
            shown(&[" one", " two", " six", " four"], &style),
            [
                cue(0.0, 1.0, "[one] two/six/four"),
                cue(1.0, 2.0, "one [two]/six/four"),
                cue(2.0, 2.5, "one two/[six]/four"),
                cue(2.5, 3.0, "one two/six/four"),
                cue(3.0, 4.0, "one two/six/[four]"),
            ]
        );
    }

    #[test]
    fn words_without_spaces_are_found_in_lines_that_break_them() {
        let style = Style {
            max_line_width: Some(4),
            max_line_count: Some(1),
            highlight_words: true,
            ..Style::default()
        };
        assert_eq!(
            shown(&["今日", "は天", "気"], &style),
            [
                cue(0.0, 1.0, "[今日]"),
                cue(1.0, 2.0, "[は天]"),
                cue(2.0, 2.5, "[気]"),
            ]
        );
        // A word of two lines is underlined in both of its cues.
        let broken = shown(&["今", "日は", "天"], &style);
        assert_eq!(broken[1], cue(1.0, 2.0, "今[日]"));
        assert_eq!(broken[2], cue(1.0, 2.0, "[は]天"));
    }
}
