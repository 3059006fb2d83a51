//! `GET /v1/models` and `GET /v1/models/{id}`: what can be asked for, in OpenAI's shape with our facts beside it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use catalog::{Capabilities, Kind, Price};
use serde::Serialize;

use super::access::Client;
use crate::cache::{OWN_MODEL, OWN_PROVIDER};
use crate::config::VIRTUAL_MODELS;
use crate::directory::Offer;
use crate::live::Live;
use crate::refusal::Refusal;
use crate::router;
use crate::server::Worker;

/// What both vendors' clients are told where nobody says when a model came: the time must be one.
const UNKNOWN_TIME: &str = "1970-01-01T00:00:00Z";

#[derive(Serialize)]
pub(super) struct List {
    object: &'static str,
    data: Vec<Model>,
    /// Anthropic's clients page through lists: this is all of it.
    has_more: bool,
}

/// One model. Unknown facts are `null`.
#[derive(Serialize)]
pub(super) struct Model {
    id: String,
    object: &'static str,
    created: i64,
    /// For Anthropic's clients, with the two that follow.
    #[serde(rename = "type")]
    kind_of_object: &'static str,
    display_name: String,
    created_at: &'static str,
    owned_by: String,
    /// What it makes: `chat`, `embedding`, `image` and others, or `null` where only the provider's list knows the name.
    kind: Option<&'static str>,
    context_window: Option<u64>,
    max_output_tokens: Option<u64>,
    price: Option<Prices>,
    capabilities: Option<Flags>,
}

/// US dollars per million tokens.
#[derive(Serialize)]
struct Prices {
    input_usd_per_million: f64,
    cached_input_usd_per_million: Option<f64>,
    output_usd_per_million: f64,
}

#[derive(Serialize)]
struct Flags {
    vision: bool,
    tools: bool,
    json_schema: bool,
    audio: bool,
    files: bool,
    reasoning: bool,
}

pub(super) async fn list(State(worker): State<Arc<Worker>>, Client(caller): Client) -> Json<List> {
    let live = worker.gateway.registry.snapshot();
    let configured = live.config.groups.iter().map(|group| group.name.as_str());
    let configured = configured.chain(live.config.aliases.iter().map(|alias| alias.name.as_str()));
    let ours = VIRTUAL_MODELS.into_iter().chain(configured).map(virtual_model);
    let offers = live.directory.offers.iter();
    let offers = offers.filter(|offer| caller.may_use(&offer.model, &offer.provider.name, &offer.model));
    let offers = offers.map(|offer| model(live.directory.public_name(offer), offer));
    let own = caller.may_use(OWN_MODEL, OWN_PROVIDER, OWN_MODEL).then(own_model);
    Json(List { object: "list", data: ours.chain(own).chain(offers).collect(), has_more: false })
}

pub(super) async fn retrieve(
    State(worker): State<Arc<Worker>>,
    _: Client,
    Path(id): Path<String>,
) -> Result<Json<Model>, Refusal> {
    let live = worker.gateway.registry.snapshot();
    find(&live, &id).map(Json).ok_or_else(|| router::unknown_model(&live, &id))
}

fn find(live: &Live, id: &str) -> Option<Model> {
    let is_configured = live.config.groups.iter().any(|group| group.name == id)
        || live.config.aliases.iter().any(|alias| alias.name == id);
    if VIRTUAL_MODELS.contains(&id) || is_configured {
        return Some(virtual_model(id));
    }
    let at_provider = id
        .split_once('/')
        .and_then(|(provider, model)| live.directory.offers_of(model).find(|offer| &*offer.provider.name == provider));
    match at_provider.or_else(|| live.directory.offers_of(id).next()) {
        Some(offer) => Some(model(id.to_owned(), offer)),
        None => (id == OWN_MODEL).then(own_model),
    }
}

/// The embedding model inside of the gateway. It costs nothing.
fn own_model() -> Model {
    Model {
        kind: Some("embedding"),
        context_window: Some(256),
        price: Some(Prices {
            input_usd_per_million: 0.0,
            cached_input_usd_per_million: None,
            output_usd_per_million: 0.0,
        }),
        ..virtual_model(OWN_MODEL)
    }
}

fn virtual_model(id: &str) -> Model {
    Model {
        display_name: id.to_owned(),
        id: id.to_owned(),
        object: "model",
        created: 0,
        kind_of_object: "model",
        created_at: UNKNOWN_TIME,
        owned_by: "llm-gateway".to_owned(),
        kind: Some("chat"),
        context_window: None,
        max_output_tokens: None,
        price: None,
        capabilities: None,
    }
}

fn model(id: String, offer: &Offer) -> Model {
    let facts = &offer.facts;
    Model {
        display_name: id.clone(),
        id,
        object: "model",
        created: 0,
        kind_of_object: "model",
        created_at: UNKNOWN_TIME,
        owned_by: offer.provider.name.to_string(),
        kind: facts.kind.map(|kind| match kind {
            Kind::Chat => "chat",
            Kind::Embedding => "embedding",
            Kind::Image => "image",
            Kind::Speech => "speech",
            Kind::Transcription => "transcription",
            Kind::Moderation => "moderation",
        }),
        context_window: facts.context_window,
        max_output_tokens: facts.max_output_tokens,
        price: facts.price.as_ref().map(prices),
        capabilities: facts.kind.map(|_| flags(facts.capabilities)),
    }
}

fn prices(price: &Price) -> Prices {
    Prices {
        input_usd_per_million: price.input.usd_per_million(),
        cached_input_usd_per_million: price.cached_input.map(|price| price.usd_per_million()),
        output_usd_per_million: price.output.usd_per_million(),
    }
}

fn flags(capabilities: Capabilities) -> Flags {
    let Capabilities { vision, tools, json_schema, audio, files, reasoning, adaptive_thinking: _ } = capabilities;
    Flags { vision, tools, json_schema, audio, files, reasoning }
}
