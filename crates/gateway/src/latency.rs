//! Live latency of one model: what routing compares and the dashboard shows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// Samples kept per window: enough for a p99 that means something, few enough to follow a change within minutes.
const SAMPLES: usize = 256;
/// The median is worked out again after this many samples; routing reads it on every request.
const REFRESH: usize = 8;

/// The latest latencies of one kind, with their quantiles.
#[derive(Debug, Default)]
pub struct Window {
    // A std mutex: held for a store into an array, never across an await.
    samples: Mutex<Samples>,
    /// Median in microseconds, 0 while nothing was measured.
    median_micros: AtomicU64,
}

#[derive(Debug, Default)]
struct Samples {
    micros: Vec<u64>,
    next: usize,
}

/// Quantiles of a window, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Quantiles {
    /// Half of the samples are below.
    pub p50: f64,
    /// 95 in 100 are below.
    pub p95: f64,
    /// 99 in 100 are below.
    pub p99: f64,
}

impl Window {
    /// Adds one sample, in place of the oldest when the window is full.
    pub fn record(&self, sample: Duration) {
        let micros = u64::try_from(sample.as_micros()).unwrap_or(u64::MAX).max(1);
        let mut samples = self.samples.lock();
        let at = samples.next % SAMPLES;
        match samples.micros.get_mut(at) {
            Some(oldest) => *oldest = micros,
            None => samples.micros.push(micros),
        }
        samples.next = samples.next.wrapping_add(1);
        if samples.next <= REFRESH || samples.next.is_multiple_of(REFRESH) {
            let mut sorted = samples.micros.clone();
            drop(samples);
            sorted.sort_unstable();
            self.median_micros.store(quantile(&sorted, 0.5), Ordering::Relaxed);
        }
    }

    /// The median in milliseconds, at most a few samples old; `None` before the first sample.
    pub fn median_ms(&self) -> Option<f64> {
        match self.median_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(to_ms(micros)),
        }
    }

    /// Quantiles of what the window holds; `None` while it is empty.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let mut sorted = self.samples.lock().micros.clone();
        sorted.sort_unstable();
        let at = |share| to_ms(quantile(&sorted, share));
        (!sorted.is_empty()).then(|| Quantiles { p50: at(0.5), p95: at(0.95), p99: at(0.99) })
    }
}

fn quantile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share) as usize;
    sorted.get(rank.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn to_ms(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_window_knows_nothing() {
        let window = Window::default();

        assert_eq!((window.median_ms(), window.quantiles()), (None, None));
    }

    #[test]
    fn old_samples_make_room_for_new_ones() {
        let window = Window::default();
        for _ in 0..SAMPLES {
            window.record(Duration::from_millis(1000));
        }

        for _ in 0..SAMPLES {
            window.record(Duration::from_millis(10));
        }

        assert_eq!(window.quantiles(), Some(Quantiles { p50: 10.0, p95: 10.0, p99: 10.0 }));
        assert_eq!(window.median_ms(), Some(10.0));
    }
}
