//! The health check: every provider is asked for its models, which tells whether it answers and what it has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::Full;
use tracing::{info, warn};
use wire::models::Discovered;

use super::{Client, Kind, attempt};
use crate::clock;
use crate::directory::{HealthState, Offer, Provider};
use crate::gateway::Gateway;
use crate::live::Registry;

/// A provider that has not listed its models by then is not healthy.
const PATIENCE: Duration = Duration::from_secs(5);
/// The largest list that is read.
const MAX_LIST_BYTES: usize = 8 * 1024 * 1024;
/// Models kept of one provider's list.
const MAX_MODELS: usize = 2_000;
/// Models that a local provider is asked about, one by one.
const MAX_DETAILS: usize = 200;

/// Checks all providers at once, then again after the configured interval or a change of configuration, until the
/// gateway drains.
pub async fn watch(gateway: Arc<Gateway>) {
    loop {
        let live = gateway.registry.snapshot();
        let checks =
            live.directory.providers.iter().map(|provider| check(&gateway.client, &gateway.registry, provider));
        tokio::select! {
            _ = join_all(checks) => {}
            () = gateway.tasks.draining().cancelled() => return,
        }
        let live = gateway.registry.snapshot();
        let healthy = live.directory.providers.iter().filter(|one| one.health.state() == HealthState::Healthy).count();
        live.metrics.active_providers.set(i64::try_from(healthy).unwrap_or(i64::MAX));
        tokio::select! {
            () = tokio::time::sleep(live.config.health_interval) => {}
            () = gateway.registry.reconfigured() => {}
            () = gateway.tasks.draining().cancelled() => return,
        }
    }
}

/// Asks one provider how it is and what it has, and notes both.
pub async fn check(client: &Client, registry: &Registry, provider: &Arc<Provider>) {
    let (name, listed) = (&provider.name, list(client, registry, provider).await);
    let problem = listed.as_ref().err().cloned();
    let has_changed = provider.health.note(problem);
    match listed {
        Ok(models) => {
            if has_changed {
                info!(provider = %name, models = models.as_ref().map(Vec::len), "provider is healthy");
            }
            if let Some(models) = models {
                registry.discovered(name, models);
            }
            note_loaded(client, registry, name).await;
        }
        Err(problem) if has_changed => warn!(provider = %name, problem, "provider is not healthy"),
        Err(_) => {}
    }
}

/// Asks one provider what it has.
///
/// # Errors
/// What is wrong with it, in words that may be shown.
pub async fn probe(client: &Client, provider: &Provider) -> Result<Option<Vec<Discovered>>, String> {
    let dialect = provider.config.dialect;
    match ask(client, provider, Method::GET, wire::models_path(dialect), Bytes::new()).await? {
        // Some servers answer and have no list.
        None => Ok(None),
        Some(body) => {
            let mut models = wire::models::read_list(dialect, &body).map_err(|_| "its model list is not readable")?;
            models.truncate(MAX_MODELS);
            Ok(Some(models))
        }
    }
}

/// Notes which models of a local provider are in memory: to load another takes seconds.
async fn note_loaded(client: &Client, registry: &Registry, provider: &str) {
    let live = registry.snapshot();
    let Some(provider) = live.directory.provider(provider).filter(|provider| provider.config.is_local) else { return };
    let Some(path) = wire::loaded_models_path(provider.config.dialect) else { return };
    let answer = ask(client, provider, Method::GET, path, Bytes::new()).await.ok().flatten();
    let Some(loaded) = answer.and_then(|body| wire::models::read_loaded(&body).ok()) else { return };
    for offer in live.directory.offers.iter().filter(|offer| Arc::ptr_eq(&offer.provider, provider)) {
        offer.stats.note_loaded(loaded.iter().any(|name| *name == *offer.model));
    }
}

async fn list(
    client: &Client,
    registry: &Registry,
    provider: &Arc<Provider>,
) -> Result<Option<Vec<Discovered>>, String> {
    let Some(models) = probe(client, provider).await? else {
        return Ok(None);
    };
    let Some(path) = wire::model_details_path(provider.config.dialect) else {
        return Ok(Some(models));
    };
    let live = registry.snapshot();
    let mut detailed = Vec::with_capacity(models.len());
    for (position, model) in models.into_iter().enumerate() {
        let known = live.directory.offers_of(&model.id).find(|offer| offer.provider.name == provider.name);
        detailed.push(match known.and_then(|offer| remembered(offer)) {
            Some(known) => Discovered { id: model.id, is_remote: model.is_remote, ..known },
            None if position < MAX_DETAILS => details(client, provider, path, model).await,
            None => model,
        });
    }
    Ok(Some(detailed))
}

/// What was learnt about a model at an earlier check; details of a model do not change under one name.
fn remembered(offer: &Offer) -> Option<Discovered> {
    offer.listed.clone().filter(|listed| listed.context_window.is_some() || listed.tools.is_some())
}

async fn details(client: &Client, provider: &Provider, path: &str, listed: Discovered) -> Discovered {
    let question = wire::models::details_question(&listed.id);
    let answer = ask(client, provider, Method::POST, path, question.into()).await;
    let details = answer.ok().flatten().and_then(|body| wire::models::read_ollama_show(&body).ok());
    details.map_or_else(
        || listed.clone(),
        |details| Discovered { id: listed.id.clone(), is_remote: listed.is_remote, ..details },
    )
}

/// One question to a provider; `None` when it has no such path.
async fn ask(
    client: &Client,
    provider: &Provider,
    method: Method,
    path: &str,
    body: Bytes,
) -> Result<Option<Bytes>, String> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    let mut uri = provider.uri(path, None);
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, attempt::JSON);
    headers.insert(header::USER_AGENT, attempt::USER_AGENT);
    for (name, value) in wire::headers(provider.config.dialect) {
        headers.insert(*name, HeaderValue::from_static(value));
    }
    let now = clock::now();
    let usable = provider.credentials.iter().find(|credential| credential.retired(now).is_none());
    if let Some(credential) = usable.or(provider.credentials.first()) {
        credential.sign(&mut uri, headers);
    }
    *request.uri_mut() = uri;
    let exchange = async {
        let response = client.send(request).await.map_err(|(kind, _)| kind)?;
        let status = response.status();
        let body = attempt::collect(response.into_body(), MAX_LIST_BYTES).await.map_err(|(kind, _)| kind)?;
        Ok::<_, Kind>((status, body))
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Err(_) => Err("it did not answer in time".to_owned()),
        Ok(Err(Kind::Tls)) => Err("its certificate was refused".to_owned()),
        Ok(Err(_)) => Err("it could not be reached".to_owned()),
        Ok(Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _))) => Err("it refused the credential".to_owned()),
        Ok(Ok((StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _))) => Ok(None),
        Ok(Ok((status, _))) if !status.is_success() => Err(format!("it answered with status {}", status.as_u16())),
        Ok(Ok((_, body))) => Ok(Some(body)),
    }
}
