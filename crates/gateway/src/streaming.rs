//! A streamed answer as a response body: pulled by the client, frame by frame, with no task or queue of its own.
//!
//! Pulling is the backpressure: nothing is read from the provider that the client has not asked for. Dropping the body
//! drops the provider's connection and closes the record.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use wire::{Piece, splice};

use crate::affordable::Cap;
use crate::api::error::ErrorAnswer;
use crate::call::Call;
use crate::clock::{self, Instant};
use crate::coalesce::Answered;
use crate::ledger::{self, Used};
use crate::live::Live;
use crate::record::Record;
use crate::refusal::Refusal;
use crate::tokens;
use crate::upstream::{Deadline, Failure, Kind, Opened, stream_fault};
use crate::vault::Vault;

const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// A stream that still waits for its first content.
pub type Opening = Pin<Box<dyn Future<Output = Result<Begun, Refusal>> + Send>>;

/// What came where a stream was asked for.
#[derive(Debug)]
pub enum Begun {
    /// A stream whose first content is there.
    Stream(Box<Opened>, Box<Record>),
    /// A whole answer, accounted: it had to be whole to be judged.
    Whole(Box<Answered>),
}

/// Why a stream was ended that had cost what it may, in the answer's metadata.
const STOPPED_BY_COST: &str = "max_cost_usd";

/// What bounds a stream's life.
#[derive(Debug)]
pub struct StreamLimits {
    call: Arc<Call>,
    vault: Arc<Vault>,
    cap: Option<Cap>,
    /// A comment goes out after this much silence.
    pub keepalive: Duration,
    idle: Duration,
    deadline: Instant,
    closing: CancellationToken,
}

impl StreamLimits {
    fn error_frame(&self, refusal: &Refusal) -> Bytes {
        error_frame(&self.call, refusal)
    }

    /// The configuration's limits for this call. `closing` ends all streams at once.
    pub fn of(live: &Live, call: &Arc<Call>, cap: Option<Cap>, closing: CancellationToken) -> StreamLimits {
        StreamLimits {
            call: call.clone(),
            vault: live.vault.clone(),
            cap,
            keepalive: live.config.keepalive_after,
            idle: live.config.timeouts.idle,
            deadline: Deadline::of(live, call).at(),
            closing,
        }
    }
}

/// The body of a streamed answer.
pub struct StreamBody {
    state: State,
    limits: StreamLimits,
    // When the provider's latest bytes came: the timer is armed once and looks here, so that a chunk costs no re-arming.
    latest: Instant,
    timer: Pin<Box<Sleep>>,
    closing: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum State {
    Waiting(Opening),
    Open(Box<Open>),
    Ended,
}

struct Open {
    opened: Opened,
    record: Record,
    call: Arc<Call>,
    vault: Arc<Vault>,
    cap: Option<Capped>,
    counting: Option<Counting>,
    fault: Option<(Kind, String)>,
    is_over: bool,
}

/// A stream that may cost so much, and what was counted of it.
struct Capped {
    cap: Cap,
    tokens: u64,
    counted_bytes: usize,
}

/// The last data chunk, which waits for token counts that the provider did not send.
struct Counting {
    last: Bytes,
    used: Pin<Box<dyn Future<Output = Used> + Send>>,
}

impl StreamBody {
    /// A stream whose first content is there.
    pub fn begun(opened: Opened, record: Record, limits: StreamLimits) -> StreamBody {
        let open = Open::new(opened, record, &limits);
        StreamBody::new(State::Open(Box::new(open)), limits)
    }

    /// A stream that keeps its client waiting.
    pub fn waiting(opening: Opening, limits: StreamLimits) -> StreamBody {
        StreamBody::new(State::Waiting(opening), limits)
    }

    fn new(state: State, limits: StreamLimits) -> StreamBody {
        let latest = clock::now();
        let first_look = (latest + limits.keepalive.min(limits.idle)).min(limits.deadline);
        let timer = Box::pin(tokio::time::sleep_until(first_look));
        let closing = Box::pin(limits.closing.clone().cancelled_owned());
        StreamBody { state, limits, latest, timer, closing }
    }

    /// The next bytes for the client; `None` is the end.
    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.state {
                State::Ended => return Poll::Ready(None),
                State::Waiting(opening) => match opening.as_mut().poll(cx) {
                    Poll::Ready(begun) => {
                        if let Some(bytes) = self.opened(begun) {
                            return Poll::Ready(Some(bytes));
                        }
                    }
                    Poll::Pending => return self.poll_limits(cx),
                },
                State::Open(open) => match open.poll(cx, &mut self.latest) {
                    Poll::Ready(Some(bytes)) => return Poll::Ready(Some(bytes)),
                    Poll::Ready(None) => self.state = State::Ended,
                    Poll::Pending => return self.poll_limits(cx),
                },
            }
        }
    }

    /// The wait for the first content is over. A whole answer comes out, or the error frame if there is no answer.
    fn opened(&mut self, begun: Result<Begun, Refusal>) -> Option<Bytes> {
        let whole = match begun {
            Ok(Begun::Stream(opened, record)) => {
                self.latest = clock::now();
                self.state = State::Open(Box::new(Open::new(*opened, *record, &self.limits)));
                return None;
            }
            Ok(Begun::Whole(answered)) => answered.as_stream(&self.limits.call).ok_or(Refusal::Internal),
            Err(refusal) => Err(refusal),
        };
        self.state = State::Ended;
        Some(whole.unwrap_or_else(|refusal| self.limits.error_frame(&refusal)))
    }

    /// Silence from the provider: a keep-alive, or the end of patience.
    fn poll_limits(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(self.cut(Refusal::ShuttingDown)));
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = clock::now();
            let silence = now.duration_since(self.latest);
            if now >= self.limits.deadline {
                return Poll::Ready(Some(self.cut(Refusal::StreamDeadline)));
            }
            if silence >= self.limits.idle && matches!(self.state, State::Open(_)) {
                return Poll::Ready(Some(self.idle_too_long()));
            }
            let is_silent = silence >= self.limits.keepalive;
            let from = if is_silent { now } else { self.latest };
            let idle_at = Some(self.latest + self.limits.idle).filter(|at| *at > now);
            let look_at = (from + self.limits.keepalive).min(self.limits.deadline);
            self.timer.as_mut().reset(idle_at.map_or(look_at, |at| at.min(look_at)));
            if is_silent {
                return Poll::Ready(Some(KEEP_ALIVE));
            }
        }
    }

    fn idle_too_long(&mut self) -> Bytes {
        let refusal = match &self.state {
            State::Open(open) => open.refusal((Kind::IdleTimeout, "no bytes in time".to_owned())),
            State::Waiting(_) | State::Ended => Refusal::Internal,
        };
        self.cut(refusal)
    }

    /// Ends the stream now, with an error frame and without `[DONE]`.
    fn cut(&mut self, refusal: Refusal) -> Bytes {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Open(mut open) => open.end(refusal),
            State::Waiting(_) | State::Ended => self.limits.error_frame(&refusal),
        }
    }
}

impl Open {
    fn new(mut opened: Opened, mut record: Record, limits: &StreamLimits) -> Open {
        record.content_began();
        opened.ready.reverse();
        let cap = limits.cap.clone().map(|cap| Capped { cap, tokens: 0, counted_bytes: 0 });
        Open {
            opened,
            record,
            call: limits.call.clone(),
            vault: limits.vault.clone(),
            cap,
            counting: None,
            fault: None,
            is_over: false,
        }
    }

    /// The next bytes for the client. `latest` moves whenever the provider sends something.
    fn poll(&mut self, cx: &mut Context<'_>, latest: &mut Instant) -> Poll<Option<Bytes>> {
        loop {
            if self.is_over {
                return Poll::Ready(None);
            }
            if let Some(counting) = &mut self.counting {
                let used = ready!(counting.used.as_mut().poll(cx));
                let last = std::mem::take(&mut counting.last);
                self.counting = None;
                self.record.used(used);
                return Poll::Ready(Some(self.last(&last)));
            }
            if let Some(piece) = self.opened.ready.pop().or_else(|| self.opened.relay.pop()) {
                match self.bytes_of(piece) {
                    Some(bytes) => return Poll::Ready(Some(bytes)),
                    None => continue,
                }
            }
            if let Some(fault) = self.fault.take() {
                let refusal = self.refusal(fault);
                return Poll::Ready(Some(self.end(refusal)));
            }
            self.fault = match ready!(Pin::new(&mut self.opened.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let pushed = frame.into_data().map_or(Ok(()), |data| self.opened.relay.push(data));
                    if self.opened.relay.is_ready() {
                        *latest = clock::now();
                    }
                    self.stop_at_cap();
                    pushed.err().map(stream_fault)
                }
                Some(Err(error)) => Some((Kind::Truncated, error.to_string())),
                None => self.opened.relay.end().err().map(stream_fault),
            };
        }
    }

    /// Ends the answer cleanly when it has cost what it may. What was generated meanwhile is still passed on.
    fn stop_at_cap(&mut self) {
        let Some(capped) = &mut self.cap else { return };
        let text = self.opened.relay.generated().text();
        let new = text.get(capped.counted_bytes..).unwrap_or_default();
        capped.tokens = capped.tokens.saturating_add(tokens::count(new));
        capped.counted_bytes = text.len();
        let price = self.record.target().and_then(|target| target.offer.facts.price.as_ref());
        let cut = self.opened.relay.generated().scale(capped.tokens);
        if capped.cap.is_reached(price, cut) && !self.opened.relay.is_done() {
            let usage = capped.cap.usage(cut);
            self.opened.relay.stop_at_length(usage);
            self.record.used(Used::Estimated(usage));
            self.record.stopped(STOPPED_BY_COST);
            self.cap = None;
        }
    }

    /// The bytes of a piece; none for a last chunk whose counts are still being made.
    fn bytes_of(&mut self, piece: Piece) -> Option<Bytes> {
        match piece {
            Piece::Frame { bytes, .. } => {
                self.record.sends(&bytes);
                Some(bytes)
            }
            Piece::Comment(bytes) => Some(bytes),
            Piece::Last(payload) => {
                if self.record.is_stopped() {
                    return Some(self.last(&payload));
                }
                match self.used() {
                    Used::Counted { reported, generated } => {
                        self.record.counted_against(&reported);
                        let used = Box::pin(ledger::used_by(self.call.clone(), reported, move || generated));
                        self.counting = Some(Counting { last: payload, used });
                        None
                    }
                    used => {
                        self.record.used(used);
                        Some(self.last(&payload))
                    }
                }
            }
            Piece::Done => {
                self.complete();
                self.opened.relay.done_frame()
            }
        }
    }

    /// What the stream has used so far.
    fn used(&self) -> Used {
        let (reported, generated) = (self.opened.relay.usage(), self.opened.relay.generated());
        match self.opened.relay.is_done() && ledger::is_believable(&self.call, &reported, generated.bytes()) {
            true => Used::Reported(reported),
            false => Used::Counted { reported, generated: generated.clone() },
        }
    }

    /// The last data chunk, with our metadata in it, and `[DONE]` behind it where that is known already.
    fn last(&mut self, payload: &[u8]) -> Bytes {
        self.record.sends(&self.call.surface.client().last_frame(payload, false));
        let payload = splice::append_member(payload, "x-gateway", self.record.metadata().get().as_bytes());
        let is_done = match self.opened.ready.pop().or_else(|| self.opened.relay.pop()) {
            Some(Piece::Done) => {
                self.complete();
                true
            }
            Some(other) => {
                self.opened.ready.push(other);
                false
            }
            None => false,
        };
        self.call.surface.client().last_frame(&payload, is_done)
    }

    fn complete(&mut self) {
        self.is_over = true;
        if let Some(target) = self.record.target() {
            self.vault.keep(&self.call.caller_id, &target.offer.provider.name, self.opened.relay.kept());
        }
        self.record.keep_stream();
        self.record.close(200, None);
    }

    fn refusal(&self, (kind, detail): (Kind, String)) -> Refusal {
        let unknown = || "unknown".into();
        let target = self.record.target().map(|target| &target.offer);
        let failure = Failure {
            kind,
            provider: target.map_or_else(unknown, |offer| offer.provider.name.clone()),
            model: target.map_or_else(unknown, |offer| offer.model.clone()),
            retry_after: None,
            detail,
        };
        Refusal::Interrupted(Box::new(failure))
    }

    fn end(&mut self, refusal: Refusal) -> Bytes {
        self.record.used(self.used());
        if let Refusal::Interrupted(failure) = &refusal {
            self.record.attempt_failed(failure);
        }
        self.is_over = true;
        error_frame(&self.call, &self.record.refuse(refusal))
    }
}

impl Drop for Open {
    /// The client left in the middle: what its provider had generated is paid for.
    fn drop(&mut self) {
        if !self.is_over && self.counting.is_none() {
            self.record.used(self.used());
        }
    }
}

/// The frame that ends a broken stream. It is never followed by `[DONE]`.
fn error_frame(call: &Call, refusal: &Refusal) -> Bytes {
    ErrorAnswer::of(refusal).frame(call.surface.client(), &call.request_id)
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_bytes(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended)
    }
}

impl fmt::Debug for StreamBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Waiting(_) => "waiting",
            State::Open(_) => "open",
            State::Ended => "ended",
        };
        f.debug_struct("StreamBody").field("state", &state).field("limits", &self.limits).finish()
    }
}
