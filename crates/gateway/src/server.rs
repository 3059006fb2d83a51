//! The listener: accepts connections within their limits, serves them, and lets them finish when the gateway stops.

mod connection;
mod linger;
mod serving;
mod worker;

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, error, warn};

use crate::api::access::Peer;
use crate::api::layers;
use crate::gateway::Gateway;
use connection::{Connection, Patience};
use serving::Busy;
use worker::Accepted;

pub(crate) use linger::Linger;
pub use worker::Worker;

/// The header block of a request may be this large.
const MAX_HEADER_BYTES: usize = 64 * 1024;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 4096;
/// File descriptors that are not for clients.
const RESERVED_FILES: usize = 64;
/// Pause after an accept that failed for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Binds the address.
///
/// # Errors
/// The address is taken or not ours.
pub fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Starts a thread for every core and hands each its share of the connections, until the gateway drains. Connections
/// outlive the accepting.
///
/// # Errors
/// The system gives no thread or no event queue.
pub fn start(listener: TcpListener, gateway: &Arc<Gateway>) -> std::io::Result<()> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = (0..threads).map(|_| worker::start(gateway.clone())).collect::<std::io::Result<Vec<_>>>()?;
    gateway.tasks.spawn("accept", accept(listener, gateway.clone(), workers));
    Ok(())
}

/// Serves on this runtime.
#[cfg(test)]
pub(crate) fn start_here(listener: TcpListener, gateway: &Arc<Gateway>) {
    let worker = worker::start_here(gateway);
    gateway.tasks.spawn("accept", accept(listener, gateway.clone(), vec![worker]));
}

/// How many connections can be open: as configured, or fewer where the system gives fewer file descriptors. Some of
/// those are for providers and for the accounts.
fn places(configured: usize) -> usize {
    let files = rlimit::increase_nofile_limit(u64::MAX).ok().and_then(|files| usize::try_from(files).ok());
    let most = files.map_or(configured, |files| files.saturating_sub(RESERVED_FILES).max(1));
    if most < configured {
        warn!(connections = most, configured, "the system's limit of open files allows fewer connections");
    }
    configured.min(most)
}

async fn accept(listener: TcpListener, gateway: Arc<Gateway>, workers: Vec<mpsc::Sender<Accepted>>) {
    let places = Arc::new(Semaphore::new(places(gateway.registry.snapshot().config.limits.connections)));
    let next = async |worker: &mpsc::Sender<Accepted>| {
        // Accepting pauses while every place is taken; waiting clients stand in the backlog.
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await.and_then(|(stream, _)| stream.into_std()) {
            // A thread that is gone takes its connection with it, which is what the client of a crashed one sees.
            Ok(stream) => worker.send((stream, place)).await.unwrap_or_else(|_| error!("a worker thread is gone")),
            Err(error) => {
                warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    };
    for worker in workers.iter().cycle() {
        tokio::select! {
            () = next(worker) => {}
            () = gateway.tasks.draining().cancelled() => return,
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // `Connection` keeps the time of heads and of idle connections.
    builder.http1().header_read_timeout(None).max_buf_size(MAX_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(100)
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(64 * 1024)
        .max_header_list_size(MAX_HEADER_BYTES as u32);
    builder
}

async fn serve(stream: TcpStream, builder: Arc<auto::Builder<TokioExecutor>>, gateway: Arc<Gateway>, router: Router) {
    // Without it small frames of a stream would wait for an acknowledgement.
    let _ = stream.set_nodelay(true);
    let peer = stream.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip().to_canonical());
    let live = gateway.registry.snapshot();
    let limits = &live.config.limits;
    let metrics = live.metrics.clone();
    let busy = Busy::new(metrics.panics.clone());
    let patience = Patience { head: limits.header_read, idle: limits.keep_alive, stall: limits.client_stall };
    let io = TokioIo::new(Connection::new(stream, busy.clone(), patience));
    drop(live);
    let tasks = gateway.tasks.clone();
    let streams = busy.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (serving, router, metrics) = (busy.begin(request.version()), router.clone(), metrics.clone());
        let request = request.map(|body| Linger::new(body, tasks.clone()));
        async move {
            let response = layers::serve(router, &metrics, Peer(peer), request).await;
            Ok::<_, Infallible>(response.map(|body| serving.watch(body)))
        }
    });
    let mut connection = pin!(builder.serve_connection(io, service));
    let served = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = gateway.tasks.draining().cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    let ended = tokio::select! {
        ended = served => ended,
        never = streams.release_stalled(patience.stall) => match never {},
    };
    if let Err(error) = ended {
        debug!(error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests;
