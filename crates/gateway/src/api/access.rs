//! Who may call which group of routes. A route is in one of them by where it stands in the table; one that stands
//! nowhere is not there.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::gateway::Gateway;
use crate::keys::Caller;
use crate::refusal::Refusal;
use crate::server::Worker;

/// The address that a connection came from. What a header says of it is anybody's word.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// A client of the `/v1` routes: whoever has a gateway key, where one is needed. A handler that takes it is not reached
/// by anybody else.
pub(super) struct Client(pub(super) Arc<Caller>);

impl FromRequestParts<Arc<Worker>> for Client {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, worker: &Arc<Worker>) -> Result<Client, Refusal> {
        let live = worker.gateway.registry.snapshot();
        let identified = worker.gateway.keys.identify(&live.config, &parts.headers);
        if matches!(identified, Err(Refusal::InvalidKey)) {
            live.metrics.wrong_keys.inc();
        }
        identified.map(Client)
    }
}

/// Whoever has the admin key.
pub(super) async fn admin(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    match admit_admin(&gateway, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Readers of what shows traffic: everybody while no key is needed, then whoever has the admin key.
pub(super) async fn reader(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    match may_read(&gateway, &request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Prometheus: as a reader, or with any gateway key, so that the admin key need not stand in its configuration.
pub(super) async fn scraper(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let live = gateway.registry.snapshot();
    let has_key = gateway.keys.identify(&live.config, request.headers()).is_ok();
    let admitted = if has_key { Ok(()) } else { may_read(&gateway, &request) };
    match admitted {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

/// Whether a request may see what shows traffic.
///
/// # Errors
/// It needs the admin key and does not have it.
pub(super) fn may_read(gateway: &Gateway, request: &Request) -> Result<(), Refusal> {
    let live = gateway.registry.snapshot();
    let is_open = gateway.keys.are_known() && !gateway.keys.are_required(&live.config);
    if is_open { Ok(()) } else { admit_admin(gateway, request) }
}

fn admit_admin(gateway: &Gateway, request: &Request) -> Result<(), Refusal> {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    if let Some(retry_after) = peer.and_then(|peer| gateway.wrong_keys.wait(peer)) {
        return Err(Refusal::TooManyWrongKeys { retry_after });
    }
    let live = gateway.registry.snapshot();
    let admitted = gateway.keys.admit_admin(&live.config, request.headers());
    if let (Err(Refusal::InvalidAdminKey), Some(peer)) = (&admitted, peer) {
        live.metrics.wrong_keys.inc();
        gateway.wrong_keys.note(peer);
    }
    admitted
}
