//! The work on requests: places for them, the queue in which they wait, and the workers that
//! transcribe.
//!
//! A request takes a [place](places) before its body is read. With its body it becomes a
//! [job](job), which waits in the [queue](queue) until a [worker](worker) takes it. The worker
//! replies segment by segment over the job's channel. A sound that still comes has a worker only for its
//! [turns](turn).

mod job;
mod places;
mod queue;
mod turn;
mod worker;

pub use job::{Job, Replies, Reply};
pub use places::{Place, Places};
pub use queue::Queue;
pub use turn::{Live, Turned};
pub use worker::{Shared, StartError, start};
