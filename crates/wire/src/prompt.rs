//! What a request gives a model to read, kept to count its tokens where the provider does not.

use crate::excerpt::Excerpt;

/// The prompt of one request. Its text is only made when it is needed: reading a request does not collect it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prompt {
    /// Texts of all messages, tools and schemas, or of all inputs, in order. A megabyte is more than most context
    /// windows hold.
    pub text: Excerpt<1_048_576>,
    /// Tokens that the caller sent as such: inputs of an embeddings request.
    pub tokens: u64,
    /// Messages.
    pub messages: u32,
    /// Images.
    pub images: u32,
}
