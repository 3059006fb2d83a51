//! One attempt at one target: encode, send, read until the answer is whole or its stream has begun.

use std::future::Future;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use wire::loss::Loss;
use wire::{AnswerContext, BadAnswer, Bent, Piece, Problem, Relay, StreamFault};

use super::standing::Door;
use super::{Client, Content, Deadline, Failure, Kind};
use crate::call::{Call, Payload};
use crate::clock::{self, Instant};
use crate::estimate;
use crate::live::Live;
use crate::router::Target;

/// The largest answer that is read.
const MAX_ANSWER_BYTES: usize = 32 * 1024 * 1024;
/// An error answer is read up to here; what counts stands at its beginning.
const MAX_ERROR_BYTES: usize = 64 * 1024;
/// A provider that sends comments while it thinks gets this many times the patience.
const PATIENCE_WITH_COMMENTS: u32 = 5;
/// The longest wait that a provider may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

pub(super) const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("llm-gateway/", env!("CARGO_PKG_VERSION")));
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// A stream whose first content is there.
#[derive(Debug)]
pub struct Opened {
    /// The rest of the provider's bytes.
    pub incoming: Incoming,
    /// What turns them into the client's.
    pub relay: Relay,
    /// What was ready when the stream was handed over, in order.
    pub ready: Vec<Piece>,
}

/// Makes one attempt.
///
/// # Errors
/// What went wrong, with the provider's name and everything that the log needs.
pub(super) async fn attempt(
    client: &Client,
    live: &Live,
    target: &Target,
    call: &Call,
    deadline: Deadline,
    door: &Door,
) -> Result<(Content, Loss), Failure> {
    let fail = |(kind, detail): (Kind, String)| Failure {
        kind,
        provider: target.offer.provider.name.clone(),
        model: target.offer.model.clone(),
        retry_after: None,
        detail,
    };
    let (request, loss, bent) =
        request(live, target, call, door).map_err(|error| fail((Kind::Untranslatable(error), String::new())))?;
    let timeouts = &live.config.timeouts;
    let patience = if call.payload.is_stream() { timeouts.headers } else { timeouts.headers_plain };
    let headers_by = Limit::after(patience, deadline);
    let response = match headers_by.keep(client.send(request)).await {
        Some(answer) => answer.map_err(fail)?,
        None => return Err(fail((Kind::HeadersTimeout, "no answer headers in time".to_owned()))),
    };
    door.heard(response.headers(), clock::now());
    if !response.status().is_success() {
        let retry_after = retry_after(response.headers());
        return Err(Failure { retry_after, ..fail(error_answer(response, target, deadline).await) });
    }
    if let Some(encoding) = response.headers().get(header::CONTENT_ENCODING).filter(|value| *value != "identity") {
        return Err(fail((Kind::BadResponse, format!("content encoding {encoding:?}, which was not asked for"))));
    }
    if call.payload.is_stream() && !is_json(response.headers()) {
        let context = context(target, call, bent);
        let opened = open(response, live, target, call, context, deadline).await.map_err(fail)?;
        return Ok((Content::Stream(opened), loss));
    }
    let whole = whole(response, target, call, context(target, call, bent), deadline).await.map_err(fail)?;
    Ok((Content::Whole(whole), loss))
}

/// Asks how many tokens the prompt has.
pub(super) async fn count_tokens(
    client: &Client,
    live: &Live,
    target: &Target,
    call: &Call,
    path: &str,
    door: &Door,
) -> Option<u64> {
    let (mut request, ..) = request(live, target, call, door).ok()?;
    // The credential may stand in the query.
    let mut uri = target.offer.provider.uri(path, Some(&target.offer.model));
    if let Some(credential) = door.credential() {
        credential.sign(&mut uri, request.headers_mut());
    }
    *request.uri_mut() = uri;
    let answer = async {
        let response = client.send(request).await.ok().filter(|response| response.status().is_success())?;
        collect(response.into_body(), MAX_ERROR_BYTES).await.ok()
    };
    let limit = Limit::after(live.config.timeouts.headers, Deadline::of(live, call));
    wire::anthropic::read_count(&limit.keep(answer).await??)
}

fn request(
    live: &Live,
    target: &Target,
    call: &Call,
    door: &Door,
) -> Result<(Request<Full<Bytes>>, Loss, Bent), wire::Error> {
    let offer = &target.offer;
    let encoded = match &call.payload {
        Payload::Chat(request) => {
            let recall = |id: &str| live.vault.recall(&call.caller_id, &offer.provider.name, id);
            wire::encode_chat(call.surface.client(), &call.body, request, &offer.target(), recall)?
        }
        Payload::Embeddings(request) => wire::encode_embeddings(&call.body, request, &offer.target())?,
        Payload::Media(request) => wire::encode_media(&call.body, request, &offer.target())?,
    };
    if let Some(lost) = encoded.loss.items().first().filter(|_| call.extensions.strict) {
        let message = format!("This model's provider cannot be told `{}`: {}.", lost.path, lost.what);
        return Err(wire::Error::at(lost.path.clone(), Problem::UnsupportedParameter, message));
    }
    let mut request = Request::new(Full::new(encoded.body));
    *request.method_mut() = Method::POST;
    let mut uri = offer.uri.clone();
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    if let Payload::Media(passed) = &call.payload {
        uri = offer.provider.uri(passed.endpoint.path(), Some(&offer.model));
        if let Ok(kind) = HeaderValue::try_from(&passed.content_type) {
            headers.insert(header::CONTENT_TYPE, kind);
        }
    }
    headers.insert(header::USER_AGENT, USER_AGENT);
    if let Some(credential) = door.credential() {
        credential.sign(&mut uri, headers);
    }
    for (name, value) in wire::headers(offer.dialect()) {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    for name in wire::passed_on(offer.dialect()).iter().filter(|_| !call.passed_on.is_empty()) {
        if let Some(value) = call.passed_on.get(*name) {
            headers.insert(*name, value.clone());
        }
    }
    *request.uri_mut() = uri;
    Ok((request, encoded.loss, encoded.bent))
}

/// Reads an error answer and tells what it means.
async fn error_answer(response: Response<Incoming>, target: &Target, deadline: Deadline) -> (Kind, String) {
    let status = response.status().as_u16();
    let body = deadline_limit(deadline).keep(collect(response.into_body(), MAX_ERROR_BYTES)).await;
    let body = match body {
        Some(Ok(body)) => body,
        Some(Err(_)) | None => Bytes::new(),
    };
    let error = wire::read_error(target.offer.dialect(), status, &body);
    let detail = format!("status {status}: {}", error.message);
    (Kind::from_answer(status, error), detail)
}

/// Reads a whole answer.
async fn whole(
    response: Response<Incoming>,
    target: &Target,
    call: &Call,
    context: AnswerContext,
    deadline: Deadline,
) -> Result<wire::Whole, (Kind, String)> {
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let media_type = media_type.unwrap_or_default().to_owned();
    let is_json = is_json(response.headers());
    let body = match deadline_limit(deadline).keep(collect(response.into_body(), MAX_ANSWER_BYTES)).await {
        Some(body) => body?,
        None => return Err((Kind::HeadersTimeout, "the answer was not complete in time".to_owned())),
    };
    let (dialect, client) = (target.offer.dialect(), call.surface.client());
    let answer = match &call.payload {
        // A stream was asked for and JSON came: an error in a success status, or no stream at all.
        Payload::Chat(request) if request.stream => {
            wire::translate_answer(dialect, client, body, &context).and(Err(BadAnswer::NoChoices))
        }
        Payload::Chat(_) => wire::translate_answer(dialect, client, body, &context),
        Payload::Embeddings(request) => wire::translate_embeddings(dialect, body, request, &context),
        Payload::Media(request) => wire::observe_media(body, is_json, request)
            .map(|whole| wire::Whole { media_type: (!is_json).then_some(media_type), ..whole }),
    };
    answer.map_err(|bad| match bad {
        BadAnswer::NotJson => (Kind::BadResponse, "the body is not JSON".to_owned()),
        BadAnswer::NoChoices => (Kind::BadResponse, "the body holds no answer".to_owned()),
        BadAnswer::Error(error) => error_inside(error),
    })
}

/// An error that came with a success status.
pub(crate) fn error_inside(error: wire::ErrorBody) -> (Kind, String) {
    let detail = format!("an error in a success status: {}", error.message);
    let kind = match Kind::from_answer(StatusCode::OK.as_u16(), error) {
        Kind::ServerError(_) => Kind::ServerError(StatusCode::BAD_GATEWAY.as_u16()),
        kind => kind,
    };
    (kind, detail)
}

/// What a broken stream means, for the failure and for the client's error frame.
pub(crate) fn stream_fault(fault: StreamFault) -> (Kind, String) {
    match fault {
        StreamFault::BadFrame => (Kind::BadResponse, "an event of the stream is not JSON".to_owned()),
        StreamFault::TooLarge => (Kind::TooLarge, "an event of the stream is too large".to_owned()),
        StreamFault::Truncated => (Kind::Truncated, "the stream ended before the answer was complete".to_owned()),
        StreamFault::Error(error) => error_inside(error),
    }
}

/// Reads a stream until its first content.
async fn open(
    response: Response<Incoming>,
    live: &Live,
    target: &Target,
    call: &Call,
    context: AnswerContext,
    deadline: Deadline,
) -> Result<Opened, (Kind, String)> {
    let include_usage = matches!(&call.payload, Payload::Chat(request) if request.include_usage);
    let dialect = target.offer.dialect();
    let quirks = &target.offer.provider.config.quirks;
    let relay = match &call.payload {
        Payload::Media(request) => Relay::passing(request),
        Payload::Chat(_) | Payload::Embeddings(_) => {
            Relay::new(dialect, call.surface.client(), context, include_usage, quirks)
        }
    };
    let mut opened = Opened { incoming: response.into_body(), relay, ready: Vec::new() };
    let patience = live.config.timeouts.first_content;
    let began = clock::now();
    let mut content_by = Limit::until(began + patience, deadline);
    loop {
        while let Some(piece) = opened.relay.pop() {
            if matches!(piece, Piece::Comment(_)) {
                content_by = Limit::until(began + patience * PATIENCE_WITH_COMMENTS, deadline);
            }
            if matches!(piece, Piece::Done) && !opened.ready.iter().any(|piece| matches!(piece, Piece::Frame { .. })) {
                return Err((Kind::BadResponse, "the stream held no answer".to_owned()));
            }
            let is_begun = matches!(piece, Piece::Frame { content: true, .. } | Piece::Last(_) | Piece::Done);
            opened.ready.push(piece);
            if is_begun {
                return Ok(opened);
            }
        }
        match content_by.keep(opened.incoming.frame()).await {
            None => return Err((Kind::FirstContentTimeout, "headers, and no content in time".to_owned())),
            Some(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    opened.relay.push(data).map_err(stream_fault)?;
                }
            }
            Some(Some(Err(error))) => return Err((Kind::Truncated, error.to_string())),
            Some(None) => opened.relay.end().map_err(stream_fault)?,
        }
    }
}

fn context(target: &Target, call: &Call, bent: Bent) -> AnswerContext {
    let prefix = match call.payload {
        Payload::Chat(_) => "chatcmpl-",
        Payload::Embeddings(_) | Payload::Media(_) => "embd-",
    };
    AnswerContext {
        id: format!("{prefix}{}", call.request_id),
        created: clock::unix_seconds(),
        model: target.offer.model.to_string(),
        prompt_tokens: estimate::likely_input(call),
        bent,
    }
}

/// Collects a body of at most `limit` bytes; one that came in one piece is not copied.
pub(super) async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, (Kind, String)> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| (Kind::Truncated, error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if first.len() + joined.len() + data.len() > limit {
            return Err((Kind::TooLarge, format!("the body is larger than {limit} bytes")));
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

/// `Retry-After` in seconds, capped. A date is read as the wait until then.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => Duration::try_from_secs_f64(seconds).ok()?,
        Ok(_) => return None,
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp().as_second();
            Duration::from_secs(u64::try_from(at.saturating_sub(clock::unix_seconds())).ok()?)
        }
    };
    Some(wait.min(MAX_RETRY_AFTER))
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.starts_with("application/json") || kind.starts_with("text/html")
}

fn deadline_limit(deadline: Deadline) -> Limit {
    Limit { at: deadline.at() }
}

/// An instant by which something must have happened.
#[derive(Clone, Copy)]
struct Limit {
    at: Instant,
}

impl Limit {
    fn after(patience: Duration, deadline: Deadline) -> Limit {
        Limit::until(clock::now() + patience, deadline)
    }

    fn until(at: Instant, deadline: Deadline) -> Limit {
        Limit { at: at.min(deadline.at()) }
    }

    /// The future's output, or `None` when the limit came first.
    async fn keep<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout_at(self.at, future).await.ok()
    }
}
