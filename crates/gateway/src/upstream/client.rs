//! The HTTP client to providers: pooled, over TLS where the URL says so, without cookies, redirects or proxies.

use std::error::Error as StdError;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::{GaiAddrs, GaiFuture, GaiResolver, Name};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;
use tower::Service;

use super::failure::Kind;

/// Idle connections are closed after this long; providers' load balancers keep theirs a little longer.
const IDLE: Duration = Duration::from_secs(50);
/// Idle connections kept per provider: more than bursts leave behind, fewer than file descriptors allow.
const IDLE_PER_HOST: usize = 256;

/// What is read from a provider ahead of what its client takes. An answer's head has to fit as well.
const MAX_BUFFER_BYTES: usize = 32 * 1024;

/// A client for every provider. Cloning shares the pool.
// One pointer: what is behind it are a dozen, some of them shared by all threads.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connector: Connector,
    http: legacy::Client<Connector, Full<Bytes>>,
}

type Connector = HttpsConnector<HttpConnector<Resolver>>;

impl Client {
    /// A client that gives up connecting after `connect`, and trusts the system's certificate authorities and those of
    /// `ca_file`.
    ///
    /// # Errors
    /// The system has no usable certificate store, or the file has none.
    pub fn new(connect: Duration, ca_file: Option<&Path>) -> anyhow::Result<Client> {
        let mut tcp = HttpConnector::new_with_resolver(Resolver(GaiResolver::new()));
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(connect));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(authorities(ca_file)?, provider.clone())?;
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(tcp);
        Ok(Client::of(connector))
    }

    fn of(connector: Connector) -> Client {
        Client(Arc::new(Inner { http: pool(connector.clone()), connector }))
    }

    /// A client of the same kind with a pool of its own.
    pub fn sibling(&self) -> Client {
        Client::of(self.0.connector.clone())
    }

    /// Sends one request and returns when the answer's headers are there. Dropping the future cancels it.
    ///
    /// # Errors
    /// The kind of failure and its cause chain, for the log.
    pub async fn send(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, (Kind, String)> {
        self.0.http.request(request).await.map_err(|error| (classify(&error), chain(&error)))
    }

    /// What stands at a URL, at most `limit` bytes of it.
    ///
    /// # Errors
    /// It cannot be had in half a minute.
    pub async fn get(&self, uri: Uri, limit: usize) -> anyhow::Result<Bytes> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = uri;
        let exchange = async {
            let response = self.send(request).await.map_err(|(_, detail)| anyhow::anyhow!(detail))?;
            anyhow::ensure!(response.status().is_success(), "it was answered with status {}", response.status());
            super::attempt::collect(response.into_body(), limit).await.map_err(|(_, detail)| anyhow::anyhow!(detail))
        };
        tokio::time::timeout(Duration::from_secs(30), exchange).await.context("it did not come in time")?
    }
}

fn authorities(file: Option<&Path>) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let Some(file) = file else { return Ok(Vec::new()) };
    let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = found.with_context(|| format!("cannot read certificates from `{}`", file.display()))?;
    anyhow::ensure!(!found.is_empty(), "`{}` holds no certificate", file.display());
    Ok(found)
}

fn pool(connector: Connector) -> legacy::Client<Connector, Full<Bytes>> {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .timer(TokioTimer::new())
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .http1_max_buf_size(MAX_BUFFER_BYTES)
        .build(connector)
}

/// The system's resolver, whose failures can be told apart from those of connecting.
#[derive(Clone, Debug)]
struct Resolver(GaiResolver);

/// A name did not resolve.
#[derive(Debug, thiserror::Error)]
#[error("the name does not resolve: {0}")]
struct Unresolved(#[source] io::Error);

struct Resolving(GaiFuture);

impl Service<Name> for Resolver {
    type Response = GaiAddrs;
    type Error = Unresolved;
    type Future = Resolving;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Unresolved>> {
        self.0.poll_ready(cx).map_err(Unresolved)
    }

    fn call(&mut self, name: Name) -> Resolving {
        Resolving(self.0.call(name))
    }
}

impl Future for Resolving {
    type Output = Result<GaiAddrs, Unresolved>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(ready!(Pin::new(&mut self.0).poll(cx)).map_err(Unresolved))
    }
}

fn classify(error: &legacy::Error) -> Kind {
    let is_connect = error.is_connect();
    causes(error).find_map(|cause| kind_of(cause, is_connect)).unwrap_or(match is_connect {
        true => Kind::Unreachable,
        false => Kind::Reset,
    })
}

/// What one error of a chain says by itself.
fn kind_of(cause: &(dyn StdError + 'static), is_connect: bool) -> Option<Kind> {
    if cause.is::<Unresolved>() {
        return Some(Kind::Unresolved);
    }
    if cause.is::<rustls::Error>() {
        return Some(Kind::Tls);
    }
    if let Some(error) = cause.downcast_ref::<h2::Error>() {
        return Some(http2_kind(error));
    }
    if cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
        return Some(Kind::BadResponse);
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // rustls hides inside I/O errors, which show only the source of what they hold.
    if let Some(kind) = io.get_ref().and_then(|inner| kind_of(inner, is_connect)) {
        return Some(kind);
    }
    (io.kind() == io::ErrorKind::TimedOut && is_connect).then_some(Kind::ConnectTimeout)
}

/// A stream that is refused, or that a GOAWAY does not cover, was not begun with (RFC 9113, 6.8 and 8.7).
fn http2_kind(error: &h2::Error) -> Kind {
    let is_refused = error.reason() == Some(h2::Reason::REFUSED_STREAM);
    match (is_refused || error.is_go_away() && error.is_remote(), error.is_io()) {
        (true, _) => Kind::NotProcessed,
        (false, true) => Kind::Reset,
        (false, false) => Kind::GivenUp,
    }
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    // The inner reference's own method: that of the outer one would not live as long.
    std::iter::successors(Some(error), |error| <dyn StdError>::source(*error))
}

fn chain(error: &legacy::Error) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
