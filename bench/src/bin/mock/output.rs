//! Answer bodies: one whole, or a stream on a schedule.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep};

use crate::dialect::Dialect;

pub enum Output {
    Whole(Option<Bytes>),
    Stream(Stream),
}

/// Head, then `chunks` parts with `delay` before each but the first, then the tail.
pub struct Stream {
    dialect: Rc<Dialect>,
    chunks: usize,
    delay: Duration,
    with_usage: bool,
    served: Rc<Cell<u64>>,
    /// 0 is the head, then the parts from 1 on, then the tail.
    position: usize,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub fn new(
        dialect: Rc<Dialect>,
        chunks: usize,
        delay: Duration,
        with_usage: bool,
        served: Rc<Cell<u64>>,
    ) -> Stream {
        let position = usize::from(dialect.head.is_empty());
        Stream {
            dialect,
            chunks,
            delay,
            with_usage,
            served,
            position,
            timer: None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(timer) = &mut self.timer {
            ready!(timer.as_mut().poll(context));
            // From the schedule, so that slow polls do not drift.
            let next = timer.deadline() + self.delay;
            timer.as_mut().reset(next);
        } else if self.position == 1 && !self.delay.is_zero() {
            self.timer = Some(Box::pin(tokio::time::sleep_until(Instant::now() + self.delay)));
        }
        let position = self.position;
        self.position += 1;
        Poll::Ready(if position == 0 {
            Some(self.dialect.head.clone())
        } else if position <= self.chunks {
            self.served.set(self.served.get() + 1);
            self.dialect.parts.get(position % self.dialect.parts.len()).cloned()
        } else if position == self.chunks + 1 {
            self.timer = None;
            Some(if self.with_usage {
                self.dialect.tail_with_usage.clone()
            } else {
                self.dialect.tail.clone()
            })
        } else {
            None
        })
    }
}

impl Body for Output {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let bytes = match &mut *self {
            Output::Whole(body) => body.take(),
            Output::Stream(stream) => ready!(stream.poll_next(context)),
        };
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Output::Whole(body) => SizeHint::with_exact(body.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            Output::Stream(_) => SizeHint::default(),
        }
    }
}
