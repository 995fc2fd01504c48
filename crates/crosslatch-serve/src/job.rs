//! A request on its way through the queue, and its answer on the way back.
//!
//! The two ends of a channel: a worker holds a [`Job`], the connection an [`Answer`]. Dropping the
//! answer is how a client that went away is noticed: its place is free at once, and the worker finds
//! the channel closed when it next looks.

use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use crosslatch_tasks::{Segment, TranscribeOptions, Transcript};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::error::ApiError;
use crate::metrics::Metrics;
use crate::queue::Place;

/// Sound to transcribe.
pub struct Job {
    /// The name of its file, for messages and as a hint of its format.
    pub name: String,
    /// The file.
    pub sound: Bytes,
    /// What its client asks for.
    pub options: TranscribeOptions,
    replies: UnboundedSender<Reply>,
}

/// What a worker has to say about a job, in this order.
#[derive(Debug)]
pub enum Reply {
    /// The sound could be read, and is being transcribed.
    Begun,
    /// A segment that will not change any more.
    Segment(Segment),
    /// The whole; the last reply.
    Done(Transcript),
    /// There will be no transcript; the last reply.
    Failed(ApiError),
}

impl Job {
    /// A job, and where its answer will come out.
    pub fn new(
        name: String,
        sound: Bytes,
        options: TranscribeOptions,
        place: Place,
        metrics: Arc<Metrics>,
    ) -> (Job, Answer) {
        // Unbounded, so that a client that reads slowly does not hold up a worker; what can pile up
        // is the text of the longest sound accepted.
        let (replies, receiver) = unbounded_channel();
        let job = Job {
            name,
            sound,
            options,
            replies,
        };
        let answer = Answer {
            replies: receiver,
            is_complete: false,
            metrics,
            _place: place,
        };
        (job, answer)
    }

    /// Whether nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.replies.is_closed()
    }

    /// Says something to the client, if it is still there.
    pub fn reply(&self, reply: Reply) {
        // An error means that the client went away, which `is_abandoned` tells as well.
        let _ = self.replies.send(reply);
    }
}

/// Where the answer to a job comes out.
pub struct Answer {
    replies: UnboundedReceiver<Reply>,
    is_complete: bool,
    metrics: Arc<Metrics>,
    _place: Place,
}

impl Answer {
    /// The next reply; `None` after the last.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Reply>> {
        if self.is_complete {
            return Poll::Ready(None);
        }
        let reply = match self.replies.poll_recv(context) {
            Poll::Ready(Some(reply)) => reply,
            // A worker that is gone without a last word.
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

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.is_complete {
            self.metrics.cancelled();
        }
    }
}
