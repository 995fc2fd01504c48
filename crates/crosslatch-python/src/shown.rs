//! How a text is shown in the `repr` of an object.

/// Longer texts are shortened.
const SHOWN: usize = 60;

/// A text in quotes, shortened.
pub fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
    }
}
