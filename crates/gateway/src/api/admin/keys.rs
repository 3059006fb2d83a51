//! `/api/admin/keys`: make, list, change, rotate and revoke gateway keys.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use http::StatusCode;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::super::read_json;
use super::ACTOR;
use crate::gateway::Gateway;
use crate::keys::registrar::{self, Change, NewKey};
use crate::policy;
use crate::refusal::Refusal;
use crate::usage::{KeyReport, MonthReport};

/// One key, and what it used this month.
#[derive(Debug, Serialize)]
pub(in crate::api) struct KeyAnswer {
    /// The secret: in the answer that makes it, and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    about: KeyReport,
    usage: MonthReport,
}

#[derive(Debug, Serialize)]
pub(in crate::api) struct List {
    object: &'static str,
    data: Vec<KeyAnswer>,
}

pub(in crate::api) async fn list(State(gateway): State<Arc<Gateway>>) -> Json<List> {
    let data = gateway.keys.callers().iter().filter_map(|caller| answer(&gateway, &caller.id, None)).collect();
    Json(List { object: "list", data })
}

pub(in crate::api) async fn create(
    State(gateway): State<Arc<Gateway>>,
    body: Bytes,
) -> Result<(StatusCode, Json<KeyAnswer>), Refusal> {
    let wanted: NewKey = read_json(&body)?;
    let (key, secret) = registrar::create(&gateway.store, &hasher(&gateway)?, wanted, ACTOR).await?;
    policy::refresh(&gateway).await;
    let made = answer(&gateway, &key.id, Some(secret.expose_secret().to_owned())).ok_or(Refusal::StoreUnavailable)?;
    Ok((StatusCode::CREATED, Json(made)))
}

pub(in crate::api) async fn update(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    body: Bytes,
) -> Result<Json<KeyAnswer>, Refusal> {
    let change: Change = read_json(&body)?;
    registrar::update(&gateway.store, &id, change, ACTOR).await?;
    changed(&gateway, &id, None).await
}

pub(in crate::api) async fn rotate(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Json<KeyAnswer>, Refusal> {
    let secret = registrar::rotate(&gateway.store, &hasher(&gateway)?, &id, ACTOR).await?;
    changed(&gateway, &id, Some(secret.expose_secret().to_owned())).await
}

/// Takes the id, or the secret itself: whoever finds a leaked key has nothing else.
pub(in crate::api) async fn revoke(
    State(gateway): State<Arc<Gateway>>,
    Path(id_or_secret): Path<String>,
) -> Result<Json<KeyAnswer>, Refusal> {
    let id = registrar::id_of(&gateway.store, &hasher(&gateway)?, &id_or_secret).await?;
    registrar::revoke(&gateway.store, &id, ACTOR).await?;
    changed(&gateway, &id, None).await
}

async fn changed(gateway: &Arc<Gateway>, id: &str, secret: Option<String>) -> Result<Json<KeyAnswer>, Refusal> {
    policy::refresh(gateway).await;
    answer(gateway, id, secret).map(Json).ok_or(Refusal::StoreUnavailable)
}

fn hasher(gateway: &Gateway) -> Result<crate::keys::secret::Hasher, Refusal> {
    gateway.keys.hasher().ok_or(Refusal::KeysUnavailable)
}

fn answer(gateway: &Gateway, id: &str, key: Option<String>) -> Option<KeyAnswer> {
    let callers = gateway.keys.callers();
    let caller = callers.iter().find(|caller| &*caller.id == id)?;
    let about = KeyReport::of(caller.key.as_ref()?);
    Some(KeyAnswer { key, about, usage: MonthReport::of(&caller.account, caller.ceiling) })
}
