//! What travels through the pipeline: the head of a request, its body read once, and the caller's wishes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use catalog::Nanodollars;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use routing::Strategy;
use secrecy::SecretString;
use serde_json::value::RawValue;
use wire::media::{self, Endpoint};
use wire::{Client, Dialect, Problem, embeddings, openai, splice};

use crate::clock::Instant;
use crate::config::Limits;
use crate::idempotency;
use crate::keys::Caller;
use crate::refusal::Refusal;

/// The longest deadline a caller may ask for.
const MAX_TIMEOUT_MS: u64 = 3_600_000;
/// Tags of a request: how many, and how long each.
const MAX_TAGS: usize = 16;
const MAX_TAG_BYTES: usize = 64;

/// Which of our APIs was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/completions`.
    Completions,
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`.
    CountTokens,
    /// `POST /v1/embeddings`.
    Embeddings,
    /// Images, sound and moderations, which pass through.
    Media(Endpoint),
}

impl Surface {
    /// What the client speaks.
    pub fn client(self) -> Client {
        match self {
            Surface::Chat | Surface::Embeddings | Surface::Media(_) => Client::OpenAi,
            Surface::Completions => Client::Completions,
            Surface::Messages | Surface::CountTokens => Client::Anthropic,
        }
    }

    /// Its path, below `/v1`.
    pub fn path(self) -> &'static str {
        match self {
            Surface::Chat => "/chat/completions",
            Surface::Completions => "/completions",
            Surface::Messages => "/messages",
            Surface::CountTokens => "/messages/count_tokens",
            Surface::Embeddings => "/embeddings",
            Surface::Media(endpoint) => endpoint.path(),
        }
    }
}

/// A request before its body is read.
#[derive(Clone, Debug)]
pub struct Head {
    /// Our id for it, or the caller's own where that is valid.
    pub request_id: Arc<str>,
    /// Its headers.
    pub headers: HeaderMap,
    /// When its head had arrived.
    pub received: Instant,
    /// Who sent it.
    pub caller: Arc<Caller>,
}

/// A request whose body was read and checked.
#[derive(Debug)]
pub struct Call {
    /// Which API.
    pub surface: Surface,
    /// Our id for it.
    pub request_id: Arc<str>,
    /// Who sent it.
    pub caller_id: Arc<str>,
    /// When its head had arrived.
    pub received: Instant,
    /// The body as it came; what goes upstream is spliced or translated from it.
    pub body: Bytes,
    /// The body as it was understood.
    pub payload: Payload,
    /// The caller's wishes.
    pub extensions: Extensions,
    /// The caller's headers that go upstream, to providers of the dialect that knows them.
    pub passed_on: HeaderMap,
    /// The caller's `Idempotency-Key`.
    pub idempotency_key: Option<http::HeaderValue>,
}

/// A checked body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A chat request.
    Chat(openai::Request),
    /// An embeddings request.
    Embeddings(embeddings::Request),
    /// A request that passes through.
    Media(media::Request),
}

impl Payload {
    /// The model that was asked for.
    pub fn model(&self) -> &str {
        match self {
            Payload::Chat(request) => &request.model,
            Payload::Embeddings(request) => &request.model,
            Payload::Media(request) => &request.model,
        }
    }

    /// The most tokens of output that the request allows for each of its choices, if it says so.
    pub fn max_tokens(&self) -> Option<u64> {
        match self {
            Payload::Chat(request) => request.max_tokens,
            Payload::Embeddings(_) | Payload::Media(_) => Some(0),
        }
    }

    /// True when the answer is wanted as a stream.
    pub fn is_stream(&self) -> bool {
        match self {
            Payload::Chat(request) => request.stream,
            Payload::Embeddings(_) => false,
            Payload::Media(request) => request.stream,
        }
    }
}

/// Request extensions: body fields, or headers of the same names. The body wins. None of them goes upstream.
#[derive(Clone, Debug, Default)]
pub struct Extensions {
    /// `x-routing-strategy`.
    pub strategy: Option<Strategy>,
    /// `x-routing-plan`: whether several models may work on the answer.
    pub plan: Option<PlanWish>,
    /// `x-prefer-provider`: tried first where it can serve.
    pub prefer_provider: Option<String>,
    /// `x-timeout-ms`: the caller's own deadline for the whole answer.
    pub timeout: Option<Duration>,
    /// `x-max-cost-usd`: what the request may cost.
    pub max_cost: Option<Nanodollars>,
    /// `x-budget-key`: the gateway key that pays when the headers name none.
    pub budget_key: Option<SecretString>,
    /// `x-cache`: whether the answer may be one that was made for another request of the same key.
    pub cache: Option<bool>,
    /// `x-cache-threshold`: the least similarity of a question whose answer will do. It can only raise the gateway's.
    pub cache_threshold: Option<f32>,
    /// What the header `Cache-Control` says of it.
    pub cache_control: CacheControl,
    /// `x-strict`: whether a request is refused that cannot be translated without a loss.
    pub strict: bool,
    /// `x-tags`: labels for the log.
    pub tags: Vec<String>,
}

/// How many models a caller wants to work on an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanWish {
    /// One.
    Single,
    /// Two cheap ones, and a strong one where they disagree.
    Cascade,
    /// A cheap one, and a stronger one where its answer is no good.
    Escalate,
}

impl PlanWish {
    fn parse(word: &str) -> Option<PlanWish> {
        match word {
            "single" => Some(PlanWish::Single),
            "cascade" => Some(PlanWish::Cascade),
            "escalate" => Some(PlanWish::Escalate),
            _ => None,
        }
    }
}

/// The directives of `Cache-Control` that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    /// Neither is the answer taken from the cache nor kept in it.
    pub no_store: bool,
    /// The answer is made anew, and may be kept.
    pub no_cache: bool,
}

impl CacheControl {
    fn read(headers: &HeaderMap) -> CacheControl {
        let mut said = CacheControl::default();
        let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
        for directive in values.flat_map(|value| value.split(',')).map(str::trim) {
            said.no_store |= directive.eq_ignore_ascii_case("no-store");
            said.no_cache |= directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("max-age=0");
        }
        said
    }
}

impl Call {
    /// Reads the body within its bounds and decodes it once.
    ///
    /// # Errors
    /// What is wrong with the body or an extension; a body that is too large or too slow.
    pub async fn read(limits: &Limits, surface: Surface, head: Head, body: Body) -> Result<Call, Refusal> {
        let body = read_body(limits, &head.headers, body).await?;
        Ok(Call::of(surface, head, body)?)
    }

    /// Decodes a body that was read.
    ///
    /// # Errors
    /// What is wrong with it or with an extension.
    pub fn of(surface: Surface, head: Head, body: Bytes) -> Result<Call, wire::Error> {
        let (payload, fields) = match surface {
            Surface::Chat | Surface::Completions | Surface::Messages => {
                let mut request = wire::read_chat(surface.client(), &body)?;
                let fields = std::mem::take(&mut request.extensions);
                (Payload::Chat(request), fields)
            }
            Surface::CountTokens => {
                let mut request = wire::anthropic::read_prompt(&body)?;
                let fields = std::mem::take(&mut request.extensions);
                (Payload::Chat(request), fields)
            }
            Surface::Embeddings => {
                let mut request = embeddings::read(&body)?;
                let fields = std::mem::take(&mut request.extensions);
                (Payload::Embeddings(request), fields)
            }
            Surface::Media(endpoint) => {
                let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
                let mut request = media::read(endpoint, content_type.unwrap_or_default(), &body)?;
                let fields = std::mem::take(&mut request.extensions);
                (Payload::Media(request), fields)
            }
        };
        let extensions = Extensions::read(&head.headers, &fields)?;
        let passed_on = passed_on(&head.headers);
        let idempotency_key = head.headers.get(idempotency::HEADER).cloned();
        let Head { request_id, received, caller, .. } = head;
        let caller_id = caller.id.clone();
        Ok(Call { surface, request_id, caller_id, received, body, payload, extensions, passed_on, idempotency_key })
    }
}

impl Call {
    /// The same chat request for an answer in one piece, whatever the client asked for.
    pub fn as_whole(&self) -> Call {
        let (payload, body) = match &self.payload {
            Payload::Chat(request) if request.stream => {
                let whole = openai::Request { stream: false, include_usage: false, ..request.clone() };
                (Payload::Chat(whole), splice::without(&self.body, &["stream", "stream_options"]).into())
            }
            payload @ (Payload::Chat(_) | Payload::Embeddings(_) | Payload::Media(_)) => {
                (payload.clone(), self.body.clone())
            }
        };
        Call {
            surface: self.surface,
            request_id: self.request_id.clone(),
            caller_id: self.caller_id.clone(),
            received: self.received,
            body,
            payload,
            extensions: self.extensions.clone(),
            passed_on: self.passed_on.clone(),
            idempotency_key: None,
        }
    }
}

/// The headers that any dialect passes on.
fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let mut passed_on = HeaderMap::new();
    for name in Dialect::ALL.into_iter().flat_map(wire::passed_on) {
        if let Some(value) = headers.get(*name) {
            passed_on.insert(*name, value.clone());
        }
    }
    passed_on
}

/// Reads a body within its bounds.
///
/// # Errors
/// It is too large, too slow or compressed.
pub async fn read_body(limits: &Limits, headers: &HeaderMap, body: Body) -> Result<Bytes, Refusal> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return Err(Refusal::ContentEncoding);
    }
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limits.body_bytes) {
        return Err(Refusal::TooLarge { limit: limits.body_bytes });
    }
    tokio::time::timeout(limits.body_read, collect(body, limits.body_bytes)).await.unwrap_or(Err(Refusal::BodyTimeout))
}

/// Collects a body of at most `limit` bytes. One that came in one piece is not copied.
async fn collect(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::BodyBroken)?.into_data() else {
            continue;
        };
        if first.len() + joined.len() + data.len() > limit {
            return Err(Refusal::TooLarge { limit });
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
        } else {
            joined.extend_from_slice(&std::mem::take(&mut first));
            joined.extend_from_slice(&data);
        }
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}

impl Extensions {
    fn read(headers: &HeaderMap, fields: &[(String, Box<RawValue>)]) -> Result<Extensions, wire::Error> {
        let source = Source { headers, fields };
        Ok(Extensions {
            strategy: source.read(
                "x-routing-strategy",
                "`cost`, `quality`, `latency` or `balanced`",
                Strategy::parse,
            )?,
            plan: source.read("x-routing-plan", "`single`, `cascade` or `escalate`", PlanWish::parse)?,
            prefer_provider: source.read("x-prefer-provider", "a provider's name", |text| Some(text.to_owned()))?,
            timeout: source.read("x-timeout-ms", "a whole number of milliseconds from 1 to 3600000", |text| {
                let ms = text.parse().ok().filter(|ms| (1..=MAX_TIMEOUT_MS).contains(ms))?;
                Some(Duration::from_millis(ms))
            })?,
            max_cost: source.read("x-max-cost-usd", "US dollars, more than none, for example `0.05`", |text| {
                text.parse().ok().filter(|cost| *cost > Nanodollars(0))
            })?,
            cache: source.read("x-cache", "`true` or `false`", |text| text.parse().ok())?,
            cache_threshold: source.read("x-cache-threshold", "a number from 0 to 1", |text| {
                text.parse().ok().filter(|threshold| (0.0..=1.0).contains(threshold))
            })?,
            cache_control: CacheControl::read(headers),
            strict: source.read("x-strict", "`true` or `false`", |text| text.parse().ok())?.unwrap_or(false),
            budget_key: source.read("x-budget-key", "a gateway key", |text| Some(text.into()))?,
            tags: source
                .read("x-tags", "at most 16 tags of at most 64 bytes, as a list or separated by commas", tags)?
                .unwrap_or_default(),
        })
    }
}

fn tags(text: &str) -> Option<Vec<String>> {
    let tags: Vec<String> = match serde_json::from_str(text) {
        Ok(tags) => tags,
        Err(_) => text.split(',').map(|tag| tag.trim().to_owned()).collect(),
    };
    (tags.len() <= MAX_TAGS && tags.iter().all(|tag| tag.len() <= MAX_TAG_BYTES)).then_some(tags)
}

/// Where extension values come from.
struct Source<'a> {
    headers: &'a HeaderMap,
    fields: &'a [(String, Box<RawValue>)],
}

impl Source<'_> {
    /// The value of `name`, parsed; `None` where neither body nor headers have it.
    fn read<T>(
        &self,
        name: &'static str,
        accepted: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, wire::Error> {
        let field = self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.get());
        let text = match field {
            Some("null") => return Ok(None),
            // A JSON string is read by its content, any other value by its text: `true`, `2000`, `["a"]`.
            Some(json) => Some(serde_json::from_str::<String>(json).unwrap_or_else(|_| json.to_owned())),
            None => self.headers.get(name).map(|value| value.to_str().unwrap_or_default().to_owned()),
        };
        let Some(text) = text else { return Ok(None) };
        parse(&text).map(Some).ok_or_else(|| {
            let message = format!("`{name}` has a value that is not accepted; use {accepted}.");
            wire::Error::at(name, Problem::InvalidValue, message)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &'static str)], body: &str) -> Result<Extensions, wire::Error> {
        let headers = headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        let fields: serde_json::Map<String, serde_json::Value> = serde_json::from_str(body).unwrap();
        let fields: Vec<_> =
            fields.into_iter().map(|(name, value)| (name, RawValue::from_string(value.to_string()).unwrap())).collect();
        Extensions::read(&headers.collect(), &fields)
    }

    #[test]
    fn the_body_wins_over_the_headers() {
        let read =
            read(&[("x-routing-strategy", "cost"), ("x-timeout-ms", "5")], r#"{"x-routing-strategy":"quality"}"#);

        let read = read.unwrap();
        assert_eq!((read.strategy, read.timeout), (Some(Strategy::Quality), Some(Duration::from_millis(5))));
    }

    #[test]
    fn tags_come_as_a_list_or_separated_by_commas() {
        assert_eq!(read(&[("x-tags", "a, b")], "{}").unwrap().tags, ["a", "b"]);
        assert_eq!(read(&[], r#"{"x-tags":["a","b"]}"#).unwrap().tags, ["a", "b"]);
    }

    #[test]
    fn a_bad_value_names_the_field_and_what_is_accepted() {
        for (body, param) in [
            (r#"{"x-routing-strategy":"fastest"}"#, "x-routing-strategy"),
            (r#"{"x-cache":"maybe"}"#, "x-cache"),
            (r#"{"x-timeout-ms":-1}"#, "x-timeout-ms"),
            (r#"{"x-timeout-ms":0}"#, "x-timeout-ms"),
            (r#"{"x-tags":["1","2","3","4","5","6","7","8","9","10","11","12","13","14","15","16","17"]}"#, "x-tags"),
        ] {
            let error = read(&[], body).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param), "{body}");
            assert!(error.message.contains("use "), "{}", error.message);
        }
    }
}
