//! Sound that comes in pieces, for Python: what is certain and what may change.

use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use crosslatch_tasks::audio::Resampler;
use crosslatch_tasks::{SpeechStream, StreamUpdate};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;

use crate::error::{self, failure};
use crate::shown::shown;

use super::model::{Models, Speech};
use super::sound::Sound;
use super::steps::Steps;
use super::transcript::{Segment, Transcript};

/// Text of a sound while it comes. `Transcriber.stream` makes one.
#[pyclass(frozen, name = "SpeechStream", module = "crosslatch")]
pub struct Stream {
    speech: Arc<Speech>,
    /// Samples per second of what is fed.
    rate: u32,
    /// `None` when it has ended.
    state: Mutex<Option<State>>,
}

struct State {
    stream: SpeechStream,
    resampler: Resampler,
    /// Number of segments that are final.
    segments: usize,
}

/// What is new of a stream's text.
#[pyclass(frozen, get_all, name = "StreamUpdate", module = "crosslatch")]
pub struct Update {
    /// What has become certain: it follows all that was certain before.
    certain: String,
    /// What is certain and in no final segment yet.
    open: String,
    /// What follows that and may change.
    tentative: String,
    /// The segments that have become final.
    segments: Vec<Segment>,
}

impl Stream {
    /// A stream of sound at `rate` Hz.
    pub fn new(speech: Arc<Speech>, stream: SpeechStream, rate: u32) -> PyResult<Stream> {
        let resampler = Resampler::new(rate, speech.pipeline.sample_rate());
        let state = State {
            stream,
            resampler: resampler.map_err(error::audio)?,
            segments: 0,
        };
        Ok(Stream {
            speech,
            rate,
            state: Mutex::new(Some(state)),
        })
    }

    /// The state, which one thread uses at a time.
    fn state(&self) -> PyResult<MutexGuard<'_, Option<State>>> {
        match self.state.try_lock() {
            Ok(state) => Ok(state),
            Err(TryLockError::WouldBlock) => Err(PyRuntimeError::new_err(
                "another thread uses this stream; feed it from one thread at a time",
            )),
            Err(TryLockError::Poisoned(_)) => Err(failure("a defect ended this stream")),
        }
    }

    /// Runs `work` with a session that nobody else uses.
    fn with_model<T>(&self, work: impl FnOnce(&mut Steps) -> PyResult<T>) -> PyResult<T> {
        let mut models = self.speech.models(None)?;
        let result = match &mut models {
            Models::One(model) => work(model.get_mut()?),
            Models::Batch(_) => Err(failure("a stream takes one session")),
        };
        self.speech.give_back(models);
        result
    }
}

#[pymethods]
impl Stream {
    /// Takes the next samples, and decodes if there is a second of new sound: returns what is new, or
    /// `None` if there is not enough for that. Samples are floats between -1 and 1 or whole numbers of 8,
    /// 16 or 32 bits, as for `transcribe`.
    fn feed(&self, py: Python<'_>, samples: &Bound<'_, PyAny>) -> PyResult<Option<Update>> {
        let sound = match Sound::of(samples)? {
            sound @ Sound::Samples(_) => sound,
            Sound::File(_) | Sound::Contents(_) => {
                return Err(PyTypeError::new_err(
                    "a stream takes samples; files are for `transcribe`",
                ));
            }
        };
        let samples = sound.samples(py, Some(self.rate), self.rate)?;
        py.detach(|| {
            let mut state = self.state()?;
            let state = state.as_mut().ok_or_else(ended)?;
            let mut resampled = Vec::new();
            let pushed = state.resampler.push(&samples, &mut resampled);
            pushed
                .and_then(|()| state.stream.push(&resampled))
                .map_err(error::audio)?;
            if !state.stream.is_due() {
                return Ok(None);
            }
            let update = self.with_model(|model| {
                let update = state.stream.update(&self.speech.pipeline, model);
                update.map_err(failure)
            })?;
            Ok(Some(state.told(&update)))
        })
    }

    /// Ends the sound: returns the last update and the transcript, which is that of the whole sound.
    fn finish(&self, py: Python<'_>) -> PyResult<(Update, Transcript)> {
        py.detach(|| {
            let mut state = self.state()?.take().ok_or_else(ended)?;
            let mut last = Vec::new();
            let resampler = std::mem::replace(
                &mut state.resampler,
                Resampler::new(self.rate, self.rate).map_err(error::audio)?,
            );
            let ended = resampler.finish(&mut last);
            ended
                .and_then(|()| state.stream.push(&last))
                .map_err(error::audio)?;
            let before = state.segments;
            let stream = state.stream;
            let (update, transcript) = self
                .with_model(|model| stream.finish(&self.speech.pipeline, model).map_err(failure))?;
            let (update, _) = Update::new(&update, before);
            Ok((update, transcript.into()))
        })
    }

    /// Seconds of sound that have come.
    #[getter]
    fn duration(&self) -> PyResult<f64> {
        Ok(self.state()?.as_ref().ok_or_else(ended)?.stream.duration())
    }
}

impl State {
    fn told(&mut self, update: &StreamUpdate) -> Update {
        let (update, count) = Update::new(update, self.segments);
        self.segments = count;
        update
    }
}

impl Update {
    /// An update whose first segment has this number, and the number of the next.
    fn new(update: &StreamUpdate, first: usize) -> (Update, usize) {
        let numbered = update.segments.iter().enumerate();
        let segments: Vec<Segment> = numbered.map(|(i, s)| Segment::new(first + i, s)).collect();
        let count = first + segments.len();
        let update = Update {
            certain: update.certain.clone(),
            open: update.open.clone(),
            tentative: update.tentative.clone(),
            segments,
        };
        (update, count)
    }
}

#[pymethods]
impl Update {
    fn __repr__(&self) -> String {
        format!(
            "<crosslatch.StreamUpdate {} {}>",
            shown(&self.certain),
            shown(&self.tentative)
        )
    }
}

fn ended() -> PyErr {
    PyRuntimeError::new_err("this stream has ended; make another with `Transcriber.stream`")
}
