//! Images, sound and moderations, which pass through: `POST /v1/images/…`, `/v1/audio/…`, `/v1/moderations`.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use wire::media::Endpoint;

use super::access::Client;
use crate::call::Surface;
use crate::server::Worker;

pub(super) fn routes() -> Router<Arc<Worker>> {
    let route = |routes: Router<_>, endpoint: Endpoint| {
        let create = async move |State(worker): State<Arc<Worker>>, Client(caller): Client, request: Request| {
            super::answer(worker, caller, Surface::Media(endpoint), request).await
        };
        routes.route(&format!("/v1{}", endpoint.path()), post(create))
    };
    Endpoint::ALL.into_iter().fold(Router::new(), route)
}
