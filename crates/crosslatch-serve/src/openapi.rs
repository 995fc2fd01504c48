//! The interface, described for programs.
//!
//! [OpenAPI](https://spec.openapis.org/oas/v3.1.0) is the format that tools read to make clients,
//! forms and tests. The document lies beside this file; the tests hold it to the router's paths and
//! to the fields and values that a form may have.

use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

/// The document, in which the version is left open.
const DOCUMENT: &str = include_str!("openapi.json");

/// What stands for the version in it.
const VERSION: &str = "{version}";

/// `GET /openapi.json`: the document.
pub async fn document() -> Response {
    let document = DOCUMENT.replacen(VERSION, env!("CARGO_PKG_VERSION"), 1);
    ([(CONTENT_TYPE, "application/json")], document).into_response()
}
