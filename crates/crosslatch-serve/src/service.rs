//! What all requests share, and how a request for a transcript is handled.

use std::sync::Arc;
use std::thread::JoinHandle;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use crosslatch_tasks::{SpeechModel, SpeechPipeline, Task};
use tokio::sync::watch;

use crate::config::Config;
use crate::form::Form;
use crate::http::ApiError;
use crate::model::ServedModel;
use crate::response;
use crate::work::{self, Job, Places, Queue, Reply, Shared, StartError};

/// Bounds of the advice when to try again, in seconds.
const COME_BACK: (f64, f64) = (1.0, 60.0);

/// What all requests share.
pub struct Service {
    pub config: Config,
    pub model: ServedModel,
    pub shared: Arc<Shared>,
    /// Whether requests that come now are refused.
    is_ending: watch::Sender<bool>,
}

/// The threads behind a service.
pub struct Workers(Vec<JoinHandle<()>>);

impl Service {
    /// A service with its workers; `make` makes a session.
    ///
    /// # Errors
    /// If a session or a thread cannot be made.
    pub fn start<M, E>(
        config: Config,
        pipeline: SpeechPipeline,
        make: impl Fn() -> Result<M, E> + Send + Sync + 'static,
    ) -> Result<(Arc<Service>, Workers), StartError<E>>
    where
        M: SpeechModel + Send + 'static,
        E: std::error::Error,
    {
        let model = ServedModel::new(&config, &pipeline);
        let shared = Arc::new(Shared {
            pipeline,
            places: Places::new(config.workers.saturating_add(config.queue)),
            streams: Places::new(config.streams),
            queue: Queue::default(),
            metrics: Arc::default(),
            limits: config.limits,
        });
        let threads = work::start(config.workers, &shared, make)?;
        let service = Service {
            config,
            model,
            shared,
            is_ending: watch::Sender::new(false),
        };
        Ok((Arc::new(service), Workers(threads)))
    }

    /// Refuses all requests from now on, and ends the sounds that still come.
    pub fn end(&self) {
        self.is_ending.send_replace(true);
    }

    /// Whether requests are refused because the server ends.
    pub fn is_ending(&self) -> bool {
        *self.is_ending.borrow()
    }

    /// Waits until the server is to end.
    pub async fn ending(&self) {
        // The sender lives as long as the service.
        let _ = self.is_ending.subscribe().wait_for(|is| *is).await;
    }

    /// Lets the workers finish what is left, and waits for them.
    pub fn join(&self, workers: Workers) {
        self.shared.queue.close();
        for thread in workers.0 {
            // If the worker panicked, that has been logged.
            let _ = thread.join();
        }
    }

    /// The counters, as text for Prometheus.
    pub fn metrics(&self) -> String {
        let shared = &self.shared;
        let open = shared.streams.taken();
        shared
            .metrics
            .text(shared.queue.len(), self.config.workers, open)
    }

    fn full(&self) -> ApiError {
        let ahead = self.shared.queue.len() + 1;
        let mean = self.shared.metrics.mean_decode().unwrap_or(1.0);
        let wait = mean * ahead as f64 / self.config.workers.max(1) as f64;
        let seconds = wait.clamp(COME_BACK.0, COME_BACK.1).ceil() as u64;
        let message = format!("all places are taken; try again in {seconds} s");
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
            .with_code("queue_full")
            .with_retry_after(seconds)
    }

    async fn text(&self, task: Task, request: Request) -> Result<Response, ApiError> {
        let place = self.shared.places.take().ok_or_else(|| self.full())?;
        let Config {
            limits, patience, ..
        } = self.config;
        let mut form = Form::read(request, limits, patience).await?;
        self.model.check(form.wishes.model.as_deref())?;
        let missing = || ApiError::param("file", "the form has no field file");
        let (name, sound) = form.file.take().ok_or_else(missing)?;
        let pipeline = &self.shared.pipeline;
        let options = form.options(task, &pipeline.config, &self.config.defaults);
        pipeline.check(&options)?;
        let metrics = Arc::clone(&self.shared.metrics);
        let (job, mut replies) = Job::new(name, sound, options, form.channels, place, metrics);
        self.shared.queue.push(job);
        loop {
            match replies.next().await {
                Some(Reply::Begun) if form.stream => {
                    return Ok(response::stream(&form, task, replies));
                }
                Some(
                    Reply::Begun | Reply::Progress { .. } | Reply::Text(_) | Reply::Segment(_),
                ) => {}
                Some(Reply::Done(transcript)) => {
                    return Ok(response::whole(&form, task, &transcript));
                }
                Some(Reply::Failed(error)) => return Err(error),
                None => return Err(ApiError::internal("the transcript has no end")),
            }
        }
    }
}

/// `POST /v1/audio/transcriptions`: text in the language spoken.
pub async fn transcriptions(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    service.text(Task::Transcribe, request).await
}

/// `POST /v1/audio/translations`: text in English.
pub async fn translations(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Response, ApiError> {
    service.text(Task::Translate, request).await
}
