//! Discards what a refused client is still sending, so that the refusal reaches it.
//!
//! A request may be refused before its body has been read: the key is wrong, no place is free, the
//! body is too large. If the server then closed the connection with the rest of the body on its way,
//! the system would answer that rest with a reset, and the client would see a broken connection
//! instead of the refusal. So what is left of the body is read and discarded for a while. A client
//! that asked first (`Expect: 100-continue`) has sent no body, and nothing is read.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::EXPECT;
use axum::middleware::Next;
use axum::response::Response;
use futures_core::Stream;

/// How long the rest of a refused body is read.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body that can still be read when the handler is done with it.
#[derive(Clone)]
struct Shared(Arc<Mutex<BodyDataStream>>);

impl Stream for Shared {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut body = self.0.lock().unwrap_or_else(|e| e.into_inner());
        Pin::new(&mut *body).poll_next(context)
    }
}

/// Runs the handler and, if it refuses the request, reads what is left of the body.
pub async fn discard(request: Request, next: Next) -> Response {
    if request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let mut rest = Shared(Arc::new(Mutex::new(body.into_data_stream())));
    let body = Body::from_stream(rest.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    // A client that timed out is not sending anything.
    let is_waited_for = response.status() != StatusCode::REQUEST_TIMEOUT;
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if is_error && is_waited_for {
        let discard = async {
            let mut next =
                async || std::future::poll_fn(|c| Pin::new(&mut rest).poll_next(c)).await;
            while let Some(Ok(_)) = next().await {}
        };
        // A client that is not done by then gets the reset.
        let _ = tokio::time::timeout(PATIENCE, discard).await;
    }
    response
}
