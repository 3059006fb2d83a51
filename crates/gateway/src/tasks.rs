//! Every background task: named, tracked, and awaited when the gateway stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug_span};

/// The tasks of one gateway and the two signals that end them.
#[derive(Clone, Debug)]
pub struct Tasks {
    runtime: Handle,
    tracker: TaskTracker,
    companions: TaskTracker,
    leaving: CancellationToken,
    draining: CancellationToken,
    closing: CancellationToken,
}

impl Tasks {
    /// Nothing runs yet. To be called on the runtime that outlives all others: work that must be finished runs there.
    #[expect(clippy::new_without_default, reason = "a default would hide that a runtime is needed")]
    pub fn new() -> Tasks {
        Tasks {
            runtime: Handle::current(),
            tracker: TaskTracker::new(),
            companions: TaskTracker::new(),
            leaving: CancellationToken::new(),
            draining: CancellationToken::new(),
            closing: CancellationToken::new(),
        }
    }

    /// Runs `work`, which takes long, on a thread of its own when it is its turn among those that share `turns`;
    /// callable from anywhere, a drop included.
    pub fn spawn_blocking(&self, turns: Arc<Semaphore>, work: impl FnOnce() + Send + 'static) {
        let (tracker, runtime) = (self.tracker.clone(), self.runtime.clone());
        let in_turn = async move {
            // It is never closed.
            let turn = turns.acquire_owned().await;
            let work = move || {
                work();
                drop(turn);
            };
            tracker.spawn_blocking_on(work, &runtime);
        };
        self.tracker.spawn_on(in_turn, &self.runtime);
    }

    /// Runs `future` beside the caller until it ends. Long-lived tasks watch [`Tasks::draining`] themselves.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        spawn_in(&self.tracker, name, future);
    }

    /// Runs `future` until [`Tasks::closing`] fires: what running requests need to the last.
    pub fn spawn_companion(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        spawn_in(&self.companions, name, future);
    }

    /// Fires when the gateway is about to take no more work: whoever sends it some should stop.
    pub fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// Fires when the gateway takes no more work: finish what runs, begin nothing.
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Fires when time to finish is over: end now, in order.
    pub fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    /// Waits until every task but the companions has ended or `limit` is over; tells whether all ended.
    pub async fn ended(&self, limit: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(limit, self.tracker.wait()).await.is_ok()
    }

    /// Ends what is left, companions included; gives up after `limit`.
    pub async fn close(&self, limit: Duration) {
        self.closing.cancel();
        self.companions.close();
        let all = async { tokio::join!(self.tracker.wait(), self.companions.wait()) };
        // Past the limit the process ends anyway.
        let _ = tokio::time::timeout(limit, all).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the place that the lint points to")]
fn spawn_in(tracker: &TaskTracker, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(tracker.track_future(future.instrument(debug_span!("task", name))));
}
