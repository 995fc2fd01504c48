//! How to serve: under which name, with how many workers, for whom.

use crate::http::Hosts;
use crate::limits::{Limits, Patience};

/// How to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name by which clients ask for the model.
    pub name: String,
    /// Number of requests that are decoded at a time, each by a session and a thread of its own.
    pub workers: usize,
    /// Number of requests that may wait beside those.
    pub queue: usize,
    /// How much one request may ask for.
    pub limits: Limits,
    /// The key that clients have to send as `Authorization: Bearer …`, if any.
    pub api_key: Option<String>,
    /// The hosts that the server answers to.
    pub hosts: Hosts,
    /// How long the server waits for clients.
    pub patience: Patience,
}
