//! `POST /v1/chat/completions`.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use crate::call::Surface;
use crate::gateway::Gateway;

pub(super) async fn create(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    super::answer(&gateway, Surface::Chat, request).await
}
