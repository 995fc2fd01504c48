//! An error on its way to Python.
//!
//! The only way out of a kernel with an error is a C++ exception, which libtorch throws for us. It
//! passes through the frame of [`raise`], so nothing in that frame may need cleaning up: the text
//! is moved to an array on the stack, cut if it is too long, and what it was in is freed first.

use crate::symbols::Functions;

const CAPACITY: usize = 1024;

/// The text of an error.
#[derive(Debug)]
pub struct Message(pub String);

/// Raises the error; returns only if libtorch does not throw, which it promises to do.
pub fn raise(message: Message, functions: &Functions) {
    let text = terminated(message);
    // SAFETY: all texts are terminated by zeros and outlive the call: libtorch copies them into the
    // exception before it leaves this frame, and nothing here needs cleaning up.
    unsafe {
        (functions.check)(
            false,
            c"kernel".as_ptr(),
            c"crosslatch-torch".as_ptr(),
            0,
            text.as_ptr().cast(),
        );
    }
}

/// The text and zeros up to the end; cut between characters if it is too long.
fn terminated(Message(text): Message) -> [u8; CAPACITY] {
    let mut array = [0; CAPACITY];
    let fits = text.floor_char_boundary(CAPACITY - 1);
    array[..fits].copy_from_slice(&text.as_bytes()[..fits]);
    array
}

/// Makes a [`Message`] as `format!` makes a string.
macro_rules! message {
    ($($part:tt)*) => { $crate::message::Message(format!($($part)*)) };
}
pub(crate) use message;

#[cfg(test)]
mod tests {
    use super::terminated;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let array = terminated(message!("{}", "ä".repeat(2000)));
        assert_eq!(array[..1022], *"ä".repeat(511).as_bytes());
        assert_eq!(array[1022..], [0, 0]);
        let array = terminated(message!("short"));
        assert!(array.starts_with(b"short\0"));
    }
}
