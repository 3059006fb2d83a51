//! How many wrong admin keys an address may try: ten a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::clock::{self, Instant};

/// Wrong keys that an address may send in a minute.
const TRIES: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// Addresses that are remembered. When they are more, those whose minute is over are forgotten, then all: whoever has
/// that many addresses is not stopped by this.
const ADDRESSES: usize = 10_000;

/// Who sent wrong keys lately.
#[derive(Debug, Default)]
pub struct WrongKeys {
    // A std mutex: held for a look into the map. Only wrong keys and admin requests come here.
    seen: Mutex<HashMap<IpAddr, (Instant, usize)>>,
}

impl WrongKeys {
    /// How long an address has to wait before another try is looked at.
    pub fn wait(&self, address: IpAddr) -> Option<Duration> {
        let seen = self.seen.lock();
        let (since, count) = seen.get(&address)?;
        let age = clock::now().duration_since(*since);
        (*count >= TRIES && age < WINDOW).then(|| WINDOW.saturating_sub(age))
    }

    /// Notes a wrong key.
    pub fn note(&self, address: IpAddr) {
        let now = clock::now();
        let mut seen = self.seen.lock();
        if seen.len() >= ADDRESSES {
            seen.retain(|_, (since, _)| now.duration_since(*since) < WINDOW);
        }
        if seen.len() >= ADDRESSES {
            seen.clear();
        }
        let (since, count) = seen.entry(address).or_insert((now, 0));
        if now.duration_since(*since) >= WINDOW {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_has_ten_tries_a_minute() {
        let keys = WrongKeys::default();
        let [one, other]: [IpAddr; 2] = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];

        for _ in 0..TRIES {
            assert_eq!(keys.wait(one), None);
            keys.note(one);
        }

        assert_eq!((keys.wait(one), keys.wait(other)), (Some(WINDOW), None));
        tokio::time::advance(WINDOW).await;
        assert_eq!(keys.wait(one), None);
    }
}
