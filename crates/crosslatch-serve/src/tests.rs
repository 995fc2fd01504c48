//! The whole service with the demo model, whose encoder waits for a test's permission.

mod clients;
mod limits;
mod requests;
mod scene;
