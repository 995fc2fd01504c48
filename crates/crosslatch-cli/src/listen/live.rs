//! What a person sees while somebody speaks.
//!
//! A terminal cannot take back what has scrolled away, so text that may change is shown in a few lines at
//! its lower end, which are drawn anew: the end of what is certain, and dimmed behind it what may change.
//! What is final is written above, once.

use std::io::IsTerminal;

use console::{Term, measure_text_width, style};
use crosslatch_tasks::StreamUpdate;
use crosslatch_tasks::speech::append_text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::terminal::printable;

/// Most lines that are drawn anew.
const LINES: usize = 3;

/// The lower end of a terminal; nothing if there is none.
pub struct Live {
    bar: ProgressBar,
}

impl Live {
    /// An empty place for text, on standard error.
    pub fn new(is_hidden: bool) -> Self {
        let bar = match is_hidden || !std::io::stderr().is_terminal() {
            true => ProgressBar::hidden(),
            false => {
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
                match ProgressStyle::with_template("{msg}") {
                    Ok(plain) => bar.with_style(plain),
                    Err(_) => bar,
                }
            }
        };
        Self { bar }
    }

    /// Shows what is new.
    pub fn settle(&self, update: &StreamUpdate) {
        if self.bar.is_hidden() {
            return;
        }
        let columns = usize::from(Term::stderr().size().1).max(20) - 1;
        let certain = printable(&update.open);
        let mut whole = certain.clone();
        match update.tentative.starts_with(char::is_whitespace) || whole.is_empty() {
            true => whole.push_str(&printable(&update.tentative)),
            false => append_text(&mut whole, &printable(&update.tentative)),
        }
        let lines = wrapped(&whole, columns);
        let shown = &lines[lines.len().saturating_sub(LINES)..];
        let drawn = shown.iter().map(|&(start, end)| {
            let middle = certain.len().clamp(start, end);
            let may_change = style(&whole[middle..end]).for_stderr().dim();
            format!("{}{may_change}", &whole[start..middle])
        });
        self.bar.set_message(drawn.collect::<Vec<_>>().join("\n"));
    }

    /// Runs `write`, which may write to the terminal, while the text is out of its way.
    pub fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the text away.
    pub fn clear(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// The lines of a text, as ranges of its bytes: of at most so many columns, and broken at spaces if there
/// are any.
fn wrapped(text: &str, columns: usize) -> Vec<(usize, usize)> {
    let mut lines = Vec::new();
    let (mut start, mut width, mut space) = (0, 0, None);
    for (at, letter) in text.char_indices() {
        width += measure_text_width(letter.encode_utf8(&mut [0; 4]));
        if letter == ' ' {
            space = Some(at);
        }
        if width > columns && at > start {
            let (end, next) = match space.take() {
                Some(space) => (space, space + 1),
                None => (at, at),
            };
            lines.push((start, end));
            start = next;
            width = measure_text_width(&text[start.min(at)..at + letter.len_utf8()]);
        }
    }
    lines.push((start.min(text.len()), text.len()));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_the_terminal_and_lose_nothing_but_spaces() {
        for (text, columns, expected) in [
            ("", 10, &[""][..]),
            ("one two three", 20, &["one two three"]),
            ("one two three", 8, &["one two", "three"]),
            ("one two three", 7, &["one two", "three"]),
            ("abcdefgh", 3, &["abc", "def", "gh"]),
            ("a 今日は いい", 4, &["a", "今日", "は", "いい"]),
            ("ends here ", 9, &["ends here", ""]),
        ] {
            let lines = wrapped(text, columns);
            let lines: Vec<&str> = lines.iter().map(|&(a, b)| &text[a..b]).collect();
            assert_eq!(lines, expected, "{text} {columns}");
        }
    }
}
