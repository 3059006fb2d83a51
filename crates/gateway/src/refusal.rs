//! Every way in which the gateway says no, without a word of HTTP: `api/error.rs` turns these into answers.

use std::sync::Arc;
use std::time::Duration;

use catalog::Nanodollars;

use crate::limits::budgets::Shortage;
use crate::limits::rates::RateRefusal;
use crate::upstream::Failure;

/// Why a request was not answered.
#[derive(Debug)]
pub enum Refusal {
    /// The body or an extension is at fault.
    Invalid(wire::Error),
    /// The body is larger than the limit, in bytes.
    TooLarge {
        /// The limit that was passed.
        limit: usize,
    },
    /// The body did not arrive in time.
    BodyTimeout,
    /// The connection broke while the body was read.
    BodyBroken,
    /// The body is compressed; only plain bodies are read.
    ContentEncoding,
    /// No provider has this model.
    UnknownModel {
        /// The name asked for.
        model: String,
        /// Names that are like it.
        close: Vec<String>,
    },
    /// Models exist, but none can serve this request.
    NoCapableModel {
        /// What the request needs and no model has.
        needs: &'static str,
    },
    /// Several models were asked to work on the answer, and that is switched off.
    CompositePlansOff,
    /// No configured provider offers a model that `auto` and its kin could pick.
    NoModels,
    /// A key is needed and none was sent.
    MissingKey,
    /// The key opens nothing: unknown, revoked, disabled or past its time, which are not told apart.
    InvalidKey,
    /// This route needs the admin key and none was sent.
    MissingAdminKey,
    /// The key is not the admin key.
    InvalidAdminKey,
    /// Too many wrong keys came from this address.
    TooManyWrongKeys {
        /// When the next try is looked at.
        retry_after: Duration,
    },
    /// The keys could not be read from the database yet.
    KeysUnavailable,
    /// The key may not use this model.
    ModelNotAllowed {
        /// The name asked for.
        model: String,
    },
    /// The key's requests or tokens a minute, or its requests at one time, are used up.
    RateLimited(Box<RateRefusal>),
    /// A month's budget is used up or set aside.
    Budget(Box<Shortage>),
    /// The journal of money cannot be written, and nothing is spent that is not accounted.
    LedgerUnavailable,
    /// A budget in dollars applies, and the model's price is not known.
    UnknownPrice {
        /// The name asked for.
        model: String,
    },
    /// The request can cost more than its `x-max-cost-usd`.
    MaxCost {
        /// The cap.
        cap: Nanodollars,
        /// What the cheapest target can cost.
        worst_case: Nanodollars,
    },
    /// There is nothing of that id.
    NotFound {
        /// What was looked for: `key`.
        what: &'static str,
    },
    /// What was to be changed has changed or is taken.
    Conflict(&'static str),
    /// The database cannot be asked.
    StoreUnavailable,
    /// More requests are running than the gateway takes.
    Overloaded,
    /// No such path.
    UnknownUrl,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The framing of the request is not acceptable: a missing or doubled `Host`, a path too long.
    BadRequestLine {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The path and query are longer than the limit.
    UriTooLong,
    /// The request's deadline passed before an answer was there.
    DeadlineExceeded {
        /// The whole time that was allowed.
        allowed: Duration,
    },
    /// Every target failed; this is the failure that tells most.
    Upstream {
        /// The failure of the last attempt.
        failure: Box<Failure>,
        /// How many attempts were made.
        attempts: usize,
    },
    /// Every provider that could serve is known not to, at the moment.
    NoProviderAvailable {
        /// When one may be asked again.
        retry_after: Duration,
    },
    /// Every provider that could serve has asked for a rest.
    ProvidersRest {
        /// When the first is over.
        retry_after: Duration,
    },
    /// A stream broke after its content had begun.
    Interrupted(Box<Failure>),
    /// A stream ran longer than any stream may.
    StreamDeadline,
    /// The gateway ends and its time to finish is over.
    ShuttingDown,
    /// The `Idempotency-Key` belongs to a request that still runs.
    IdempotencyInFlight,
    /// The `Idempotency-Key` belongs to another request.
    IdempotencyKeyReused,
    /// The identical request whose answer this one waited for was refused.
    Coalesced(Arc<Refusal>),
    /// Something of ours broke; the log has the rest.
    Internal,
}

impl From<wire::Error> for Refusal {
    fn from(error: wire::Error) -> Refusal {
        Refusal::Invalid(error)
    }
}
