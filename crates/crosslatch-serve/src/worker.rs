//! Threads that transcribe.
//!
//! Each worker owns a session on the model that all share, takes jobs from the queue and says what
//! comes of them. It looks whether the client is still there before it begins, when the sound has been
//! decoded, and at every segment and window. A defect that panics costs the job that met it: its
//! client is told, and the worker goes on with a fresh session.

use std::ops::ControlFlow::{Break, Continue};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use axum::body::Bytes;
use crosslatch_tasks::audio::{self, Audio};
use crosslatch_tasks::{Event, SpeechModel, SpeechPipeline, Transcript};

use crate::Limits;
use crate::error::ApiError;
use crate::job::{Job, Reply};
use crate::metrics::Metrics;
use crate::queue::Queue;

/// Jobs that a worker takes at a time: a session decodes one input.
const TOGETHER: usize = 1;

/// What workers share.
pub struct Shared {
    pub pipeline: SpeechPipeline,
    pub queue: Queue,
    pub metrics: Arc<Metrics>,
    pub limits: Limits,
}

/// A thread with a session.
struct Worker<M, F> {
    shared: Arc<Shared>,
    make: Arc<F>,
    /// Gone after a panic, whose traces it may bear.
    session: Option<M>,
}

/// Starts as many workers, each with a session that `make` makes.
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
            session: Some(make().map_err(StartError::Session)?),
            make: Arc::clone(&make),
        };
        let thread = std::thread::Builder::new().name(format!("worker {index}"));
        let thread = thread.spawn(move || worker.run());
        threads.push(thread.map_err(StartError::Thread)?);
    }
    Ok(threads)
}

/// Why there are no workers.
#[derive(Debug)]
pub enum StartError<E> {
    /// There is no session.
    Session(E),
    /// There is no thread.
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
        loop {
            let jobs = shared.queue.take(TOGETHER);
            if jobs.is_empty() {
                return;
            }
            for mut job in jobs {
                let decoding = shared.metrics.begin();
                let last = self.last(&mut job);
                // Before the client hears of it, so that it never counts a worker that is done.
                drop(decoding);
                if let Some(last) = last {
                    job.reply(last);
                }
            }
        }
    }

    /// Works on a job; what to say at the end, if somebody still waits for it.
    fn last(&mut self, job: &mut Job) -> Option<Reply> {
        let begun = Instant::now();
        // After a panic the session is dropped, and nothing else was being changed.
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
                self.session = None;
                tracing::error!(file = job.name, "a defect ended a transcript");
                Reply::Failed(ApiError::internal(
                    "the transcript met a defect of the server",
                ))
            }
        })
    }

    /// The transcript of a job; `None` if nobody wants it any more.
    fn transcribe(&mut self, job: &mut Job) -> Result<Option<Transcript>, ApiError> {
        if job.is_abandoned() {
            return Ok(None);
        }
        let sound = std::mem::take(&mut job.sound);
        let audio = self.shared.listen(&job.name, sound)?;
        if job.is_abandoned() {
            return Ok(None);
        }
        job.reply(Reply::Begun);
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert((self.make)().map_err(|e| ApiError::internal(e.to_string()))?),
        };
        let observer = |event: Event<'_>| {
            if let Event::Segment(segment) = event {
                job.reply(Reply::Segment(segment.clone()));
            }
            if job.is_abandoned() {
                Break(())
            } else {
                Continue(())
            }
        };
        let pipeline = &self.shared.pipeline;
        let transcript =
            pipeline.transcribe_with(session, &audio.samples, &job.options, observer)?;
        Ok((!job.is_abandoned()).then_some(transcript))
    }
}

impl Shared {
    /// A file in memory as the model hears it.
    fn listen(&self, name: &str, sound: Bytes) -> Result<Audio, ApiError> {
        let most = self.limits.seconds;
        let limits = audio::Limits {
            max_seconds: most,
            ..audio::Limits::default()
        };
        let rate = self.pipeline.features.sample_rate();
        let audio = audio::read_bytes(name, sound.into(), rate, limits)
            .map_err(|e| ApiError::audio(&e, most))?;
        if audio.damaged_packets > 0 {
            let packets = audio.damaged_packets;
            tracing::warn!(file = name, packets, "damaged packets were left out");
        }
        Ok(audio)
    }
}
