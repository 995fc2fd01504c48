//! A request on its way through the queue, and the replies on the way back.
//!
//! These are the two ends of a channel: a worker holds a [`Job`], the connection its [`Replies`].
//! When a client goes away, the replies are dropped: the place is free at once, and the worker
//! finds the channel closed when it next looks.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use crosslatch_tasks::{Segment, TranscribeOptions, Transcript};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::places::Place;
use crate::http::ApiError;
use crate::metrics::Metrics;

/// Sound to transcribe.
pub struct Job {
    /// The name of its file, for messages and as a hint of its format.
    pub name: String,
    /// The file.
    pub sound: Bytes,
    /// What its client asks for.
    pub options: TranscribeOptions,
    /// Whether each channel is to be transcribed by itself.
    pub channels: bool,
    replies: UnboundedSender<Reply>,
}

/// What a worker reports about a job, in this order.
#[derive(Debug)]
pub enum Reply {
    /// The sound could be read, and is being transcribed.
    Begun,
    /// So many seconds of the sound are done.
    Progress {
        /// Seconds done.
        done: f64,
        /// Seconds in all.
        total: f64,
    },
    /// Text that follows all before it and will not change; that of a segment comes before it.
    Text(String),
    /// A segment that will not change any more.
    Segment(Segment),
    /// The whole transcript; the last reply.
    Done(Transcript),
    /// There will be no transcript; the last reply.
    Failed(ApiError),
}

impl Job {
    /// A job, and where its replies will arrive.
    pub fn new(
        name: String,
        sound: Bytes,
        options: TranscribeOptions,
        channels: bool,
        place: Place,
        metrics: Arc<Metrics>,
    ) -> (Job, Replies) {
        // The channel is unbounded, so that a client that reads slowly does not hold up a worker.
        // No more can pile up than the text of the longest sound accepted.
        let (sender, receiver) = unbounded_channel();
        let job = Job {
            name,
            sound,
            options,
            channels,
            replies: sender,
        };
        let replies = Replies {
            receiver,
            is_complete: false,
            metrics,
            _place: place,
        };
        (job, replies)
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.replies.is_closed()
    }

    /// Sends a reply, if the client is still there.
    pub fn reply(&self, reply: Reply) {
        // An error means that the client went away, which `is_abandoned` also tells.
        let _ = self.replies.send(reply);
    }
}

/// The replies to a job, as they arrive. They hold the request's place.
pub struct Replies {
    receiver: UnboundedReceiver<Reply>,
    is_complete: bool,
    metrics: Arc<Metrics>,
    _place: Place,
}

impl Replies {
    /// The next reply; `None` after the last.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        if self.is_complete {
            return Poll::Ready(None);
        }
        let reply = match self.receiver.poll_recv(context) {
            Poll::Ready(Some(reply)) => reply,
            // The worker is gone without a last reply.
            Poll::Ready(None) => Reply::Failed(ApiError::internal("the transcript was given up")),
            Poll::Pending => return Poll::Pending,
        };
        self.is_complete = matches!(reply, Reply::Done(_) | Reply::Failed(_));
        Poll::Ready(Some(reply))
    }

    /// The next reply; `None` after the last.
    pub async fn next(&mut self) -> Option<Reply> {
        std::future::poll_fn(|context| self.poll(context)).await
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        if !self.is_complete {
            self.metrics.cancelled();
        }
    }
}
