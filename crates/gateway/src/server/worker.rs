//! A thread that serves connections on a runtime of its own, with a pool of provider connections of its own.
//!
//! A request, its client's connection and its provider's connection stay on one thread: nothing is handed over, so a
//! readiness event wakes nobody else. Work that would hold the thread for long belongs on `spawn_blocking`.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::serve;
use crate::api;
use crate::gateway::Gateway;
use crate::upstream::Client;

/// Accepted connections that wait for their thread; accepting pauses when they are this many.
const WAITING: usize = 64;

/// What requests on one thread use.
#[derive(Debug)]
pub struct Worker {
    /// The gateway, shared by all threads.
    pub gateway: Arc<Gateway>,
    /// The way to the providers, this thread's own.
    pub client: Client,
}

/// An accepted connection and its place among those that may be open.
pub(super) type Accepted = (std::net::TcpStream, OwnedSemaphorePermit);

/// Starts one thread. It serves what it is sent, and ends when the sender and the last connection are gone.
///
/// # Errors
/// The system gives no thread or no event queue.
pub(super) fn start(gateway: Arc<Gateway>) -> io::Result<mpsc::Sender<Accepted>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worker = Arc::new(Worker { client: gateway.client.sibling(), gateway });
    let run = move || {
        runtime.block_on(run(worker, receiver));
        runtime.shutdown_background();
    };
    std::thread::Builder::new().name("worker".to_owned()).spawn(run)?;
    Ok(sender)
}

/// Serves on this runtime.
#[cfg(test)]
pub(super) fn start_here(gateway: &Arc<Gateway>) -> mpsc::Sender<Accepted> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let worker = Arc::new(Worker { client: gateway.client.sibling(), gateway: gateway.clone() });
    gateway.tasks.spawn("worker", run(worker, receiver));
    sender
}

async fn run(worker: Arc<Worker>, mut accepted: mpsc::Receiver<Accepted>) {
    let connections = TaskTracker::new();
    let router = api::router(worker.clone());
    let builder = Arc::new(super::builder());
    while let Some((stream, place)) = accepted.recv().await {
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => {
                warn!(%error, "a connection could not be watched");
                continue;
            }
        };
        let connection = serve(stream, builder.clone(), worker.gateway.clone(), router.clone());
        let connection = connections.track_future(async move {
            connection.await;
            drop(place);
        });
        worker.gateway.tasks.spawn("connection", connection);
    }
    connections.close();
    connections.wait().await;
}
