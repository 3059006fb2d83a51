//! What is wrong with a body that a client sent, in the terms of OpenAI's error contract.

use std::borrow::Cow;

/// A fault in a request body: where it is, what kind it is, and a sentence the caller can act on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Path of the field as OpenAI writes it (`messages[2].content`); `None` when the body as a whole is at fault.
    pub param: Option<String>,
    /// The kind of fault; its [`Problem::code`] is the `code` that clients see.
    pub problem: Problem,
    /// A whole sentence for the caller. Never quotes the body beyond a field's name or a short scalar.
    pub message: Cow<'static, str>,
}

/// Kinds of fault in a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Not JSON at all, or nested deeper than the limit.
    InvalidJson,
    /// A field that the API requires is absent.
    MissingRequiredParameter,
    /// A field has the wrong JSON type.
    InvalidType,
    /// A field has the right type and a value that is not allowed.
    InvalidValue,
    /// The same field stands twice, so that a check and a forward could read different values.
    DuplicateParameter,
    /// The target's dialect has no way to say it.
    UnsupportedParameter,
}

impl Problem {
    /// The `code` of OpenAI's error object.
    pub fn code(self) -> &'static str {
        match self {
            Problem::InvalidJson => "invalid_json",
            Problem::MissingRequiredParameter => "missing_required_parameter",
            Problem::InvalidType => "invalid_type",
            Problem::InvalidValue => "invalid_value",
            Problem::DuplicateParameter => "duplicate_parameter",
            Problem::UnsupportedParameter => "unsupported_parameter",
        }
    }
}

impl Error {
    /// A fault of the body as a whole.
    pub fn body(problem: Problem, message: impl Into<Cow<'static, str>>) -> Error {
        Error { param: None, problem, message: message.into() }
    }

    /// A fault at one field.
    pub fn at(param: impl Into<String>, problem: Problem, message: impl Into<Cow<'static, str>>) -> Error {
        Error { param: Some(param.into()), problem, message: message.into() }
    }
}
