//! The form of a request: a file, and how to transcribe it.
//!
//! The fields are those of OpenAI's interface. What this server cannot do is refused with the
//! field's name, never ignored: a client that asked for the times of words must not believe that it
//! got them where the model cannot say them.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use crosslatch_tasks::{Format, Grammar, Task, TranscribeOptions, WhisperConfig};

use crate::http::{ApiError, shown};
use crate::limits::{Limits, Patience};

/// Greatest number of bytes of a prompt or a grammar. A model looks only at the last few hundred tokens
/// of a prompt, a kilobyte or two.
const MOST_PROMPT: usize = 64 << 10;

/// Greatest number of bytes of every other field except the file.
const MOST_TEXT: usize = 1 << 10;

/// Number of characters of a file's name that are kept. They are its end, which says what kind of
/// file it is.
const MOST_NAME: usize = 128;

/// The fields. Those from `skip_silence` on are this server's own.
pub const FIELDS: [&str; 20] = [
    "file",
    "model",
    "language",
    "prompt",
    "response_format",
    "temperature",
    "timestamp_granularities[]",
    "stream",
    "skip_silence",
    "vad_filter",
    "fallback",
    "hotwords",
    "beam_size",
    "length_penalty",
    "patience",
    "no_repeat_ngram_size",
    "hallucination_silence_threshold",
    "grammar",
    "clip_timestamps",
    "channels",
];

/// The name of the field that says whether segments or words get times.
const GRANULARITIES: &str = "timestamp_granularities";

/// What is asked for as a language if it is to be detected although the server has a default.
const DETECTED: &str = "auto";

/// Below this level, in decibels of full scale, sound is silent if a request does not say; the
/// command's `--skip-silence` takes the same.
const SILENT: f32 = -45.0;

/// The levels that may be called silent.
pub const SILENT_LEVELS: std::ops::RangeInclusive<f32> = -120.0..=0.0;

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
    /// The model asked for; the server has one only, so it may be left out.
    pub model: Option<String>,
    /// How to write the transcript.
    pub format: ResponseFormat,
    /// Whether the transcript is to be sent as it is made.
    pub stream: bool,
    /// Whether each channel is to be transcribed by itself.
    pub channels: bool,
    language: Option<String>,
    prompt: Option<String>,
    temperature: Option<f32>,
    has_granularities: bool,
    /// Whether the answer is to say when each word is spoken.
    pub has_words: bool,
    /// The level of silence that is to be skipped, if any.
    skip_silence: Option<Option<f32>>,
    vad_filter: Option<bool>,
    fallback: Option<bool>,
    hotwords: Option<String>,
    beam_size: Option<usize>,
    length_penalty: Option<f32>,
    patience: Option<f32>,
    no_repeat_ngram_size: Option<usize>,
    hallucination_silence_threshold: Option<f64>,
    grammar: Option<Grammar>,
    clip_timestamps: Vec<f64>,
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
            let message = format!("a field of the form has no name; there is {}", fields());
            return Err(ApiError::new(StatusCode::BAD_REQUEST, message));
        };
        if name.len() > MOST_NAME {
            let message = format!("there is no field {}; there is {}", shown(&name), fields());
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
        let most = match &*name {
            "prompt" | "hotwords" | "grammar" => MOST_PROMPT,
            _ => MOST_TEXT,
        };
        let text = reader.bytes(&mut field, &name, most).await?;
        let text = String::from_utf8(text)
            .map_err(|_| ApiError::param(&name, format!("{} is not UTF-8", shown(&name))))?;
        match name.strip_suffix("[]").unwrap_or(&name) {
            "model" => self.model = Some(text),
            "language" => self.language = (!text.is_empty()).then_some(text),
            "prompt" => self.prompt = (!text.is_empty()).then_some(text),
            "response_format" => self.format = ResponseFormat::named(&text)?,
            "temperature" => self.temperature = Some(temperature(&text)?),
            "stream" => self.stream = flag("stream", &text)?,
            "skip_silence" => self.skip_silence = Some(silence(&text)?),
            "vad_filter" => self.vad_filter = Some(flag("vad_filter", &text)?),
            "fallback" => self.fallback = Some(flag("fallback", &text)?),
            "channels" => self.channels = flag("channels", &text)?,
            "hotwords" => self.hotwords = (!text.is_empty()).then_some(text),
            "beam_size" => self.beam_size = Some(count("beam_size", &text)?),
            "length_penalty" => self.length_penalty = Some(number("length_penalty", &text)?),
            "patience" => self.patience = Some(number("patience", &text)?),
            "hallucination_silence_threshold" => {
                self.hallucination_silence_threshold = Some(number(&name, &text)?);
            }
            "no_repeat_ngram_size" => {
                self.no_repeat_ngram_size = Some(count("no_repeat_ngram_size", &text)?);
            }
            "grammar" => self.grammar = grammar(&text)?,
            "clip_timestamps" => self.clip_timestamps = seconds("clip_timestamps", &text)?,
            GRANULARITIES => {
                self.has_words |= is_of_words(&text)?;
                self.has_granularities = true;
            }
            _ => {
                let message = format!(
                    "{name} is not supported by this server; there is {}",
                    fields()
                );
                return Err(ApiError::param(&name, message).with_code("unknown_parameter"));
            }
        }
        Ok(())
    }

    /// Checks what can only be told by all fields together.
    fn check(self) -> Result<Form, ApiError> {
        if self.has_granularities && self.format != ResponseFormat::VerboseJson {
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
            language: match self.language.as_deref() {
                None => defaults.language.clone(),
                Some(DETECTED) => None,
                Some(language) => Some(language.to_owned()),
            },
            task: (task == Task::Translate).then_some(task),
            format: self.format.subtitles().unwrap_or_default(),
            // `verbose_json` lists segments with their times, so it is worth having them exact.
            timestamps: (is_verbose && model.has_timestamps()).then_some(true),
            word_timestamps: self.has_words,
            prompt: self.prompt.clone(),
            hotwords: self.hotwords.clone(),
            beam_size: self.beam_size.or(defaults.beam_size),
            length_penalty: self.length_penalty.or(defaults.length_penalty),
            patience: self.patience.or(defaults.patience),
            hallucination_silence_threshold: self
                .hallucination_silence_threshold
                .or(defaults.hallucination_silence_threshold),
            no_repeat_ngram_size: self.no_repeat_ngram_size.or(defaults.no_repeat_ngram_size),
            grammar: self.grammar.clone(),
            clip_timestamps: self.clip_timestamps.clone(),
            voice: match self.vad_filter {
                None => defaults.voice,
                Some(is_wanted) => is_wanted.then(|| defaults.voice.unwrap_or_default()),
            },
            skip_silence: self.skip_silence.unwrap_or(defaults.skip_silence),
            ..defaults.clone()
        };
        match self.fallback {
            Some(true) => options = options.with_fallback(),
            Some(false) => options = without_fallback(options),
            None => {}
        }
        if let Some(first) = self.temperature {
            // What is tried after the first temperature are higher ones, as openai-whisper does.
            match options.temperatures.len() {
                0 | 1 => options.temperatures.clear(),
                _ => options.temperatures.retain(|&t| t > first),
            }
            options.temperatures.insert(0, first);
        }
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
                let message = format!("{name} is longer than {most} bytes; shorten it");
                return Err(ApiError::param(name, message).with_code("string_above_max_length"));
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

/// The names of all fields, for messages.
fn fields() -> String {
    let [rest @ .., last] = FIELDS;
    format!("{} and {last}", rest.join(", "))
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

fn temperature(text: &str) -> Result<f32, ApiError> {
    let value = text.parse().ok().filter(|t| (0.0..=1.0).contains(t));
    value.ok_or_else(|| {
        let text = shown(text);
        let message = format!("temperature is {text}; it must be a number from 0 to 1");
        ApiError::param("temperature", message)
    })
}

fn number<N: std::str::FromStr>(name: &str, text: &str) -> Result<N, ApiError> {
    text.trim().parse().map_err(|_| {
        let message = format!("{name} is {}; it must be a number", shown(text));
        ApiError::param(name, message)
    })
}

/// What the text is to obey; an empty field asks for nothing.
fn grammar(text: &str) -> Result<Option<Grammar>, ApiError> {
    let wanted = (!text.trim().is_empty()).then(|| Grammar::parse(text));
    let wrong = |error| ApiError::param("grammar", format!("grammar: {error}"));
    wanted.transpose().map_err(wrong)
}

fn count(name: &str, text: &str) -> Result<usize, ApiError> {
    text.parse().map_err(|_| {
        let message = format!("{name} is {}; it must be a whole number", shown(text));
        ApiError::param(name, message)
    })
}

/// Times in seconds, with commas between them.
fn seconds(name: &str, text: &str) -> Result<Vec<f64>, ApiError> {
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
fn silence(text: &str) -> Result<Option<f32>, ApiError> {
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

/// The options of a transcript each window of which is decoded once.
fn without_fallback(options: TranscribeOptions) -> TranscribeOptions {
    let plain = TranscribeOptions::default();
    TranscribeOptions {
        temperatures: plain.temperatures,
        compression_ratio_threshold: plain.compression_ratio_threshold,
        logprob_threshold: plain.logprob_threshold,
        no_speech_threshold: plain.no_speech_threshold,
        ..options
    }
}

fn flag(name: &str, text: &str) -> Result<bool, ApiError> {
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
fn is_of_words(text: &str) -> Result<bool, ApiError> {
    match text {
        "segment" => Ok(false),
        "word" => Ok(true),
        _ => Err(ApiError::param(
            GRANULARITIES,
            "timestamp_granularities[] must be word or segment",
        )),
    }
}
