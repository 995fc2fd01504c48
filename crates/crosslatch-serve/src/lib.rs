//! Transcripts over HTTP.
//!
//! A program that has sound wants text, from another process or another machine, and most such
//! programs already speak OpenAI's interface for it. This crate answers that interface
//! (`POST /v1/audio/transcriptions`, `/v1/audio/translations`, `GET /v1/models`) with a model of
//! one's own, and adds what running a server takes: `/health`, `/metrics`, and a page at `/` for a
//! person with a microphone.
//!
//! The idea: one thread speaks HTTP and never computes; a fixed number of workers compute and never
//! wait for a client. Between them stands a queue with a fixed number of places. A request takes a
//! place before its sound is read, so that memory is bounded by the places times the largest body,
//! and a request that finds none is told at once when to come back. The worker replies over a
//! channel; a client that goes away closes it, and the worker notices at the next segment. When the
//! server is told to end, every request that has a place is still finished.
//!
//! ```text
//! connection → router → service → form → queue → worker (a session each) → response
//! ```
//!
//! Nothing is assumed about a request. Sound is decoded from memory, within [`Limits`]. A slow
//! client is waited for as long as [`Patience`] says; a page of another host that uses a browser on
//! this machine is refused ([`Hosts`]). The server speaks plain HTTP/1.1; encryption and limits for
//! each client are left to a proxy in front.

#![forbid(unsafe_code)]

mod config;
mod form;
mod http;
mod limits;
mod live;
mod metrics;
mod model;
mod openapi;
mod page;
mod response;
mod router;
mod server;
mod service;
mod work;

#[cfg(test)]
mod tests;

pub use config::Config;
// For the fuzz targets.
#[doc(hidden)]
pub use form::Form;
pub use http::{Hosts, NoOrigin, Origin};
pub use limits::{Limits, Patience};
pub use server::{ServeError, Server};
