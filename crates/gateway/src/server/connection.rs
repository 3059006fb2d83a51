//! One client connection with the time limits that hyper does not have or does not tell apart: how long a head may take
//! to arrive, how long a kept connection may stay idle, and how long a client may take no byte of its answer.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::serving::Busy;
use crate::clock::{self, Instant};

/// A socket that gives up on slow heads and on idleness, and on neither while a request is being served.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    busy: Busy,
    patience: Patience,
    waiting: Waiting,
    since: Instant,
    // Armed once and asked only when it fires, so that a request costs no re-arming.
    timer: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing of what is written.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the first byte of a head to its last.
    pub(super) head: Duration,
    /// From an answer to the next request.
    pub(super) idle: Duration,
    /// To take the next byte of its answer.
    pub(super) stall: Duration,
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

impl Connection {
    /// A fresh connection: the first byte of its first head is due within the patience for idle ones.
    pub(super) fn new(stream: TcpStream, busy: Busy, patience: Patience) -> Connection {
        let since = clock::now();
        let timer = Box::pin(tokio::time::sleep_until(since + patience.head.min(patience.idle)));
        Connection { stream, busy, patience, waiting: Waiting::Idle, since, timer, stalled: None }
    }

    /// What a write has come to. One that the client does not take for too long ends the connection, and with it the
    /// provider's work.
    fn watch_write(&mut self, cx: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        if written.is_ready() {
            if self.stalled.take().is_some() {
                self.busy.set_stalled(false);
                // hyper asks the body before it writes, and has been told that there is nothing.
                cx.waker().wake_by_ref();
            }
            return written;
        }
        self.busy.set_stalled(true);
        let patience = self.patience.stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        stalled.as_mut().poll(cx).map(|()| Err(Error::new(ErrorKind::TimedOut, "the client takes nothing")))
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
            self.timer.as_mut().reset(clock::now() + self.patience.idle);
        }
    }

    /// Ready when patience is over.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = match self.waiting {
            Waiting::Idle => self.patience.idle,
            Waiting::Head => self.patience.head,
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
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watch_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.watch_write(cx, written)
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
