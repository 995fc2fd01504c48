//! The whole service with the demo model, whose encoder waits for a test's permission.

mod clients;
mod document;
mod forms;
mod limits;
mod origins;
mod requests;
mod scene;
mod streams;
