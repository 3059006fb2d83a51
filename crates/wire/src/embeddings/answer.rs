//! A provider's embeddings as OpenAI's list.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Encoding, Request};
use crate::lenient::Lenient;
use crate::openai::encode::to_json;
use crate::openai::stream::UsageBody;
use crate::usage::{Usage, count};
use crate::{AnswerContext, BadAnswer, Dialect, Kept, Whole, outline};

/// A provider's answer for an OpenAI client.
///
/// # Errors
/// The body is no embeddings, or not one for each input.
pub(crate) fn translate(
    from: Dialect,
    body: Bytes,
    request: &Request,
    context: &AnswerContext,
) -> Result<Whole, BadAnswer> {
    match from {
        Dialect::OpenAi => from_openai(body, request),
        Dialect::Ollama => from_ollama(&body, request, context),
        Dialect::Anthropic => Err(BadAnswer::NoChoices),
    }
}

/// The bytes as they came, unless numbers stand where base64 was asked for.
fn from_openai(body: Bytes, request: &Request) -> Result<Whole, BadAnswer> {
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow)]
        data: Option<Vec<Row<'a>>>,
        #[serde(default)]
        usage: Lenient<UsageBody>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Row<'a> {
        #[serde(borrow)]
        embedding: &'a RawValue,
    }
    let text = std::str::from_utf8(&body).map_err(|_| BadAnswer::NotJson)?;
    let list: List<'_> = serde_json::from_str(text).map_err(|_| BadAnswer::NotJson)?;
    if list.error.is_some_and(|error| error.get() != "null") {
        return Err(BadAnswer::Error(crate::read_error(Dialect::OpenAi, 200, &body)));
    }
    let rows = list.data.filter(|rows| !rows.is_empty()).ok_or(BadAnswer::NoChoices)?;
    let usage = list.usage.0.map(UsageBody::usage).unwrap_or_default();
    let is_base64 = |row: &Row<'_>| !row.embedding.get().starts_with('[');
    if request.encoding == Encoding::Float || rows.iter().all(is_base64) {
        return Ok(whole(body, usage));
    }
    let mut rewritten = Vec::with_capacity(text.len());
    let mut copied = 0;
    for row in rows.iter().filter(|row| !is_base64(row)) {
        let span = outline::span(text, row.embedding);
        rewritten.extend_from_slice(text.get(copied..span.start).unwrap_or_default().as_bytes());
        rewritten.extend_from_slice(format!("\"{}\"", to_base64(row.embedding)?).as_bytes());
        copied = span.end;
    }
    rewritten.extend_from_slice(text.get(copied..).unwrap_or_default().as_bytes());
    Ok(whole(rewritten.into(), usage))
}

fn from_ollama(body: &[u8], request: &Request, context: &AnswerContext) -> Result<Whole, BadAnswer> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        embeddings: Option<Vec<&'a RawValue>>,
        #[serde(default)]
        prompt_eval_count: Lenient<f64>,
        #[serde(borrow)]
        error: Option<&'a RawValue>,
    }
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    if answer.error.is_some() {
        return Err(BadAnswer::Error(crate::read_error(Dialect::Ollama, 200, body)));
    }
    let vectors = answer.embeddings.unwrap_or_default();
    if vectors.len() as u64 != request.inputs {
        return Err(BadAnswer::NoChoices);
    }
    let rows = (0..).zip(vectors).map(|(index, vector)| {
        let embedding = match request.encoding {
            Encoding::Float if vector.get().starts_with('[') => Vector::Numbers(vector),
            Encoding::Float => return Err(BadAnswer::NotJson),
            Encoding::Base64 => Vector::Base64(to_base64(vector)?),
        };
        Ok(Row { object: "embedding", index, embedding })
    });
    let data = rows.collect::<Result<Vec<_>, _>>()?;
    let usage = Usage { input: count(answer.prompt_eval_count), ..Usage::default() };
    let counts = usage.input.map(|tokens| Counts { prompt_tokens: tokens, total_tokens: tokens });
    let list = List { object: "list", data, model: &context.model, usage: counts };
    Ok(whole(to_json(&list).into(), usage))
}

/// The answer that gives these vectors, in order, made of so many tokens.
pub fn encode_vectors(vectors: &[Vec<f32>], encoding: Encoding, model: &str, tokens: u64) -> Vec<u8> {
    let data = (0..).zip(vectors).map(|(index, vector)| {
        let embedding = match encoding {
            Encoding::Float => Vector::Floats(vector),
            Encoding::Base64 => Vector::Base64(STANDARD.encode(bytes_of(vector))),
        };
        Row { object: "embedding", index, embedding }
    });
    let usage = Some(Counts { prompt_tokens: tokens, total_tokens: tokens });
    to_json(&List { object: "list", data: data.collect(), model, usage })
}

#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Row<'a>>,
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counts>,
}

#[derive(Serialize)]
struct Row<'a> {
    object: &'static str,
    index: u64,
    embedding: Vector<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector<'a> {
    Numbers(&'a RawValue),
    Floats(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct Counts {
    prompt_tokens: u64,
    total_tokens: u64,
}

/// Embedding generates nothing: where the input's tokens are known, all tokens are.
fn whole(body: Bytes, usage: Usage) -> Whole {
    let usage = Usage { output: usage.output.or(usage.input.map(|_| 0)), ..usage };
    Whole { body, usage, finish: None, kept: Kept::default(), media_type: None }
}

fn to_base64(numbers: &RawValue) -> Result<String, BadAnswer> {
    let numbers: Vec<f32> = serde_json::from_str(numbers.get()).map_err(|_| BadAnswer::NotJson)?;
    Ok(STANDARD.encode(bytes_of(&numbers)))
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}
