//! A request body that is read on for a while when nobody wants it any more.
//!
//! A request can be refused by its head while its body is still on the way. A connection that is closed with unread
//! bytes is reset, and the client then sees a broken pipe where it should see the refusal.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;

use crate::tasks::Tasks;

/// How long an unwanted body is read: the time in which a client that was refused stops sending.
const PATIENCE: Duration = Duration::from_secs(2);

/// The body of a request as it arrives.
pub(crate) struct Linger {
    incoming: Option<Incoming>,
    tasks: Tasks,
}

impl Linger {
    pub(crate) fn new(incoming: Incoming, tasks: Tasks) -> Linger {
        Linger { incoming: Some(incoming), tasks }
    }
}

impl Body for Linger {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(incoming) = &mut self.incoming else { return Poll::Ready(None) };
        let polled = Pin::new(incoming).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.incoming = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Linger {
    fn drop(&mut self) {
        let rest = self.incoming.take().filter(|incoming| !incoming.is_end_stream());
        if let Some(mut rest) = rest
            && Handle::try_current().is_ok()
        {
            self.tasks.spawn("unwanted body", async move {
                let read = async { while let Some(Ok(_)) = rest.frame().await {} };
                // Past this the connection is closed, whatever the client makes of it.
                let _ = tokio::time::timeout(PATIENCE, read).await;
            });
        }
    }
}
