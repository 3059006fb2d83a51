//! What the vendor refuses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::message::signature;
use crate::reply::Asked;

const FIELDS: [&str; 18] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "metadata",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "service_tier",
    "container",
    "cache_control",
    "context_management",
];

/// The vendor's words on what is wrong with the request, if anything.
pub(super) fn problem(asked: &Asked<'_>, needs_max_tokens: bool) -> Option<String> {
    let body = asked.body;
    let Some(object) = body.as_object() else { return Some("The request body is not valid JSON".to_owned()) };
    if !asked.has_header("anthropic-version") {
        return Some("anthropic-version: header is required".to_owned());
    }
    if let Some(name) = object.keys().find(|name| !FIELDS.contains(&name.as_str())) {
        return Some(format!("{name}: Extra inputs are not permitted"));
    }
    if asked.model().is_empty() {
        return Some("model: Field required".to_owned());
    }
    if needs_max_tokens && body["max_tokens"].as_u64().is_none_or(|tokens| tokens == 0) {
        return Some("max_tokens: Field required".to_owned());
    }
    if body["temperature"].as_f64().is_some_and(|value| !(0.0..=1.0).contains(&value)) {
        return Some("temperature: range: 0..1".to_owned());
    }
    let blank = body["stop_sequences"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|stop| stop.as_str().unwrap_or(" ").trim().is_empty());
    if blank {
        return Some("stop_sequences: each stop sequence must contain non-whitespace".to_owned());
    }
    thinking(body).or_else(|| tools(body)).or_else(|| system(body)).or_else(|| messages(body))
}

fn thinking(body: &Value) -> Option<String> {
    let thinking = &body["thinking"];
    let is_on = matches!(thinking["type"].as_str(), Some("enabled" | "adaptive"));
    if thinking["type"] == "enabled" {
        let budget = thinking["budget_tokens"].as_u64().unwrap_or(0);
        if budget < 1_024 {
            return Some("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024".to_owned());
        }
        if body["max_tokens"].as_u64().is_some_and(|most| budget >= most) {
            return Some("`max_tokens` must be greater than `thinking.budget_tokens`".to_owned());
        }
    }
    if !is_on {
        return None;
    }
    if body["temperature"].as_f64().is_some_and(|value| value != 1.0) {
        return Some("`temperature` may only be set to 1 when thinking is enabled.".to_owned());
    }
    if !body["top_k"].is_null() {
        return Some("`top_k` must be unset when thinking is enabled.".to_owned());
    }
    if matches!(body["tool_choice"]["type"].as_str(), Some("any" | "tool")) {
        return Some("Thinking may not be enabled when tool_choice forces tool use.".to_owned());
    }
    None
}

fn tools(body: &Value) -> Option<String> {
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    if tools.is_empty() && !body["tool_choice"].is_null() {
        return Some("tool_choice may only be specified while providing tools".to_owned());
    }
    let bad = tools.iter().position(|tool| tool["input_schema"]["type"] != "object");
    bad.map(|place| format!("tools.{place}.custom.input_schema.type: Input should be 'object'"))
}

fn system(body: &Value) -> Option<String> {
    let blocks = body["system"].as_array().into_iter().flatten();
    blocks.clone().any(|block| block["text"] == "").then(|| "system: text content blocks must be non-empty".to_owned())
}

fn messages(body: &Value) -> Option<String> {
    let Some(messages) = body["messages"].as_array().filter(|messages| !messages.is_empty()) else {
        return Some("messages: at least one message is required".to_owned());
    };
    if messages.first().is_some_and(|message| message["role"] != "user") {
        return Some("messages: first message must use the \"user\" role".to_owned());
    }
    let mut marks = body["system"]
        .as_array()
        .into_iter()
        .flatten()
        .chain(body["tools"].as_array().into_iter().flatten())
        .filter(|block| !block["cache_control"].is_null())
        .count();
    let mut called = BTreeSet::new();
    for (place, message) in messages.iter().enumerate() {
        let role = message["role"].as_str().unwrap_or_default();
        if !matches!(role, "user" | "assistant") {
            return Some(format!("messages: Unexpected role \"{role}\"."));
        }
        if message["content"].is_string() {
            if !called.is_empty() {
                return Some(unanswered(place, &called));
            }
            continue;
        }
        let Some(blocks) = message["content"].as_array().filter(|blocks| !blocks.is_empty()) else {
            return Some(format!("messages.{place}: content must be non-empty"));
        };
        marks += blocks.iter().filter(|block| !block["cache_control"].is_null()).count();
        let problem = match role {
            "user" => results(place, blocks, std::mem::take(&mut called)),
            _ => calls(place, blocks, &mut called),
        };
        if problem.is_some() {
            return problem;
        }
    }
    if marks > 4 {
        return Some(format!("A maximum of 4 blocks with cache_control may be provided. Found {marks}."));
    }
    (!called.is_empty()).then(|| unanswered(messages.len(), &called))
}

fn unanswered(place: usize, called: &BTreeSet<String>) -> String {
    let ids: Vec<&str> = called.iter().map(String::as_str).collect();
    format!(
        "messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: {}",
        ids.join(", ")
    )
}

fn results(place: usize, blocks: &[Value], mut called: BTreeSet<String>) -> Option<String> {
    let mut others = 0;
    for (number, block) in blocks.iter().enumerate() {
        match block["type"].as_str().unwrap_or_default() {
            "tool_result" => {
                let id = block["tool_use_id"].as_str().unwrap_or_default();
                if !called.remove(id) {
                    return Some(format!(
                        "messages.{place}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {id}"
                    ));
                }
                if others > 0 {
                    return Some(format!("messages.{place}: `tool_result` blocks must come first"));
                }
            }
            "text" if block["text"].as_str().unwrap_or_default().is_empty() => {
                return Some("messages: text content blocks must be non-empty".to_owned());
            }
            "image" => {
                if let Some(problem) = image(place, number, &block["source"]) {
                    return Some(problem);
                }
                others += 1;
            }
            "text" | "document" | "search_result" => others += 1,
            other => return Some(format!("messages.{place}.content.{number}: Input tag '{other}' does not match")),
        }
    }
    (!called.is_empty()).then(|| unanswered(place, &called))
}

fn image(place: usize, number: usize, source: &Value) -> Option<String> {
    let data = source["data"].as_str().unwrap_or_default();
    let true_type = [("iVBOR", "image/png"), ("/9j/", "image/jpeg"), ("R0lG", "image/gif"), ("UklGR", "image/webp")];
    let is_of = true_type.iter().find(|(start, _)| data.starts_with(start)).map(|(_, kind)| *kind);
    match (source["type"].as_str(), source["media_type"].as_str(), is_of) {
        (Some("url"), ..) => None,
        (Some("base64"), Some(claimed), Some(kind)) if claimed == kind => None,
        _ => Some(format!("messages.{place}.content.{number}.image.source: the image does not match its media type")),
    }
}

fn calls(place: usize, blocks: &[Value], called: &mut BTreeSet<String>) -> Option<String> {
    for (number, block) in blocks.iter().enumerate() {
        match block["type"].as_str().unwrap_or_default() {
            "tool_use" => {
                let id = block["id"].as_str().unwrap_or_default();
                let is_fit = !id.is_empty()
                    && id.chars().all(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-'));
                if !is_fit || !block["input"].is_object() {
                    return Some(format!("messages.{place}.content.{number}.tool_use: id or input is not valid"));
                }
                called.insert(id.to_owned());
            }
            "thinking" => {
                let text = block["thinking"].as_str().unwrap_or_default();
                if block["signature"] != signature(text) {
                    return Some(format!("messages.{place}.content.{number}: Invalid `signature` in `thinking` block"));
                }
            }
            "text" if block["text"].as_str().unwrap_or_default().is_empty() => {
                return Some("messages: text content blocks must be non-empty".to_owned());
            }
            "text" | "redacted_thinking" => {}
            other => return Some(format!("messages.{place}.content.{number}: Input tag '{other}' does not match")),
        }
    }
    None
}
