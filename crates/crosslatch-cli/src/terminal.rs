//! Text of others on a terminal.
//!
//! Names come from files that anybody may have written, and a control character in one could move the
//! cursor, change colours, or write over what was said before. So what is shown of them has none.

use std::io::{self, Write};

/// What stands for a character that is not shown.
const HIDDEN: char = '\u{fffd}';

/// Text on one line.
pub fn printable(text: &str) -> String {
    shown(text, char::is_control)
}

/// A message, whose lines stay apart.
pub fn message(text: &dyn std::fmt::Display) -> String {
    shown(&text.to_string(), |c| {
        c.is_control() && !matches!(c, '\n' | '\t')
    })
}

fn shown(text: &str, is_hidden: impl Fn(char) -> bool) -> String {
    let shown = text.chars().map(|c| if is_hidden(c) { HIDDEN } else { c });
    shown.collect()
}

/// A writer of lines of text, given in whole pieces of UTF-8, that hides control characters.
pub struct Plain<W>(pub W);

impl<W: Write> Write for Plain<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(message(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(message(&"a\u{9b}2J\n\tb"), "a\u{fffd}2J\n\tb");
        let mut out = Plain(Vec::new());
        let name = "x\u{1b}]0;y\u{7}";
        writeln!(out, "weights {name} ü").unwrap();
        let written = String::from_utf8(out.0).unwrap();
        assert_eq!(written, "weights x\u{fffd}]0;y\u{fffd} ü\n");
    }
}
