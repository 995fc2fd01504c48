//! How to serve: under which names, with how many workers, for whom.

use crosslatch_tasks::TranscribeOptions;

use crate::http::{Hosts, Origin};
use crate::limits::{Limits, Patience};

/// How to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name by which clients ask for the model.
    pub name: String,
    /// Further names by which they may ask for it.
    pub aliases: Vec<String>,
    /// How to decode where a request does not say. Its format, timestamps, task and prompt are not
    /// used: each request has its own.
    pub defaults: TranscribeOptions,
    /// Number of requests that are decoded at a time, each by a session and a thread of its own.
    pub workers: usize,
    /// Number of requests that may wait beside those.
    pub queue: usize,
    /// Number of sounds that are listened to at a time while they still come.
    pub streams: usize,
    /// How much one request may ask for.
    pub limits: Limits,
    /// The key that clients have to send as `Authorization: Bearer …`, if any.
    pub api_key: Option<String>,
    /// The hosts that the server answers to.
    pub hosts: Hosts,
    /// The origins of other hosts' pages that may use the server.
    pub origins: Vec<Origin>,
    /// How long the server waits for clients.
    pub patience: Patience,
}
