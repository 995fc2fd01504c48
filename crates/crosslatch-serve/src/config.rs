//! How to serve: the model's name, how many requests, how large, how slow.

use std::time::Duration;

use crate::http::Hosts;

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

/// How long the server waits for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the first line and the headers of a request, and for the next request on a connection.
    pub head: Duration,
    /// For the next piece of a request's body.
    pub piece: Duration,
    /// For the whole body.
    pub body: Duration,
    /// For the client to take the next piece of an answer.
    pub write: Duration,
}

impl Default for Patience {
    /// 30 seconds for a head and for a piece of a body, two minutes for the whole body, one minute for
    /// a piece of an answer.
    fn default() -> Patience {
        Patience {
            head: Duration::from_secs(30),
            piece: Duration::from_secs(30),
            body: Duration::from_secs(120),
            write: Duration::from_secs(60),
        }
    }
}

/// How much one request may ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// Greatest number of bytes of its body.
    pub body: usize,
    /// Greatest length of its sound in seconds.
    pub seconds: f64,
}
