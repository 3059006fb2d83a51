//! What a translation could not carry over, by field path.

use std::borrow::Cow;

/// Field paths of the request that were dropped or changed on the way to another dialect, each with the reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss(Vec<Lost>);

/// One thing lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Path of the field in the client's request, for example `logit_bias` or `messages[0].content[1]`.
    pub path: String,
    /// What happened to it, in a few words.
    pub what: Cow<'static, str>,
}

impl Loss {
    /// Notes one loss.
    pub fn note(&mut self, path: impl Into<String>, what: impl Into<Cow<'static, str>>) {
        self.0.push(Lost { path: path.into(), what: what.into() });
    }

    /// All losses in the order in which they were met.
    pub fn items(&self) -> &[Lost] {
        &self.0
    }

    /// True when the translation carried everything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
