//! The threads that transcribe.
//!
//! Each worker owns a session on the model that all of them share, takes jobs from the queue and
//! replies to them. It checks whether the client is still there before it begins, when the sound
//! has been decoded, and at every segment and window. A panic costs only the job that caused it:
//! its client is told, and the worker goes on with a fresh session.
//!
//! A sound that still comes has turns. A worker takes them when it is free, and between two windows of a
//! job. The job's own session is in use then, so such turns have a second one, made when it is first
//! needed; its steps are not taken together with those of the job, which has paused.

use std::ops::ControlFlow::{self, Break, Continue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use axum::body::Bytes;
use crosslatch_tasks::audio::{self, Audio, AudioLimits, ReadOptions};
use crosslatch_tasks::speech::transcribe_channels;
use crosslatch_tasks::{Event, SpeechModel, SpeechPipeline, Transcript};

use super::job::{Job, Reply};
use super::places::Places;
use super::queue::{Queue, Work};
use super::turn::{Part, Turn, Turned};
use crate::http::ApiError;
use crate::limits::Limits;
use crate::metrics::Metrics;

/// Who is told of what is decoded.
type Observer<'o> = dyn FnMut(Event<'_>) -> ControlFlow<()> + 'o;

/// What workers share with one another and with the requests.
pub struct Shared {
    pub pipeline: SpeechPipeline,
    pub places: Places,
    /// Places for sounds that still come.
    pub streams: Places,
    pub queue: Queue,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
}

/// A thread with a session.
struct Worker<M, F> {
    shared: Arc<Shared>,
    make: Arc<F>,
    session: Spare<M>,
    /// For turns between two windows of a job.
    aside: Spare<M>,
}

/// A session that is made when it is needed, and dropped after a panic, which may have left it in any
/// state.
struct Spare<M>(Option<M>);

impl<M> Spare<M> {
    fn get<E, F>(&mut self, make: &F) -> Result<&mut M, ApiError>
    where
        E: std::error::Error,
        F: Fn() -> Result<M, E>,
    {
        match &mut self.0 {
            Some(session) => Ok(session),
            none => Ok(none.insert(make().map_err(|e| ApiError::internal(e.to_string()))?)),
        }
    }
}

/// Starts so many workers, each with a session that `make` makes.
///
/// # Errors
/// What `make` reports.
pub fn start<M, E, F>(
    count: usize,
    shared: &Arc<Shared>,
    make: F,
) -> Result<Vec<JoinHandle<()>>, StartError<E>>
where
    M: SpeechModel + Send + 'static,
    E: std::error::Error,
    F: Fn() -> Result<M, E> + Send + Sync + 'static,
{
    let make = Arc::new(make);
    let mut threads = Vec::new();
    for index in 0..count {
        let mut worker = Worker {
            shared: Arc::clone(shared),
            session: Spare(Some(make().map_err(StartError::Session)?)),
            aside: Spare(None),
            make: Arc::clone(&make),
        };
        let thread = std::thread::Builder::new().name(format!("worker {index}"));
        let thread = thread.spawn(move || worker.run());
        threads.push(thread.map_err(StartError::Thread)?);
    }
    Ok(threads)
}

/// Why workers cannot be started.
#[derive(Debug)]
pub enum StartError<E> {
    /// A session cannot be made.
    Session(E),
    /// A thread cannot be started.
    Thread(std::io::Error),
}

impl<M, E, F> Worker<M, F>
where
    M: SpeechModel,
    E: std::error::Error,
    F: Fn() -> Result<M, E>,
{
    /// Works until the queue is closed and empty.
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        while let Some(work) = shared.queue.take() {
            let decoding = shared.metrics.begin();
            match work {
                Work::Turn(turn) => take_turn(&shared, *turn, &*self.make, &mut self.session),
                Work::Job(mut job) => {
                    let last = self.last(&mut job);
                    // Dropped before the client gets the last reply, so that a client never sees a
                    // worker counted that is done with it.
                    drop(decoding);
                    if let Some(last) = last {
                        job.reply(last);
                    }
                }
            }
        }
    }

    /// Works on a job and returns the last reply, if somebody still waits for it.
    fn last(&mut self, job: &mut Job) -> Option<Reply> {
        let begun = Instant::now();
        // After a panic the session is dropped; nothing else was being changed.
        let outcome = catch_unwind(AssertUnwindSafe(|| self.transcribe(job)));
        Some(match outcome {
            Ok(Ok(Some(transcript))) => {
                let took = begun.elapsed();
                self.shared.metrics.transcribed(transcript.duration, took);
                tracing::debug!(
                    file = job.name,
                    seconds = transcript.duration,
                    ?took,
                    "transcribed"
                );
                Reply::Done(transcript)
            }
            Ok(Ok(None)) => {
                tracing::info!(file = job.name, "given up: the client went away");
                return None;
            }
            Ok(Err(error)) => Reply::Failed(error),
            Err(_) => {
                self.session = Spare(None);
                tracing::error!(file = job.name, "a defect ended a transcript");
                Reply::Failed(ApiError::internal(
                    "the transcript met a defect of the server",
                ))
            }
        })
    }

    /// The transcript of a job; `None` if nobody waits for it any more.
    fn transcribe(&mut self, job: &mut Job) -> Result<Option<Transcript>, ApiError> {
        if job.is_abandoned() {
            return Ok(None);
        }
        let sound = std::mem::take(&mut job.sound);
        let audio = self.shared.listen(&job.name, sound, job.channels)?;
        if job.is_abandoned() {
            return Ok(None);
        }
        let session = self.session.get(&*self.make)?;
        if job.options.needs_words() {
            check_words(session)?;
        }
        job.reply(Reply::Begun);
        let (shared, make, aside) = (&self.shared, &*self.make, &mut self.aside);
        let observer = |event: Event<'_>| {
            match event {
                Event::Progress { done, total } => {
                    job.reply(Reply::Progress { done, total });
                    for turn in shared.queue.take_turns() {
                        take_turn(shared, turn, make, aside);
                    }
                }
                Event::Text(text) => job.reply(Reply::Text(text.to_owned())),
                Event::Segment(segment) => job.reply(Reply::Segment(segment.clone())),
                // The transcript names the language.
                Event::Languages(_) => {}
            }
            if job.is_abandoned() {
                Break(())
            } else {
                Continue(())
            }
        };
        let pipeline = &self.shared.pipeline;
        let mut transcribe = |samples: &[f32], tell: &mut Observer<'_>| {
            pipeline.transcribe_with(session, samples, &job.options, tell)
        };
        let mut observer = observer;
        let transcript = match job.channels {
            true => transcribe_channels(&audio.channels, observer, transcribe),
            false => transcribe(&audio.samples, &mut observer),
        }?;
        Ok((!job.is_abandoned()).then_some(transcript))
    }
}

/// Takes a turn of a sound that still comes, with this session.
fn take_turn<M, E, F>(shared: &Shared, turn: Turn, make: &F, session: &mut Spare<M>)
where
    M: SpeechModel,
    E: std::error::Error,
    F: Fn() -> Result<M, E>,
{
    let (part, outcome) = turn.begin();
    let work = || hear(shared, part, make, session);
    // After a panic the session is dropped, and the sound with it; nothing else was being changed.
    let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        session.0 = None;
        tracing::error!("a defect ended a sound that was listened to");
        let message = "the sound met a defect of the server";
        Err(ApiError::internal(message))
    });
    outcome.tell(result);
}

/// What comes of a part of a sound.
fn hear<M, E, F>(
    shared: &Shared,
    mut part: Part,
    make: &F,
    session: &mut Spare<M>,
) -> Result<Turned, ApiError>
where
    M: SpeechModel,
    E: std::error::Error,
    F: Fn() -> Result<M, E>,
{
    part.listen()?;
    if !part.is_due() {
        return Ok(part.unchanged());
    }
    let session = session.get(make)?;
    if part.needs_words() {
        check_words(session)?;
    }
    part.decode(&shared.pipeline, session)
}

/// Refuses times of words of a model that cannot say them.
fn check_words<M: SpeechModel>(session: &M) -> Result<(), ApiError> {
    let Some(why) = session.unaligned() else {
        return Ok(());
    };
    let message = format!(
        "this server cannot say when words are spoken ({why}); ask for \
         timestamp_granularities[]=segment, without hallucination_silence_threshold"
    );
    Err(ApiError::param("timestamp_granularities", message))
}

impl Shared {
    /// Decodes a sound file in memory at the model's sample rate.
    fn listen(&self, name: &str, sound: Bytes, apart: bool) -> Result<Audio, ApiError> {
        let most = self.limits.seconds;
        let limits = AudioLimits {
            max_seconds: most,
            ..AudioLimits::default()
        };
        let options = ReadOptions {
            limits,
            apart,
            ..ReadOptions::default()
        };
        let rate = self.pipeline.sample_rate();
        let audio = audio::read_bytes_with(name, sound.into(), rate, &options)
            .map_err(|e| ApiError::audio(&e, most))?;
        if !audio.damage.is_none() {
            tracing::warn!(file = name, "{}", audio.damage);
        }
        Ok(audio)
    }
}
