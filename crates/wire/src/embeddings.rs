//! Embeddings: requests in OpenAI's format, read and sent on to either dialect; answers in OpenAI's format.
//!
//! Between an OpenAI client and an OpenAI-like provider the bytes stay as they are, with one exception: vectors in
//! base64 are asked for by every official SDK, and a provider that sends numbers all the same is put right here.

mod answer;
mod input;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::loss::Loss;
use crate::ollama::window;
use crate::openai::encode::to_json;
use crate::openai::request::{extensions, is_extension, outline_of, text_of};
use crate::outline::{Members, Text};
use crate::prompt::Prompt;
use crate::{Dialect, Encoded, Error, Problem, Target, splice};

pub use answer::encode_vectors;
pub(crate) use answer::translate;
use input::{Input, Kind};

/// Most inputs in one request.
pub const MAX_INPUTS: u64 = 2_048;

/// A checked embeddings request.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model asked for.
    pub model: String,
    /// How vectors are to be written.
    pub encoding: Encoding,
    /// Numbers a vector shall have, where the caller wants fewer than the model makes.
    pub dimensions: Option<u64>,
    /// Texts to embed, and so vectors to get.
    pub inputs: u64,
    /// Members whose name begins with `x-`, the name in lower case.
    pub extensions: Vec<(String, Box<RawValue>)>,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Arrays of numbers.
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

/// Reads and checks a request.
///
/// # Errors
/// The first fault, with its place as OpenAI writes it.
pub fn read(body: &[u8]) -> Result<Request, Error> {
    let members = outline_of(text_of(body)?)?;
    let model = model(required(&members, "model")?)?;
    let input = Input::read(required(&members, "input")?)?;
    Ok(Request {
        model,
        inputs: input.count,
        encoding: member(&members, "encoding_format").map_or(Ok(Encoding::Float), encoding)?,
        dimensions: member(&members, "dimensions").map(dimensions).transpose()?,
        extensions: extensions(&members),
    })
}

/// The texts of a request, for a model that takes no tokens.
///
/// # Errors
/// [`Problem::UnsupportedParameter`] for tokens, else as [`read`].
pub fn texts(body: &[u8]) -> Result<Vec<String>, Error> {
    let members = outline_of(text_of(body)?)?;
    let raw = required(&members, "input")?;
    let texts = match Input::read(raw)?.kind {
        Kind::Text => serde_json::from_str(raw.get()).map(|text| vec![text]),
        Kind::Texts => serde_json::from_str(raw.get()),
        Kind::Tokens | Kind::TokenLists => return Err(no_tokens()),
    };
    texts.map_err(|_| input::not_an_input())
}

fn no_tokens() -> Error {
    let message = "This model takes text, not tokens: send `input` as a string or an array of strings.";
    Error::at("input", Problem::UnsupportedParameter, message)
}

/// What the model reads, for an answer whose usage is missing or absurd.
///
/// # Errors
/// As [`read`].
pub fn prompt(body: &[u8]) -> Result<Prompt, Error> {
    let members = outline_of(text_of(body)?)?;
    let value = required(&members, "input")?;
    Input::read(value)?.prompt(value)
}

/// The request for `target`.
///
/// # Errors
/// [`Problem::UnsupportedParameter`] for tokens where the target takes text only.
pub(crate) fn encode(body: &[u8], request: &Request, target: &Target<'_>) -> Result<Encoded, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    let mut loss = Loss::default();
    let body = match target.dialect {
        Dialect::OpenAi => splice::rewrite(text, &members, target.model, false, target.quirks),
        Dialect::Ollama => encode_ollama(&members, request, target, &mut loss)?,
        Dialect::Anthropic => {
            let message = "The provider of this model makes no embeddings.";
            return Err(Error::at("model", Problem::UnsupportedParameter, message));
        }
    };
    Ok(Encoded { body: body.into(), loss, bent: Default::default() })
}

#[derive(Serialize)]
struct OllamaRequest<'a> {
    model: &'a str,
    input: Vec<Cow<'a, str>>,
    // An input that does not fit is an error, not a vector of its beginning.
    truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keep_alive: Option<&'a RawValue>,
    options: OllamaOptions,
}

#[derive(Serialize)]
struct OllamaOptions {
    num_ctx: u64,
}

fn encode_ollama(
    members: &Members<'_>,
    request: &Request,
    target: &Target<'_>,
    loss: &mut Loss,
) -> Result<Vec<u8>, Error> {
    let raw = required(members, "input")?;
    let input = match Input::read(raw)?.kind {
        Kind::Text => serde_json::from_str(raw.get()).map(|Text(text)| vec![text]),
        Kind::Texts => serde_json::from_str(raw.get()).map(unwrapped),
        Kind::Tokens | Kind::TokenLists => return Err(no_tokens()),
    };
    let input = input.map_err(|_| input::not_an_input())?;
    let longest = input.iter().map(|text| window::text_tokens(text)).max().unwrap_or(0);
    for (name, value) in &members.0 {
        let is_carried = matches!(&**name, "model" | "input" | "dimensions" | "encoding_format" | "keep_alive");
        if !is_carried && !is_extension(name) && value.get() != "null" {
            loss.note(name.as_ref(), "Ollama has no equivalent");
        }
    }
    Ok(to_json(&OllamaRequest {
        model: target.model,
        input,
        truncate: false,
        dimensions: request.dimensions,
        keep_alive: member(members, "keep_alive"),
        options: OllamaOptions { num_ctx: window::rounded(longest, target.context_window) },
    }))
}

fn unwrapped(texts: Vec<Text<'_>>) -> Vec<Cow<'_, str>> {
    texts.into_iter().map(|Text(text)| text).collect()
}

/// The value of a member that is there and not null.
fn member<'a>(members: &Members<'a>, name: &str) -> Option<&'a RawValue> {
    let named = members.0.iter().find(|(member, _)| member == name);
    named.map(|(_, value)| *value).filter(|value| value.get() != "null")
}

fn required<'a>(members: &Members<'a>, name: &'static str) -> Result<&'a RawValue, Error> {
    member(members, name)
        .ok_or_else(|| Error::at(name, Problem::MissingRequiredParameter, format!("`{name}` is required.")))
}

fn model(value: &RawValue) -> Result<String, Error> {
    serde_json::from_str(value.get()).map_err(|_| Error::at("model", Problem::InvalidType, "`model` must be a string."))
}

fn encoding(value: &RawValue) -> Result<Encoding, Error> {
    match value.get() {
        "\"float\"" => Ok(Encoding::Float),
        "\"base64\"" => Ok(Encoding::Base64),
        other => {
            let problem = if other.starts_with('"') { Problem::InvalidValue } else { Problem::InvalidType };
            Err(Error::at("encoding_format", problem, "`encoding_format` must be `float` or `base64`."))
        }
    }
}

fn dimensions(value: &RawValue) -> Result<u64, Error> {
    let number: serde_json::Number = serde_json::from_str(value.get())
        .map_err(|_| Error::at("dimensions", Problem::InvalidType, "`dimensions` must be an integer."))?;
    number
        .as_u64()
        .filter(|dimensions| *dimensions > 0)
        .ok_or_else(|| Error::at("dimensions", Problem::InvalidValue, "`dimensions` must be an integer of at least 1."))
}

#[cfg(test)]
mod tests;
