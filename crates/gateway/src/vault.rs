//! Reasoning that a vendor wants to see again, kept for clients that drop what they do not know.
//!
//! Anthropic's models must get the reasoning that led to a tool call back, signed, with the call's result. OpenAI's API
//! has no field for it, so most of its clients lose it. It is kept here by the call's id, for the key that asked, and
//! goes back only to the provider that signed it. It lives in this process: what a restart or another replica does not
//! have is missed by the model for one turn, which then goes on without thinking.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use wire::Kept;
use wire::chat::Thought;

/// What all kept reasoning may occupy, in bytes.
const MAX_BYTES: usize = 32 * 1024 * 1024;
/// A longer one is not kept.
const MAX_EACH: usize = 1024 * 1024;

/// What an entry occupies besides its text, so that many small ones are no way around the bound.
const ENTRY_BYTES: usize = 256;

/// The reasoning of the latest tool calls; the oldest makes room.
#[derive(Debug, Default)]
pub struct Vault(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    by_call: HashMap<CallId, Arc<Entry>>,
    in_order: VecDeque<(CallId, usize)>,
    bytes: usize,
}

/// Whose call, and its id.
type CallId = (Arc<str>, String);

#[derive(Debug)]
struct Entry {
    provider: Arc<str>,
    thoughts: Vec<Thought<'static>>,
}

impl Vault {
    /// Keeps what led to an answer's tool calls.
    pub fn keep(&self, caller: &Arc<str>, provider: &Arc<str>, kept: Kept) {
        let bytes = kept.bytes();
        if bytes > MAX_EACH || kept.calls.is_empty() || kept.thoughts.is_empty() {
            return;
        }
        let entry = Arc::new(Entry { provider: provider.clone(), thoughts: kept.thoughts });
        let mut entries = self.0.lock();
        for (number, call) in kept.calls.into_iter().enumerate() {
            let id = (caller.clone(), call);
            // The calls of one answer share their reasoning.
            let cost = ENTRY_BYTES + id.1.len() + if number == 0 { bytes } else { 0 };
            entries.bytes += cost;
            entries.by_call.insert(id.clone(), entry.clone());
            entries.in_order.push_back((id, cost));
        }
        while entries.bytes > MAX_BYTES {
            let Some((oldest, cost)) = entries.in_order.pop_front() else { return };
            entries.by_call.remove(&oldest);
            entries.bytes -= cost;
        }
    }

    /// What led to that call of the caller's, if that provider signed it.
    pub fn recall(&self, caller: &Arc<str>, provider: &str, call: &str) -> Option<Vec<Thought<'static>>> {
        let entries = self.0.lock();
        let entry = entries.by_call.get(&(caller.clone(), call.to_owned()))?;
        (&*entry.provider == provider).then(|| entry.thoughts.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(call: &str, text: &str) -> Kept {
        let thought = Thought::Text { text: text.to_owned().into(), signature: Some("s".into()) };
        Kept { calls: vec![call.to_owned()], thoughts: vec![thought] }
    }

    /// WIRE 8.1.
    #[test]
    fn reasoning_goes_back_to_its_caller_and_its_provider_only() {
        let (vault, me, you, provider): (_, Arc<str>, Arc<str>, Arc<str>) =
            (Vault::default(), "me".into(), "you".into(), "a".into());
        vault.keep(&me, &provider, kept("c1", "hm"));

        assert_eq!(vault.recall(&me, "a", "c1").unwrap()[0].text(), "hm");
        assert_eq!(vault.recall(&me, "b", "c1"), None);
        assert_eq!(vault.recall(&you, "a", "c1"), None);
        assert_eq!(vault.recall(&me, "a", "c2"), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let (vault, me, provider): (_, Arc<str>, Arc<str>) = (Vault::default(), "me".into(), "a".into());
        let long = "x".repeat(MAX_EACH - 10);
        for number in 0..40 {
            vault.keep(&me, &provider, kept(&format!("c{number}"), &long));
        }
        vault.keep(&me, &provider, kept("too-long", &"x".repeat(MAX_EACH + 1)));

        assert_eq!(vault.recall(&me, "a", "c0"), None);
        assert!(vault.recall(&me, "a", "c39").is_some());
        assert_eq!(vault.recall(&me, "a", "too-long"), None);
        for number in 0..2 * MAX_BYTES / ENTRY_BYTES {
            vault.keep(&me, &provider, kept(&number.to_string(), "x"));
        }
        let entries = vault.0.lock();
        assert!(entries.bytes <= MAX_BYTES && entries.by_call.len() == entries.in_order.len());
        assert!(entries.by_call.len() <= MAX_BYTES / ENTRY_BYTES, "small ones are bounded by their number");
    }
}
