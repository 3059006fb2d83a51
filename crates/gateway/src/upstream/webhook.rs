//! One POST of JSON to an address of the operator's.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::Full;

use super::Client;
use super::attempt::{JSON, USER_AGENT};

/// How long the other side may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends `body` and takes any success status for an answer.
///
/// # Errors
/// What went wrong, without the address: it may hold a secret.
pub async fn post(client: &Client, url: &str, body: Vec<u8>) -> Result<(), String> {
    let mut request = Request::new(Full::new(Bytes::from(body)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = url.parse::<Uri>().map_err(|_| "the address is not a URL".to_owned())?;
    request.headers_mut().insert(header::CONTENT_TYPE, JSON);
    request.headers_mut().insert(header::USER_AGENT, USER_AGENT);
    match tokio::time::timeout(PATIENCE, client.send(request)).await {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        Ok(Ok(answer)) => Err(format!("status {}", answer.status().as_u16())),
        Ok(Err((kind, _))) => Err(kind.code().to_owned()),
        Err(_) => Err("no answer in time".to_owned()),
    }
}
