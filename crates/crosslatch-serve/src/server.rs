//! The server: bound to an address, it runs until a signal.
//!
//! At SIGTERM or an interrupt the listener closes, so that the system refuses new connections;
//! requests on open connections are answered with 503; and every request that was accepted is
//! finished, also those in the queue. A second signal ends the server at once.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use crosslatch::{Model, Options};
use crosslatch_tasks::{ExportedError, ExportedSpeechModel, StepBatcher, speech_pipeline};
use tokio::runtime::{Builder, Runtime};

use crate::config::Config;
use crate::form::SILENT_LEVELS;
use crate::http;
use crate::router::router;
use crate::service::{Service, Workers};
use crate::work::StartError;

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The model cannot be used for speech.
    #[error("{0}")]
    Model(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The configuration makes no sense.
    #[error("{0}")]
    Config(String),
    /// The address is in use, or it is not one of this machine's.
    #[error("cannot listen at {address}: {source}; choose another --port or --host")]
    Listen {
        /// Host and port.
        address: String,
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// A thread, a signal handler or the network failed.
    #[error("the server cannot run: {0}")]
    System(#[from] std::io::Error),
}

/// A server at an address, not yet running.
pub struct Server {
    service: Arc<Service>,
    workers: Workers,
    listener: TcpListener,
    runtime: Runtime,
}

impl Server {
    /// Makes the sessions and takes the address; `port` 0 takes a free one. `options` are those of
    /// each worker's session.
    ///
    /// # Errors
    /// Any [`ServeError`].
    pub fn bind(
        model: &Model,
        options: Options,
        mut config: Config,
        host: &str,
        port: u16,
    ) -> Result<Server, ServeError> {
        if config.workers == 0 {
            let message = "a server needs at least one worker";
            return Err(ServeError::Config(message.to_owned()));
        }
        let pipeline = speech_pipeline(model).map_err(|e| ServeError::Model(e.into()))?;
        let defaults = pipeline.check(&config.defaults);
        defaults.map_err(|e| ServeError::Model(e.into()))?;
        if let Some(level) = config.defaults.skip_silence
            && !SILENT_LEVELS.contains(&level)
        {
            let (lowest, highest) = SILENT_LEVELS.into_inner();
            return Err(ServeError::Config(format!(
                "a level of silence of {level} decibels; take one from {lowest} to {highest}"
            )));
        }
        let listener = TcpListener::bind((host, port)).map_err(|source| ServeError::Listen {
            address: format!("{host}:{port}"),
            source,
        })?;
        for (file, writer) in model.copied() {
            let file = file.display();
            tracing::info!(%file, "read into memory and not mapped, because {writer}");
        }
        let is_loopback = listener.local_addr()?.ip().to_canonical().is_loopback();
        config.hosts = config.hosts.decided(is_loopback);
        let model = model.clone();
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let threads = (config.workers * options.threads).min(cores.max(options.threads));
        let batcher = StepBatcher::new(threads);
        let make = move || Ok(ExportedSpeechModel::new(&model, options)?.batched_by(&batcher));
        let (service, workers) = Service::start(config, pipeline, make).map_err(no_workers)?;
        Ok(Server {
            service,
            workers,
            listener,
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// The address at which it listens.
    ///
    /// # Errors
    /// If the operating system does not tell.
    pub fn address(&self) -> Result<SocketAddr, ServeError> {
        Ok(self.listener.local_addr()?)
    }

    /// Answers requests until a signal, and then until what was accepted is done.
    ///
    /// # Errors
    /// [`ServeError::System`].
    pub fn run(self) -> Result<(), ServeError> {
        let Server {
            service,
            workers,
            listener,
            runtime,
        } = self;
        let is_done = runtime.block_on(async {
            listener.set_nonblocking(true)?;
            let listener = tokio::net::TcpListener::from_std(listener)?;
            let mut signals = Signals::new()?;
            let (told, heard) = tokio::sync::oneshot::channel::<()>();
            let patience = service.config.patience;
            let all = http::serve(listener, router(Arc::clone(&service)), patience, async {
                // Whether a message was sent or the sender dropped, the server has to end.
                let _ = heard.await;
            });
            tokio::pin!(all);
            tokio::select! {
                result = &mut all => return result.map(|()| true),
                () = signals.next() => {}
            }
            let waiting = service.shared.queue.len();
            tracing::info!(
                waiting,
                "ending: what was accepted is finished; again to end at once"
            );
            service.end();
            drop(told);
            let done = async {
                let result = all.await;
                // Sounds that still come are no requests any more.
                service.shared.streams.all_free().await;
                result
            };
            tokio::select! {
                result = done => result.map(|()| true),
                () = signals.next() => Ok(false),
            }
        })?;
        match is_done {
            true => service.join(workers),
            false => tracing::warn!("ended with requests unanswered"),
        }
        Ok(())
    }
}

fn no_workers(error: StartError<ExportedError>) -> ServeError {
    match error {
        StartError::Session(error) => ServeError::Model(error.into()),
        StartError::Thread(error) => ServeError::System(error),
    }
}

/// The signals that tell the server to end.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {})
    }

    async fn next(&mut self) {
        // Where no handler can be installed, the system ends the process itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
