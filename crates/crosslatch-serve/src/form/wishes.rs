//! How a request wants its sound to be decoded.
//!
//! A form and the first message of a live sound ask for the same things by the same names; what a
//! request does not mention is as the server was started.

use crosslatch_tasks::{Grammar, Task, TranscribeOptions};

use super::values::{
    count, flag, grammar, is_of_words, number, seconds, silence, temperature, too_long,
};
use crate::http::ApiError;

/// Greatest number of bytes of a prompt or a grammar. A model looks only at the last few hundred tokens
/// of a prompt, a kilobyte or two.
const MOST_PROMPT: usize = 64 << 10;

/// Greatest number of bytes of every other field except the file.
const MOST_TEXT: usize = 1 << 10;

/// What is asked for as a language if it is to be detected although the server has a default.
const DETECTED: &str = "auto";

/// The name of the field that says whether segments or words get times.
pub const GRANULARITIES: &str = "timestamp_granularities";

/// The sounds that a request may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// One that still comes.
    Coming,
    /// One that is there as a whole, which can have all that the other can.
    Whole,
}

/// The names of what a request may ask for, and of which sounds it may do so at least.
const NAMES: [(&str, Sound); 16] = [
    ("model", Sound::Coming),
    ("language", Sound::Coming),
    ("prompt", Sound::Coming),
    ("temperature", Sound::Coming),
    (GRANULARITIES, Sound::Coming),
    ("skip_silence", Sound::Whole),
    ("vad_filter", Sound::Coming),
    ("fallback", Sound::Coming),
    ("hotwords", Sound::Coming),
    ("beam_size", Sound::Coming),
    ("length_penalty", Sound::Coming),
    ("patience", Sound::Coming),
    ("no_repeat_ngram_size", Sound::Coming),
    ("hallucination_silence_threshold", Sound::Coming),
    ("grammar", Sound::Coming),
    ("clip_timestamps", Sound::Whole),
];

/// The names of what can be asked for of such a sound.
pub fn names(sound: Sound) -> impl Iterator<Item = &'static str> {
    let names = NAMES.into_iter();
    let names = names.filter(move |&(_, least)| sound == Sound::Whole || least == Sound::Coming);
    names.map(|(name, _)| name)
}

/// What a request asks for.
#[derive(Debug, Default)]
pub struct Wishes {
    /// The model asked for; the server has one only, so it may be left out.
    pub model: Option<String>,
    /// Whether it says what is to have times.
    pub has_granularities: bool,
    /// Whether the answer is to say when each word is spoken.
    pub has_words: bool,
    language: Option<String>,
    prompt: Option<String>,
    temperature: Option<f32>,
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

/// Greatest number of bytes of a field's text.
pub fn most(name: &str) -> usize {
    match name {
        "prompt" | "hotwords" | "grammar" => MOST_PROMPT,
        _ => MOST_TEXT,
    }
}

impl Wishes {
    /// Takes a field; `false` if there is none of this name.
    ///
    /// # Errors
    /// If its value is wrong.
    pub fn take(&mut self, name: &str, text: &str) -> Result<bool, ApiError> {
        if text.len() > most(name) {
            return Err(too_long(name, most(name)));
        }
        let given = || (!text.is_empty()).then(|| text.to_owned());
        match name.strip_suffix("[]").unwrap_or(name) {
            "model" => self.model = Some(text.to_owned()),
            "language" => self.language = given(),
            "prompt" => self.prompt = given(),
            "temperature" => self.temperature = Some(temperature(text)?),
            "skip_silence" => self.skip_silence = Some(silence(text)?),
            "vad_filter" => self.vad_filter = Some(flag(name, text)?),
            "fallback" => self.fallback = Some(flag(name, text)?),
            "hotwords" => self.hotwords = given(),
            "beam_size" => self.beam_size = Some(count(name, text)?),
            "length_penalty" => self.length_penalty = Some(number(name, text)?),
            "patience" => self.patience = Some(number(name, text)?),
            "hallucination_silence_threshold" => {
                self.hallucination_silence_threshold = Some(number(name, text)?);
            }
            "no_repeat_ngram_size" => self.no_repeat_ngram_size = Some(count(name, text)?),
            "grammar" => self.grammar = grammar(text)?,
            "clip_timestamps" => self.clip_timestamps = seconds(name, text)?,
            GRANULARITIES => {
                self.has_words |= is_of_words(GRANULARITIES, text)?;
                self.has_granularities = true;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether it says that sound without speech is to be decoded, or not.
    pub fn vad_filter(&self) -> Option<bool> {
        self.vad_filter
    }

    /// Whether it says anything of silence.
    pub fn has_silence(&self) -> bool {
        self.skip_silence.is_some()
    }

    /// How to decode, by a server with these defaults.
    pub fn options(&self, task: Task, defaults: &TranscribeOptions) -> TranscribeOptions {
        let mut options = TranscribeOptions {
            language: match self.language.as_deref() {
                None => defaults.language.clone(),
                Some(DETECTED) => None,
                Some(language) => Some(language.to_owned()),
            },
            task: (task == Task::Translate).then_some(task),
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
        options
    }
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
