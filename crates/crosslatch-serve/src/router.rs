//! Which path is answered by what.
//!
//! The interface under `/v1` may ask for a key; the page, `/openapi.json`, `/health` and `/metrics`
//! do not, since they show nothing of anybody's sound. Every answer is counted and logged, and every error has
//! the shape of OpenAI's errors, also that of a path which does not exist.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use serde_json::json;

use crate::http::{ApiError, MOST_HEAD_BYTES, MOST_HEADERS, cors, discard, given_key, json_body};
use crate::live;
use crate::openapi;
use crate::page;
use crate::service::{self, Service};

/// What is behind a path.
type Handlers = MethodRouter<Arc<Service>>;

/// The paths of the interface.
pub fn interface() -> [(&'static str, Handlers); 5] {
    [
        ("/v1/audio/transcriptions", post(service::transcriptions)),
        ("/v1/audio/translations", post(service::translations)),
        ("/v1/audio/stream", get(live::stream)),
        ("/v1/models", get(models)),
        ("/v1/models/{name}", get(model)),
    ]
}

/// The paths that say something about the server.
pub fn about() -> [(&'static str, Handlers); 3] {
    [
        ("/openapi.json", get(openapi::document)),
        ("/health", get(health)),
        ("/metrics", get(metrics)),
    ]
}

/// All paths of a service.
pub fn router(service: Arc<Service>) -> Router {
    let with = |router: Router<_>, (path, handlers)| router.route(path, handlers);
    let interface = interface()
        .into_iter()
        .fold(Router::new(), with)
        .layer(DefaultBodyLimit::max(service.config.limits.body))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), admit))
        .layer(middleware::from_fn(discard));
    let open = about()
        .into_iter()
        .fold(interface, with)
        .route("/", get(page::page))
        .route("/page/{name}", get(page::file))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            let message = "the path exists and takes another method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
        });
    // A browser asks without the key whether it may send it.
    let open = match cors(&service.config.origins) {
        Some(cors) => open.layer(cors),
        None => open,
    };
    open.layer(middleware::from_fn_with_state(
        Arc::clone(&service),
        check_head,
    ))
    .layer(middleware::from_fn(shape))
    .layer(middleware::from_fn_with_state(
        Arc::clone(&service),
        observe,
    ))
    .with_state(service)
}

/// Greatest number of bytes of a request's path.
const MOST_PATH_BYTES: usize = 4 << 10;

/// Lets a request pass if its head is not too large and it is meant for this server.
async fn check_head(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (uri, headers) = (request.uri(), request.headers());
    let path = uri.path_and_query().map_or(0, |path| path.as_str().len());
    if path > MOST_PATH_BYTES {
        let message = format!("the path is longer than {MOST_PATH_BYTES} bytes");
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, message));
    }
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len());
    if headers.len() > MOST_HEADERS || bytes.sum::<usize>() > MOST_HEAD_BYTES {
        let message = format!(
            "the request has more than {MOST_HEADERS} headers, or more than {MOST_HEAD_BYTES} bytes of \
             them"
        );
        return Err(ApiError::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            message,
        ));
    }
    let origins = &service.config.origins;
    service.config.hosts.check(origins, uri, headers)?;
    Ok(next.run(request).await)
}

/// Gives an error that a library made the shape of all other errors.
async fn shape(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let kind = response.headers().get(CONTENT_TYPE);
    if !is_error || kind.is_some_and(|kind| kind == "application/json") {
        return response;
    }
    let (head, body) = response.into_parts();
    let text = axum::body::to_bytes(body, MOST_HEAD_BYTES).await;
    let text = text.unwrap_or_default();
    let message = match text.trim_ascii() {
        [] => status.canonical_reason().unwrap_or("refused").to_owned(),
        text => String::from_utf8_lossy(text).into_owned(),
    };
    let mut shaped = ApiError::new(status, message).into_response();
    for (name, value) in head.headers {
        // Headers that describe the old body do not hold for the new one.
        if let Some(name) = name.filter(|n| *n != CONTENT_TYPE && *n != CONTENT_LENGTH) {
            shaped.headers_mut().entry(name).or_insert(value);
        }
    }
    shaped
}

/// Lets a request pass if it has the key and the server is not ending.
async fn admit(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(key) = &service.config.api_key {
        let given = given_key(request.headers());
        let is_given = |given: &Vec<u8>| is_same(given, key.as_bytes());
        if !given.as_ref().is_some_and(is_given) {
            let message = match given {
                Some(_) => "the API key is not the one that this server was started with",
                None => "an API key is needed: send it as `Authorization: Bearer KEY`",
            };
            return Err(
                ApiError::new(StatusCode::UNAUTHORIZED, message).with_code("invalid_api_key")
            );
        }
    }
    if service.is_ending() {
        let message = "the server is ending; try another, or again in a moment";
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, message).with_retry_after(5));
    }
    Ok(next.run(request).await)
}

/// Whether two keys are the same, in a time that does not depend on how much of them agrees.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    let differing = given.iter().zip(key).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == key.len() && std::hint::black_box(differing) == 0
}

/// Counts and logs a request.
async fn observe(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // The path's pattern and not the path itself, of which there may be any number.
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("other", |path| path.as_str()).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    service.shared.metrics.answered(&path, status);
    let milliseconds = begun.elapsed().as_millis() as u64;
    match path.as_str() {
        // These are asked for every few seconds.
        "/health" | "/metrics" => {
            tracing::debug!(%method, path, status, milliseconds, "answered");
        }
        _ => tracing::info!(%method, path, status, milliseconds, "answered"),
    }
    response
}

async fn health(State(service): State<Arc<Service>>) -> Response {
    match service.is_ending() {
        false => json_body(&json!({"status": "ok"})),
        true => {
            let ending = json_body(&json!({"status": "ending"}));
            (StatusCode::SERVICE_UNAVAILABLE, ending).into_response()
        }
    }
}

async fn metrics(State(service): State<Arc<Service>>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, kind)], service.metrics()).into_response()
}

async fn models(State(service): State<Arc<Service>>) -> Response {
    json_body(&service.model.list())
}

async fn model(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    Ok(json_body(&service.model.described(&name)?))
}
