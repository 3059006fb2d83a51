//! Messages: each content block begun, told in one delta, and ended.

use serde_json::{Map, Value, json};

use super::{Ending, payloads};
use crate::anthropic::LAST_EVENT;
use crate::types::{BadAnswer, Piece};

pub(super) fn pieces(body: &[u8]) -> Result<Vec<Piece>, BadAnswer> {
    let mut answer: Map<String, Value> = serde_json::from_slice(body).map_err(|_| BadAnswer::NotJson)?;
    let Some(Value::Array(blocks)) = answer.remove("content") else { return Err(BadAnswer::NoChoices) };
    if blocks.is_empty() {
        return Err(BadAnswer::NoChoices);
    }
    let usage = answer.get("usage").cloned().unwrap_or_default();
    let end = json!({"stop_reason": answer.insert("stop_reason".to_owned(), Value::Null).unwrap_or_default(),
        "stop_sequence": answer.insert("stop_sequence".to_owned(), Value::Null).unwrap_or_default()});
    answer.insert("content".to_owned(), json!([]));
    let mut pieces = vec![event(&json!({"type": "message_start", "message": answer}), false)];
    for (index, block) in blocks.into_iter().enumerate() {
        let Value::Object(mut block) = block else { return Err(BadAnswer::NoChoices) };
        let deltas = taken_apart(&mut block);
        let start = json!({"type": "content_block_start", "index": index, "content_block": block});
        pieces.push(event(&start, true));
        for delta in deltas {
            pieces.push(event(&json!({"type": "content_block_delta", "index": index, "delta": delta}), true));
        }
        pieces.push(event(&json!({"type": "content_block_stop", "index": index}), false));
    }
    pieces.push(event(&json!({"type": "message_delta", "delta": end, "usage": usage}), false));
    pieces.extend([Piece::Last(LAST_EVENT), Piece::Done]);
    Ok(pieces)
}

/// What a block's deltas say; the block keeps what its start says.
fn taken_apart(block: &mut Map<String, Value>) -> Vec<Value> {
    let mut take = |name: &str, rest: Value| {
        let held = block.get_mut(name)?;
        let value = std::mem::replace(held, rest);
        Some(value).filter(|value| !value.is_null())
    };
    let mut deltas = Vec::new();
    let kind = take("type", Value::Null).unwrap_or_default();
    match kind.as_str().unwrap_or_default() {
        "text" => {
            let citations = take("citations", json!([]));
            for citation in citations.as_ref().and_then(Value::as_array).into_iter().flatten() {
                deltas.push(json!({"type": "citations_delta", "citation": citation}));
            }
            deltas.extend(take("text", "".into()).map(|text| json!({"type": "text_delta", "text": text})));
        }
        "thinking" => {
            deltas.extend(take("thinking", "".into()).map(|text| json!({"type": "thinking_delta", "thinking": text})));
            let proof = take("signature", "".into());
            deltas.extend(proof.map(|proof| json!({"type": "signature_delta", "signature": proof})));
        }
        "tool_use" | "server_tool_use" => {
            let input = take("input", json!({})).map(|input| input.to_string());
            deltas.extend(input.map(|input| json!({"type": "input_json_delta", "partial_json": input})));
        }
        _ => {}
    }
    block.insert("type".to_owned(), kind);
    deltas
}

fn event(payload: &Value, content: bool) -> Piece {
    let kind = payload["type"].as_str().unwrap_or_default();
    Piece::Frame { bytes: format!("event: {kind}\ndata: {payload}\n\n").into(), content }
}

pub(super) fn whole(stream: &[u8]) -> Option<Value> {
    let mut message: Option<Map<String, Value>> = None;
    let (mut blocks, mut arguments, mut is_over) = (Vec::new(), String::new(), false);
    for mut event in payloads(stream)? {
        let kind = event.get("type")?.as_str()?.to_owned();
        match kind.as_str() {
            "message_start" => message = Some(event.remove("message")?.as_object()?.clone()),
            "content_block_start" => blocks.push(event.remove("content_block")?),
            "content_block_delta" => {
                is_latest(&event, &blocks)?;
                add(blocks.last_mut()?, &mut arguments, event.get("delta")?)?;
            }
            "content_block_stop" => {
                is_latest(&event, &blocks)?;
                if !arguments.is_empty() {
                    let input: Value = serde_json::from_str(&std::mem::take(&mut arguments)).ok()?;
                    blocks.last_mut()?.as_object_mut()?.insert("input".to_owned(), input);
                }
            }
            "message_delta" => {
                let message = message.as_mut()?;
                for (name, value) in event.get("delta")?.as_object()? {
                    message.insert(name.clone(), value.clone());
                }
                merge_usage(message, event.get("usage"));
            }
            "message_stop" => is_over = true,
            "ping" => {}
            _ => return None,
        }
    }
    let mut message = message.filter(|_| is_over)?;
    message.insert("content".to_owned(), blocks.into());
    Some(Value::Object(message))
}

/// Blocks do not overlap: only the latest goes on.
fn is_latest(event: &Map<String, Value>, blocks: &[Value]) -> Option<()> {
    let index = event.get("index").and_then(Value::as_u64)?;
    (index.checked_add(1)? == u64::try_from(blocks.len()).ok()?).then_some(())
}

fn merge_usage(message: &mut Map<String, Value>, later: Option<&Value>) {
    let Some(Value::Object(later)) = later else { return };
    let held = message.entry("usage").or_insert_with(|| json!({}));
    if let Value::Object(held) = held {
        held.extend(
            later.iter().filter(|(_, count)| !count.is_null()).map(|(name, count)| (name.clone(), count.clone())),
        );
    }
}

fn add(block: &mut Value, arguments: &mut String, delta: &Value) -> Option<()> {
    let block = block.as_object_mut()?;
    let mut push = |name: &str, more: &Value| {
        match (block.get_mut(name), more.as_str()?) {
            (Some(Value::String(text)), more) => text.push_str(more),
            (Some(_) | None, more) => drop(block.insert(name.to_owned(), more.into())),
        }
        Some(())
    };
    match delta["type"].as_str()? {
        "text_delta" => push("text", &delta["text"]),
        "thinking_delta" => push("thinking", &delta["thinking"]),
        "signature_delta" => push("signature", &delta["signature"]),
        "input_json_delta" => {
            arguments.push_str(delta["partial_json"].as_str()?);
            Some(())
        }
        "citations_delta" => {
            let held = block.entry("citations").or_insert_with(|| json!([]));
            if held.is_null() {
                *held = json!([]);
            }
            held.as_array_mut()?.push(delta["citation"].clone());
            Some(())
        }
        _ => None,
    }
}

pub(super) fn ending(body: &[u8]) -> Option<Ending> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let blocks = answer["content"].as_array()?;
    let calls = blocks.iter().any(|block| block["type"] == "tool_use");
    let has_text = blocks.iter().any(|block| block["text"].as_str().is_some_and(|text| !text.trim().is_empty()));
    match answer["stop_reason"].as_str()? {
        "end_turn" | "stop_sequence" if has_text && !calls => Some(Ending::Stop),
        "tool_use" if calls => Some(Ending::ToolCalls),
        _ => None,
    }
}

pub(super) fn text(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let blocks = answer["content"].as_array()?;
    Some(blocks.iter().filter_map(|block| block["text"].as_str()).collect())
}
