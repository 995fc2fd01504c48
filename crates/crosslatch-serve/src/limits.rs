//! How large a request may be, and how slow its client.

use std::time::Duration;

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
    /// For somebody to speak in a sound that still comes.
    pub silence: Duration,
}

impl Default for Patience {
    /// 30 seconds for a head and for a piece of a body, two minutes for the whole body, one minute
    /// for a piece of an answer, ten minutes for somebody to speak.
    fn default() -> Patience {
        Patience {
            head: Duration::from_secs(30),
            piece: Duration::from_secs(30),
            body: Duration::from_secs(120),
            write: Duration::from_secs(60),
            silence: Duration::from_secs(600),
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
