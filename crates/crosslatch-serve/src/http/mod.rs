//! What the server knows of HTTP apart from transcripts: connections and how long they may take,
//! whom a request is meant for, and the shape of errors.

mod connections;
mod discard;
mod error;
mod hosts;
mod json;
mod keys;
mod origins;

pub use connections::{MOST_HEAD_BYTES, MOST_HEADERS, serve};
pub use discard::discard;
pub use error::{ApiError, shown};
pub use hosts::Hosts;
pub use json::json_body;
pub use keys::{PROTOCOL, given_key};
pub use origins::{NoOrigin, Origin, cors};
