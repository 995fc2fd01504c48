//! Speech to text for Python: the options of a transcript.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Arc;

use crosslatch_tasks::{Task, TranscribeOptions, VoiceFilter};
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::failure;
use crate::options::{Cache, MemoryAmount, Opening, options};

use super::model::Speech;
use super::sound::Sound;
use super::stream::Stream;
use super::transcription::{Heard, Transcription};

/// Writes down what is said in sound.
///
/// `model` is a `.pt2` file of a speech model, a checkpoint of Whisper, or the name of one, such as
/// "tiny.en". It is mapped into memory, or read into it with `map=False`. Transcripts may be made in
/// several threads at once.
#[pyclass(frozen, module = "crosslatch")]
pub struct Transcriber(Arc<Speech>);

/// One temperature, or several to try in turn.
#[derive(FromPyObject)]
enum Temperature {
    One(f32),
    Several(Vec<f32>),
}

impl Temperature {
    /// All of them, in order.
    fn all(self) -> Vec<f32> {
        match self {
            Temperature::One(temperature) => vec![temperature],
            Temperature::Several(temperatures) => temperatures,
        }
    }
}

/// Whether silence is skipped, or the level below which sound is silence.
#[derive(FromPyObject)]
enum Silence {
    Skipped(bool),
    Below(f32),
}

/// Level in decibels of full scale below which sound is silence, unless a caller says another.
const SILENCE: f32 = -45.0;

/// Greatest number of pieces at a time.
const LARGEST_BATCH: usize = 256;

#[pymethods]
impl Transcriber {
    #[new]
    #[pyo3(signature = (model, *, precision = "f32", threads = None, map = true, memory_limit = None, cache = None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        precision: &str,
        threads: Option<usize>,
        map: bool,
        memory_limit: Option<MemoryAmount>,
        cache: Option<Cache>,
    ) -> PyResult<Transcriber> {
        let options = options(precision, threads, memory_limit)?;
        let opening = Opening::new(map, cache)?;
        let speech = py.detach(|| Speech::open(model, options, &opening))?;
        Ok(Transcriber(Arc::new(speech)))
    }

    /// A transcriber whose model is computed by another runtime. `make()` makes an object with two methods:
    /// `encode(features)` takes the features of a window, float32 `[1, mels, frames]`, and
    /// `decode(tokens, position)` feeds a list of tokens from that position on and returns the scores
    /// of the token after the last one, float32 `[vocabulary]`. Each transcript that is made at the
    /// same time has an object of its own. `files` are the contents of those beside the model's
    /// weights, by name: `config.json`, `tokenizer.json`, `preprocessor_config.json` and, if there is
    /// one, `generation_config.json`. `path` names the model in messages.
    #[staticmethod]
    #[pyo3(signature = (path, files, make))]
    fn of_steps(
        path: PathBuf,
        files: BTreeMap<String, Vec<u8>>,
        make: Py<PyAny>,
    ) -> PyResult<Transcriber> {
        Ok(Transcriber(Arc::new(Speech::of_steps(path, &files, make)?)))
    }

    /// Samples per second that the model works with; other sound is resampled.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.0.pipeline.sample_rate()
    }

    /// Codes of the languages that the model can be asked for, in alphabetical order.
    #[getter]
    fn languages(&self) -> Vec<&str> {
        self.0.pipeline.config.languages()
    }

    /// Transcribes a sound file (WAV, FLAC, MP3, M4A, Ogg …): its name, its contents (`bytes`), or
    /// an open file; or samples at `sample_rate` Hz: floats between -1 and 1 or whole numbers of 8,
    /// 16 or 32 bits, `[samples]`, `[channels, samples]` or `[samples, channels]`.
    ///
    /// Returns an iterator over segments, each of which comes out as soon as it is decoded; its
    /// `info` knows the language and the duration before. `language` is the one spoken, such as
    /// "en" or "English"; it is detected, where the model can, if it is `None`. `task` is
    /// "transcribe" or "translate" (to English). `timestamps` asks the model for points in time,
    /// between which segments lie; `None` does so for sound longer than a window. With
    /// `word_timestamps`, segments have `words` with the time of each; a model that cannot say it is
    /// warned about, and its segments have none. `hallucination_silence_threshold` is the number of
    /// seconds of silence beside which text that seems invented, by its words, is left out. `prompt` is text
    /// that comes before. `condition_on_previous_text` shows each window the text before it, and
    /// `keep_prompt` keeps the prompt in front of that.
    ///
    /// `beam_size` is the number of texts followed at once. `temperature` is 0 for the best token
    /// at each step, or above 0 for tokens drawn at random (`best_of` texts of which the most
    /// probable is taken; `seed` makes it repeatable); of several, each is tried in turn until a
    /// text passes the thresholds. `fallback` sets usual temperatures and thresholds.
    /// `length_penalty` and `patience` are those of beams. `no_repeat_ngram_size` is the length of
    /// runs of tokens that a window must not repeat. `hotwords` are words that every window is
    /// shown.
    /// `max_new_tokens` bounds the text of a window. `suppress_tokens` are never taken, in place of
    /// those that the model's file names, for which -1 stands. `grammar` is one in GBNF, which the text
    /// of each window obeys.
    ///
    /// `clip_timestamps` are the parts of the sound to decode, in seconds: start, end, start, end,
    /// … `skip_silence` leaves out a second or more in which the sound stays below -45 dB of full
    /// scale, or another level. `vad_filter` decodes only what a small network hears as speech;
    /// `vad_parameters` are its `threshold`, `min_speech_duration_ms`, `min_silence_duration_ms` and
    /// `speech_pad_ms`, as in faster-whisper. `channels` transcribes each channel by itself, and
    /// names it in each segment; they come in order of time, when all are decoded. `batch` cuts
    /// long sound where it is quiet, and decodes so many pieces at a time.
    #[pyo3(signature = (audio, sample_rate = None, *, language = None, task = None, timestamps = None,
                        word_timestamps = false, hallucination_silence_threshold = None, prompt = None, keep_prompt = false,
                        condition_on_previous_text = None, hotwords = None, beam_size = None,
                        length_penalty = None, patience = None, no_repeat_ngram_size = None,
                        best_of = None, temperature = None, fallback = false,
                        compression_ratio_threshold = None, logprob_threshold = None,
                        no_speech_threshold = None, seed = 0, max_new_tokens = None,
                        suppress_tokens = None, grammar = None, clip_timestamps = Vec::new(),
                        skip_silence = Silence::Skipped(false), vad_filter = false,
                        vad_parameters = None, channels = false, batch = None),
           text_signature = "($self, audio, sample_rate=None, *, language=None, task=None, \
                             timestamps=None, word_timestamps=False, \
                             hallucination_silence_threshold=None, prompt=None, keep_prompt=False, \
                             condition_on_previous_text=None, hotwords=None, beam_size=None, \
                             length_penalty=None, patience=None, no_repeat_ngram_size=None, best_of=None, \
                             temperature=None, fallback=False, compression_ratio_threshold=None, \
                             logprob_threshold=None, no_speech_threshold=None, seed=0, \
                             max_new_tokens=None, suppress_tokens=None, grammar=None, clip_timestamps=(), \
                             skip_silence=False, vad_filter=False, vad_parameters=None, channels=False, \
                             batch=None)")]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn transcribe(
        &self,
        py: Python<'_>,
        audio: &Bound<'_, PyAny>,
        sample_rate: Option<u32>,
        language: Option<String>,
        task: Option<&str>,
        timestamps: Option<bool>,
        word_timestamps: bool,
        hallucination_silence_threshold: Option<f64>,
        prompt: Option<String>,
        keep_prompt: bool,
        condition_on_previous_text: Option<bool>,
        hotwords: Option<String>,
        beam_size: Option<usize>,
        length_penalty: Option<f32>,
        patience: Option<f32>,
        no_repeat_ngram_size: Option<usize>,
        best_of: Option<usize>,
        temperature: Option<Temperature>,
        fallback: bool,
        compression_ratio_threshold: Option<f32>,
        logprob_threshold: Option<f32>,
        no_speech_threshold: Option<f32>,
        seed: u64,
        max_new_tokens: Option<usize>,
        suppress_tokens: Option<Vec<i64>>,
        grammar: Option<&str>,
        clip_timestamps: Vec<f64>,
        skip_silence: Silence,
        vad_filter: bool,
        vad_parameters: Option<&Bound<'_, PyDict>>,
        channels: bool,
        batch: Option<usize>,
    ) -> PyResult<Transcription> {
        let wrong = |e: &dyn std::fmt::Display| PyValueError::new_err(e.to_string());
        let defaults = match fallback {
            true => TranscribeOptions::default().with_fallback(),
            false => TranscribeOptions::default(),
        };
        let task = task.map(str::parse::<Task>).transpose();
        let options = TranscribeOptions {
            language,
            task: task.map_err(|e| wrong(&e))?,
            timestamps,
            word_timestamps,
            hallucination_silence_threshold,
            prompt,
            prompt_always: keep_prompt,
            condition_on_previous: condition_on_previous_text,
            hotwords,
            beam_size,
            length_penalty,
            patience,
            no_repeat_ngram_size,
            best_of,
            temperatures: temperature.map_or(defaults.temperatures, Temperature::all),
            compression_ratio_threshold: compression_ratio_threshold
                .or(defaults.compression_ratio_threshold),
            logprob_threshold: logprob_threshold.or(defaults.logprob_threshold),
            no_speech_threshold: no_speech_threshold.or(defaults.no_speech_threshold),
            seed,
            max_new_tokens,
            suppress_tokens,
            grammar: crate::options::grammar(grammar)?,
            clip_timestamps,
            skip_silence: match skip_silence {
                Silence::Skipped(is_skipped) => is_skipped.then_some(SILENCE),
                Silence::Below(level) => Some(level),
            },
            voice: voice_filter(vad_filter, vad_parameters)?,
            ..TranscribeOptions::default()
        };
        // What the model cannot do is refused here and not at the first segment.
        let pipeline = &self.0.pipeline;
        pipeline.check(&options).map_err(failure)?;
        if let Some(batch) = batch {
            if !(1..=LARGEST_BATCH).contains(&batch) {
                return Err(wrong(&format!(
                    "batch is {batch}; give 1 to {LARGEST_BATCH}"
                )));
            }
            pipeline.check_batch(&options).map_err(failure)?;
        }
        if options.needs_words()
            && let Some(why) = self.0.without_words()
        {
            let text = CString::new(format!("words have no times, only segments have: {why}"))?;
            PyErr::warn(py, &py.get_type::<PyUserWarning>(), &text, 1)?;
        }
        let (sound, rate) = (Sound::of(audio)?, self.sample_rate());
        let heard = match channels {
            true => Heard::Apart(sound.channels(py, sample_rate, rate)?),
            false => Heard::Whole(sound.samples(py, sample_rate, rate)?),
        };
        Transcription::start(Arc::clone(&self.0), heard, options, batch)
    }

    /// Transcribes a sound while it comes: samples at `sample_rate` Hz (the model's own, if that is
    /// `None`) are fed piece by piece to the stream that this returns.
    ///
    /// Options are those of `transcribe`. With `vad_filter`, nothing is computed while nobody speaks.
    /// Text is first decoded at the first temperature; further ones are for what is final.
    #[pyo3(signature = (sample_rate = None, *, language = None, task = None, timestamps = None,
                        word_timestamps = false, prompt = None, condition_on_previous_text = None,
                        hotwords = None, beam_size = None, length_penalty = None, patience = None,
                        no_repeat_ngram_size = None, hallucination_silence_threshold = None,
                        temperature = None, fallback = false, grammar = None, vad_filter = true,
                        vad_parameters = None))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn stream(
        &self,
        sample_rate: Option<u32>,
        language: Option<String>,
        task: Option<&str>,
        timestamps: Option<bool>,
        word_timestamps: bool,
        prompt: Option<String>,
        condition_on_previous_text: Option<bool>,
        hotwords: Option<String>,
        beam_size: Option<usize>,
        length_penalty: Option<f32>,
        patience: Option<f32>,
        no_repeat_ngram_size: Option<usize>,
        hallucination_silence_threshold: Option<f64>,
        temperature: Option<Temperature>,
        fallback: bool,
        grammar: Option<&str>,
        vad_filter: bool,
        vad_parameters: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Stream> {
        let task = task.map(str::parse::<Task>).transpose();
        let defaults = match fallback {
            true => TranscribeOptions::default().with_fallback(),
            false => TranscribeOptions::default(),
        };
        let options = TranscribeOptions {
            language,
            task: task.map_err(|e| PyValueError::new_err(e.to_string()))?,
            timestamps,
            word_timestamps,
            prompt,
            condition_on_previous: condition_on_previous_text,
            hotwords,
            beam_size,
            length_penalty,
            patience,
            no_repeat_ngram_size,
            hallucination_silence_threshold,
            temperatures: temperature.map_or(defaults.temperatures, Temperature::all),
            grammar: crate::options::grammar(grammar)?,
            voice: voice_filter(vad_filter, vad_parameters)?,
            ..defaults
        };
        let stream = self.0.pipeline.stream(&options).map_err(failure)?;
        let rate = sample_rate.unwrap_or_else(|| self.sample_rate());
        Stream::new(Arc::clone(&self.0), stream, rate)
    }

    fn __repr__(&self) -> String {
        format!("<crosslatch.Transcriber {}>", self.0.path().display())
    }
}

/// What counts as speech, by the names that faster-whisper has for it.
fn voice_filter(
    is_wanted: bool,
    parameters: Option<&Bound<'_, PyDict>>,
) -> PyResult<Option<VoiceFilter>> {
    let mut filter = VoiceFilter::default();
    let wrong = |message: String| Err(PyValueError::new_err(message));
    for (name, value) in parameters.into_iter().flatten() {
        let name: String = name.extract()?;
        let seconds = || Ok::<f64, PyErr>(value.extract::<f64>()? / 1000.0);
        match name.as_str() {
            "threshold" => filter.threshold = value.extract()?,
            "min_speech_duration_ms" => filter.min_speech = seconds()?,
            "min_silence_duration_ms" => filter.min_silence = seconds()?,
            "speech_pad_ms" => filter.padding = seconds()?,
            _ => {
                return wrong(format!(
                    "vad_parameters has {name:?}; there is threshold, min_speech_duration_ms, \
                     min_silence_duration_ms and speech_pad_ms"
                ));
            }
        }
    }
    match (is_wanted, parameters) {
        (false, Some(_)) => wrong("vad_parameters need vad_filter=True".to_owned()),
        _ => Ok(is_wanted.then_some(filter)),
    }
}
