//! Ollama's routes: chat, embed, tags, show, version.

mod chat;

use http::StatusCode;
use serde_json::{Value, json};

use crate::directive::Kind;
use crate::embedding;
use crate::reply::{Asked, Content, Reply};

const JSON: &str = "application/json; charset=utf-8";
/// When everything was made: answers are the same in every run.
const CREATED_AT: &str = "2025-10-09T08:53:20.123456789Z";

/// The vendor's answer to a request.
pub(crate) fn answer(asked: &Asked<'_>) -> Reply {
    match asked.route {
        ("GET" | "HEAD", "/") => text(StatusCode::OK, "Ollama is running"),
        ("GET", "/api/version") => ok(&json!({"version": "0.12.3"})),
        ("GET", "/api/tags") => ok(&json!({"models": [entry(&LLAMA), entry(&NOMIC)]})),
        ("GET", "/api/ps") => ok(&json!({"models": [loaded(&LLAMA)]})),
        ("POST", "/api/chat" | "/api/embed") if asked.directive.refuses() => directed(asked),
        ("POST", path @ ("/api/chat" | "/api/embed" | "/api/show")) => refusal(asked).unwrap_or_else(|| match path {
            _ if asked.directive.error_in_200 => ok(&error_inside(asked)),
            "/api/show" => ok(&show(facts(asked.model()))),
            "/api/embed" => ok(&embed(asked)),
            _ => chat::answer(asked),
        }),
        _ => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// What the server knows of a model.
struct Facts {
    name: &'static str,
    family: &'static str,
    size: u64,
    parameters: (&'static str, u64),
    quantization: &'static str,
    context_length: u64,
    embedding_length: u64,
    capabilities: &'static [&'static str],
}

const LLAMA: Facts = Facts {
    name: "llama3.2:latest",
    family: "llama",
    size: 2_019_393_189,
    parameters: ("3.2B", 3_212_749_888),
    quantization: "Q4_K_M",
    context_length: 131_072,
    embedding_length: 3072,
    capabilities: &["completion", "tools", "vision"],
};

const NOMIC: Facts = Facts {
    name: "nomic-embed-text:latest",
    family: "nomic-bert",
    size: 274_302_450,
    parameters: ("137M", 136_727_040),
    quantization: "F16",
    context_length: 2048,
    embedding_length: 768,
    capabilities: &["embedding"],
};

/// Every name that is not Nomic's is Llama's.
fn facts(model: &str) -> &'static Facts {
    if model.starts_with("nomic") { &NOMIC } else { &LLAMA }
}

fn ok(body: &Value) -> Reply {
    Reply::json(StatusCode::OK, JSON, body)
}

fn text(status: StatusCode, text: &str) -> Reply {
    Reply { status, content_type: "text/plain; charset=utf-8", content: Content::Whole(text.to_owned()) }
}

fn error(status: StatusCode, message: &str) -> Reply {
    Reply::json(status, JSON, &json!({"error": message}))
}

/// What is wrong with the request, if anything.
fn refusal(asked: &Asked<'_>) -> Option<Reply> {
    let model = asked.model();
    if !asked.body.is_object() {
        Some(error(StatusCode::BAD_REQUEST, "missing request body"))
    } else if model.is_empty() {
        Some(error(StatusCode::BAD_REQUEST, "model is required"))
    } else if model.starts_with("made-up") {
        Some(error(StatusCode::NOT_FOUND, &format!("model '{model}' not found")))
    } else {
        None
    }
}

fn directed(asked: &Asked<'_>) -> Reply {
    let (status, message) = match (asked.directive.error, asked.directive.status) {
        (Some(kind), _) => of_kind(kind, asked.model()),
        (None, Some(401)) => of_kind(Kind::Auth, asked.model()),
        (None, Some(404)) => of_kind(Kind::NotFound, asked.model()),
        (None, Some(503)) => of_kind(Kind::Overloaded, asked.model()),
        (None, _) => (500, INTERNAL.to_owned()),
    };
    error(asked.status_or(status), &message)
}

/// The error inside a stream, or under status 200.
fn error_inside(asked: &Asked<'_>) -> Value {
    let message = asked.directive.error.map_or_else(|| INTERNAL.to_owned(), |kind| of_kind(kind, asked.model()).1);
    json!({"error": message})
}

fn of_kind(kind: Kind, model: &str) -> (u16, String) {
    let (status, message) = match kind {
        Kind::ContextLength => (400, "the input length exceeds the context length"),
        Kind::ContentFilter => (400, "the prompt was refused by the content filter"),
        Kind::Quota => (429, "the account has reached its weekly usage limit"),
        Kind::Auth => (401, "unauthorized"),
        Kind::NotFound => return (404, format!("model '{model}' not found")),
        Kind::Overloaded => (503, "server busy, please try again.  maximum pending requests exceeded"),
    };
    (status, message.to_owned())
}

fn details(facts: &Facts) -> Value {
    json!({
        "parent_model": "",
        "format": "gguf",
        "family": facts.family,
        "families": [facts.family],
        "parameter_size": facts.parameters.0,
        "quantization_level": facts.quantization,
    })
}

fn entry(facts: &Facts) -> Value {
    json!({
        "name": facts.name,
        "model": facts.name,
        "modified_at": CREATED_AT,
        "size": facts.size,
        "digest": format!("{:064x}", facts.size),
        "details": details(facts),
    })
}

/// A model in memory, as `/api/ps` lists it.
fn loaded(facts: &Facts) -> Value {
    json!({
        "name": facts.name,
        "model": facts.name,
        "size": facts.size,
        "digest": format!("{:064x}", facts.size),
        "details": details(facts),
        "expires_at": "2025-10-09T08:58:20.123456789Z",
        "size_vram": facts.size,
        "context_length": 4096,
    })
}

fn show(facts: &Facts) -> Value {
    let family = facts.family;
    json!({
        "modelfile": format!("FROM {}\n", facts.name),
        "template": "{{ .Prompt }}",
        "details": details(facts),
        "model_info": {
            "general.architecture": family,
            "general.parameter_count": facts.parameters.1,
            (format!("{family}.context_length")): facts.context_length,
            (format!("{family}.embedding_length")): facts.embedding_length,
        },
        "capabilities": facts.capabilities,
        "modified_at": CREATED_AT,
    })
}

fn embed(asked: &Asked<'_>) -> Value {
    let vectors: Vec<Value> = embedding::vectors(asked.body).iter().map(|vector| embedding::numbers(vector)).collect();
    let mut answer = json!({
        "model": asked.model(),
        "embeddings": vectors,
        "total_duration": 14_143_917,
        "load_duration": 1_019_500,
    });
    if !asked.directive.no_usage {
        answer["prompt_eval_count"] = json!(embedding::tokens(asked.body));
    }
    answer
}

const INTERNAL: &str = "an error was encountered while running the model";
