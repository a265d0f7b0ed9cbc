//! Connections: accepted, bounded in header size and time, and ended in order.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::http::{health, limit};

/// A header has to arrive within this; a connection that is kept alive may be silent for as long.
const HEADER_WITHIN: Duration = Duration::from_mins(1);
/// Pause after the system refused a connection (too many open files).
const PAUSE: Duration = Duration::from_millis(100);

/// Answers requests until `shutdown`, then ends: no new connections, open requests are answered, streams say goodbye.
///
/// The caller bounds how long that may take.
pub async fn serve(router: Router, listener: TcpListener, shutdown: CancellationToken) {
    raise_open_files();
    let connections = TaskTracker::new();
    connections.spawn(health::upkeep(shutdown.clone()));
    while let Some(accepted) = shutdown.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, peer)) => {
                connections.spawn(answer(router.clone(), stream, peer, shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "A connection was not accepted.");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Takes as many open files as the system allows: every stream is one, and the usual start has room for a thousand.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })
    {
        tracing::warn!(%error, open_files = limit.current, "The limit of open files stays as it is.");
    }
}

async fn answer(router: Router, stream: TcpStream, peer: SocketAddr, shutdown: CancellationToken) {
    // TCP_NODELAY: Nagle's algorithm would hold back a small chunk until the one before is acknowledged.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(Body::new)
    });
    let mut builder = Builder::new(TokioExecutor::new()).http1_only();
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WITHIN)
        .max_buf_size(limit::HEADER_BUFFER_BYTES);
    let connection = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, %peer, "A connection broke off.");
    }
}
