//! The one connection to Redis, where replicas share limits and budgets.
//!
//! A request never waits for a Redis that is away: one call that takes longer than `REDIS_TIMEOUT_SECONDS` marks it down, and from
//! then on calls fail at once, until the background task has had an answer in time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, RedisError, Script};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(1);

/// Redis does not answer, or not in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("redis does not answer")]
pub struct Unavailable;

/// The connection. All requests share it.
pub struct Shared {
    client: Client,
    connection: ArcSwapOption<MultiplexedConnection>,
    is_up: AtomicBool,
    /// The longest that a call may take.
    patience: Duration,
}

impl Shared {
    /// Nothing is connected yet: [`Shared::watch`] does that. A call may take as long as `patience`.
    ///
    /// # Errors
    /// The URL is none of a Redis.
    pub fn new(url: &SecretString, patience: Duration) -> Result<Shared, RedisError> {
        let client = Client::open(url.expose_secret())?;
        Ok(Shared { client, connection: ArcSwapOption::empty(), is_up: AtomicBool::new(false), patience })
    }

    /// Whether the last call was answered in time.
    pub fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// Runs a script.
    ///
    /// # Errors
    /// Redis is away, or did not answer in time. Whether the script has run is not known then.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<T, Unavailable> {
        let Some(connection) = self.connection.load_full().filter(|_| self.is_up()) else {
            return Err(Unavailable);
        };
        let mut connection = MultiplexedConnection::clone(&connection);
        let mut call = script.prepare_invoke();
        for key in keys {
            call.key(key);
        }
        for argument in arguments {
            call.arg(argument);
        }
        match timeout(self.patience, call.invoke_async(&mut connection)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                self.lost(&error.to_string());
                Err(Unavailable)
            }
            Err(_) => {
                self.lost("no answer in time");
                Err(Unavailable)
            }
        }
    }

    /// Connects, looks whether Redis answers, and connects again when it does not, until `stop`.
    pub async fn watch(self: Arc<Self>, stop: CancellationToken) {
        loop {
            self.look().await;
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks once: at most [`CONNECT`] and what a call may take.
    pub async fn look(&self) {
        if let Some(connection) = self.connection.load_full()
            && self.is_alive(&connection).await
        {
            self.found();
            return;
        }
        self.connection.store(None);
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT)).set_response_timeout(None);
        let connected = timeout(CONNECT, self.client.get_multiplexed_async_connection_with_config(&config)).await;
        match connected {
            Ok(Ok(connection)) if self.is_alive(&connection).await => {
                self.connection.store(Some(Arc::new(connection)));
                self.found();
            }
            Ok(Ok(_)) | Err(_) => self.lost("no answer in time"),
            Ok(Err(error)) => self.lost(&error.to_string()),
        }
    }

    async fn is_alive(&self, connection: &MultiplexedConnection) -> bool {
        let mut connection = connection.clone();
        let ping = redis::cmd("PING");
        matches!(timeout(self.patience, ping.query_async::<String>(&mut connection)).await, Ok(Ok(_)))
    }

    fn found(&self) {
        if !self.is_up.swap(true, Ordering::AcqRel) {
            info!("redis answers");
        }
    }

    fn lost(&self, problem: &str) {
        if self.is_up.swap(false, Ordering::AcqRel) {
            warn!(problem, "redis does not answer; limits are counted here alone, budgets go on with what is leased");
        }
    }
}

impl fmt::Debug for Shared {
    /// Without the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("is_up", &self.is_up()).finish_non_exhaustive()
    }
}
