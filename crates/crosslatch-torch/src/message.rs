//! An error on its way to Python.
//!
//! The only way out of a kernel with an error is a C++ exception, which libtorch throws for us.  It
//! passes through the kernel's frame, so nothing in that frame may need cleaning up: the text
//! stands in a buffer of fixed size on the stack, and every handle is deleted before.  A text that
//! is too long is cut.

use std::fmt::{self, Write};

use crate::symbols::Functions;

const CAPACITY: usize = 1024;

/// The text of an error, terminated by a zero.
pub struct Message {
    text: [u8; CAPACITY],
    len: usize,
}

impl Message {
    /// Formats a text.
    pub fn new(text: fmt::Arguments<'_>) -> Self {
        let mut message = Self {
            text: [0; CAPACITY],
            len: 0,
        };
        // Writing fails only where a `Display` does, and then what is there already is the best
        // text to be had.
        let _ = message.write_fmt(text);
        message
    }

    /// Raises the error; returns only if libtorch does not throw, which it promises to do.
    pub fn raise(&self, functions: &Functions) {
        // SAFETY: all texts are terminated by zeros and outlive the call: libtorch copies them into
        // the exception before it leaves this frame, and nothing here needs cleaning up.
        unsafe {
            (functions.check)(
                false,
                c"kernel".as_ptr(),
                c"crosslatch-torch".as_ptr(),
                0,
                self.text.as_ptr().cast(),
            );
        }
    }

    #[cfg(test)]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap()
    }
}

impl Write for Message {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = CAPACITY - 1 - self.len;
        let mut fits = part.len().min(room);
        while !part.is_char_boundary(fits) {
            fits -= 1;
        }
        self.text[self.len..self.len + fits].copy_from_slice(&part.as_bytes()[..fits]);
        self.len += fits;
        Ok(())
    }
}

/// Makes a [`Message`] as `format!` makes a string.
macro_rules! message {
    ($($part:tt)*) => { $crate::message::Message::new(format_args!($($part)*)) };
}
pub(crate) use message;

#[cfg(test)]
mod tests {
    #[test]
    fn a_long_text_is_cut_between_characters() {
        let long = "ä".repeat(2000);
        let message = message!("{long}");
        assert_eq!(message.as_str(), "ä".repeat(511));
        assert_eq!(message.text[1023], 0);
    }
}
