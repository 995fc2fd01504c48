//! A transcript while it is made: an iterator over segments, or over its text.
//!
//! Decoding runs in a thread of its own and hands each segment over as soon as it is decoded, so
//! that the model works on while Python looks at the text, and an interrupt is noticed at once. It
//! may be a segment or two ahead. If nobody asks any more, decoding ends with the segment in
//! progress. The language comes before the first segment, so that a caller can know it, and leave,
//! before anything is written down. Text that will not change comes before the segment that it is in, as
//! soon as the receiver has taken what came before; decoding never waits for it.

use std::collections::VecDeque;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crosslatch_tasks::speech::transcribe_channels;
use crosslatch_tasks::{Event, SpokenLanguage, TranscribeOptions};
use pyo3::prelude::*;

use crate::error::failure;
use crate::process::Local;

use super::model::{Models, Speech};
use super::steps::Steps;
use super::transcript::{Segment, Transcript, TranscriptionInfo};

/// How often a waiting thread checks whether it was interrupted.
const INTERRUPTS: Duration = Duration::from_millis(50);

/// A transcript while it is made: iterate over it for the segments, or ask for the whole.
#[pyclass(frozen, module = "crosslatch")]
pub struct Transcription {
    /// Length of the sound in seconds.
    #[pyo3(get)]
    duration: f64,
    state: Mutex<Local<State>>,
}

struct State {
    progress: Progress,
    /// The languages, once they are known, most probable first.
    languages: Option<Vec<SpokenLanguage>>,
    /// Segments that arrived while something else was asked for.
    waiting: VecDeque<Segment>,
    /// The same for text.
    text: String,
}

enum Progress {
    Running(Receiver<Message>),
    Done(Transcript),
    /// With the error's text.
    Failed(String),
}

/// Who is told of what is decoded.
type Observer<'o> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'o;

/// A sound to transcribe.
pub enum Heard {
    /// One channel.
    Whole(Vec<f32>),
    /// Several, each by itself.
    Apart(Vec<Vec<f32>>),
}

/// The models at hand.
enum Owned<'m> {
    One(&'m mut Steps),
    Batch(&'m mut Vec<Steps>),
}

enum Message {
    Languages(Vec<SpokenLanguage>),
    /// Text that follows all before it.
    Text(String),
    /// A segment, and before it text.
    Segment(String, Segment),
    Done(Transcript),
    Failed(String),
}

impl Transcription {
    /// Starts to decode a sound at the model's sample rate, in pieces if there is a `batch`.
    pub fn start(
        speech: Arc<Speech>,
        sound: Heard,
        options: TranscribeOptions,
        batch: Option<usize>,
    ) -> PyResult<Transcription> {
        let models = speech.models(batch)?;
        let samples = match &sound {
            Heard::Whole(samples) => samples.len(),
            Heard::Apart(channels) => channels.iter().map(Vec::len).max().unwrap_or(0),
        };
        let duration = samples as f64 / f64::from(speech.pipeline.sample_rate());
        let (sender, receiver) = sync_channel(1);
        std::thread::Builder::new()
            .name("transcription".to_owned())
            .spawn(move || decode(&speech, models, &sound, &options, &sender))
            .map_err(|e| failure(format!("no thread to decode in: {e}")))?;
        let state = State {
            progress: Progress::Running(receiver),
            languages: None,
            waiting: VecDeque::new(),
            text: String::new(),
        };
        Ok(Transcription {
            duration,
            state: Mutex::new(Local::new(state)),
        })
    }
}

fn decode(
    speech: &Speech,
    mut models: Models,
    sound: &Heard,
    options: &TranscribeOptions,
    sender: &SyncSender<Message>,
) {
    let (mut count, mut text) = (0, String::new());
    let mut observer = |event: Event<'_>| -> ControlFlow<()> {
        let message = match event {
            Event::Progress { .. } => return Continue(()),
            Event::Languages(languages) => Message::Languages(languages.to_vec()),
            Event::Text(new) => {
                text.push_str(new);
                return match sender.try_send(Message::Text(std::mem::take(&mut text))) {
                    Ok(()) => Continue(()),
                    // It comes with what follows.
                    Err(TrySendError::Full(Message::Text(unsent))) => {
                        text = unsent;
                        Continue(())
                    }
                    Err(_) => Break(()),
                };
            }
            Event::Segment(segment) => {
                count += 1;
                Message::Segment(std::mem::take(&mut text), Segment::new(count - 1, segment))
            }
        };
        // If it cannot be sent, nobody waits for segments any more.
        sender.send(message).map_or(Break(()), Continue)
    };
    let pipeline = &speech.pipeline;
    let mut owned = match &mut models {
        Models::One(model) => model.get_mut().map(Owned::One),
        Models::Batch(models) => models.get_mut().map(Owned::Batch),
    };
    let Ok(owned) = &mut owned else {
        return;
    };
    let mut transcribe = |samples: &[f32], tell: &mut Observer<'_>| match owned {
        Owned::One(model) => pipeline.transcribe_with(*model, samples, options, tell),
        Owned::Batch(models) => pipeline.transcribe_batch(models, samples, options, tell),
    };
    let outcome = match sound {
        Heard::Whole(samples) => transcribe(samples, &mut observer),
        Heard::Apart(channels) => transcribe_channels(channels, observer, transcribe),
    };
    speech.give_back(models);
    let last = match outcome {
        Ok(transcript) => Message::Done(transcript.into()),
        Err(error) => Message::Failed(error.to_string()),
    };
    // Again, it may be that nobody waits any more.
    let _ = sender.send(last);
}

impl State {
    /// Waits for the next message. Returns `false` if there is none, because all is done.
    fn receive(&mut self, py: Python<'_>) -> PyResult<bool> {
        let receiver = match &mut self.progress {
            Progress::Running(receiver) => receiver,
            Progress::Done(_) => return Ok(false),
            Progress::Failed(error) => return Err(failure(error)),
        };
        match py.detach(move || receiver.recv_timeout(INTERRUPTS)) {
            Ok(Message::Languages(languages)) => self.languages = Some(languages),
            Ok(Message::Text(text)) => self.text.push_str(&text),
            Ok(Message::Segment(text, segment)) => {
                self.text.push_str(&text);
                self.waiting.push_back(segment);
            }
            Ok(Message::Done(transcript)) => self.progress = Progress::Done(transcript),
            Ok(Message::Failed(error)) => self.progress = Progress::Failed(error),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => {
                let defect = "decoding ended in a defect of the engine".to_owned();
                self.progress = Progress::Failed(defect);
            }
        }
        Ok(true)
    }

    /// The next segment; `None` at the end.
    fn advance(&mut self, py: Python<'_>) -> PyResult<Option<Segment>> {
        loop {
            if let Some(segment) = self.waiting.pop_front() {
                return Ok(Some(segment));
            }
            if !self.receive(py)? {
                return Ok(None);
            }
        }
    }

    /// Text that is new; `None` at the end.
    fn new_text(&mut self, py: Python<'_>) -> PyResult<Option<String>> {
        while self.text.is_empty() {
            if !self.receive(py)? {
                return Ok(None);
            }
        }
        Ok(Some(std::mem::take(&mut self.text)))
    }

    /// Waits until the languages are known; there are none if nothing but silence was heard.
    fn languages(&mut self, py: Python<'_>) -> PyResult<&[SpokenLanguage]> {
        while self.languages.is_none() && self.receive(py)? {}
        Ok(self.languages.as_deref().unwrap_or_default())
    }

    /// Decodes what is left and returns the whole transcript.
    fn complete(&mut self, py: Python<'_>) -> PyResult<Transcript> {
        loop {
            if let Progress::Done(transcript) = &self.progress {
                // No segment comes out after the whole.
                self.waiting.clear();
                self.text.clear();
                return Ok(transcript.clone());
            }
            self.receive(py)?;
        }
    }
}

impl Transcription {
    fn lock(&self) -> PyResult<MutexGuard<'_, Local<State>>> {
        let used = |_| failure("another thread is waiting for this transcription");
        self.state.try_lock().map_err(used)
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

    /// The text while it is decoded: an iterator over pieces of it, which are whole letters, will not
    /// change, and joined are the text of the transcript. They are as long as a token where nothing can
    /// refuse a window's text; with thresholds, several draws, `hallucination_silence_threshold`, `batch` or
    /// `channels` they are segments. The segments themselves come out of the transcription afterwards.
    fn deltas(slf: Py<Self>) -> Deltas {
        Deltas(slf)
    }

    /// What is known before the first segment: language, its probability, duration. If the language
    /// has to be detected, this waits until it is, and no longer.
    #[getter]
    fn info(&self, py: Python<'_>) -> PyResult<TranscriptionInfo> {
        let mut state = self.lock()?;
        let languages = state.get_mut()?.languages(py)?;
        Ok(TranscriptionInfo::new(languages, self.duration))
    }

    /// The language spoken, as a code such as `en`; `None` if the model names none. This waits as
    /// `info` does.
    #[getter]
    fn language(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.info(py)?.language().map(str::to_owned))
    }

    /// Decodes what is left and returns the whole, with the segments that came out before.
    fn transcript(&self, py: Python<'_>) -> PyResult<Transcript> {
        self.lock()?.get_mut()?.complete(py)
    }

    fn __repr__(&self) -> String {
        format!("<crosslatch.Transcription of {:.2} s>", self.duration)
    }
}

/// The text of a transcription while it is decoded; `Transcription.deltas` makes one.
#[pyclass(frozen, name = "TextDeltas", module = "crosslatch")]
pub struct Deltas(Py<Transcription>);

#[pymethods]
impl Deltas {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.0.get().lock()?.get_mut()?.new_text(py)
    }
}
