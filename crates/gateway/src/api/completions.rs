//! `POST /v1/completions`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::access::Client;
use crate::call::Surface;
use crate::server::Worker;

pub(super) async fn create(State(worker): State<Arc<Worker>>, Client(caller): Client, request: Request) -> Response {
    super::answer(worker, caller, Surface::Completions, request).await
}
