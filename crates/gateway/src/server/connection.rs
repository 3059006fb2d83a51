//! One client connection with the two time limits that hyper does not tell apart: how long a head may take to arrive,
//! and how long a kept connection may stay idle.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use crate::clock::{self, Instant};

/// A socket that gives up on slow heads and on idleness, and on neither while a request is being served.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    busy: Busy,
    head: Duration,
    idle: Duration,
    waiting: Waiting,
    since: Instant,
    // Armed once and asked only when it fires, so that a request costs no re-arming.
    timer: Pin<Box<Sleep>>,
}

/// What the client is expected to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Send anything at all.
    Idle,
    /// Finish the head it began.
    Head,
    /// Nothing: its request is being served.
    Nothing,
}

/// How many requests of a connection are being served; HTTP/2 has several.
#[derive(Clone, Debug, Default)]
pub(super) struct Busy(Arc<AtomicUsize>);

/// One request being served, until its answer's body is gone.
#[derive(Debug)]
pub(super) struct Serving(Arc<AtomicUsize>);

impl Busy {
    /// A request has arrived.
    pub(super) fn begin(&self) -> Serving {
        self.0.fetch_add(1, Ordering::Relaxed);
        Serving(self.0.clone())
    }

    fn is_busy(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Serving {
    /// Ends with the body.
    pub(super) fn watch(self, body: Body) -> Watched {
        Watched { body, _serving: self }
    }
}

/// A body that keeps its connection busy.
#[derive(Debug)]
pub(super) struct Watched {
    body: Body,
    _serving: Serving,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Connection {
    /// A fresh connection: its first head is due within `head` of its first byte, which is due within `idle`.
    pub(super) fn new(stream: TcpStream, busy: Busy, head: Duration, idle: Duration) -> Connection {
        let since = clock::now();
        let timer = Box::pin(tokio::time::sleep_until(since + head.min(idle)));
        Connection { stream, busy, head, idle, waiting: Waiting::Idle, since, timer }
    }

    fn expect(&mut self, waiting: Waiting) {
        if self.waiting != waiting {
            self.waiting = waiting;
            self.since = clock::now();
        }
    }

    /// Nobody tells when the request is served and idleness begins, so the timer has to ask.
    fn look_again_later(&mut self, cx: &mut Context<'_>) {
        while self.timer.as_mut().poll(cx).is_ready() {
            self.timer.as_mut().reset(clock::now() + self.idle);
        }
    }

    /// Ready when patience is over.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = match self.waiting {
            Waiting::Idle => self.idle,
            Waiting::Head => self.head,
            Waiting::Nothing => return Poll::Pending,
        };
        let until = self.since + limit;
        // A timer that is armed for later than it should be would come too late.
        if self.timer.deadline() > until {
            self.timer.as_mut().reset(until);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if clock::now() >= until {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if this.busy.is_busy() {
            this.expect(Waiting::Nothing);
            if polled.is_pending() {
                this.look_again_later(cx);
            }
            return polled;
        }
        if this.waiting == Waiting::Nothing {
            this.expect(Waiting::Idle);
        }
        if polled.is_ready() {
            if buffer.filled().len() > before {
                this.expect(Waiting::Head);
            }
            return polled;
        }
        match this.poll_patience(cx) {
            Poll::Ready(()) => Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the client took too long"))),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
