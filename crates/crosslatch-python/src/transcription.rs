//! A transcript while it is made: an iterator over segments.
//!
//! Decoding runs in a thread of its own and hands each segment over as soon as it is decoded, so
//! that the model works on while Python looks at the text, and an interrupt is noticed at once. It
//! may be one segment ahead. If nobody asks any more, decoding ends with the segment in progress.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crosslatch_tasks::{Event, TranscribeOptions};
use pyo3::prelude::*;

use crate::error::failure;
use crate::process::Local;
use crate::speech::Speech;

/// How often a waiting thread checks whether it was interrupted.
const INTERRUPTS: Duration = Duration::from_millis(50);

/// The text of a stretch of sound.
#[pyclass(frozen, get_all, module = "crosslatch", from_py_object)]
#[derive(Clone)]
pub struct Segment {
    /// Where it begins, in seconds.
    start: f64,
    /// Where it ends, in seconds.
    end: f64,
    /// The text.
    text: String,
    /// The tokens that the model chose for it.
    tokens: Vec<u32>,
    /// Mean natural logarithm of the tokens' probabilities.
    avg_logprob: f32,
}

impl From<&crosslatch_tasks::Segment> for Segment {
    fn from(segment: &crosslatch_tasks::Segment) -> Self {
        Segment {
            start: segment.start,
            end: segment.end,
            text: segment.text.clone(),
            tokens: segment.tokens.clone(),
            avg_logprob: segment.avg_logprob,
        }
    }
}

#[pymethods]
impl Segment {
    fn __repr__(&self) -> String {
        let Segment {
            start, end, text, ..
        } = self;
        format!("<crosslatch.Segment {start:.2} to {end:.2} s: {text:?}>")
    }
}

/// A whole transcript.
#[pyclass(frozen, get_all, module = "crosslatch", from_py_object)]
#[derive(Clone)]
pub struct Transcript {
    /// The text.
    text: String,
    /// The language spoken, as a code such as `en`; `None` if the model names none.
    language: Option<String>,
    /// Length of the sound in seconds.
    duration: f64,
    /// The segments, in order of time.
    segments: Vec<Segment>,
}

impl From<crosslatch_tasks::Transcript> for Transcript {
    fn from(transcript: crosslatch_tasks::Transcript) -> Self {
        Transcript {
            segments: transcript.segments.iter().map(Segment::from).collect(),
            text: transcript.text,
            language: transcript.language,
            duration: transcript.duration,
        }
    }
}

#[pymethods]
impl Transcript {
    fn __repr__(&self) -> String {
        format!(
            "<crosslatch.Transcript of {:.2} s: {:?}>",
            self.duration, self.text
        )
    }
}

/// A transcript while it is made: iterate over it for the segments, or ask for the whole.
#[pyclass(frozen, module = "crosslatch")]
pub struct Transcription(Mutex<Local<Progress>>);

enum Progress {
    Running(Receiver<Message>),
    Done(Transcript),
    /// With the error's text.
    Failed(String),
}

enum Message {
    Segment(Segment),
    Done(Transcript),
    Failed(String),
}

impl Transcription {
    /// Starts to decode samples at the model's sample rate.
    pub fn start(
        speech: Arc<Speech>,
        samples: Vec<f32>,
        options: TranscribeOptions,
    ) -> PyResult<Transcription> {
        let session = speech.session()?;
        let (sender, receiver) = sync_channel(1);
        std::thread::Builder::new()
            .name("transcription".to_owned())
            .spawn(move || decode(&speech, session, &samples, &options, &sender))
            .map_err(|e| failure(format!("no thread to decode in: {e}")))?;
        Ok(Transcription(Mutex::new(Local::new(Progress::Running(
            receiver,
        )))))
    }
}

fn decode(
    speech: &Speech,
    mut session: Local<crosslatch_tasks::ExportedSpeechModel>,
    samples: &[f32],
    options: &TranscribeOptions,
    sender: &SyncSender<Message>,
) {
    let Ok(model) = session.get_mut() else {
        return;
    };
    use std::ops::ControlFlow::{Break, Continue};
    let observer = |event: Event<'_>| match event {
        Event::Progress { .. } | Event::Languages(_) => Continue(()),
        Event::Segment(segment) => match sender.send(Message::Segment(segment.into())) {
            Ok(()) => Continue(()),
            // Nobody waits for segments any more.
            Err(_) => Break(()),
        },
    };
    let outcome = speech
        .pipeline
        .transcribe_with(model, samples, options, observer);
    speech.give_back(session);
    let last = match outcome {
        Ok(transcript) => Message::Done(transcript.into()),
        Err(error) => Message::Failed(error.to_string()),
    };
    // Again, it may be that nobody waits any more.
    let _ = sender.send(last);
}

impl Progress {
    /// The next segment; `None` at the end.
    fn advance(&mut self, py: Python<'_>) -> PyResult<Option<Segment>> {
        loop {
            let receiver = match self {
                Progress::Running(receiver) => receiver,
                Progress::Done(_) => return Ok(None),
                Progress::Failed(error) => return Err(failure(error)),
            };
            match py.detach(move || receiver.recv_timeout(INTERRUPTS)) {
                Ok(Message::Segment(segment)) => return Ok(Some(segment)),
                Ok(Message::Done(transcript)) => *self = Progress::Done(transcript),
                Ok(Message::Failed(error)) => *self = Progress::Failed(error),
                Err(RecvTimeoutError::Timeout) => py.check_signals()?,
                Err(RecvTimeoutError::Disconnected) => {
                    let defect = "decoding ended in a defect of the engine".to_owned();
                    *self = Progress::Failed(defect);
                }
            }
        }
    }

    /// Decodes what is left and returns the whole transcript.
    fn complete(&mut self, py: Python<'_>) -> PyResult<Transcript> {
        loop {
            if let Progress::Done(transcript) = self {
                return Ok(transcript.clone());
            }
            self.advance(py)?;
        }
    }
}

impl Transcription {
    fn lock(&self) -> PyResult<MutexGuard<'_, Local<Progress>>> {
        let used = |_| failure("another thread is waiting for this transcription");
        self.0.try_lock().map_err(used)
    }
}

#[pymethods]
impl Transcription {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Segment>> {
        self.lock()?.get_mut()?.advance(py)
    }

    /// Decodes what is left and returns the whole, with the segments that came out before.
    fn transcript(&self, py: Python<'_>) -> PyResult<Transcript> {
        self.lock()?.get_mut()?.complete(py)
    }
}
