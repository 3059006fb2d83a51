//! What becomes of a request to a simulated model: the wait before the first token, and whether it goes well.

use std::time::Duration;

use http::StatusCode;

use super::models::Model;
use super::question::Directives;

/// How a request goes on after its wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered in full.
    Answered,
    /// The connection breaks off in the middle of the answer.
    CutInside,
    /// The connection breaks off before there is any content.
    CutBefore,
    /// It gets this error status.
    Refused(StatusCode),
}

/// Fate and wait of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Course {
    /// Time until the first token, or until the refusal.
    pub(crate) wait: Duration,
    /// How it goes on.
    pub(crate) fate: Fate,
}

/// Decides over the `count`th request to `model`. The same arguments always decide alike.
pub(crate) fn decide(model: &Model, directives: Directives, seed: i64, prompt: &str, count: u64) -> Course {
    let mut chance = chance(&[&seed.to_le_bytes(), model.id.as_bytes(), prompt.as_bytes(), &count.to_le_bytes()]);
    let usual = Duration::from_millis(model.first_token_ms * chance.u64(80..=120) / 100);
    let fails = chance.u64(0..1000) < model.failures_per_thousand;
    let fate = match directives.fail {
        Some(status) => Fate::Refused(status),
        None if fails => FAILURES[chance.usize(0..FAILURES.len())],
        None if directives.cut => Fate::CutInside,
        None => Fate::Answered,
    };
    Course { wait: directives.slow.unwrap_or(usual), fate }
}

/// A random generator that depends on `parts` alone (FNV-1a of each with its length).
pub(crate) fn chance(parts: &[&[u8]]) -> fastrand::Rng {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&part.len().to_le_bytes()) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    fastrand::Rng::with_seed(hash)
}

/// How an unreliable model fails.
const FAILURES: [Fate; 3] =
    [Fate::Refused(StatusCode::SERVICE_UNAVAILABLE), Fate::Refused(StatusCode::TOO_MANY_REQUESTS), Fate::CutBefore];

#[cfg(test)]
mod tests {
    use super::super::models::MODELS;
    use super::*;

    fn fates(id: &str, seed: i64) -> Vec<Fate> {
        let model = MODELS.iter().find(|model| model.id == id).unwrap();
        (0..500).map(|count| decide(model, Directives::default(), seed, "Hello", count).fate).collect()
    }

    #[test]
    fn an_unreliable_model_fails_about_as_often_as_it_should() {
        let fates = fates("sim-flaky", 0);

        let failed = fates.iter().filter(|fate| **fate != Fate::Answered).count();
        assert!((50..=100).contains(&failed), "{failed} of 500");
        assert!(FAILURES.iter().all(|failure| fates.contains(failure)));
    }

    #[test]
    fn a_reliable_model_never_fails() {
        assert!(fates("sim-swift", 0).iter().all(|fate| *fate == Fate::Answered));
    }

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_another_seed_another() {
        assert_eq!(fates("sim-flaky", 1), fates("sim-flaky", 1));
        assert_ne!(fates("sim-flaky", 1), fates("sim-flaky", 2));
    }

    #[test]
    fn the_prompt_decides_over_failure_and_wait() {
        let told = |prompt: &str| decide(&MODELS[0], Directives::of(prompt), 0, prompt, 0);

        assert_eq!(told("[sim fail=429]").fate, Fate::Refused(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(told("[sim cut]").fate, Fate::CutInside);
        assert_eq!(told("[sim slow_ms=2000]").wait, Duration::from_secs(2));
    }
}
