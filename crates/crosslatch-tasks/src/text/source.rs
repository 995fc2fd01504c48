//! The tokens that the encoder is given.
//!
//! The tokenizer puts what the model wants around a text: an end, the language that it was saved
//! with. Those tokens are known apart from the text's own, so that the language can be exchanged and
//! a text that is too long can lose its end without losing them.

use super::languages::Languages;
use super::{GenerateError, GenerateOptions, Limits, TextPlan};
use crate::generation::GenerationError;
use crate::tokenizer::TextTokenizer;

/// The tokens of a text.
pub(super) fn source_tokens<E: std::error::Error>(
    tokenizer: &TextTokenizer,
    languages: &Languages,
    plan: &TextPlan,
    options: &GenerateOptions,
    limits: Limits,
    text: &str,
) -> Result<Vec<u32>, GenerateError<E>> {
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
        false => Ok(tokens.into_iter().map(|(id, _)| id).collect()),
    }
}

fn no_place() -> GenerationError {
    GenerationError::Option {
        name: "source language",
        cause: "the model's tokenizer puts no language around a text",
    }
}
