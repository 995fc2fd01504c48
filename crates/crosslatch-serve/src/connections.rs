//! Connections: accepted, bounded in number and in the time that a client may take.
//!
//! A client that opens a connection and says nothing, or half a line of a header, or asks and does not
//! read the answer, costs nothing but a connection, and with enough of them the server has none left. So
//! each of these ends after a while: the request line and headers, which include the wait for the next
//! request on a connection that is kept open, and a write that the client does not take. (A body that
//! does not come is the [form](crate::form)'s to notice, since the client can still be told.) Beyond a
//! number of connections, the system lets clients wait.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutWriter;

use crate::Patience;
use crate::router::{MOST_HEAD_BYTES, MOST_HEADERS};

/// Connections at a time.
const MOST: usize = 1_024;

/// How long nothing is accepted when the system has no more connections to give.
const BREATH: Duration = Duration::from_secs(1);

/// Serves until `ending`, and then until what was begun is done.
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
        // The router refuses less than this, with words. What is beyond is refused without.
        .max_headers(4 * MOST_HEADERS)
        .max_buf_size(4 * MOST_HEAD_BYTES);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST));
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
                tokio::time::sleep(BREATH).await;
                continue;
            }
        };
        // An event of a stream is small and wanted now.
        let _ = stream.set_nodelay(true);
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(patience.write));
        let io = TokioIo::new(Box::pin(stream));
        let connection = http.serve_connection(io, TowerToHyperService::new(router.clone()));
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// Whether another connection can be accepted at once.
fn is_of_one_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}
