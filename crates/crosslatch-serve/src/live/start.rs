//! The first message of a live sound: what its bytes are, and how to decode them.

use crosslatch_tasks::audio::{Encoding, PcmFormat};
use crosslatch_tasks::{Task, TranscribeOptions};
use serde_json::{Map, Value};

use crate::form::{GRANULARITIES, Sound, Wishes, count, names, unknown};
use crate::http::{ApiError, shown};
use crate::model::ServedModel;

/// The members that say what comes; those that say how to decode are fields of a form as well.
const OWN_MEMBERS: [&str; 5] = ["type", "task", "encoding", "rate", "channels"];

/// The names of all members.
pub fn members() -> Vec<&'static str> {
    OWN_MEMBERS
        .into_iter()
        .chain(names(Sound::Coming))
        .collect()
}

/// Greatest number of bytes in a second of sound.
const MOST_BYTES: usize = 2 << 20;

/// How to listen.
#[derive(Debug)]
pub struct Start {
    /// What the bytes are, unless they are a WAV file.
    pub format: PcmFormat,
    /// How to decode.
    pub options: TranscribeOptions,
}

impl Start {
    /// Reads the message, for this model and a server with these defaults.
    ///
    /// # Errors
    /// If it is no such message, or a member is unknown or wrong.
    pub fn read(
        message: &Map<String, Value>,
        model: &ServedModel,
        defaults: &TranscribeOptions,
    ) -> Result<Start, ApiError> {
        let mut format = PcmFormat {
            encoding: Encoding::S16,
            rate: 16_000,
            channels: 1,
        };
        let mut task = Task::Transcribe;
        let mut wishes = Wishes::default();
        let members = members();
        for (name, value) in message {
            if !members.contains(&name.as_str()) {
                return Err(unknown(name, &members));
            }
            for text in texts(name, value)? {
                match name.as_str() {
                    "type" => {}
                    "task" => {
                        task = text.parse().map_err(|_| {
                            let message = "task must be transcribe or translate";
                            ApiError::param("task", message)
                        })?;
                    }
                    "encoding" => {
                        format.encoding = Encoding::named(&text).ok_or_else(|| {
                            let message = format!(
                                "encoding is {}; there is u8, s16, s24, s32 and f32",
                                shown(&text)
                            );
                            ApiError::param("encoding", message)
                        })?;
                    }
                    "rate" => {
                        let rate = u32::try_from(count("rate", &text)?);
                        format.rate = rate.unwrap_or(u32::MAX);
                    }
                    "channels" => format.channels = count("channels", &text)?,
                    name => drop(wishes.take(name, &text)?),
                }
            }
        }
        model.check(wishes.model.as_deref())?;
        let second = format.encoding.bytes().saturating_mul(format.channels);
        let second = second.saturating_mul(format.rate as usize);
        if second > MOST_BYTES {
            let message = format!(
                "a second of this sound has {second} bytes, more than {MOST_BYTES}; send a lower rate \
                 or fewer channels"
            );
            return Err(ApiError::param("rate", message).with_code("too_many_bytes"));
        }
        let mut options = TranscribeOptions {
            // The level of silence of the server is for sound that is there as a whole.
            skip_silence: None,
            ..wishes.options(task, defaults)
        };
        if wishes.vad_filter() != Some(false) {
            // Nothing is computed while nobody speaks.
            options.voice.get_or_insert_default();
        }
        Ok(Start { format, options })
    }
}

/// The values of a member as a form would have them.
fn texts(name: &str, value: &Value) -> Result<Vec<String>, ApiError> {
    let one = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    };
    let all = match value {
        Value::Null => Some(Vec::new()),
        Value::Array(values) if name == GRANULARITIES => values.iter().map(one).collect(),
        value => one(value).map(|text| vec![text]),
    };
    all.ok_or_else(|| {
        let message = format!("{name} must be a text, a number, true or false");
        ApiError::param(name, message)
    })
}
