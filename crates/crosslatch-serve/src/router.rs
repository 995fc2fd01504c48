//! Which path is answered by what.
//!
//! The interface under `/v1` may ask for a key; the page, `/health` and `/metrics` do not, since they
//! show nothing of anybody's sound. Every answer, also to a path that does not exist, has the shape of
//! OpenAI's errors, is counted and logged.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::answer::json_body;
use crate::error::ApiError;
use crate::service::{self, Service};
use crate::unread;

/// The page for a person; it takes nothing from anywhere else.
const PAGE: &str = include_str!("page.html");

/// What the page may load: itself, what it records, and this server's answers.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline' blob:; connect-src 'self'; media-src blob:; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// All paths of a service.
pub fn router(service: Arc<Service>) -> Router {
    let api = Router::new()
        .route("/v1/audio/transcriptions", post(service::transcriptions))
        .route("/v1/audio/translations", post(service::translations))
        .layer(DefaultBodyLimit::max(service.config.limits.body))
        .route("/v1/models", get(models))
        .route("/v1/models/{name}", get(model))
        .layer(middleware::from_fn_with_state(Arc::clone(&service), admit))
        .layer(middleware::from_fn(unread::discard));
    Router::new()
        .merge(api)
        .route("/", get(page))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .fallback(async || ApiError::new(StatusCode::NOT_FOUND, "there is no such path"))
        .method_not_allowed_fallback(async || {
            let message = "the path exists and takes another method";
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, message)
        })
        .layer(middleware::from_fn_with_state(
            Arc::clone(&service),
            observe,
        ))
        .with_state(service)
}

/// Lets a request pass that has the key, while the server is not ending.
async fn admit(
    State(service): State<Arc<Service>>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    if let Some(key) = &service.config.api_key {
        let given = request.headers().get(AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        if !given.is_some_and(|given| is_same(given, key.as_bytes())) {
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

/// Whether two keys are the same, in a time that does not tell how much of them is.
fn is_same(given: &[u8], key: &[u8]) -> bool {
    let differing = given.iter().zip(key).fold(0, |all, (a, b)| all | (a ^ b));
    given.len() == key.len() && std::hint::black_box(differing) == 0
}

/// Counts and logs.
async fn observe(State(service): State<Arc<Service>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    // Not the path itself: everything that somebody may try would become a series.
    let path = request.extensions().get::<MatchedPath>();
    let path = path.map_or("other", |path| path.as_str()).to_owned();
    let response = next.run(request).await;
    let status = response.status().as_u16();
    service.shared.metrics.answered(&path, status);
    let milliseconds = begun.elapsed().as_millis() as u64;
    match path.as_str() {
        // Asked for every few seconds.
        "/health" | "/metrics" => {
            tracing::debug!(%method, path, status, milliseconds, "answered");
        }
        _ => tracing::info!(%method, path, status, milliseconds, "answered"),
    }
    response
}

async fn page() -> Response {
    let policy = HeaderValue::from_static(PAGE_POLICY);
    ([(CONTENT_SECURITY_POLICY, policy)], Html(PAGE)).into_response()
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
    let own = description(&service.config.name);
    json_body(&json!({"object": "list", "data": [own]}))
}

async fn model(
    State(service): State<Arc<Service>>,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    match service.is_model(&name) {
        true => Ok(json_body(&description(&name))),
        false => Err(service.no_model(&name)),
    }
}

fn description(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "crosslatch"})
}
