//! The form of a request: a file, and how to transcribe it.
//!
//! The fields are those of OpenAI's interface. What this server cannot do is refused with the
//! field's name, never ignored: a client that asked for the times of words must not believe that it
//! got them where the model cannot say them.

mod values;
mod wishes;

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use crosslatch_tasks::{Format, Task, TranscribeOptions, WhisperConfig};

pub use values::{SILENT_LEVELS, count, unknown};
use values::{flag, listed, too_long};
pub use wishes::{GRANULARITIES, Sound, Wishes, names};

use crate::http::{ApiError, shown};
use crate::limits::{Limits, Patience};

/// Number of characters of a file's name that are kept. They are its end, which says what kind of
/// file it is.
const MOST_NAME: usize = 128;

/// The fields of a form alone; those that say how to decode are [`wishes::names`].
const OWN_FIELDS: [&str; 4] = ["file", "response_format", "stream", "channels"];

/// The names of all fields.
pub fn fields() -> Vec<&'static str> {
    let wishes = wishes::names(Sound::Whole).map(|name| match name {
        GRANULARITIES => "timestamp_granularities[]",
        name => name,
    });
    OWN_FIELDS.into_iter().chain(wishes).collect()
}

/// How to write the transcript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResponseFormat {
    #[default]
    Json,
    Text,
    Srt,
    VerboseJson,
    Vtt,
}

impl ResponseFormat {
    fn named(name: &str) -> Result<Self, ApiError> {
        Ok(match name {
            "json" => Self::Json,
            "text" => Self::Text,
            "srt" => Self::Srt,
            "verbose_json" => Self::VerboseJson,
            "vtt" => Self::Vtt,
            _ => {
                let message = format!(
                    "response_format is {}; there is json, text, srt, verbose_json and vtt",
                    shown(name)
                );
                return Err(ApiError::param("response_format", message));
            }
        })
    }

    /// The format of a transcript that is written in this one; `None` for the kinds of JSON, which
    /// are this interface's own.
    pub fn subtitles(self) -> Option<Format> {
        match self {
            Self::Json | Self::VerboseJson => None,
            Self::Text => Some(Format::Text),
            Self::Srt => Some(Format::Srt),
            Self::Vtt => Some(Format::Vtt),
        }
    }
}

/// A request's form.
#[derive(Debug, Default)]
pub struct Form {
    /// The sound, and the name of its file.
    pub file: Option<(String, Bytes)>,
    /// How to write the transcript.
    pub format: ResponseFormat,
    /// Whether the transcript is to be sent as it is made.
    pub stream: bool,
    /// Whether each channel is to be transcribed by itself.
    pub channels: bool,
    /// How to decode.
    pub wishes: Wishes,
}

impl Form {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// If it is not a form, is too large or too slow, or if a field is unknown or wrong.
    pub async fn read(
        request: Request,
        limits: Limits,
        patience: Patience,
    ) -> Result<Form, ApiError> {
        let reader = Reader {
            limits,
            piece: patience.piece,
        };
        let announced = request.headers().get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        if announced.is_some_and(|length: u64| length > limits.body as u64) {
            return Err(reader.too_large());
        }
        let multipart = Multipart::from_request(request, &());
        let mut multipart = multipart.await.map_err(|rejection| {
            let message = format!("{}; send multipart/form-data", rejection.body_text());
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
        })?;
        let fields = async {
            let mut form = Form::default();
            while let Some(field) = reader.soon(multipart.next_field()).await? {
                form.add(field, &reader).await?;
            }
            Ok::<Form, ApiError>(form)
        };
        let form = tokio::time::timeout(patience.body, fields)
            .await
            .map_err(|_| too_slow("the request", patience.body))??;
        form.check()
    }

    async fn add(&mut self, mut field: Field<'_>, reader: &Reader) -> Result<(), ApiError> {
        let Some(name) = field.name().map(str::to_owned) else {
            let message = format!(
                "a field of the form has no name; there is {}",
                listed(&fields())
            );
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        };
        if name.len() > MOST_NAME {
            let message = format!(
                "there is no field {}; there is {}",
                shown(&name),
                listed(&fields())
            );
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        }
        if name == "file" {
            let file = end_of(field.file_name().unwrap_or("file"), MOST_NAME).to_owned();
            // The whole body is bounded, so the file needs no bound of its own.
            let sound = reader.bytes(&mut field, &name, usize::MAX).await?;
            if self.file.replace((file, sound.into())).is_some() {
                return Err(ApiError::param("file", "one request transcribes one file"));
            }
            return Ok(());
        }
        let text = reader.bytes(&mut field, &name, wishes::most(&name)).await?;
        let text = String::from_utf8(text)
            .map_err(|_| ApiError::param(&name, format!("{} is not UTF-8", shown(&name))))?;
        match name.strip_suffix("[]").unwrap_or(&name) {
            "response_format" => self.format = ResponseFormat::named(&text)?,
            "stream" => self.stream = flag("stream", &text)?,
            "channels" => self.channels = flag("channels", &text)?,
            _ if self.wishes.take(&name, &text)? => {}
            _ => return Err(unknown(&name, &fields())),
        }
        Ok(())
    }

    /// Checks what can only be told by all fields together.
    fn check(self) -> Result<Form, ApiError> {
        if self.wishes.has_granularities && self.format != ResponseFormat::VerboseJson {
            return Err(ApiError::param(
                GRANULARITIES,
                "timestamp_granularities needs response_format=verbose_json",
            ));
        }
        if self.stream && matches!(self.format, ResponseFormat::Srt | ResponseFormat::Vtt) {
            return Err(ApiError::param(
                "response_format",
                "a stream is no file of subtitles; ask for response_format=json or verbose_json, or \
                 leave out stream",
            ));
        }
        Ok(self)
    }

    /// How to decode, by a model with this configuration and a server with these defaults.
    pub fn options(
        &self,
        task: Task,
        model: &WhisperConfig,
        defaults: &TranscribeOptions,
    ) -> TranscribeOptions {
        let is_verbose = self.format == ResponseFormat::VerboseJson;
        let mut options = TranscribeOptions {
            format: self.format.subtitles().unwrap_or_default(),
            // `verbose_json` lists segments with their times, so it is worth having them exact.
            timestamps: (is_verbose && model.has_timestamps()).then_some(true),
            ..self.wishes.options(task, defaults)
        };
        let has_no_speech = model.no_timestamps_token_id.is_some_and(|id| id > 0);
        let is_set = [
            model.no_speech_threshold,
            model.logprob_threshold,
            options.no_speech_threshold,
            options.logprob_threshold,
        ];
        if is_verbose && has_no_speech && is_set.iter().all(Option::is_none) {
            // No text crosses these thresholds: the probability is computed and has no effect.
            options.no_speech_threshold = Some(f32::INFINITY);
            options.logprob_threshold = Some(f32::NEG_INFINITY);
        }
        options
    }
}

/// How a form is read piece by piece.
struct Reader {
    limits: Limits,
    /// How long to wait for a piece.
    piece: Duration,
}

impl Reader {
    /// What comes next, if it arrives in time.
    async fn soon<T>(
        &self,
        next: impl Future<Output = Result<T, MultipartError>>,
    ) -> Result<T, ApiError> {
        let next = tokio::time::timeout(self.piece, next).await;
        let next = next.map_err(|_| too_slow("the next piece of the request", self.piece))?;
        next.map_err(|error| self.refused(&error))
    }

    /// All bytes of a field, at most `most`.
    async fn bytes(
        &self,
        field: &mut Field<'_>,
        name: &str,
        most: usize,
    ) -> Result<Vec<u8>, ApiError> {
        let mut bytes = Vec::new();
        while let Some(piece) = self.soon(field.chunk()).await? {
            if piece.len() > most - bytes.len() {
                return Err(too_long(name, most));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn too_large(&self) -> ApiError {
        let message = format!(
            "the request is larger than {} bytes, the most that this server takes; send less, or \
             compressed sound",
            self.limits.body
        );
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).with_code("body_too_large")
    }

    fn refused(&self, error: &MultipartError) -> ApiError {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => self.too_large(),
            status => {
                let message = format!("the form cannot be read: {}", error.body_text());
                ApiError::new(status, message)
            }
        }
    }
}

fn too_slow(what: &str, waited: Duration) -> ApiError {
    let message = format!("{what} did not arrive within {:.0} s", waited.as_secs_f64());
    ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
}

/// The last characters of a text.
fn end_of(text: &str, characters: usize) -> &str {
    match text.char_indices().rev().nth(characters.saturating_sub(1)) {
        Some((start, _)) => &text[start..],
        None => text,
    }
}
