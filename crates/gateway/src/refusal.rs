//! Every way in which the gateway says no, without a word of HTTP: `api/error.rs` turns these into answers.

use std::time::Duration;

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
    /// No configured provider offers a model that `auto` and its kin could pick.
    NoModels,
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
    /// A stream broke after its content had begun.
    Interrupted(Box<Failure>),
    /// A stream ran longer than any stream may.
    StreamDeadline,
    /// The gateway ends and its time to finish is over.
    ShuttingDown,
    /// Something of ours broke; the log has the rest.
    Internal,
}

impl From<wire::Error> for Refusal {
    fn from(error: wire::Error) -> Refusal {
        Refusal::Invalid(error)
    }
}
