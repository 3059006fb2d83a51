//! The HTTP client to providers: pooled, over TLS where the URL says so, without cookies, redirects or proxies.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::failure::Kind;

/// Idle connections are closed after this long; providers' load balancers keep theirs a little longer.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept per provider: more than bursts leave behind, fewer than file descriptors allow.
const IDLE_PER_HOST: usize = 256;

/// A client for every provider. Cloning shares the pool.
#[derive(Clone, Debug)]
pub struct Client {
    connector: HttpsConnector<HttpConnector>,
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// A client that gives up connecting after `connect`, and trusts the system's certificate authorities.
    ///
    /// # Errors
    /// The system has no usable certificate store.
    pub fn new(connect: Duration) -> anyhow::Result<Client> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .try_with_platform_verifier()?
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        Ok(Client { http: pool(connector.clone()), connector })
    }

    /// A client of the same kind with a pool of its own.
    pub fn sibling(&self) -> Client {
        Client { http: pool(self.connector.clone()), connector: self.connector.clone() }
    }

    /// Sends one request and returns when the answer's headers are there. Dropping the future cancels it.
    ///
    /// # Errors
    /// The kind of failure and its cause chain, for the log.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, (Kind, String)> {
        self.http.request(request).await.map_err(|error| (classify(&error), chain(&error)))
    }
}

fn pool(connector: HttpsConnector<HttpConnector>) -> legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>> {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .build(connector)
}

fn classify(error: &legacy::Error) -> Kind {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<rustls::Error>() {
            return Kind::Tls;
        }
        if let Some(io) = cause.downcast_ref::<std::io::Error>() {
            // rustls hides inside an I/O error, which shows only its own source.
            if io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) {
                return Kind::Tls;
            }
            if io.kind() == std::io::ErrorKind::TimedOut && error.is_connect() {
                return Kind::ConnectTimeout;
            }
        }
        source = cause.source();
    }
    Kind::Unreachable
}

fn chain(error: &legacy::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
