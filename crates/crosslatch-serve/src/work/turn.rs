//! A sound that still comes, and its turns with a worker.
//!
//! Most of the time such a sound waits for more of itself, and a worker must not wait with it. So
//! the text so far and what was heard are a value of their own ([`Live`]), which lies with the
//! connection while sound comes, and goes to a worker with what has come: a [`Turn`]. The worker
//! listens to it, decodes if there is enough for that, and sends it back.

use axum::http::StatusCode;
use crosslatch_tasks::audio::{PcmFormat, PcmStream};
use crosslatch_tasks::{
    AudioError, SpeechModel, SpeechPipeline, SpeechStream, StreamUpdate, TranscribeError,
    TranscribeOptions, Transcript,
};
use tokio::sync::oneshot::{Receiver, Sender, channel};

use crate::http::ApiError;

/// A sound that still comes, and its text so far.
pub struct Live {
    /// `None` when it has ended.
    sound: Option<PcmStream>,
    stream: SpeechStream,
    needs_words: bool,
}

/// What has come of a sound, on its way to a worker.
pub struct Turn {
    part: Part,
    outcome: Outcome,
}

/// A sound and what has come of it.
pub struct Part {
    live: Live,
    bytes: Vec<u8>,
    is_last: bool,
}

/// Where the outcome of a turn is waited for.
pub struct Outcome(Sender<Result<Turned, ApiError>>);

/// What comes back.
pub enum Turned {
    /// The sound, and what is new of its text if there was enough for that.
    More(Box<Live>, Option<StreamUpdate>),
    /// The last of its text, and all of it.
    Done(StreamUpdate, Transcript),
}

impl Live {
    /// Nothing yet, of a sound of this format, unless it is a WAV file.
    ///
    /// # Errors
    /// If no sound has this format, or the model cannot do what the options ask for.
    pub fn new(
        pipeline: &SpeechPipeline,
        format: PcmFormat,
        options: &TranscribeOptions,
    ) -> Result<Live, ApiError> {
        let sound = PcmStream::new("the sound", format, pipeline.sample_rate());
        Ok(Live {
            sound: Some(sound.map_err(unread)?),
            stream: pipeline.stream(options)?,
            needs_words: options.needs_words(),
        })
    }

    /// Seconds of sound so far.
    pub fn heard(&self) -> f64 {
        self.stream.duration()
    }

    /// For how many seconds nobody has spoken.
    pub fn quiet(&self) -> f64 {
        self.stream.quiet()
    }

    /// A turn with the next bytes, which may be the last, and where its outcome will arrive.
    pub fn turn(self, bytes: Vec<u8>, is_last: bool) -> (Turn, Receiver<Result<Turned, ApiError>>) {
        let (sender, receiver) = channel();
        let part = Part {
            live: self,
            bytes,
            is_last,
        };
        let outcome = Outcome(sender);
        (Turn { part, outcome }, receiver)
    }
}

impl Turn {
    /// Whether nobody waits for the outcome any more.
    pub fn is_abandoned(&self) -> bool {
        self.outcome.0.is_closed()
    }

    /// What there is to do, and whom to tell.
    pub fn begin(self) -> (Part, Outcome) {
        (self.part, self.outcome)
    }
}

impl Part {
    /// Listens to what has come.
    ///
    /// # Errors
    /// If it is no sound.
    pub fn listen(&mut self) -> Result<(), ApiError> {
        let (mut samples, bytes) = (Vec::new(), std::mem::take(&mut self.bytes));
        if let Some(sound) = &mut self.live.sound {
            sound.push(&bytes, &mut samples).map_err(unread)?;
        }
        if self.is_last
            && let Some(sound) = self.live.sound.take()
        {
            sound.finish(&mut samples).map_err(unread)?;
        }
        self.live.stream.push(&samples).map_err(unread)
    }

    /// Whether there is enough to decode.
    pub fn is_due(&self) -> bool {
        self.is_last || self.live.stream.is_due()
    }

    /// Whether words are to have times.
    pub fn needs_words(&self) -> bool {
        self.live.needs_words
    }

    /// What comes back if there is nothing to decode.
    pub fn unchanged(self) -> Turned {
        Turned::More(Box::new(self.live), None)
    }

    /// Decodes with a model that nobody else uses.
    ///
    /// # Errors
    /// If the model fails, or there was no sound.
    pub fn decode<M: SpeechModel>(
        self,
        pipeline: &SpeechPipeline,
        model: &mut M,
    ) -> Result<Turned, ApiError> {
        let mut live = self.live;
        if self.is_last {
            let (update, transcript) = live.stream.finish(pipeline, model).map_err(failed)?;
            return Ok(Turned::Done(update, transcript));
        }
        let update = live.stream.update(pipeline, model).map_err(failed)?;
        Ok(Turned::More(Box::new(live), Some(update)))
    }
}

impl Outcome {
    /// Tells the connection, if it is still there.
    pub fn tell(self, result: Result<Turned, ApiError>) {
        // An error means that the client went away.
        let _ = self.0.send(result);
    }
}

fn unread(error: AudioError) -> ApiError {
    ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, error.to_string())
        .with_code("unreadable_sound")
}

fn failed<E: std::error::Error>(error: TranscribeError<E>) -> ApiError {
    match error {
        TranscribeError::NoSound => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "no sound has come")
                .with_code("no_sound")
        }
        other => other.into(),
    }
}
