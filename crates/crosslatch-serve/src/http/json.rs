//! Bodies in JSON.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// A response whose body is a value as JSON.
pub fn json_body(value: &impl Serialize) -> Response {
    // All values are made of names, strings, numbers and lists, which JSON can hold.
    let body = serde_json::to_string(value).unwrap_or_default();
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}
