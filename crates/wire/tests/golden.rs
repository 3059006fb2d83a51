//! The table of what is translated to what: every dialect by every case, requests, answers and streams.
//!
//! Cases stand in `golden/requests.json` (by client) and `golden/answers.json` (by provider); what comes out stands
//! beside them, one file a case, for people to read. Every stream is cut at every byte.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Map, Value};
use wire::{AnswerContext, Client, Dialect, Piece, Relay, StreamFault, Target, Thinking};

const CLIENTS: [(&str, Client); 2] = [("openai", Client::OpenAi), ("anthropic", Client::Anthropic)];
const PROVIDERS: [(&str, Dialect); 3] =
    [("openai", Dialect::OpenAi), ("anthropic", Dialect::Anthropic), ("ollama", Dialect::Ollama)];

fn cases(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

fn target(dialect: Dialect) -> Target<'static> {
    Target {
        dialect,
        model: "the-model",
        quirks: &[],
        context_window: Some(131_072),
        max_output_tokens: Some(64_000),
        thinking: Thinking::Budget,
    }
}

fn context() -> AnswerContext {
    AnswerContext {
        id: "chatcmpl-0190a1b2".to_owned(),
        created: 1_760_000_000,
        model: "the-model".to_owned(),
        prompt_tokens: 11,
        bent: Default::default(),
    }
}

fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("golden");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

fn pretty(bytes: &[u8]) -> String {
    let value: Value = serde_json::from_slice(bytes).unwrap();
    serde_json::to_string_pretty(&value).unwrap()
}

#[test]
fn requests() {
    for (case, by_client) in cases(include_str!("golden/requests.json")) {
        let mut shown = String::new();
        for (client_name, client) in CLIENTS {
            let body = Bytes::from(by_client[client_name].to_string());
            let request = wire::read_chat(client, &body).unwrap_or_else(|error| panic!("{case}: {error}"));
            for (provider, dialect) in PROVIDERS {
                writeln!(shown, "## {client_name} client, {provider} provider\n").unwrap();
                match wire::encode_chat(client, &body, &request, &target(dialect), |_| None) {
                    Ok(encoded) => {
                        writeln!(shown, "{}", pretty(&encoded.body)).unwrap();
                        for lost in encoded.loss.items() {
                            writeln!(shown, "lost: {}: {}", lost.path, lost.what).unwrap();
                        }
                    }
                    Err(error) => writeln!(shown, "refused: {:?}: {}", error.param, error.message).unwrap(),
                }
                shown.push('\n');
            }
        }
        snapshot(&format!("request_{case}"), &shown);
    }
}

/// The bytes of a provider's stream: events of Anthropic are named, Ollama's are lines.
fn framed(dialect: Dialect, events: &[Value]) -> Vec<u8> {
    let mut stream = String::new();
    for event in events {
        match dialect {
            Dialect::OpenAi => write!(stream, "data: {event}\n\n"),
            Dialect::Anthropic => write!(stream, "event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()),
            Dialect::Ollama => writeln!(stream, "{event}"),
        }
        .unwrap();
    }
    let is_error = events.last().is_some_and(|event| !event["error"].is_null());
    if dialect == Dialect::OpenAi && !is_error {
        stream.push_str("data: [DONE]\n\n");
    }
    stream.into_bytes()
}

fn relayed(dialect: Dialect, client: Client, slices: [&[u8]; 2]) -> (String, Option<StreamFault>) {
    let mut relay = Relay::new(dialect, client, context(), true, &[]);
    let pushed = slices.into_iter().try_for_each(|slice| relay.push(Bytes::copy_from_slice(slice)));
    let fault = pushed.and_then(|()| relay.end()).err();
    let mut out = Vec::new();
    while let Some(piece) = relay.pop() {
        match piece {
            Piece::Frame { bytes, .. } => out.extend_from_slice(&bytes),
            Piece::Comment(_) => {}
            Piece::Last(payload) => out.extend_from_slice(&client.last_frame(&payload, false)),
            Piece::Done => out.extend(relay.done_frame().into_iter().flatten()),
        }
    }
    (String::from_utf8(out).unwrap(), fault)
}

/// WIRE 4, 6.1, 7.1, 8.2.
#[test]
fn answers() {
    for (case, by_provider) in cases(include_str!("golden/answers.json")) {
        let mut shown = String::new();
        for (provider, dialect) in PROVIDERS {
            let Some(answer) = by_provider.get(provider) else { continue };
            for (client_name, client) in CLIENTS {
                writeln!(shown, "## {provider} provider, {client_name} client\n").unwrap();
                let body = Bytes::from(answer["whole"].to_string());
                match wire::translate_answer(dialect, client, body, &context()) {
                    Ok(whole) => writeln!(shown, "{}\nusage: {:?}\n", pretty(&whole.body), whole.usage).unwrap(),
                    Err(bad) => writeln!(shown, "refused: {bad:?}\n").unwrap(),
                }
                let stream = framed(dialect, answer["events"].as_array().unwrap());
                let (text, fault) = relayed(dialect, client, [&stream, b""]);
                writeln!(shown, "{text}fault: {fault:?}\n").unwrap();
                for cut in 0..stream.len() {
                    let (head, tail) = stream.split_at(cut);
                    let other = relayed(dialect, client, [head, tail]);
                    assert_eq!(other, (text.clone(), fault.clone()), "{case}: cut at {cut}");
                    assert!(
                        relayed(dialect, client, [head, b""]).1.is_some() || has_ended(dialect, head),
                        "{case}: {cut}"
                    );
                }
            }
        }
        snapshot(&format!("answer_{case}"), &shown);
    }
}

/// Whether the reason of the answer's end is among these bytes: what follows may be left out.
fn has_ended(dialect: Dialect, head: &[u8]) -> bool {
    let head = String::from_utf8_lossy(head);
    match dialect {
        Dialect::OpenAi => head.contains(r#""finish_reason":""#),
        Dialect::Anthropic => head.contains(r#""stop_reason":""#),
        Dialect::Ollama => head.contains(r#""done":true"#),
    }
}

/// WIRE 9.1.
#[test]
fn errors() {
    let mut shown = String::new();
    for (case, by_provider) in cases(include_str!("golden/errors.json")) {
        writeln!(shown, "## {case}\n").unwrap();
        for (provider, dialect) in PROVIDERS {
            let Some(error) = by_provider.get(provider) else { continue };
            let status = u16::try_from(error["status"].as_u64().unwrap()).unwrap();
            let read = wire::read_error(dialect, status, error["body"].to_string().as_bytes());
            writeln!(shown, "{provider} {status}: {read:?}").unwrap();
        }
        shown.push('\n');
    }
    snapshot("errors", &shown);
}
