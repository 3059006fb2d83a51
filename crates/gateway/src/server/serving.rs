//! What a connection and the requests on it tell each other, and answers that end when nobody takes them.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Version;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Notify;
use tracing::{debug, error};

use crate::clock::{self, Instant};

type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// The requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Busy(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// Requests that are being served; HTTP/2 has several.
    requests: AtomicUsize,
    /// The client takes nothing of the socket at the moment.
    is_stalled: AtomicBool,
    /// HTTP/2's answers that are still being made.
    streams: Mutex<Vec<Weak<Mutex<Stream>>>>,
    stream_began: Notify,
    panics: Counter,
}

/// One request being served, until its answer's body is gone.
#[derive(Debug)]
pub(super) struct Serving {
    shared: Arc<Shared>,
    is_http1: bool,
}

/// A body that keeps its connection busy.
#[derive(Debug)]
pub(super) struct Watched {
    body: Taken,
    serving: Serving,
}

/// Who takes a body.
#[derive(Debug)]
enum Taken {
    /// The task that writes the connection, which knows when the socket stalls.
    ByConnection(Body),
    /// A task of its own, held back by a window that the client may never open.
    ByStream(Arc<Mutex<Stream>>),
}

#[derive(Debug)]
struct Stream {
    /// `None` once the client took too long.
    body: Option<Body>,
    /// Since when the client has had something to take; `None` while the provider is waited for.
    offered: Option<Instant>,
}

impl Busy {
    /// No request yet. `panics` counts the bodies that panicked.
    pub(super) fn new(panics: Counter) -> Busy {
        Busy(Arc::new(Shared {
            requests: AtomicUsize::new(0),
            is_stalled: AtomicBool::new(false),
            streams: Mutex::default(),
            stream_began: Notify::new(),
            panics,
        }))
    }

    /// A request has arrived.
    pub(super) fn begin(&self, version: Version) -> Serving {
        self.0.requests.fetch_add(1, Ordering::Relaxed);
        Serving { shared: self.0.clone(), is_http1: version != Version::HTTP_2 }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.requests.load(Ordering::Relaxed) > 0
    }

    pub(super) fn set_stalled(&self, is_stalled: bool) {
        self.0.is_stalled.store(is_stalled, Ordering::Relaxed);
    }

    /// Drops the bodies of HTTP/2's streams that the client has taken nothing of for so long, and with them the
    /// provider's work. Never ends; drop it with the connection.
    pub(super) async fn release_stalled(&self, patience: Duration) -> Infallible {
        loop {
            self.0.stream_began.notified().await;
            while self.0.has_streams() {
                tokio::time::sleep(patience / 4).await;
                let stalled = self.0.stalled_since(clock::now().checked_sub(patience));
                if !stalled.is_empty() {
                    debug!(streams = stalled.len(), "a client takes nothing of its streams");
                }
            }
        }
    }
}

impl Shared {
    fn has_streams(&self) -> bool {
        let mut streams = self.streams.lock();
        streams.retain(|stream| stream.strong_count() > 0);
        !streams.is_empty()
    }

    /// Takes the bodies out of the streams that have offered something since then.
    fn stalled_since(&self, then: Option<Instant>) -> Vec<Body> {
        let streams: Vec<_> = self.streams.lock().iter().filter_map(Weak::upgrade).collect();
        let is_stalled = |stream: &Stream| then.is_some_and(|then| stream.offered.is_some_and(|since| since <= then));
        let taken = |stream: Arc<Mutex<Stream>>| {
            let mut stream = stream.lock();
            if is_stalled(&stream) { stream.body.take() } else { None }
        };
        streams.into_iter().filter_map(taken).collect()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.shared.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serving {
    /// Ends with the body.
    pub(super) fn watch(self, body: Body) -> Watched {
        let is_at_hand = http_body::Body::size_hint(&body).exact().is_some();
        if self.is_http1 || is_at_hand {
            return Watched { body: Taken::ByConnection(body), serving: self };
        }
        let stream = Arc::new(Mutex::new(Stream { body: Some(body), offered: Some(clock::now()) }));
        self.shared.streams.lock().push(Arc::downgrade(&stream));
        self.shared.stream_began.notify_one();
        Watched { body: Taken::ByStream(stream), serving: self }
    }

    /// Polls a body; one that panics ends its own answer and nothing else.
    fn poll(&self, body: &mut Body, cx: &mut Context<'_>) -> Polled {
        let poll = || http_body::Body::poll_frame(Pin::new(&mut *body), cx);
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(|_panic| {
            self.shared.panics.inc();
            error!("an answer's body panicked; this is a bug, please report it");
            *body = Body::empty();
            Poll::Ready(Some(Err(axum::Error::new("an internal error"))))
        })
    }
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        let Watched { body, serving } = self.get_mut();
        match body {
            // hyper would go on to fill its own buffer, and the provider would be read for nobody. The task is woken
            // when the client takes something again.
            Taken::ByConnection(_) if serving.is_http1 && serving.shared.is_stalled.load(Ordering::Relaxed) => {
                Poll::Pending
            }
            Taken::ByConnection(body) => serving.poll(body, cx),
            Taken::ByStream(stream) => {
                let mut stream = stream.lock();
                let Stream { body, offered } = &mut *stream;
                let Some(body) = body else {
                    return Poll::Ready(Some(Err(axum::Error::new("the client took nothing for too long"))));
                };
                let polled = serving.poll(body, cx);
                *offered = polled.is_ready().then(clock::now);
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.body {
            Taken::ByConnection(body) => body.is_end_stream(),
            Taken::ByStream(stream) => stream.lock().body.as_ref().is_some_and(http_body::Body::is_end_stream),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Taken::ByConnection(body) => http_body::Body::size_hint(body),
            Taken::ByStream(_) => SizeHint::default(),
        }
    }
}
