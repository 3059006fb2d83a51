use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{Chat, Message, Part, Thought};
use crate::event::{Answer, Event, Finish};
use crate::loss::Loss;
use crate::types::{AnswerContext, Client, Piece, StreamFault, Target, Thinking};
use crate::{Dialect, Relay, decode_chat, encode_chat, translate_answer};

fn target(thinking: Thinking) -> Target<'static> {
    Target {
        dialect: Dialect::Anthropic,
        model: "claude-test",
        quirks: &[],
        context_window: Some(200_000),
        max_output_tokens: Some(64_000),
        thinking,
    }
}

fn context() -> AnswerContext {
    AnswerContext {
        id: "chatcmpl-0190a1b2".to_owned(),
        created: 7,
        model: "m".to_owned(),
        prompt_tokens: 11,
        bent: Default::default(),
    }
}

/// An OpenAI request as Anthropic gets it, and the paths of what was lost.
fn sent_to(thinking: Thinking, request: &Value) -> (Value, Vec<String>) {
    let body = bytes::Bytes::from(request.to_string());
    let read = crate::read_chat(Client::OpenAi, &body).unwrap();
    let encoded = encode_chat(Client::OpenAi, &body, &read, &target(thinking), |_| None).unwrap();
    let lost = encoded.loss.items().iter().map(|lost| lost.path.clone()).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), lost)
}

fn sent(request: &Value) -> (Value, Vec<String>) {
    sent_to(Thinking::Unknown, request)
}

fn ask(more: Value) -> Value {
    let mut request = json!({"model": "m", "messages": [{"role": "user", "content": "Hi"}]});
    request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    request
}

/// An Anthropic request as an OpenAI provider gets it.
fn sent_on(request: &Value) -> (Value, Vec<String>) {
    let body = bytes::Bytes::from(request.to_string());
    let read = crate::read_chat(Client::Anthropic, &body).unwrap();
    let openai = Target { dialect: Dialect::OpenAi, model: "gpt", ..target(Thinking::Unknown) };
    let encoded = encode_chat(Client::Anthropic, &body, &read, &openai, |_| None).unwrap();
    let lost = encoded.loss.items().iter().map(|lost| lost.path.clone()).collect();
    (serde_json::from_slice(&encoded.body).unwrap(), lost)
}

/// WIRE 1.1, 1.2.
#[test]
fn system_and_developer_text_is_collected_in_order_and_max_tokens_is_the_models_own() {
    let (body, lost) = sent(&json!({"model": "m", "messages": [
        {"role": "system", "content": "one"},
        {"role": "user", "content": "Hi"},
        {"role": "developer", "content": [{"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}]},
    ]}));

    assert_eq!(
        body,
        json!({
            "model": "claude-test", "max_tokens": 64_000,
            "system": [
                {"type": "text", "text": "one"},
                {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}},
            ],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        })
    );
    assert_eq!(lost, ["messages[2]"]);
}

/// WIRE 1.3.
#[test]
fn options_are_clamped_renamed_or_told_as_lost() {
    let (body, lost) = sent(&ask(json!({
        "temperature": 1.7, "top_k": 5, "stop": ["END", " "], "max_completion_tokens": 9, "max_tokens": 5,
        "user": "u", "seed": 1, "n": 1, "logit_bias": {"5": 1}, "frequency_penalty": 0.5, "presence_penalty": 0,
        "service_tier": "auto",
    })));

    assert_eq!((&body["temperature"], &body["top_k"], &body["max_tokens"]), (&json!(1.0), &json!(5), &json!(9)));
    assert_eq!((&body["stop_sequences"], &body["metadata"]), (&json!(["END"]), &json!({"user_id": "u"})));
    assert_eq!(lost, ["temperature", "stop", "seed", "frequency_penalty", "logit_bias"]);
    assert_eq!(sent(&ask(json!({"max_tokens": 100_000}))).0["max_tokens"], 64_000);
}

/// WIRE 2.1.
#[test]
fn images_and_documents_become_blocks_with_their_true_media_type() {
    let png = "iVBORw0KGgoAAAANSUhEUg==";
    let (body, _) = sent(&json!({"model": "m", "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": format!("data:image/jpeg;base64,{png}")}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
        {"type": "file", "file": {"filename": "a.txt", "file_data": "data:text/plain;base64,aGVsbG8="}},
        {"type": "text", "text": ""},
    ]}]}));

    assert_eq!(
        body["messages"][0]["content"],
        json!([
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": png}},
            {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
            {"type": "document", "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}},
            {"type": "document", "title": "a.txt",
                "source": {"type": "text", "media_type": "text/plain", "data": "hello"}},
        ])
    );
    let audio =
        json!({"model": "m", "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]});
    let body = bytes::Bytes::from(audio.to_string());
    let read = crate::read_chat(Client::OpenAi, &body).unwrap();
    let error = encode_chat(Client::OpenAi, &body, &read, &target(Thinking::Unknown), |_| None).unwrap_err();
    assert_eq!(error.param.as_deref(), Some("messages[0].content[0]"));
}

/// WIRE 3.1, 3.6.
#[test]
fn tools_have_an_object_schema_and_choices_have_anthropics_names() {
    let tools = json!([
        {"type": "function", "function": {"name": "now"}},
        {"type": "function", "function": {"name": "f", "description": "d", "strict": true,
            "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        {"type": "web_search"},
    ]);
    let with = |more: Value| {
        let mut request = ask(more);
        request["tools"] = tools.clone();
        sent(&request)
    };
    let (body, lost) = with(json!({}));
    assert_eq!(
        body["tools"],
        json!([
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
            {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}},
                "description": "d", "strict": true},
        ])
    );
    assert_eq!((body.get("tool_choice"), lost), (None, vec!["tools".to_owned()]));
    for (choice, parallel, expected) in [
        (json!("auto"), json!(null), json!(null)),
        (json!("none"), json!(null), json!({"type": "none"})),
        (json!("required"), json!(null), json!({"type": "any"})),
        (json!({"type": "function", "function": {"name": "f"}}), json!(null), json!({"type": "tool", "name": "f"})),
        (json!("auto"), json!(false), json!({"type": "auto", "disable_parallel_tool_use": true})),
        (json!("required"), json!(false), json!({"type": "any", "disable_parallel_tool_use": true})),
    ] {
        let (body, _) = with(json!({"tool_choice": choice, "parallel_tool_calls": parallel}));
        assert_eq!(body["tool_choice"], expected);
    }
}

/// WIRE 3.4, 3.5; TRAPS 18.
#[test]
fn results_of_parallel_calls_are_one_turn_and_stand_before_what_the_user_says() {
    let call = |id: &str, arguments: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}});
    let (body, lost) = sent(&json!({"model": "m", "messages": [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": null, "tool_calls": [call("call:1.a", "{\"a\":1}"), call("c2", "")]},
        {"role": "tool", "tool_call_id": "c2", "content": "two"},
        {"role": "tool", "tool_call_id": "call:1.a", "content": [{"type": "text", "text": "one"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]},
        {"role": "user", "content": "And?"},
    ]}));

    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "call_1_a", "name": "f", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "f", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "two"}]},
                {"type": "tool_result", "tool_use_id": "call_1_a", "content": [{"type": "text", "text": "one"},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}]},
                {"type": "text", "text": "And?"},
            ]},
        ])
    );
}

/// WIRE 1.1, 3.3, 3.5.
#[test]
fn what_anthropic_would_refuse_in_a_conversation_is_put_right_and_told() {
    let call =
        |arguments: &str| json!([{"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}]);
    for (messages, expected) in [
        // An orphaned result.
        (
            json!([{"role": "user", "content": "a"}, {"role": "tool", "tool_call_id": "x", "content": "r"}]),
            json!([{"role": "user", "content": [{"type": "text", "text": "a"}]}]),
        ),
        // A call that nobody answered.
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": call("{}")},
                {"role": "user", "content": "b"}]),
            json!([
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "c", "is_error": true, "content": "The call was not made."},
                    {"type": "text", "text": "b"}]},
            ]),
        ),
        // Arguments that are no JSON.
        (
            json!([{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": call("{broken")},
                {"role": "tool", "tool_call_id": "c", "content": ""}]),
            json!([
                {"role": "user", "content": [{"type": "text", "text": "a"}]},
                {"role": "assistant", "content":
                    [{"type": "tool_use", "id": "c", "name": "f", "input": {"_raw": "{broken"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]},
            ]),
        ),
        // It begins with the assistant.
        (
            json!([{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]),
            json!([
                {"role": "user", "content": [{"type": "text", "text": "."}]},
                {"role": "assistant", "content": [{"type": "text", "text": "a"}]},
                {"role": "user", "content": [{"type": "text", "text": "b"}]},
            ]),
        ),
    ] {
        let (body, lost) = sent(&json!({"model": "m", "messages": messages}));
        assert_eq!(body["messages"], expected);
        assert_eq!(lost.len(), 1, "{lost:?}");
    }
}

/// WIRE 1.2, 1.3; TRAPS 16.
#[test]
fn effort_becomes_a_budget_or_an_effort_and_bends_what_does_not_go_with_it() {
    let more = json!({"reasoning_effort": "high", "temperature": 0.2, "top_k": 3, "max_tokens": 10_000});
    let (budget, lost) = sent_to(Thinking::Budget, &ask(more.clone()));
    assert_eq!(budget["thinking"], json!({"type": "enabled", "budget_tokens": 8_000}));
    assert_eq!((budget.get("temperature"), budget.get("top_k")), (None, None));
    assert_eq!(lost, ["temperature", "top_k"]);

    let (adaptive, _) = sent_to(Thinking::Adaptive, &ask(more));
    assert_eq!(adaptive["thinking"], json!({"type": "adaptive"}));
    assert_eq!(adaptive["output_config"], json!({"effort": "high"}));

    let (none, lost) = sent_to(Thinking::Budget, &ask(json!({"reasoning_effort": "low", "max_tokens": 1_024})));
    assert_eq!((none.get("thinking"), lost), (None, vec!["reasoning_effort".to_owned()]));
    let (unknown, lost) = sent(&ask(json!({"reasoning_effort": "low"})));
    assert_eq!((unknown.get("thinking"), lost), (None, vec!["reasoning_effort".to_owned()]));
    // TRAPS 16: nobody asked, so nothing is set.
    assert_eq!(sent_to(Thinking::Adaptive, &ask(json!({}))).0.get("thinking"), None);
}

/// TRAPS 16.
#[test]
fn fields_of_anthropics_own_pass_from_any_client() {
    let thinking = json!({"type": "enabled", "budget_tokens": 2_000});
    let (body, lost) =
        sent(&ask(json!({"thinking": thinking, "cache_control": {"type": "ephemeral"}, "temperature": 0.5})));
    assert_eq!((&body["thinking"], &body["cache_control"]), (&thinking, &json!({"type": "ephemeral"})));
    assert_eq!((body.get("temperature"), lost), (None, vec!["temperature".to_owned()]));
}

/// WIRE 8.1; TRAPS 15.
#[test]
fn signed_reasoning_comes_back_as_it_was_and_unsigned_reasoning_does_not() {
    let turn = |reasoning: Value| {
        let mut assistant = json!({"role": "assistant", "content": null,
            "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
        assistant.as_object_mut().unwrap().extend(reasoning.as_object().unwrap().clone());
        json!({"model": "m", "reasoning_effort": "low", "messages": [
            {"role": "user", "content": "a"}, assistant, {"role": "tool", "tool_call_id": "c", "content": "r"}]})
    };
    let blocks = json!([{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "redacted_thinking", "data": "enc"},
        {"type": "thinking", "thinking": "", "signature": "only"}]);
    let details = json!([{"type": "reasoning.text", "text": "hm", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "enc"}, {"type": "reasoning.text", "text": "", "signature": "only"}]);
    for reasoning in
        [json!({"thinking_blocks": blocks}), json!({"reasoning_details": details, "reasoning_content": "hm"})]
    {
        let (body, lost) = sent_to(Thinking::Adaptive, &turn(reasoning));
        let content = body["messages"][1]["content"].as_array().unwrap();
        assert_eq!(content[..3], blocks.as_array().unwrap()[..]);
        assert_eq!((content[3]["type"].as_str(), lost.len()), (Some("tool_use"), 0));
        assert_eq!(body["thinking"], json!({"type": "adaptive"}));
    }
    let (body, lost) = sent_to(Thinking::Adaptive, &turn(json!({"reasoning_content": "hm"})));
    assert_eq!(body["messages"][1]["content"][0]["type"], "tool_use");
    assert_eq!(body.get("thinking"), None, "a tool loop without its reasoning goes on without thinking");
    assert_eq!(lost, ["reasoning_effort", "messages[1]"]);
}

#[test]
fn structured_output_is_asked_for_by_schema() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    assert_eq!(
        sent(&ask(json!({"response_format": format}))).0["output_config"],
        json!({"format": {"type": "json_schema", "schema": schema}})
    );
    let (body, lost) = sent(&ask(json!({"response_format": {"type": "json_object"}})));
    assert_eq!((body.get("output_config"), lost), (None, vec!["response_format".to_owned()]));
}

fn whole(content: Value, stop_reason: &str) -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": content,
        "stop_reason": stop_reason, "stop_sequence": null,
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 30,
            "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            "output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4}},
    })
}

/// WIRE 7.1, 7.2; TRAPS 8.
#[test]
fn a_whole_answer_keeps_its_reasoning_its_calls_and_its_counts() {
    let content = json!([
        {"type": "thinking", "thinking": "hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "enc"},
        {"type": "text", "text": "Hello"},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "text", "text": " there"},
        {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
    ]);
    let body = bytes::Bytes::from(whole(content, "tool_use").to_string());

    let answer = translate_answer(Dialect::Anthropic, Client::OpenAi, body, &context()).unwrap();

    let usage = answer.usage;
    assert_eq!((usage.input, usage.cached_input, usage.cache_write), (Some(140), Some(100), Some(30)));
    assert_eq!((usage.cache_write_1h, usage.output, usage.reasoning), (Some(20), Some(7), Some(4)));
    assert_eq!(answer.finish, Some(Finish::ToolCalls));
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    let message = &json["choices"][0]["message"];
    assert_eq!(message["content"], "Hello there");
    assert_eq!(message["reasoning_content"], "hm");
    assert_eq!(
        message["reasoning_details"],
        json!([
            {"type": "reasoning.text", "text": "hm", "signature": "sig", "format": "anthropic-claude-v1"},
            {"type": "reasoning.encrypted", "data": "enc", "format": "anthropic-claude-v1"},
        ])
    );
    assert_eq!(message["tool_calls"][0]["function"], json!({"name": "f", "arguments": "{\"a\":1}"}));
    assert_eq!(json["usage"]["prompt_tokens"], 140);
    assert_eq!(json["usage"]["prompt_tokens_details"]["cached_tokens"], 100);
}

/// WIRE 4.
#[test]
fn every_stop_reason_has_its_meaning() {
    for (reason, expected) in [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("new_reason", "new_reason"),
    ] {
        let body = bytes::Bytes::from(whole(json!([{"type": "text", "text": "a"}]), reason).to_string());
        let answer = translate_answer(Dialect::Anthropic, Client::OpenAi, body, &context()).unwrap();
        assert_eq!(answer.finish.unwrap().as_str(), expected);
    }
}

const STREAM: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":1}}}

event: ping
data: {"type": "ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"h"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m é"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"sig"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"Hé"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_2","name":"now","input":{}}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":9}}

event: message_stop
data: {"type":"message_stop"}

"#;

/// What a relay makes of a stream that comes in these slices; the fault that ended it.
fn relayed(from: Dialect, client: Client, slices: &[&[u8]]) -> (Vec<u8>, Option<StreamFault>, Relay) {
    let mut relay = Relay::new(from, client, context(), true, &[]);
    let mut out = Vec::new();
    let mut fault = None;
    for slice in slices {
        fault = fault.or(relay.push(bytes::Bytes::copy_from_slice(slice)).err());
    }
    fault = fault.or_else(|| relay.end().err());
    while let Some(piece) = relay.pop() {
        match piece {
            Piece::Frame { bytes, .. } => out.extend_from_slice(&bytes),
            Piece::Comment(_) => {}
            Piece::Last(payload) => out.extend_from_slice(&client.last_frame(&payload, false)),
            Piece::Done => out.extend_from_slice(&client.done_frame().unwrap_or_default()),
        }
    }
    (out, fault, relay)
}

/// The answer that OpenAI chunks or Anthropic events make.
fn folded(client: Client, bytes: &[u8]) -> Answer {
    let mut events = Vec::new();
    match client {
        Client::OpenAi | Client::Completions => {
            let mut decoder = crate::openai::Decoder::new(false);
            decoder.push(bytes::Bytes::copy_from_slice(bytes), &mut events).unwrap();
        }
        Client::Anthropic => {
            let mut decoder = Decoder::new();
            decoder.push(bytes::Bytes::copy_from_slice(bytes), &mut events).unwrap();
        }
    }
    let mut answer = Answer::default();
    events.into_iter().for_each(|event| answer.fold(event));
    answer
}

/// WIRE 6.1.
#[test]
fn a_stream_says_the_same_to_every_client_wherever_it_is_cut() {
    let (to_openai, fault, relay) = relayed(Dialect::Anthropic, Client::OpenAi, &[STREAM.as_bytes()]);
    assert_eq!(fault, None);
    assert_eq!(
        (relay.usage().input, relay.usage().cached_input, relay.usage().output),
        (Some(15), Some(5), Some(9)),
        "input from the start, output from the end"
    );
    assert_eq!(relay.generated().text(), "hm éHéf{\"a\":1}now{}");
    let answer = folded(Client::OpenAi, &to_openai);
    assert_eq!(answer.text, "Hé");
    assert_eq!(answer.thoughts[0].text(), "hm é");
    let calls: Vec<_> =
        answer.tool_calls.iter().map(|(head, arguments)| (&*head.id, &*head.name, &**arguments)).collect();
    assert_eq!(calls, [("toolu_1", "f", "{\"a\":1}"), ("toolu_2", "now", "{}")]);
    assert_eq!(answer.finish, Some(Finish::ToolCalls));
    assert_eq!(answer.usage.input, Some(15));

    let (to_anthropic, ..) = relayed(Dialect::Anthropic, Client::Anthropic, &[STREAM.as_bytes()]);
    let without_pings = STREAM.replace("event: ping\ndata: {\"type\": \"ping\"}\n\n", "");
    assert_eq!(String::from_utf8(to_anthropic.clone()).unwrap(), without_pings);

    for cut in 0..=STREAM.len() {
        let (head, tail) = STREAM.as_bytes().split_at(cut);
        for (client, expected) in [(Client::OpenAi, &to_openai), (Client::Anthropic, &to_anthropic)] {
            let (got, fault, _) = relayed(Dialect::Anthropic, client, &[head, tail]);
            assert_eq!((&got, fault), (expected, None), "{client:?} cut at {cut}");
            // And the first part alone is never a whole answer.
            let (_, fault, relay) = relayed(Dialect::Anthropic, client, &[head]);
            assert_eq!(fault.is_none(), relay.is_done(), "{client:?} ends at {cut}");
        }
    }
}

/// WIRE 8.1.
#[test]
fn a_chunk_has_its_signature_once_the_block_is_whole() {
    let (out, ..) = relayed(Dialect::Anthropic, Client::OpenAi, &[STREAM.as_bytes()]);
    let text = String::from_utf8(out).unwrap();
    let details: Vec<&str> = text.lines().filter(|line| line.contains("reasoning_details")).collect();
    assert_eq!(details.len(), 1);
    assert!(
        details[0]
            .contains(r#"[{"type":"reasoning.text","text":"hm é","signature":"sig","format":"anthropic-claude-v1"}]"#),
        "{details:?}"
    );
}

/// WIRE 6.2.
#[test]
fn an_error_event_and_an_overload_are_faults() {
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let start = &STREAM[..STREAM.find("event: content_block_stop").unwrap()];
    for client in [Client::OpenAi, Client::Anthropic] {
        let (_, fault, _) = relayed(Dialect::Anthropic, client, &[start.as_bytes(), error.as_bytes()]);
        let Some(StreamFault::Error(error)) = fault else { panic!("{fault:?}") };
        assert_eq!((error.class, error.message.as_str()), (crate::ErrorClass::Overloaded, "Overloaded"));
        let (_, fault, _) = relayed(Dialect::Anthropic, client, &[start.as_bytes()]);
        assert_eq!(fault, Some(StreamFault::Truncated), "{client:?}");
    }
}

/// An OpenAI stream for an Anthropic client.
fn as_events(chunks: &[Value]) -> Vec<Value> {
    let mut bytes: Vec<u8> = chunks.iter().flat_map(|chunk| format!("data: {chunk}\n\n").into_bytes()).collect();
    bytes.extend_from_slice(b"data: [DONE]\n\n");
    let (out, fault, _) = relayed(Dialect::OpenAi, Client::Anthropic, &[&bytes]);
    assert_eq!(fault, None);
    let text = String::from_utf8(out).unwrap();
    let events = text.split_terminator("\n\n").map(|event| {
        let (name, data) = event.split_once('\n').unwrap();
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"]);
        data
    });
    events.collect()
}

fn chunk(delta: Value, finish: Value) -> Value {
    json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
}

/// WIRE 6.1; TRAPS 12, 14, 24.
#[test]
fn an_openai_stream_becomes_events_in_order_with_real_counts_at_the_end() {
    let call = |index: u32, id: Value, name: Value, arguments: &str| json!({"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let events = as_events(&[
        chunk(json!({"role": "assistant", "content": ""}), json!(null)),
        chunk(json!({"reasoning_content": "hm"}), json!(null)),
        chunk(json!({"content": "Hi", "tool_calls": [call(0, json!("c1"), json!("f"), "{\"a\":1}")]}), json!(null)),
        chunk(json!({"tool_calls": [call(1, json!("c2"), json!("g"), "")]}), json!(null)),
        chunk(json!({"tool_calls": [call(1, json!(null), json!(null), "{}")]}), json!(null)),
        chunk(json!({}), json!("tool_calls")),
        json!({"id": "c", "choices": [], "usage": {"prompt_tokens": 20, "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 8}}}),
    ]);

    let kinds: Vec<String> = events
        .iter()
        .map(|event| match event["type"].as_str().unwrap() {
            "content_block_start" => format!("start {} {}", event["index"], event["content_block"]["type"]),
            "content_block_delta" => format!("delta {} {}", event["index"], event["delta"]["type"]),
            "content_block_stop" => format!("stop {}", event["index"]),
            other => other.to_owned(),
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "message_start",
            "start 0 \"thinking\"",
            "delta 0 \"thinking_delta\"",
            "stop 0",
            "start 1 \"text\"",
            "delta 1 \"text_delta\"",
            "stop 1",
            "start 2 \"tool_use\"",
            "delta 2 \"input_json_delta\"",
            "stop 2",
            "start 3 \"tool_use\"",
            "delta 3 \"input_json_delta\"",
            "stop 3",
            "message_delta",
            "message_stop",
        ]
    );
    assert_eq!(events[0]["message"]["usage"]["input_tokens"], 11, "an estimate");
    let end = &events[13];
    assert_eq!(end["delta"]["stop_reason"], "tool_use");
    assert_eq!(
        end["usage"],
        json!({"input_tokens": 12, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 8, "output_tokens": 5})
    );
}

/// WIRE 3.2: A client of Anthropic's may have longer names of tools than OpenAI takes; it gets back what it knows.
#[test]
fn names_of_tools_are_cut_to_what_the_provider_takes_and_given_back() {
    let long = format!("mcp__server__{}", "tool_".repeat(14));
    let request = json!({"model": "m", "max_tokens": 9, "tools": [{"name": long, "input_schema": {"type": "object"}}],
        "tool_choice": {"type": "tool", "name": long}, "messages": [{"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": long, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "a"}]}]});
    let body = bytes::Bytes::from(request.to_string());
    let read = crate::read_chat(Client::Anthropic, &body).unwrap();
    let openai = Target { dialect: Dialect::OpenAi, model: "gpt", ..target(Thinking::Unknown) };
    let encoded = encode_chat(Client::Anthropic, &body, &read, &openai, |_| None).unwrap();
    let sent: Value = serde_json::from_slice(&encoded.body).unwrap();
    let name = sent["tools"][0]["function"]["name"].as_str().unwrap();

    assert_eq!(name.len(), 64);
    assert_eq!(sent["tool_choice"]["function"]["name"], name);
    assert_eq!(sent["messages"][1]["tool_calls"][0]["function"]["name"], name);
    let call = json!({"index": 0, "id": "c", "function": {"name": name, "arguments": "{}"}});
    let whole = json!({"choices": [{"message": {"tool_calls": [call]}, "finish_reason": "tool_calls"}]});
    let context = AnswerContext { bent: encoded.bent, ..context() };
    let answer = translate_answer(Dialect::OpenAi, Client::Anthropic, whole.to_string().into(), &context).unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["content"][0]["name"], long);
    let mut relay = Relay::new(Dialect::OpenAi, Client::Anthropic, context, true, &[]);
    let stream = format!("data: {}\n\n", chunk(json!({"tool_calls": [call]}), json!("tool_calls")));
    relay.push(stream.into()).unwrap();
    let told = std::iter::from_fn(|| relay.pop()).any(|piece| {
        matches!(piece, Piece::Frame { bytes, .. }
        if String::from_utf8_lossy(&bytes).contains(&long))
    });
    assert!(told);
}

/// What a provider sends costs no more than its bytes.
#[test]
fn an_answer_of_endless_calls_is_refused() {
    let call =
        |index: usize| json!({"index": index, "id": format!("c{index}"), "function": {"name": "f", "arguments": ""}});
    let calls: Vec<Value> = (0..100_000).map(call).collect();
    let whole = json!({"choices": [{"message": {"tool_calls": calls}, "finish_reason": "tool_calls"}]}).to_string();
    let chunk = json!({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]});

    let answer = translate_answer(Dialect::OpenAi, Client::Anthropic, whole.into(), &context());
    let stream = format!("data: {chunk}\n\n");
    let (_, fault, _) = relayed(Dialect::OpenAi, Client::Anthropic, &[stream.as_bytes()]);

    assert_eq!(answer.unwrap_err(), crate::BadAnswer::NoChoices);
    assert_eq!(fault, Some(StreamFault::TooLarge));
}

/// TRAPS 13: calls that all have index 0, and calls whose pieces are interleaved.
#[test]
fn calls_are_told_apart_however_they_are_numbered() {
    let call = |index: Value, id: Value, name: Value, arguments: &str| {
        let call = json!({"index": index, "id": id, "function": {"name": name, "arguments": arguments}});
        chunk(json!({"tool_calls": [call]}), json!(null))
    };
    let null = || json!(null);
    for chunks in [
        vec![
            call(json!(0), json!("c1"), json!("f"), "{\"a\":1}"),
            call(json!(0), json!("c2"), json!("g"), "{\"b\":2}"),
        ],
        vec![
            call(json!(0), json!("c1"), json!("f"), ""),
            call(json!(1), json!("c2"), json!("g"), "{\"b\""),
            call(json!(0), null(), null(), "{\"a\":1}"),
            call(json!(1), null(), null(), ":2}"),
        ],
    ] {
        let mut bytes: Vec<u8> = chunks.iter().flat_map(|chunk| format!("data: {chunk}\n\n").into_bytes()).collect();
        bytes.extend(format!("data: {}\n\ndata: [DONE]\n\n", chunk(json!({}), json!("tool_calls"))).into_bytes());
        let (out, fault, _) = relayed(Dialect::OpenAi, Client::Anthropic, &[&bytes]);
        assert_eq!(fault, None);
        let answer = folded(Client::Anthropic, &out);
        let calls: Vec<_> =
            answer.tool_calls.iter().map(|(head, arguments)| (&*head.id, &*head.name, &**arguments)).collect();
        assert_eq!(calls, [("c1", "f", "{\"a\":1}"), ("c2", "g", "{\"b\":2}")]);
    }
}

/// WIRE 2.1, 3.7.
#[test]
fn an_anthropic_request_is_told_to_openai() {
    let (body, lost) = sent_on(&json!({
        "model": "m", "max_tokens": 50, "stream": true, "temperature": 0.5, "top_k": 4,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "stop_sequences": ["END"], "metadata": {"user_id": "u"},
        "thinking": {"type": "enabled", "budget_tokens": 4_000},
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}, {"type": "web_search_20250305", "name": "web_search"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": true},
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "See"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": [{"type": "text", "text": "no"},
                    {"type": "image", "source": {"type": "url", "url": "https://example.com/b.png"}}]},
                {"type": "text", "text": "And?"}]},
        ],
    }));

    assert_eq!(
        body,
        json!({
            "model": "gpt",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": [{"type": "text", "text": "See"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
                {"role": "assistant", "content": "I look.", "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: no"},
                {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://example.com/b.png"}}]},
                {"role": "user", "content": "And?"},
            ],
            "stream": true, "stream_options": {"include_usage": true}, "max_completion_tokens": 50,
            "temperature": 0.5, "stop": ["END"], "reasoning_effort": "medium",
            "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": false, "user": "u",
        })
    );
    assert_eq!(lost, ["top_k", "tools", "messages[2]", "messages[3]"]);
}

/// WIRE 10.1.
#[test]
fn a_request_of_the_same_dialect_keeps_every_byte_but_the_models() {
    let text = r#"{ "model" : "m", "max_tokens":5,"messages":[{"role":"user","content":[{"type":"search_result","x":1.50}]}],"context_management":{"edits":[]},"x-strict":true}"#;
    let body = bytes::Bytes::from(text);
    let read = crate::read_chat(Client::Anthropic, &body).unwrap();
    let encoded = encode_chat(Client::Anthropic, &body, &read, &target(Thinking::Unknown), |_| None).unwrap();
    assert_eq!(encoded.body, text.replace(r#""m""#, r#""claude-test""#).replace(r#","x-strict":true"#, ""));
    assert!(encoded.loss.is_empty());
}

#[test]
fn faults_of_an_anthropic_request_name_their_place() {
    let message = r#"{"role":"user","content":"a"}"#;
    for (body, param, code) in [
        (format!(r#"{{"model":"m","messages":[{message}]}}"#), "max_tokens", "missing_required_parameter"),
        (format!(r#"{{"max_tokens":1,"messages":[{message}]}}"#), "model", "missing_required_parameter"),
        (r#"{"model":"m","max_tokens":1,"messages":[]}"#.to_owned(), "messages", "invalid_value"),
        (format!(r#"{{"model":"m","max_tokens":0,"messages":[{message}]}}"#), "max_tokens", "invalid_value"),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"a"}]}"#.to_owned(),
            "messages[0].role",
            "invalid_value",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"text":"a"}]}]}"#.to_owned(),
            "messages[0].content",
            "invalid_type",
        ),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":7}]}"#.to_owned(),
            "messages[0].content",
            "invalid_type",
        ),
    ] {
        let error = read(body.as_bytes()).unwrap_err();
        assert_eq!((error.param.as_deref(), error.problem.code()), (Some(param), code), "{body}");
    }
    assert!(read_prompt(format!(r#"{{"model":"m","messages":[{message}]}}"#).as_bytes()).is_ok());
}

/// What a conversation says, whatever dialect it is written in.
fn meaning(chat: &Chat<'_>) -> Vec<String> {
    let text = |content: &[Part<'_>]| -> String {
        content.iter().filter_map(|part| if let Part::Text(text) = part { Some(text.as_ref()) } else { None }).collect()
    };
    let said = chat.messages.iter().map(|message| match message {
        Message::System(content) => format!("system {}", text(content)),
        Message::User(content) => format!("user {}", text(content)),
        Message::Assistant { content, thoughts, tool_calls } => {
            let thoughts: String = thoughts.iter().map(Thought::text).collect();
            let calls: Vec<String> =
                tool_calls.iter().map(|call| format!("{} {} {}", call.id, call.name, call.arguments)).collect();
            format!("assistant {thoughts}|{}|{}", text(content), calls.join(","))
        }
        Message::Tool { tool_call_id, content, .. } => format!("tool {tool_call_id} {}", text(content)),
    });
    said.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn decoding_what_was_encoded_keeps_the_meaning(
        system in proptest::option::of("[a-z é]{1,8}"),
        rounds in proptest::collection::vec(("[a-z\"\\\\ é]{1,8}", "[a-z é]{0,8}", 0_usize..3), 1..4),
    ) {
        let mut messages: Vec<Value> = system.iter().map(|text| json!({"role": "system", "content": text})).collect();
        for (round, (user, assistant, calls)) in rounds.iter().enumerate() {
            messages.push(json!({"role": "user", "content": user}));
            let ids: Vec<String> = (0..*calls).map(|call| format!("call_{round}_{call}")).collect();
            let calls: Vec<Value> = ids.iter().map(|id| json!({"id": id, "type": "function",
                "function": {"name": "f", "arguments": json!({"q": user}).to_string()}})).collect();
            if calls.is_empty() {
                messages.push(json!({"role": "assistant", "content": format!("a{assistant}")}));
            } else {
                messages.push(json!({"role": "assistant", "content": assistant, "tool_calls": calls}));
            }
            for id in &ids {
                messages.push(json!({"role": "tool", "tool_call_id": id, "content": format!("r{assistant}")}));
            }
            if !ids.is_empty() {
                messages.push(json!({"role": "assistant", "content": "done"}));
            }
        }
        messages.push(json!({"role": "user", "content": "end"}));
        let request = json!({"model": "m", "messages": messages}).to_string();
        let original = crate::openai::decode(request.as_bytes()).unwrap();

        let mut loss = Loss::default();
        let anthropic = compose(&original, &target(Thinking::Unknown), false, &mut loss).unwrap();
        prop_assert!(loss.is_empty(), "{:?}", loss);
        let there = decode_chat(Client::Anthropic, &anthropic).unwrap();
        prop_assert_eq!(meaning(&original), meaning(&there));

        let mut loss = Loss::default();
        let openai_target = Target { dialect: Dialect::OpenAi, ..target(Thinking::Unknown) };
        let openai = crate::openai::compose::compose(&there, &openai_target, false, &mut loss);
        let back = crate::openai::decode(&openai).unwrap();
        prop_assert_eq!(meaning(&original), meaning(&back));
    }

    #[test]
    fn an_answer_says_the_same_in_both_dialects(
        thinking in "[a-z é]{0,6}", text in "[a-z\"\\\\ é]{1,8}", calls in 0_usize..3,
    ) {
        let mut events = Vec::new();
        if !thinking.is_empty() {
            events.push(Event::Thinking { choice: 0, text: thinking.clone() });
        }
        events.push(Event::Text { choice: 0, text: text.clone() });
        for index in 0..calls {
            let number = u32::try_from(index).unwrap();
            let head = crate::event::ToolCallHead { id: format!("call_{index}"), name: "f".to_owned() };
            events.push(Event::ToolCall { choice: 0, index: number, head: Some(head), arguments: String::new() });
            events.push(Event::ToolCall { choice: 0, index: number, head: None, arguments: json!({"q": text}).to_string() });
        }
        let reason = if calls == 0 { Finish::Stop } else { Finish::ToolCalls };
        events.push(Event::Finish { choice: 0, reason });
        let mut expected = Answer::default();
        events.iter().cloned().for_each(|event| expected.fold(event));
        expected.usage = crate::usage::Usage { input: Some(3), output: Some(4), ..Default::default() };

        let mut encoder = Encoder::new(context());
        let mut frames = Vec::new();
        events.iter().for_each(|event| encoder.encode(event, &mut frames));
        let last = encoder.end(&expected.usage, &mut frames);
        frames.push(Client::Anthropic.last_frame(&last, true).to_vec());
        let mut got = folded(Client::Anthropic, &frames.concat());
        got.usage = expected.usage;
        prop_assert_eq!(&got, &expected);

        let whole = decode_answer(&encode_answer(&expected, &context())).unwrap();
        prop_assert_eq!(&whole.text, &expected.text);
        prop_assert_eq!(&whole.tool_calls, &expected.tool_calls);
        prop_assert_eq!(whole.usage.output, expected.usage.output);
        let openai = crate::openai::encode_answer(&expected, &context());
        let whole = crate::openai::decode::decode_answer(&openai).unwrap();
        prop_assert_eq!(&whole.text, &expected.text);
        prop_assert_eq!(&whole.tool_calls, &expected.tool_calls);
        prop_assert_eq!(&whole.thoughts, &expected.thoughts);
    }
}
