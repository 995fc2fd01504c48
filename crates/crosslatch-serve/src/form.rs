//! The form of a request: a file, and how it shall be transcribed.
//!
//! The fields are those of OpenAI's interface. What this server cannot do is refused by the field's
//! name, never ignored: a client that asked for words with times must not believe that it got them.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use crosslatch_tasks::{GenerationConfig, Task, TranscribeOptions};

use crate::Limits;
use crate::error::ApiError;

/// How long a client may take to send its form.
const UPLOAD: Duration = Duration::from_secs(120);

/// The fields that there are.
const FIELDS: &str = "file, model, language, prompt, response_format, temperature, \
                      timestamp_granularities[] and stream";

/// How to write the answer.
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
                    "response_format is {name:?}; there is json, text, srt, verbose_json and vtt"
                );
                return Err(ApiError::param("response_format", message));
            }
        })
    }

    /// Whether points in time are worth asking the model for.
    fn needs_times(self) -> bool {
        matches!(self, Self::Srt | Self::VerboseJson | Self::Vtt)
    }
}

/// A request's form.
#[derive(Debug, Default)]
pub struct Form {
    /// The sound, and the name of its file.
    pub file: Option<(String, Bytes)>,
    /// The model asked for.
    pub model: Option<String>,
    /// How to write the answer.
    pub format: ResponseFormat,
    /// Whether the answer shall come as it is made.
    pub stream: bool,
    language: Option<String>,
    prompt: Option<String>,
    temperature: Option<f32>,
    has_granularities: bool,
}

impl Form {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// If it is no form, too large or too slow, or a field is unknown or wrong.
    pub async fn read(request: Request, limits: Limits) -> Result<Form, ApiError> {
        let multipart = Multipart::from_request(request, &());
        let mut multipart = multipart.await.map_err(|rejection| {
            let message = format!("{}; send multipart/form-data", rejection.body_text());
            ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message)
        })?;
        let fields = async {
            let mut form = Form::default();
            let refused = |e| Form::refused(e, limits);
            while let Some(field) = multipart.next_field().await.map_err(refused)? {
                form.add(field, limits).await?;
            }
            Ok::<Form, ApiError>(form)
        };
        let form = tokio::time::timeout(UPLOAD, fields).await.map_err(|_| {
            let message = format!("the request did not arrive within {} s", UPLOAD.as_secs());
            ApiError::new(StatusCode::REQUEST_TIMEOUT, message)
        })??;
        form.check()
    }

    fn refused(error: MultipartError, limits: Limits) -> ApiError {
        match error.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                let message = format!(
                    "the request is larger than {} bytes, the most that this server takes; send \
                     less, or compressed sound",
                    limits.body
                );
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, message).with_code("body_too_large")
            }
            status => {
                let message = format!("the form cannot be read: {}", error.body_text());
                ApiError::new(status, message)
            }
        }
    }

    async fn add(&mut self, field: Field<'_>, limits: Limits) -> Result<(), ApiError> {
        let refused = |e| Form::refused(e, limits);
        let Some(name) = field.name().map(str::to_owned) else {
            let message = format!("a field of the form has no name; there is {FIELDS}");
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        };
        if name == "file" {
            let file = field.file_name().unwrap_or("file").to_owned();
            let sound = field.bytes().await.map_err(refused)?;
            if self.file.replace((file, sound)).is_some() {
                return Err(ApiError::param("file", "one request transcribes one file"));
            }
            return Ok(());
        }
        let text = field.text().await.map_err(refused)?;
        match name.strip_suffix("[]").unwrap_or(&name) {
            "model" => self.model = Some(text),
            "language" => self.language = (!text.is_empty()).then_some(text),
            "prompt" => self.prompt = (!text.is_empty()).then_some(text),
            "response_format" => self.format = ResponseFormat::named(&text)?,
            "temperature" => self.temperature = Some(temperature(&text)?),
            "stream" => self.stream = flag("stream", &text)?,
            "timestamp_granularities" => {
                granularity(&text)?;
                self.has_granularities = true;
            }
            _ => {
                let message = format!("{name} is not supported by this server; there is {FIELDS}");
                return Err(ApiError::param(&name, message).with_code("unknown_parameter"));
            }
        }
        Ok(())
    }

    /// What can only be said of all fields together.
    fn check(self) -> Result<Form, ApiError> {
        if self.has_granularities && self.format != ResponseFormat::VerboseJson {
            return Err(ApiError::param(
                "timestamp_granularities",
                "timestamp_granularities needs response_format=verbose_json",
            ));
        }
        if self.stream && self.format != ResponseFormat::Json && self.format != ResponseFormat::Text
        {
            return Err(ApiError::param(
                "response_format",
                "a stream has text only; ask for response_format=json, or leave out stream",
            ));
        }
        Ok(self)
    }

    /// How to decode, by a model with this configuration.
    pub fn options(&self, task: Task, model: &GenerationConfig) -> TranscribeOptions {
        let mut options = TranscribeOptions {
            language: self.language.clone(),
            task: (task == Task::Translate).then_some(task),
            timestamps: (self.format.needs_times() && model.has_timestamps()).then_some(true),
            prompt: self.prompt.clone(),
            ..TranscribeOptions::default()
        };
        if let Some(temperature) = self.temperature {
            options.temperatures = vec![temperature];
        }
        let has_no_speech = model.no_timestamps_token_id.is_some_and(|id| id > 0);
        let is_set = model
            .no_speech_threshold
            .or(model.logprob_threshold)
            .is_some();
        if self.format == ResponseFormat::VerboseJson && has_no_speech && !is_set {
            // Thresholds that nothing breaks: the probability is found, and decides nothing.
            options.no_speech_threshold = Some(f32::INFINITY);
            options.logprob_threshold = Some(f32::NEG_INFINITY);
        }
        options
    }
}

fn temperature(text: &str) -> Result<f32, ApiError> {
    let value = text.parse().ok().filter(|t| (0.0..=1.0).contains(t));
    value.ok_or_else(|| {
        let message = format!("temperature is {text:?}; it must be a number from 0 to 1");
        ApiError::param("temperature", message)
    })
}

fn flag(name: &str, text: &str) -> Result<bool, ApiError> {
    match text {
        "true" | "True" | "1" => Ok(true),
        "false" | "False" | "0" | "" => Ok(false),
        _ => Err(ApiError::param(
            name,
            format!("{name} is {text:?}; it must be true or false"),
        )),
    }
}

fn granularity(text: &str) -> Result<(), ApiError> {
    let message = match text {
        "segment" => return Ok(()),
        "word" => "this server has no times for words; ask for timestamp_granularities[]=segment",
        _ => "timestamp_granularities[] must be segment",
    };
    Err(ApiError::param("timestamp_granularities", message))
}
