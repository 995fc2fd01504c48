//! Transcripts over HTTP.
//!
//! A program that has sound wants text, from another process or another machine, and most such
//! programs already speak OpenAI's interface for it. This crate answers that interface
//! (`POST /v1/audio/transcriptions`, `/v1/audio/translations`, `GET /v1/models`) with a model of
//! one's own, and adds what running a server takes: `/health`, `/metrics`, and a page at `/` for a
//! person with a microphone.
//!
//! The idea: one thread speaks HTTP and never computes, a fixed number of workers compute and never
//! wait. Between them stands a queue with a fixed number of places. A request takes a place before
//! its sound is read, so that memory is bounded by places times the largest body, and a request that
//! finds none is told at once when to come back. The worker answers over a channel; a client that
//! goes away closes it, and the worker notices at the next segment. What the model says is never
//! cut short by the server's end: after a signal, whatever has a place is finished.
//!
//! ```text
//! connection → router → form → queue → worker (a session each) → answer
//! ```
//!
//! Assumed about a request: nothing. Sound is decoded from memory, within the bounds of [`Limits`]. A
//! client that is slow is waited for as long as [`Patience`] says; a page of another host that uses a
//! browser on this machine is refused ([`Hosts`]).
//! The server speaks plain HTTP/1.1; encryption and limits for each client are for a proxy in front.

#![forbid(unsafe_code)]

use std::time::Duration;

mod answer;
mod connections;
mod error;
mod form;
mod hosts;
mod job;
mod metrics;
mod queue;
mod router;
mod server;
mod service;
mod unread;
mod worker;

#[cfg(test)]
mod tests;

// For the fuzz targets.
#[doc(hidden)]
pub use form::Form;
pub use hosts::Hosts;
pub use server::{ServeError, Server};

/// How to serve.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name that clients call the model by.
    pub name: String,
    /// Requests that are decoded at a time, each by a session and a thread of its own.
    pub workers: usize,
    /// Requests that may wait beside those.
    pub queue: usize,
    /// How much one request may ask for.
    pub limits: Limits,
    /// What clients have to send as `Authorization: Bearer …` to have anything decoded.
    pub api_key: Option<String>,
    /// The hosts that the server answers to.
    pub hosts: Hosts,
    /// How long clients are waited for.
    pub patience: Patience,
}

/// How long clients are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the first line and the headers of a request, and for the next request on a connection.
    pub head: Duration,
    /// For the next piece of a request's body.
    pub piece: Duration,
    /// For the whole of it.
    pub body: Duration,
    /// For taking the next piece of an answer.
    pub write: Duration,
}

impl Default for Patience {
    /// 30 seconds for a head and for a piece of a body, two minutes for the whole body, a minute for
    /// taking an answer.
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
    /// Bytes of its body.
    pub body: usize,
    /// Seconds of its sound.
    pub seconds: f64,
}
