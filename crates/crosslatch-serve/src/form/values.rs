//! Values of fields, from text.

use crosslatch_tasks::Grammar;

use crate::http::{ApiError, shown};

/// Below this level, in decibels of full scale, sound is silent if a request does not say; the
/// command's `--skip-silence` takes the same.
const SILENT: f32 = -45.0;

/// The levels that may be called silent.
pub const SILENT_LEVELS: std::ops::RangeInclusive<f32> = -120.0..=0.0;

pub fn temperature(text: &str) -> Result<f32, ApiError> {
    let value = text.parse().ok().filter(|t| (0.0..=1.0).contains(t));
    value.ok_or_else(|| {
        let text = shown(text);
        let message = format!("temperature is {text}; it must be a number from 0 to 1");
        ApiError::param("temperature", message)
    })
}

pub fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N, ApiError> {
    text.trim().parse().map_err(|_| {
        let message = format!("{name} is {}; it must be a number", shown(text));
        ApiError::param(name, message)
    })
}

/// What the text is to obey; an empty field asks for nothing.
pub fn grammar(text: &str) -> Result<Option<Grammar>, ApiError> {
    let wanted = (!text.trim().is_empty()).then(|| Grammar::parse(text));
    let wrong = |error| ApiError::param("grammar", format!("grammar: {error}"));
    wanted.transpose().map_err(wrong)
}

pub fn count(name: &str, text: &str) -> Result<usize, ApiError> {
    text.parse().map_err(|_| {
        let message = format!("{name} is {}; it must be a whole number", shown(text));
        ApiError::param(name, message)
    })
}

/// Times in seconds, with commas between them.
pub fn seconds(name: &str, text: &str) -> Result<Vec<f64>, ApiError> {
    let times = text.split(',').map(|time| time.trim().parse());
    times.collect::<Result<_, _>>().map_err(|_| {
        let message = format!(
            "{name} is {}; it must be seconds with commas between them, such as 0,30,90",
            shown(text)
        );
        ApiError::param(name, message)
    })
}

/// The level of silence that is to be skipped: a number of decibels, or whether to skip any.
pub fn silence(text: &str) -> Result<Option<f32>, ApiError> {
    if let Ok(level) = text.parse()
        && !matches!(text, "0" | "1")
    {
        if SILENT_LEVELS.contains(&level) {
            return Ok(Some(level));
        }
        let message = format!(
            "skip_silence is {}; a level must be {} to {} decibels",
            shown(text),
            SILENT_LEVELS.start(),
            SILENT_LEVELS.end()
        );
        return Err(ApiError::param("skip_silence", message));
    }
    Ok(flag("skip_silence", text)?.then_some(SILENT))
}

pub fn flag(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" | "" => Ok(false),
        _ => Err(ApiError::param(
            name,
            format!("{name} is {}; it must be true or false", shown(text)),
        )),
    }
}

/// Whether times of words are asked for, or of segments.
pub fn is_of_words(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "segment" => Ok(false),
        "word" => Ok(true),
        _ => Err(ApiError::param(
            name,
            "timestamp_granularities[] must be word or segment",
        )),
    }
}

/// The error for a field that a request of this kind does not have.
pub fn unknown(name: &str, fields: &[&str]) -> ApiError {
    let message = format!(
        "{} is not supported by this server; there is {}",
        match name.len() {
            0..=100 => name.to_owned(),
            _ => shown(name),
        },
        listed(fields)
    );
    ApiError::param(name, message).with_code("unknown_parameter")
}

/// Names, for messages.
pub fn listed(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        names => names.concat(),
    }
}

/// The error for a text that is longer than a field may be.
pub fn too_long(name: &str, most: usize) -> ApiError {
    let message = format!("{name} is longer than {most} bytes; shorten it");
    ApiError::param(name, message).with_code("string_above_max_length")
}
