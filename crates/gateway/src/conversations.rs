//! Which model a conversation is with, so that its next turn goes to the same one: providers keep the beginning of a
//! prompt in a cache and charge less for it, and a voice that changes in the middle confuses.
//!
//! Memory of this process: what a restart or another replica does not know is routed anew, which is harmless.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use wire::chat::{Chat, Message, Part};

use crate::directory::Offer;

/// Conversations that are remembered; those that rested longest make room.
const MOST: u64 = 50_000;
/// Caches of prompts are cold after this at the latest.
const IDLE: Duration = Duration::from_secs(3_600);

/// Remembers who answered.
pub struct Conversations {
    partners: Cache<Id, Partner>,
    // Keyed anew in each process: nobody can make two conversations meet on purpose.
    hasher: RandomState,
}

/// A conversation of one caller: what it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Id(u64);

/// Who answered.
#[derive(Clone, Debug)]
struct Partner {
    provider: Arc<str>,
    model: Arc<str>,
}

impl Default for Conversations {
    fn default() -> Conversations {
        let partners = Cache::builder().max_capacity(MOST).time_to_idle(IDLE).build();
        Conversations { partners, hasher: RandomState::new() }
    }
}

impl Conversations {
    /// The conversation that a request belongs to: everything up to its first user message. `None` without one.
    pub fn id(&self, caller: &str, chat: &Chat<'_>) -> Option<Id> {
        let first = chat.messages.iter().position(|message| matches!(message, Message::User(_)))?;
        let mut hasher = self.hasher.build_hasher();
        caller.hash(&mut hasher);
        for message in chat.messages.get(..=first)? {
            let (Message::System(parts) | Message::User(parts)) = message else { continue };
            for part in parts {
                match part {
                    Part::Text(text) => text.hash(&mut hasher),
                    Part::Image { url } | Part::File { url, .. } => url.hash(&mut hasher),
                    Part::CacheUntilHere(_) | Part::Other { .. } => {}
                }
            }
            0xff_u8.hash(&mut hasher);
        }
        Some(Id(hasher.finish()))
    }

    /// Notes who answered.
    pub fn answered(&self, id: Id, offer: &Offer) {
        self.partners.insert(id, Partner { provider: offer.provider.name.clone(), model: offer.model.clone() });
    }

    /// The place among `offers` of the one that answered before.
    pub fn partner<'a>(&self, id: Id, mut offers: impl Iterator<Item = &'a Arc<Offer>>) -> Option<usize> {
        let partner = self.partners.get(&id)?;
        offers.position(|offer| offer.provider.name == partner.provider && offer.model == partner.model)
    }
}

impl fmt::Debug for Conversations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversations").field("known", &self.partners.entry_count()).finish_non_exhaustive()
    }
}
