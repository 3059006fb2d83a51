//! `POST /v1/chat/completions`.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::call::Surface;
use crate::server::Worker;

pub(super) async fn create(State(worker): State<Worker>, request: Request) -> Response {
    super::answer(&worker, Surface::Chat, request).await
}
