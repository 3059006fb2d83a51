//! What happens to every request before its route and to every answer after it: checks of the head, the request id,
//! and a net under panics.

use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header};
use tower::ServiceExt;
use tracing::error;

use super::REQUEST_ID;
use super::access::Peer;
use crate::clock;
use crate::refusal::Refusal;
use crate::server::Linger;
use crate::telemetry::metrics::Metrics;

/// Path and query may be this long.
const MAX_URI_BYTES: usize = 16 * 1024;
/// A caller's own request id may be this long.
const MAX_REQUEST_ID_BYTES: usize = 64;

const RESPONSE_TIME: HeaderName = HeaderName::from_static("x-response-time");
const POWERED_BY: HeaderName = HeaderName::from_static("x-powered-by");
const PRODUCT: HeaderValue = HeaderValue::from_static("llm-gateway");

/// Answers one request.
pub(crate) async fn serve(router: Router, metrics: &Metrics, peer: Peer, request: Request<Linger>) -> Response {
    let received = clock::now();
    let mut request = request.map(Body::new);
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    request.extensions_mut().insert(received);
    request.extensions_mut().insert(peer);

    let mut response = match check_head(&request) {
        Ok(()) => match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(_panic) => {
                metrics.panics.inc();
                error!(request.id = ?id, "a request panicked; this is a bug, please report it");
                Refusal::Internal.into_response()
            }
        },
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.insert(RESPONSE_TIME, milliseconds(clock::now().duration_since(received)));
    headers.insert(POWERED_BY, PRODUCT);
    response
}

fn milliseconds(elapsed: std::time::Duration) -> HeaderValue {
    HeaderValue::from(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}

/// The caller's id where it is one that can stand in a log, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_safe = |id: &&HeaderValue| {
        let id = id.as_bytes();
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
            && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    headers.get(REQUEST_ID).filter(is_safe).cloned().unwrap_or_else(|| {
        // Ordered by time and unique; nothing is protected by it, so a fast generator will do.
        let mut random = [0; 10];
        fastrand::fill(&mut random);
        let millis = u64::try_from(clock::unix().as_millis()).unwrap_or(0);
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut text = [0; uuid::fmt::Simple::LENGTH];
        HeaderValue::from_str(id.simple().encode_lower(&mut text)).unwrap_or(HeaderValue::from_static("none"))
    })
}

/// RFC 9112 §3.2: exactly one `Host` in HTTP/1.1, and one that is an authority; hyper lets others through.
fn check_head(request: &Request<Body>) -> Result<(), Refusal> {
    let bad = |problem| Err(Refusal::BadRequestLine { problem });
    let length = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    if length > MAX_URI_BYTES {
        return Err(Refusal::UriTooLong);
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if request.version() == Version::HTTP_11 => bad("The request has no `Host` header."),
        (Some(_), Some(_)) => bad("The request has more than one `Host` header."),
        (Some(host), None) if !is_authority(host) => bad("The `Host` header is not a host."),
        (Some(_) | None, None) | (None, Some(_)) => Ok(()),
    }
}

fn is_authority(host: &HeaderValue) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    let bytes = host.as_bytes();
    bytes.iter().all(is_plain) && (bytes.is_empty() || Uri::try_from(bytes).is_ok_and(|uri| uri.host().is_some()))
}
