//! Connections: accepted, bounded in number and in the time that a client may take.
//!
//! A client that opens a connection and sends nothing, or sends half a header, or does not read the
//! answer, costs only a connection; but with enough such clients the server has none left. So there
//! are time limits: for the request line and the headers, which include the wait for the next
//! request on a connection that is kept open, and for a write that the client does not take. (A
//! body that does not arrive is noticed by the [form](crate::form), since the client can still be
//! told.) Beyond a number of connections, the system lets clients wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutWriter;

use crate::limits::Patience;

/// Greatest number of a request's headers.
pub const MOST_HEADERS: usize = 100;

/// Greatest number of bytes of a request's first line and headers.
pub const MOST_HEAD_BYTES: usize = 32 << 10;

/// Greatest number of connections at a time.
const MOST: u32 = 1_024;

/// How long the server waits when the system has no more connections to give.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until `ending` is ready, and then until all requests that were begun are answered.
///
/// # Errors
/// If the listener is broken for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    ending: impl Future<Output = ()>,
) -> std::io::Result<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(patience.head)
        // The router refuses smaller excesses, with a message; what exceeds these bounds gets none.
        .max_headers(4 * MOST_HEADERS)
        .max_buf_size(4 * MOST_HEAD_BYTES);
    let closing = watch::Sender::new(false);
    let places = Arc::new(Semaphore::new(MOST as usize));
    tokio::pin!(ending);
    loop {
        let accept = async {
            // The semaphore is never closed.
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accept => accepted,
            () = &mut ending => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Events of a stream are small and should not be held back.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(patience.write));
        let io = TokioIo::new(Box::pin(stream));
        let service = TowerToHyperService::new(router.clone());
        // A socket leaves the connection, and counts by its own place from then on.
        let connection = http.serve_connection(io, service).with_upgrades();
        let mut closes = closing.subscribe();
        // The guard of the value is not kept.
        let closes = async move { drop(closes.wait_for(|closes| *closes).await) };
        tokio::spawn(async move {
            tokio::pin!(connection);
            let done = tokio::select! {
                done = &mut connection => done,
                () = closes => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = done {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    closing.send_replace(true);
    // The semaphore is never closed.
    let _ = places.acquire_many(MOST).await;
    Ok(())
}

/// Whether an error concerns one connection only, so that the next one can be accepted at once.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
