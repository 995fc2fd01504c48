//! Joins the texts of neighbouring windows.
//!
//! Some models begin each text with a space and some do not; some languages have spaces between words
//! and some do not. So texts are trimmed, and a space is put between two of them unless the letter on
//! either side belongs to a script that is written without spaces.

/// Appends `next`, which is trimmed, to `text`.
pub fn append(text: &mut String, next: &str) {
    if let (Some(last), Some(first)) = (text.chars().next_back(), next.chars().next())
        && !without_spaces(last)
        && !without_spaces(first)
    {
        text.push(' ');
    }
    text.push_str(next);
}

/// Whether a letter is Han, Kana, Thai, Lao, Khmer, Myanmar or Tibetan, or full-width punctuation.
fn without_spaces(letter: char) -> bool {
    matches!(u32::from(letter),
        0x0e00..=0x0fff     // Thai, Lao, Tibetan
        | 0x1000..=0x109f   // Myanmar
        | 0x1780..=0x17ff   // Khmer
        | 0x3000..=0x30ff   // CJK punctuation, Hiragana, Katakana
        | 0x31f0..=0x31ff   // Katakana extensions
        | 0x3400..=0x4dbf   // Han
        | 0x4e00..=0x9fff
        | 0xf900..=0xfaff
        | 0xff00..=0xff9f   // full-width forms, half-width Katakana
        | 0x20000..=0x3ffff)
}

#[cfg(test)]
mod tests {
    #[test]
    fn texts_are_joined_by_a_space_only_where_the_script_has_one() {
        for (a, b, joined) in [
            ("", "one", "one"),
            ("one", "", "one"),
            ("one.", "two", "one. two"),
            ("今日は", "いい天気", "今日はいい天気"),
            ("สวัสดี", "ครับ", "สวัสดีครับ"),
            ("한국어", "문장", "한국어 문장"),
        ] {
            let mut text = a.to_owned();
            if !b.is_empty() {
                super::append(&mut text, b);
            }
            assert_eq!(text, joined);
        }
    }
}
