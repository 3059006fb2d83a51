//! The `input` of an embeddings request, counted without keeping it: a body of many tiny inputs must not cost many
//! times its own size.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::MAX_INPUTS;
use crate::outline::Text;
use crate::prompt::Prompt;
use crate::{Error, Problem};

/// What stands in `input`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) kind: Kind,
    /// Texts, each as a string or as its tokens.
    pub(super) count: u64,
    /// Tokens that were sent as such.
    tokens: u64,
    has_empty: bool,
}

/// The four forms that OpenAI takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Texts,
    Tokens,
    TokenLists,
}

impl Input {
    /// Reads and checks the value.
    pub(super) fn read(value: &RawValue) -> Result<Input, Error> {
        let input: Input = serde_json::from_str(value.get()).map_err(|error| {
            if error.is_data() {
                not_an_input()
            } else {
                Error::body(Problem::InvalidJson, "The request body is not valid JSON: a string in `input` is broken.")
            }
        })?;
        if input.count == 0 || input.has_empty {
            return Err(Error::at("input", Problem::InvalidValue, "`input` must not be empty or hold an empty text."));
        }
        if input.count > MAX_INPUTS {
            let message = format!("`input` may hold at most {MAX_INPUTS} texts.");
            return Err(Error::at("input", Problem::InvalidValue, message));
        }
        Ok(input)
    }

    /// What the model reads; `value` is what this was read from.
    pub(super) fn prompt(&self, value: &RawValue) -> Result<Prompt, Error> {
        let mut prompt = Prompt { tokens: self.tokens, ..Prompt::default() };
        match self.kind {
            Kind::Text => serde_json::from_str(value.get()).map(|Text(text)| prompt.text.push(&text)),
            Kind::Texts => serde_json::from_str::<Vec<Text<'_>>>(value.get())
                .map(|texts| texts.iter().for_each(|Text(text)| prompt.text.push(text))),
            Kind::Tokens | Kind::TokenLists => Ok(()),
        }
        .map_err(|_| not_an_input())?;
        Ok(prompt)
    }
}

pub(super) fn not_an_input() -> Error {
    Error::at(
        "input",
        Problem::InvalidType,
        "`input` must be a string, an array of strings, an array of tokens, or an array of such arrays.",
    )
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Whole;
        impl<'de> Visitor<'de> for Whole {
            type Value = Input;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an input")
            }
            fn visit_str<E>(self, text: &str) -> Result<Input, E> {
                Ok(Input { kind: Kind::Text, count: 1, tokens: 0, has_empty: text.is_empty() })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Input, A::Error> {
                let mut input = Input { kind: Kind::Texts, count: 0, tokens: 0, has_empty: false };
                while let Some(item) = items.next_element::<Item>()? {
                    let (kind, tokens, is_empty) = match item {
                        Item::Text { is_empty } => (Kind::Texts, 0, is_empty),
                        Item::Token => (Kind::Tokens, 1, false),
                        Item::Tokens { count } => (Kind::TokenLists, count, count == 0),
                    };
                    if input.count > 0 && kind != input.kind {
                        return Err(A::Error::custom("inputs of different kinds"));
                    }
                    input = Input {
                        kind,
                        count: input.count + 1,
                        tokens: input.tokens + tokens,
                        has_empty: input.has_empty | is_empty,
                    };
                }
                if input.kind == Kind::Tokens {
                    input.count = 1;
                }
                Ok(input)
            }
        }
        deserializer.deserialize_any(Whole)
    }
}

/// One element of an array of inputs.
enum Item {
    Text { is_empty: bool },
    Token,
    Tokens { count: u64 },
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token or an array of tokens")
            }
            fn visit_str<E>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Text { is_empty: text.is_empty() })
            }
            fn visit_u64<E>(self, _token: u64) -> Result<Item, E> {
                Ok(Item::Token)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut tokens: A) -> Result<Item, A::Error> {
                let mut count = 0;
                while tokens.next_element::<u64>()?.is_some() {
                    count += 1;
                }
                Ok(Item::Tokens { count })
            }
        }
        deserializer.deserialize_any(One)
    }
}
