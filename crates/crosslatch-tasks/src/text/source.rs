//! The tokens that the encoder is given.
//!
//! The tokenizer puts around a text what the model wants there: an end, and the language that the
//! tokenizer was saved with. These tokens are told apart from the text's own, so that the language
//! can be replaced, and so that a text that is too long can be cut off without losing them.

use super::languages::Languages;
use super::{GenerateError, GenerateOptions, TextLimits, TextPlan};
use crate::config::OptionsError;
use crate::tokenizer::TextTokenizer;

/// The tokens of a text, with those that the model wants around it; of each, whether it is around it.
pub(super) fn source_tokens<E: std::error::Error>(
    tokenizer: &TextTokenizer,
    languages: &Languages,
    plan: &TextPlan,
    options: &GenerateOptions,
    limits: TextLimits,
    text: &str,
) -> Result<Vec<(u32, bool)>, GenerateError<E>> {
    let prefix = options.prefix.as_deref().unwrap_or_default();
    let mut tokens = tokenizer.encode_marked(&format!("{prefix}{text}"))?;
    if let Some(wanted) = plan.source_language {
        let places = tokens.iter_mut().filter(|(_, is_around)| *is_around);
        let mut places = places.filter(|(id, _)| languages.contains(*id)).peekable();
        if places.peek().is_none() {
            return Err(no_place().into());
        }
        places.for_each(|(id, _)| *id = wanted);
    }
    if let Some(id) = plan.before_source {
        tokens.insert(0, (id, true));
    }
    if let Some(limit) = limits.source.filter(|&limit| tokens.len() > limit) {
        let around = tokens.iter().filter(|(_, is_around)| *is_around).count();
        let Some(room) = limit.checked_sub(around).filter(|_| options.truncate) else {
            return Err(GenerateError::TooLong {
                tokens: tokens.len(),
                limit,
            });
        };
        let mut kept = 0;
        tokens.retain(|(_, is_around)| {
            kept += usize::from(!is_around);
            *is_around || kept <= room
        });
    }
    match tokens.is_empty() {
        true => Err(GenerateError::NoTokens),
        false => Ok(tokens),
    }
}

fn no_place() -> OptionsError {
    OptionsError::Option {
        name: "source language",
        cause: "the model's tokenizer puts no language around a text",
    }
}
