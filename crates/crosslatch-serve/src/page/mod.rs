//! The page for a person: sound in, text out, in a browser.
//!
//! It is a client of the interface under `/v1` like any other, in plain HTML, CSS and JavaScript
//! modules that lie beside this file. It loads nothing from anywhere else, and its policy makes sure
//! of it: browsers run and show what this server sends, and nothing that stands in a transcript.

use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::ApiError;

/// What the page may load: its own files, what it records or plays, and this server's answers.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; media-src blob:; img-src data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The files of the page by name; the first is the page itself.
const FILES: [(&str, &str, &str); 10] = [
    ("index.html", HTML, include_str!("index.html")),
    (
        "style.css",
        "text/css; charset=utf-8",
        include_str!("style.css"),
    ),
    ("main.js", SCRIPT, include_str!("main.js")),
    ("server.js", SCRIPT, include_str!("server.js")),
    ("options.js", SCRIPT, include_str!("options.js")),
    ("transcript.js", SCRIPT, include_str!("transcript.js")),
    ("subtitles.js", SCRIPT, include_str!("subtitles.js")),
    ("live.js", SCRIPT, include_str!("live.js")),
    ("sound.js", SCRIPT, include_str!("sound.js")),
    ("tap.js", SCRIPT, include_str!("tap.js")),
];
const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// `GET /`: the page.
pub async fn page() -> Response {
    let (_, kind, text) = FILES[0];
    sent(kind, text)
}

/// `GET /page/{name}`: a file that the page loads.
pub async fn file(Path(name): Path<String>) -> Result<Response, ApiError> {
    let file = FILES.iter().find(|(own, _, _)| *own == name);
    match file {
        Some((_, kind, text)) => Ok(sent(kind, text)),
        None => Err(ApiError::new(
            StatusCode::NOT_FOUND,
            "there is no such file",
        )),
    }
}

fn sent(kind: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        // A page and scripts of different versions would not understand each other.
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, text).into_response()
}
