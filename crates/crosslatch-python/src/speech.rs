//! Speech to text: a model, and as many transcripts at a time as anybody wants.
//!
//! Each transcript has a session of its own. A session that has done its work is kept for the next
//! transcript, because its memory and its plans are as good as new.

use std::path::PathBuf;
use std::sync::Arc;

use crosslatch::{DType, Model, TensorRef};
use crosslatch_tasks::audio::{self, Limits, SAMPLE_RATES};
use crosslatch_tasks::exported::{ExportedSpeechModel, pipeline};
use crosslatch_tasks::{SpeechPipeline, Task, TranscribeOptions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::error::{self, engine, failure};
use crate::idle::Idle;
use crate::inputs::{Given, Refusal, take};
use crate::process::Local;
use crate::program::{MemoryAmount, access, options};
use crate::transcription::Transcription;

/// Writes down what is said in sound.
///
/// `model` is a `.pt2` file of a speech model, mapped into memory, or read into it with `map=False`.
/// Transcripts may be made in several threads at once.
#[pyclass(frozen, module = "crosslatch")]
pub struct Transcriber(Arc<Speech>);

/// What transcripts share.
pub struct Speech {
    pub pipeline: SpeechPipeline,
    model: Model,
    options: crosslatch::Options,
    /// The file, for messages.
    path: PathBuf,
    idle: Idle<ExportedSpeechModel>,
}

impl Speech {
    /// A session that nobody uses.
    pub fn session(&self) -> PyResult<Local<ExportedSpeechModel>> {
        if let Some(session) = self.idle.take() {
            return Ok(session);
        }
        ExportedSpeechModel::new(&self.model, self.options)
            .map(Local::new)
            .map_err(|e| failure(self.at_model(&e)))
    }

    /// Takes a session back.
    pub fn give_back(&self, session: Local<ExportedSpeechModel>) {
        self.idle.give_back(session);
    }

    fn at_model(&self, error: &dyn std::fmt::Display) -> String {
        format!("{}: {error}", self.path.display())
    }
}

#[pymethods]
impl Transcriber {
    #[new]
    #[pyo3(signature = (model, *, precision = "f32", threads = None, map = true, memory_limit = None))]
    fn new(
        py: Python<'_>,
        model: PathBuf,
        precision: &str,
        threads: Option<usize>,
        map: bool,
        memory_limit: Option<MemoryAmount>,
    ) -> PyResult<Transcriber> {
        let options = options(precision, threads, memory_limit)?;
        let path = model;
        py.detach(|| {
            let model = Model::open_with(&path, access(map)).map_err(engine)?;
            let pipeline =
                pipeline(&model).map_err(|e| failure(format!("{}: {e}", path.display())))?;
            let speech = Speech {
                pipeline,
                model,
                options,
                path,
                idle: Idle::default(),
            };
            // Finds out now whether it is a speech model.
            let session = speech.session()?;
            speech.give_back(session);
            Ok(Transcriber(Arc::new(speech)))
        })
    }

    /// Samples per second that the model works with; other sound is resampled.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.0.pipeline.features.sample_rate()
    }

    /// Transcribes a sound file (WAV, FLAC or MP3), by name or as its contents (`bytes`), or samples:
    /// float32, one channel, at `sample_rate` Hz.
    ///
    /// Returns an iterator over segments, each of which comes out as soon as it is decoded.
    /// `language` is the one spoken, such as "en"; it is detected, where the model can, if it is
    /// `None`. `task` is "transcribe" or "translate" (to English). `timestamps` asks the model for
    /// points in time, between which segments lie; `None` does so for sound longer than a window.
    /// `prompt` is text that comes before, `beam_size` the number of texts followed at once.
    /// `fallback` decodes doubtful windows again by chance, and leaves silent ones out.
    #[pyo3(signature = (audio, sample_rate = None, *, language = None, task = None, timestamps = None,
                        prompt = None, beam_size = None, fallback = false, max_new_tokens = None))]
    #[expect(clippy::too_many_arguments, reason = "they are named in Python")]
    fn transcribe(
        &self,
        py: Python<'_>,
        audio: &Bound<'_, PyAny>,
        sample_rate: Option<u32>,
        language: Option<String>,
        task: Option<&str>,
        timestamps: Option<bool>,
        prompt: Option<String>,
        beam_size: Option<usize>,
        fallback: bool,
        max_new_tokens: Option<usize>,
    ) -> PyResult<Transcription> {
        let defaults = match fallback {
            true => TranscribeOptions::default().with_fallback(),
            false => TranscribeOptions::default(),
        };
        let options = TranscribeOptions {
            language,
            task: task.map(named_task).transpose()?,
            timestamps,
            prompt,
            beam_size,
            max_new_tokens,
            ..defaults
        };
        // A wish that the model cannot fulfil is refused here and not at the first segment.
        self.0.pipeline.check(&options).map_err(failure)?;
        let sound = match (sound(audio)?, sample_rate) {
            (sound @ (Sound::File(_) | Sound::Contents(_)), None) => sound,
            (Sound::File(_) | Sound::Contents(_), Some(_)) => {
                return Err(PyTypeError::new_err(
                    "a sound file says its sample rate itself",
                ));
            }
            (samples, Some(_)) => samples,
            (_, None) => {
                return Err(PyTypeError::new_err(
                    "give the samples' rate: transcribe(samples, sample_rate)",
                ));
            }
        };
        let rate = self.sample_rate();
        let samples = match sound {
            Sound::File(path) => {
                py.detach(|| audio::read_file(&path, rate))
                    .map_err(error::audio)?
                    .samples
            }
            Sound::Contents(bytes) => {
                py.detach(|| audio::read_bytes("the sound", bytes, rate, Limits::default()))
                    .map_err(error::audio)?
                    .samples
            }
            Sound::Samples(given) => {
                let samples = given.view();
                py.detach(|| resampled(&samples, sample_rate.unwrap_or(rate), rate))?
            }
        };
        Transcription::start(Arc::clone(&self.0), samples, options)
    }

    fn __repr__(&self) -> String {
        format!("<crosslatch.Transcriber {}>", self.0.path.display())
    }
}

fn named_task(name: &str) -> PyResult<Task> {
    [Task::Transcribe, Task::Translate]
        .into_iter()
        .find(|task| task.name() == name)
        .ok_or_else(|| {
            PyValueError::new_err(format!(
                "task is {name:?}; there is \"transcribe\" and \"translate\""
            ))
        })
}

enum Sound {
    File(PathBuf),
    /// What is in a file.
    Contents(Vec<u8>),
    Samples(Given),
}

fn sound(audio: &Bound<'_, PyAny>) -> PyResult<Sound> {
    if audio.is_instance_of::<PyString>() || audio.hasattr("__fspath__")? {
        return Ok(Sound::File(audio.extract()?));
    }
    if audio.is_instance_of::<PyBytes>() || audio.is_instance_of::<PyByteArray>() {
        return Ok(Sound::Contents(audio.extract()?));
    }
    let samples = take(audio, None).map_err(|refusal| match refusal {
        Refusal::Reason(reason) => {
            failure(format!("the sound {reason}, or a file's name or contents"))
        }
        Refusal::Raised(error) => error,
    })?;
    let tensor = samples.view();
    if tensor.dtype() != DType::F32 || tensor.shape().len() != 1 {
        return Err(failure(format!(
            "the sound is {}{:?}; give float32 samples of one channel, f32[n], between -1 and 1",
            tensor.dtype(),
            tensor.shape()
        )));
    }
    Ok(Sound::Samples(samples))
}

fn resampled(samples: &TensorRef<'_>, from: u32, to: u32) -> PyResult<Vec<f32>> {
    if !SAMPLE_RATES.contains(&from) {
        return Err(failure(format!(
            "the sample rate is {from} Hz; it must be {} to {} Hz",
            SAMPLE_RATES.start(),
            SAMPLE_RATES.end()
        )));
    }
    let samples = samples.to_vec::<f32>();
    if let Some(at) = samples.iter().position(|x| !x.is_finite()) {
        return Err(failure(format!(
            "sample {at} of the sound is not a finite number"
        )));
    }
    match from == to {
        true => Ok(samples),
        false => audio::resample(&samples, from, to).map_err(error::audio),
    }
}
