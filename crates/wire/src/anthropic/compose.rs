//! A canonical chat as the body of `/messages`: for a client of another dialect.
//!
//! Anthropic is strict where OpenAI is not: turns alternate, blocks are not empty, results stand before everything else
//! and answer the calls just made, ids have few letters, `max_tokens` is required.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::answer::{accepted_id, input};
use crate::chat::{self, Chat, Format, Message, Part, Thought, Tool, ToolChoice};
use crate::loss::Loss;
use crate::types::Thinking;
use crate::{Error, Problem, Target};

/// The longest answer that is allowed where neither the caller nor the catalogue says: what every model can give.
const MAX_TOKENS: u64 = 8_192;
/// Fields of Anthropic's own that a client of another dialect may add.
const NATIVE: [&str; 3] = ["cache_control", "container", "context_management"];
const THINKING: &str = "thinking";
/// The least that a model may be told to think for, and that must be left for the answer.
const MIN_THINKING_TOKENS: u64 = 1_024;

/// The body. What the dialect has no way to say is noted in `loss`.
///
/// # Errors
/// [`Problem::UnsupportedParameter`] for content that cannot be sent and must not be dropped.
pub(crate) fn compose(chat: &Chat<'_>, target: &Target<'_>, stream: bool, loss: &mut Loss) -> Result<Vec<u8>, Error> {
    let thinking = Planned::of(chat, target, loss);
    let (system, turns) = turns(chat, thinking.is_on(), loss)?;
    let mut body = Map::new();
    let mut set = |name: &str, value: Value| body.insert(name.to_owned(), value);
    set("model", json!(target.model));
    set("max_tokens", json!(thinking.max_tokens));
    if !system.is_empty() {
        set("system", Value::Array(system));
    }
    set("messages", Value::Array(turns));
    if stream {
        set("stream", json!(true));
    }
    if let Some(temperature) = temperature(chat, &thinking, loss) {
        set("temperature", json!(temperature));
    }
    if let Some(top_p) = chat.top_p.filter(|_| chat.temperature.is_none()) {
        set("top_p", json!(top_p));
    } else if chat.top_p.is_some_and(|top_p| top_p < 1.0) {
        loss.note("top_p", "Anthropic's models take a temperature or a `top_p`, not both; the temperature was sent");
    }
    if let Some(top_k) = chat.top_k {
        match thinking.is_on() {
            true => loss.note("top_k", "not with a model that thinks"),
            false => drop(set("top_k", json!(top_k))),
        }
    }
    let stop: Vec<&Cow<'_, str>> = chat.stop.iter().filter(|stop| !stop.trim().is_empty()).collect();
    if stop.len() < chat.stop.len() {
        loss.note("stop", "a sequence of nothing but white space is not accepted; left out");
    }
    if !stop.is_empty() {
        set("stop_sequences", json!(stop));
    }
    if !chat.tools.is_empty() {
        set("tools", chat.tools.iter().map(tool).collect());
        if let Some(choice) = tool_choice(chat, thinking.is_on(), loss) {
            set("tool_choice", choice);
        }
    }
    if let Some(value) = thinking.value {
        set("thinking", value);
    }
    for (name, raw) in chat.rest.iter().filter(|(name, _)| NATIVE.contains(&&**name)) {
        set(name, value(raw));
    }
    let mut output = Map::new();
    output.extend(thinking.effort.map(|effort| ("effort".to_owned(), json!(effort))));
    match chat.format {
        Format::Text => {}
        Format::JsonSchema(schema) => {
            output.insert("format".to_owned(), json!({"type": "json_schema", "schema": value(schema)}));
        }
        Format::JsonObject => loss.note("response_format", "Anthropic has JSON by schema only; nothing was sent"),
    }
    if !output.is_empty() {
        set("output_config", Value::Object(output));
    }
    if let Some(user) = &chat.user {
        set("metadata", json!({"user_id": user}));
    }
    note_losses(chat, loss);
    Ok(Value::Object(body).to_string().into_bytes())
}

/// How much the model thinks, and how long its answer may be.
struct Planned {
    max_tokens: u64,
    value: Option<Value>,
    effort: Option<&'static str>,
}

impl Planned {
    fn of(chat: &Chat<'_>, target: &Target<'_>, loss: &mut Loss) -> Planned {
        let max_tokens = chat.max_tokens.or(target.max_output_tokens).unwrap_or_else(|| {
            loss.note("max_tokens", "required by Anthropic and unknown for this model; 8192 was sent");
            MAX_TOKENS
        });
        let max_tokens = target.max_output_tokens.map_or(max_tokens, |most| max_tokens.min(most));
        let plain = Planned { max_tokens, value: None, effort: None };
        if let Some((_, raw)) = chat.rest.iter().find(|(name, _)| name == THINKING) {
            return Planned { value: Some(value(raw)), ..plain };
        }
        let Some(effort) = chat.reasoning_effort.as_deref() else { return plain };
        let (share, level) = match effort {
            "none" => return plain,
            "minimal" => (0.1, "low"),
            "low" => (0.2, "low"),
            "medium" => (0.5, "medium"),
            "high" => (0.8, "high"),
            "xhigh" => (0.9, "xhigh"),
            "max" => (0.95, "max"),
            _ => {
                loss.note("reasoning_effort", "not a known effort; the model's default holds");
                return plain;
            }
        };
        if has_unsigned_tool_turn(chat) {
            loss.note("reasoning_effort", "the conversation is in the middle of tool calls without their reasoning");
            return plain;
        }
        match target.thinking {
            Thinking::Unknown => {
                loss.note("reasoning_effort", "the model is not known to think");
                plain
            }
            Thinking::Adaptive => Planned { value: Some(json!({"type": "adaptive"})), effort: Some(level), ..plain },
            Thinking::Budget => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
                let wanted = (max_tokens as f64 * share) as u64;
                let budget = wanted.max(MIN_THINKING_TOKENS);
                if budget >= max_tokens {
                    loss.note("reasoning_effort", "`max_tokens` leaves no room to think");
                    return plain;
                }
                Planned { value: Some(json!({"type": "enabled", "budget_tokens": budget})), ..plain }
            }
        }
    }

    fn is_on(&self) -> bool {
        self.value.as_ref().is_some_and(|value| value["type"] != "disabled")
    }
}

/// A turn that called tools and is still being answered must begin with its reasoning when the model thinks.
fn has_unsigned_tool_turn(chat: &Chat<'_>) -> bool {
    let ends_in_results = matches!(chat.messages.last(), Some(Message::Tool { .. }));
    let calling = chat.messages.iter().rev().find_map(|message| match message {
        Message::Assistant { thoughts, tool_calls, .. } if !tool_calls.is_empty() => Some(thoughts),
        _ => None,
    });
    let is_signed = |thoughts: &Vec<Thought<'_>>| thoughts.iter().any(Thought::is_proven);
    ends_in_results && calling.is_some_and(|thoughts| !is_signed(thoughts))
}

fn temperature(chat: &Chat<'_>, thinking: &Planned, loss: &mut Loss) -> Option<f64> {
    let wanted = chat.temperature?;
    if thinking.is_on() {
        if wanted != 1.0 {
            loss.note("temperature", "always 1 when the model thinks");
        }
        return None;
    }
    if wanted > 1.0 {
        loss.note("temperature", "Anthropic's goes to 1; 1 was sent");
    }
    Some(wanted.min(1.0))
}

fn tool(tool: &Tool<'_>) -> Value {
    let mut schema = tool.parameters.map_or(Value::Null, value);
    if !schema.is_object() {
        schema = json!({});
    }
    if schema["type"] != "object" {
        schema["type"] = json!("object");
    }
    if schema.get("properties").is_none() {
        schema["properties"] = json!({});
    }
    let mut encoded = json!({"name": tool.name, "input_schema": schema});
    if let Some(description) = tool.description.as_deref().filter(|text| !text.is_empty()) {
        encoded["description"] = json!(description);
    }
    if tool.strict == Some(true) {
        encoded["strict"] = json!(true);
    }
    if let Some(mark) = tool.cache_control {
        encoded["cache_control"] = value(mark);
    }
    encoded
}

fn tool_choice(chat: &Chat<'_>, is_thinking: bool, loss: &mut Loss) -> Option<Value> {
    let mut choice = match &chat.tool_choice {
        ToolChoice::Auto => None,
        ToolChoice::None => return Some(json!({"type": "none"})),
        ToolChoice::Required | ToolChoice::Function(_) if is_thinking => {
            loss.note("tool_choice", "a model that thinks cannot be made to call a tool; left to the model");
            None
        }
        ToolChoice::Required => Some(json!({"type": "any"})),
        ToolChoice::Function(name) => Some(json!({"type": "tool", "name": name})),
    };
    if chat.parallel_tool_calls == Some(false) {
        choice.get_or_insert_with(|| json!({"type": "auto"}))["disable_parallel_tool_use"] = json!(true);
    }
    choice
}

/// The system blocks, and the turns by alternating roles.
fn turns(chat: &Chat<'_>, is_thinking: bool, loss: &mut Loss) -> Result<(Vec<Value>, Vec<Value>), Error> {
    let mut system = Vec::new();
    let mut turns = Turns::default();
    for (position, message) in chat.messages.iter().enumerate() {
        let path = format!("messages[{position}]");
        match message {
            Message::System(content) => {
                if !turns.turns.is_empty() {
                    loss.note(&path, "instructions in the middle of a conversation; sent at its beginning");
                }
                system.extend(blocks(content, &path)?);
            }
            Message::User(content) => turns.say("user", blocks(content, &path)?),
            Message::Assistant { content, thoughts, tool_calls } => {
                let mut said = thoughts_of(thoughts, &path, loss);
                said.extend(blocks(content, &path)?);
                for (number, call) in tool_calls.iter().enumerate() {
                    let arguments = input(&call.arguments);
                    if arguments.get("_raw").is_some() && !call.arguments.contains("\"_raw\"") {
                        let path = format!("{path}.tool_calls[{number}].function.arguments");
                        loss.note(path, "not a JSON object; sent whole under `_raw`");
                    }
                    let id = accepted_id(&call.id);
                    said.push(json!({"type": "tool_use", "id": id, "name": call.name, "input": arguments}));
                }
                turns.say("assistant", said);
            }
            Message::Tool { tool_call_id, content, is_error, name: _ } => {
                let mut result = json!({"type": "tool_result", "tool_use_id": accepted_id(tool_call_id)});
                let content = blocks(content, &path)?;
                if !content.is_empty() {
                    result["content"] = Value::Array(content);
                }
                if *is_error {
                    result["is_error"] = json!(true);
                }
                turns.say("user", vec![result]);
            }
        }
    }
    turns.finish(is_thinking, loss);
    Ok((system, turns.turns))
}

/// Turns as they are put together: neighbours of one role become one.
#[derive(Default)]
struct Turns {
    turns: Vec<Value>,
}

impl Turns {
    fn say(&mut self, role: &str, mut blocks: Vec<Value>) {
        if blocks.is_empty() {
            return;
        }
        match self.turns.last_mut().filter(|turn| turn["role"] == role).and_then(|turn| turn["content"].as_array_mut())
        {
            Some(content) => content.append(&mut blocks),
            None => self.turns.push(json!({"role": role, "content": blocks})),
        }
    }

    /// Puts right what Anthropic would refuse: results that answer nothing, calls that nobody answered, a conversation
    /// that does not begin with its user.
    fn finish(&mut self, is_thinking: bool, loss: &mut Loss) {
        let mut called: HashSet<String> = HashSet::new();
        let last = self.turns.len().saturating_sub(1);
        let mut unanswered: Vec<(usize, Vec<String>)> = Vec::new();
        for (place, turn) in self.turns.iter_mut().enumerate() {
            let is_user = turn["role"] == "user";
            let Some(content) = turn["content"].as_array_mut() else { continue };
            if is_user {
                let before = content.len();
                let open = &mut called;
                content.retain(|block| {
                    block["type"] != "tool_result" || open.remove(block["tool_use_id"].as_str().unwrap_or_default())
                });
                if content.len() < before {
                    loss.note("messages", "a tool's result that answers no call of the turn before; left out");
                }
                // A stable sort: results first, everything else in its order.
                content.sort_by_key(|block| block["type"] != "tool_result");
                if !called.is_empty() {
                    let mut missing: Vec<String> = called.drain().collect();
                    missing.sort_unstable();
                    unanswered.push((place, missing));
                }
            } else {
                let ids = content.iter().filter(|block| block["type"] == "tool_use");
                called = ids.filter_map(|block| block["id"].as_str().map(str::to_owned)).collect();
                if place == last && is_thinking {
                    loss.note(
                        "messages",
                        "an answer that was begun for the model; models that think do not go on with it",
                    );
                }
            }
        }
        for (place, ids) in unanswered {
            loss.note("messages", "a call without a result; sent with an error as its result");
            let results = ids.into_iter().map(|id| {
                json!({"type": "tool_result", "tool_use_id": id, "is_error": true, "content": "The call was not made."})
            });
            if let Some(content) = self.turns.get_mut(place).and_then(|turn| turn["content"].as_array_mut()) {
                content.splice(0..0, results.collect::<Vec<_>>());
            }
        }
        if !called.is_empty() {
            // The conversation ends with calls: there is nobody to answer them.
            let mut ids: Vec<String> = called.into_iter().collect();
            ids.sort_unstable();
            loss.note("messages", "a call without a result; sent with an error as its result");
            let results = ids.into_iter().map(|id| {
                json!({"type": "tool_result", "tool_use_id": id, "is_error": true, "content": "The call was not made."})
            });
            self.turns.push(json!({"role": "user", "content": results.collect::<Vec<_>>()}));
        }
        self.turns.retain(|turn| turn["content"].as_array().is_some_and(|content| !content.is_empty()));
        if self.turns.first().is_none_or(|turn| turn["role"] != "user") {
            loss.note("messages", "Anthropic's conversations begin with the user; a turn of one dot was added");
            self.turns.insert(0, json!({"role": "user", "content": [{"type": "text", "text": "."}]}));
        }
    }
}

/// Reasoning that the vendor can check. What is not signed cannot be replayed.
fn thoughts_of(thoughts: &[Thought<'_>], path: &str, loss: &mut Loss) -> Vec<Value> {
    if thoughts.iter().any(|thought| !thought.is_proven()) {
        loss.note(path, "reasoning without a signature; left out");
    }
    let proven = thoughts.iter().filter_map(|thought| match thought {
        Thought::Text { text, signature: Some(signature) } => {
            Some(json!({"type": "thinking", "thinking": text, "signature": signature}))
        }
        Thought::Text { signature: None, .. } => None,
        Thought::Redacted(data) => Some(json!({"type": "redacted_thinking", "data": data})),
    });
    proven.collect()
}

/// Content blocks; a mark of the cache goes to the block before it. Text that is empty is none.
fn blocks(parts: &[Part<'_>], path: &str) -> Result<Vec<Value>, Error> {
    let mut blocks: Vec<Value> = Vec::with_capacity(parts.len());
    for (index, part) in parts.iter().enumerate() {
        match part {
            Part::Text(text) if text.is_empty() => {}
            Part::Text(text) => blocks.push(json!({"type": "text", "text": text})),
            Part::Image { url } => blocks.push(json!({"type": "image", "source": image(url, path, index)?})),
            Part::File { url, name } => blocks.push(document(url, name.as_deref(), path, index)?),
            Part::CacheUntilHere(mark) => {
                if let Some(block) = blocks.last_mut() {
                    block["cache_control"] = value(mark);
                }
            }
            Part::Other { kind, raw } => blocks.push(json!({"type": "text", "text": refusal(kind, raw, path, index)?})),
        }
    }
    Ok(blocks)
}

/// A refusal that the assistant gave is text like any other; no other kind of part may be dropped.
fn refusal(kind: &str, raw: &RawValue, path: &str, index: usize) -> Result<String, Error> {
    match value(raw).get("refusal").and_then(Value::as_str) {
        Some(text) if kind == "refusal" && !text.is_empty() => Ok(text.to_owned()),
        _ => {
            let message = "This model takes text, images and documents only.";
            Err(Error::at(format!("{path}.content[{index}]"), Problem::UnsupportedParameter, message))
        }
    }
}

fn image(url: &str, path: &str, index: usize) -> Result<Value, Error> {
    let param = || format!("{path}.content[{index}].image_url");
    let Some(data) = url.strip_prefix("data:") else { return Ok(json!({"type": "url", "url": url})) };
    let Some((declared, data)) = data.split_once(";base64,") else {
        return Err(Error::at(param(), Problem::InvalidValue, "A `data:` URL of an image must be base64-encoded."));
    };
    let data = data.trim();
    let media_type = chat::media_type_of(data).unwrap_or(declared);
    Ok(json!({"type": "base64", "media_type": media_type, "data": data}))
}

fn document(url: &str, name: Option<&str>, path: &str, index: usize) -> Result<Value, Error> {
    let source = match url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,")) {
        Some(("text/plain", _)) => {
            let text = chat::text_of_data_url(url).ok_or_else(|| {
                let message = "A `data:` URL of a text must be UTF-8 in base64.";
                Error::at(format!("{path}.content[{index}].file"), Problem::InvalidValue, message)
            })?;
            json!({"type": "text", "media_type": "text/plain", "data": text})
        }
        Some((media_type, data)) => json!({"type": "base64", "media_type": media_type, "data": data.trim()}),
        None => json!({"type": "url", "url": url}),
    };
    let mut block = json!({"type": "document", "source": source});
    if let Some(name) = name {
        block["title"] = json!(name);
    }
    Ok(block)
}

fn note_losses(chat: &Chat<'_>, loss: &mut Loss) {
    let set = [
        ("seed", chat.seed.is_some()),
        ("presence_penalty", chat.presence_penalty.is_some_and(|penalty| penalty != 0.0)),
        ("frequency_penalty", chat.frequency_penalty.is_some_and(|penalty| penalty != 0.0)),
    ];
    for (name, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        loss.note(name, "Anthropic has no equivalent");
    }
    for kind in &chat.hosted_tools {
        loss.note("tools", format!("`{kind}` is a tool of another vendor's own"));
    }
    for (name, value) in &chat.rest {
        let is_native = NATIVE.contains(&&**name) || name == THINKING;
        if !is_native && !chat::says_nothing(name, value.get()) {
            loss.note(name.as_ref(), "Anthropic has no equivalent");
        }
    }
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}
