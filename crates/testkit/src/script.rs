//! A response body as a list of writes and waits, played one after the other.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// One thing that a body does.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Wait(Duration),
    /// Bytes that carry no content.
    Write(Bytes),
    /// A content chunk, or the last slice of one.
    Content(Bytes),
    /// The same content chunk so many times.
    Repeat(Bytes, usize),
    /// Sends what was written before going on.
    Flush,
    /// Breaks the connection.
    Cut,
}

/// What is being written, over all responses of an upstream.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) open_streams: AtomicUsize,
    pub(crate) chunks_written: AtomicUsize,
}

/// A body that plays its steps.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    waiting: Option<Pin<Box<Sleep>>>,
    /// The `content-length` to announce.
    length: Option<u64>,
    counts: Arc<Counts>,
    is_stream: bool,
}

impl Script {
    /// A body in chunks, counted as an open stream until it is dropped.
    pub(crate) fn stream(steps: Vec<Step>, counts: Arc<Counts>) -> Script {
        counts.open_streams.fetch_add(1, Ordering::SeqCst);
        Script { steps: steps.into(), waiting: None, length: None, counts, is_stream: true }
    }

    /// A body of known length.
    pub(crate) fn whole(body: Bytes, counts: Arc<Counts>) -> Script {
        let length = Some(body.len() as u64);
        Script { steps: VecDeque::from([Step::Write(body)]), waiting: None, length, counts, is_stream: false }
    }

    /// A body that breaks off in the middle of its announced length.
    pub(crate) fn broken(mut body: Bytes, counts: Arc<Counts>) -> Script {
        let length = Some(body.len() as u64);
        body.truncate(body.len() / 2);
        let steps = VecDeque::from([Step::Write(body), Step::Flush, Step::Cut]);
        Script { steps, waiting: None, length, counts, is_stream: false }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if self.is_stream {
            self.counts.open_streams.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if let Some(sleep) = &mut self.waiting {
                ready!(sleep.as_mut().poll(context));
                self.waiting = None;
            }
            match self.steps.pop_front() {
                None => return Poll::Ready(None),
                Some(Step::Wait(time)) => self.waiting = Some(Box::pin(tokio::time::sleep(time))),
                Some(Step::Write(bytes)) => return Poll::Ready(Some(Ok(Frame::data(bytes)))),
                Some(Step::Content(bytes)) => {
                    self.counts.chunks_written.fetch_add(1, Ordering::SeqCst);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Step::Repeat(bytes, times)) => {
                    if times > 1 {
                        self.steps.push_front(Step::Repeat(bytes.clone(), times - 1));
                    }
                    self.counts.chunks_written.fetch_add(1, Ordering::SeqCst);
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                // The server writes its buffer out whenever its body has nothing ready.
                Some(Step::Flush) => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Some(Step::Cut) => return Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
