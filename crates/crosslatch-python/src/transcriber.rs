//! Speech to text for Python: what sound may be given as, and the options of a transcript.

use std::path::PathBuf;
use std::sync::Arc;

use crosslatch::{DType, TensorRef};
use crosslatch_tasks::audio::{self, AudioLimits, SAMPLE_RATES};
use crosslatch_tasks::{Task, TranscribeOptions};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::error::{self, failure};
use crate::inputs::{Given, Refusal, take};
use crate::options::{MemoryAmount, options};
use crate::speech::Speech;
use crate::transcription::Transcription;

/// Writes down what is said in sound.
///
/// `model` is a `.pt2` file of a speech model, mapped into memory, or read into it with
/// `map=False`. Transcripts may be made in several threads at once.
#[pyclass(frozen, module = "crosslatch")]
pub struct Transcriber(Arc<Speech>);

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
        let speech = py.detach(|| Speech::open(model, options, map))?;
        Ok(Transcriber(Arc::new(speech)))
    }

    /// Samples per second that the model works with; other sound is resampled.
    #[getter]
    fn sample_rate(&self) -> u32 {
        self.0.pipeline.sample_rate()
    }

    /// Transcribes a sound file (WAV, FLAC, MP3, M4A, Ogg …), by name or as its contents (`bytes`), or
    /// samples: float32, one channel, at `sample_rate` Hz.
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
        // What the model cannot do is refused here and not at the first segment.
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
                py.detach(|| audio::read_bytes("the sound", bytes, rate, AudioLimits::default()))
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
        format!("<crosslatch.Transcriber {}>", self.0.path().display())
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
    /// The contents of a file.
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
