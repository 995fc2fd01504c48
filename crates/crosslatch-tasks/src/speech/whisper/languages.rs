//! The tokens that name a language, such as `<|de|>`.

use crate::config::language_code;

/// The token of a language that is given in any case as `<|de|>`, `de` or `german`; `None` if the
/// language is unknown.
pub(super) fn language_token(language: &str) -> Option<String> {
    let token = language.trim().to_lowercase();
    if token.starts_with("<|") && token.ends_with("|>") {
        return Some(token);
    }
    Some(format!("<|{}|>", language_code(language)?))
}

/// The code in the token of a language: `en` of `<|en|>`.
pub(crate) fn code_of(token: &str) -> &str {
    token
        .strip_prefix("<|")
        .and_then(|t| t.strip_suffix("|>"))
        .unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_codes_and_tokens_are_accepted() {
        for given in ["de", "German", "<|de|>", "<|DE|>", "DE", "de-CH"] {
            assert_eq!(language_token(given).as_deref(), Some("<|de|>"));
        }
        assert_eq!(language_token("castilian").as_deref(), Some("<|es|>"));
        assert_eq!(language_token("yue").as_deref(), Some("<|yue|>"));
        assert_eq!(language_token("klingon"), None);
    }

    #[test]
    fn a_code_is_taken_out_of_its_token() {
        assert_eq!(code_of("<|en|>"), "en");
        assert_eq!(code_of("en"), "en");
    }
}
