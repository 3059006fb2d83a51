//! Requests of the gateway's own to its providers: vectors of a provider's model, and answers for comparison. They are
//! reserved, sent and accounted as any other, under an account that is nobody's.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::{Value, json};

use crate::call::{Call, Extensions, Head, Payload, Surface};
use crate::clock;
use crate::keys::Caller;
use crate::ledger::{self, Ledger};
use crate::limits::budget::Ceiling;
use crate::limits::rates::{Meter, RateLimits};
use crate::live::{Live, Registry};
use crate::record::Record;
use crate::refusal::Refusal;
use crate::router::{self, Plan};
use crate::upstream::{self, Client, Content};

/// The account that pays, in the ledger.
pub(super) const ACCOUNT: &str = "gateway";

/// The longest that a provider may take for vectors: entries wait behind it to be written and shared.
const VECTORS: Duration = Duration::from_secs(5);

/// The way to send them.
#[derive(Debug)]
pub(super) struct Errands {
    registry: Arc<Registry>,
    client: Client,
    ledger: Arc<Ledger>,
    caller: Arc<Caller>,
}

impl Errands {
    pub(super) fn new(registry: Arc<Registry>, client: Client, ledger: Arc<Ledger>) -> Errands {
        let caller = Caller {
            key: None,
            id: ACCOUNT.into(),
            rates: RateLimits::default(),
            meter: Arc::new(Meter::new(ACCOUNT)),
            ceiling: Ceiling::default(),
            account: ledger.budgets.account(ACCOUNT),
        };
        Errands { registry, client, ledger, caller: Arc::new(caller) }
    }

    /// The configuration in force.
    pub(super) fn live(&self) -> Arc<Live> {
        self.registry.snapshot()
    }

    /// Where it would go.
    pub(super) fn plan(&self, live: &Live, call: &Call) -> Option<Plan> {
        router::plan(live, &self.caller, call).ok()
    }

    /// A request like `call`, to be answered whole.
    pub(super) fn whole_like(&self, call: &Call) -> Arc<Call> {
        let whole = call.as_whole();
        let extensions = Extensions {
            strategy: call.extensions.strategy,
            prefer_provider: call.extensions.prefer_provider.clone(),
            ..Extensions::default()
        };
        self.call(call.surface, whole.body, whole.payload, extensions, whole.passed_on)
    }

    /// The vectors of texts by a provider's model; `None` where it does not answer with one for each.
    pub(super) async fn vectors(&self, model: &str, texts: &[String]) -> Option<Vec<Vec<f32>>> {
        let body = Bytes::from(json!({"model": model, "input": texts}).to_string());
        let request = wire::embeddings::read(&body).ok()?;
        let payload = Payload::Embeddings(request);
        let extensions = Extensions { timeout: Some(VECTORS), ..Extensions::default() };
        let call = self.call(Surface::Embeddings, body, payload, extensions, HeaderMap::new());
        let plan = self.plan(&self.live(), &call)?;
        let answer = self.run(call, plan).await?;
        let list: Value = serde_json::from_slice(&answer.body).ok()?;
        let rows = list["data"].as_array()?.iter().map(|row| serde_json::from_value(row["embedding"].clone()).ok());
        rows.collect::<Option<Vec<Vec<f32>>>>().filter(|vectors| vectors.len() == texts.len())
    }

    /// Sends it, and accounts what it used.
    pub(super) async fn run(&self, call: Arc<Call>, plan: Plan) -> Option<wire::Whole> {
        let live = self.live();
        let head = Head {
            request_id: call.request_id.clone(),
            headers: HeaderMap::new(),
            received: call.received,
            caller: self.caller.clone(),
        };
        let mut record = Record::open(live.metrics.clone(), call.surface, &head, plan.strategy);
        record.asked(&call);
        record.planned(&plan, &live.memory);
        let held = match self.ledger.reserve(&live.config, &self.caller, &call, &plan).await {
            Ok(held) => held,
            Err(refusal) => {
                record.refuse(refusal);
                return None;
            }
        };
        record.reserved(held, call.clone());
        match upstream::execute(&self.client, &live, &plan, &call, &mut record).await {
            Ok(Content::Whole(answer)) => {
                record.used(ledger::used_by_answer(&call, &answer).await);
                record.close(200, None);
                Some(answer)
            }
            Ok(Content::Stream(_)) => {
                record.refuse(Refusal::Internal);
                None
            }
            Err(refusal) => {
                record.refuse(refusal);
                None
            }
        }
    }

    fn call(
        &self,
        surface: Surface,
        body: Bytes,
        payload: Payload,
        extensions: Extensions,
        passed_on: HeaderMap,
    ) -> Arc<Call> {
        Arc::new(Call {
            surface,
            request_id: format!("errand-{}", uuid::Uuid::now_v7().simple()).into(),
            caller_id: self.caller.id.clone(),
            received: clock::now(),
            body,
            payload,
            extensions,
            passed_on,
            idempotency_key: None,
        })
    }
}
