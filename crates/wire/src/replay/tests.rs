use serde_json::{Value, json};

use super::*;
use crate::Relay;
use crate::types::AnswerContext;

fn streamed(client: Client, answer: &Value) -> String {
    let bytes = stream(client, answer.to_string().as_bytes(), true, b"{\"cache_hit\":true}").unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn back(client: Client, stream: &str) -> Value {
    serde_json::from_slice(&whole(client, stream.as_bytes(), &Usage::default()).unwrap()).unwrap()
}

fn chat(message: Value, reason: &str) -> Value {
    json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "m", "system_fingerprint": "fp",
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": reason}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}})
}

fn answers() -> Vec<(Client, Value)> {
    let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}});
    vec![
        (Client::OpenAi, chat(json!({"role": "assistant", "content": "two\nlines \"and\" more"}), "stop")),
        (Client::OpenAi, chat(json!({"role": "assistant", "content": "a", "reasoning_content": "r"}), "stop")),
        (Client::OpenAi, chat(json!({"role": "assistant", "content": null, "tool_calls": [call]}), "tool_calls")),
        (
            Client::Completions,
            json!({"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "m",
                "choices": [{"text": "four", "index": 0, "logprobs": null, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}),
        ),
        (
            Client::Anthropic,
            json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
                "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "four"},
                    {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": [1, 2]}}],
                "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 3, "output_tokens": 2}}),
        ),
    ]
}

#[test]
fn a_whole_answer_comes_through_a_stream_unchanged() {
    for (client, answer) in answers() {
        let stream = streamed(client, &answer);
        assert!(crate::is_end_of_stream(stream.as_bytes()), "{stream}");
        assert!(stream.contains(r#""x-gateway":{"cache_hit":true}"#), "{stream}");

        assert_eq!(back(client, &stream), answer, "{stream}");
    }
}

/// Providers write their whole answers over many lines; an event has one.
#[test]
fn an_answer_over_many_lines_comes_through_a_stream_unchanged() {
    for (client, answer) in answers() {
        let pretty = serde_json::to_string_pretty(&answer).unwrap().replace('\n', "\r\n");
        let stream = stream(client, pretty.as_bytes(), true, b"{}").unwrap();
        let stream = std::str::from_utf8(&stream).unwrap();
        assert!(
            stream.lines().all(|line| line.is_empty() || line.starts_with("data: ") || line.starts_with("event: ")),
            "{stream}"
        );

        assert_eq!(back(client, stream), answer, "{stream}");
    }
}

#[test]
fn what_is_no_answer_is_no_stream() {
    for client in [Client::OpenAi, Client::Anthropic, Client::Completions] {
        for bad in
            ["", "[]", "null", "{}", r#"{"choices":[],"content":[]}"#, r#"{"choices":[{}],"content":[1]}"#, "\u{1}"]
        {
            assert!(pieces(client, bad.as_bytes(), true).is_err(), "{client:?} {bad}");
        }
    }
}

/// The relay is what a provider's streams go through: it takes ours.
#[test]
fn the_stream_is_one_that_a_provider_could_have_sent() {
    for (client, answer) in answers() {
        let from = match client {
            Client::OpenAi => crate::Dialect::OpenAi,
            Client::Anthropic => crate::Dialect::Anthropic,
            Client::Completions => continue,
        };
        let context = AnswerContext {
            id: "chatcmpl-2".to_owned(),
            created: 0,
            model: String::new(),
            prompt_tokens: 0,
            bent: Default::default(),
        };
        let mut relay = Relay::new(from, client, context, true, &[]);
        relay.push(Bytes::from(streamed(client, &answer))).unwrap();
        assert!(relay.is_done());
        assert_eq!(relay.usage().output, Some(2));
    }
}

#[test]
fn usage_comes_only_where_it_is_asked_for_and_from_the_gateway_where_the_stream_has_none() {
    let answer = chat(json!({"role": "assistant", "content": "a"}), "stop").to_string();
    let silent = stream(Client::OpenAi, answer.as_bytes(), false, b"{}").unwrap();
    assert!(!String::from_utf8_lossy(&silent).contains("prompt_tokens"));

    let usage = Usage { input: Some(3), output: Some(2), ..Usage::default() };
    let kept = whole(Client::OpenAi, &silent, &usage).unwrap();

    assert_eq!(serde_json::from_slice::<Value>(&kept).unwrap(), serde_json::from_str::<Value>(&answer).unwrap());
}

#[test]
fn what_cannot_be_put_together_is_not() {
    let chunk = |choice: Value| format!("data: {}\n\n", json!({"id": "1", "choices": [choice]}));
    let good = chunk(json!({"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}));
    assert!(whole(Client::OpenAi, good.as_bytes(), &Usage::default()).is_some());
    for bad in [
        chunk(json!({"index": 1, "delta": {"content": "b"}})),
        chunk(json!({"index": 0, "delta": {"audio": {"data": "AA"}}})),
        chunk(json!({"index": 0, "delta": {}, "logprobs": {"content": []}})),
        "data: {\"error\":{\"message\":\"no\"}}\n\n".to_owned(),
        "event: error\ndata: {}\n\n".to_owned(),
        "data: not json\n\n".to_owned(),
    ] {
        assert_eq!(whole(Client::OpenAi, format!("{bad}{good}").as_bytes(), &Usage::default()), None, "{bad}");
    }
    let unfinished = chunk(json!({"index": 0, "delta": {"content": "a"}}));
    assert_eq!(whole(Client::OpenAi, unfinished.as_bytes(), &Usage::default()), None);
    let cut = streamed(Client::Anthropic, &answers()[4].1).replace("message_stop", "ping");
    assert_eq!(whole(Client::Anthropic, cut.as_bytes(), &Usage::default()), None);
}

/// P10.
#[test]
fn only_a_natural_end_is_an_end() {
    let said = |content: Value, reason: &str| chat(json!({"role": "assistant", "content": content}), reason);
    let of = |answer: Value| ending(Client::OpenAi, answer.to_string().as_bytes());
    assert_eq!(of(said("a".into(), "stop")), Some(Ending::Stop));
    for bad in ["length", "content_filter", "eos", "error", ""] {
        assert_eq!(of(said("a".into(), bad)), None, "{bad}");
    }
    assert_eq!(of(said(" ".into(), "stop")), None);
    assert_eq!(of(chat(json!({"content": "a", "refusal": "no"}), "stop")), None);
    for (client, answer) in answers() {
        assert!(ending(client, answer.to_string().as_bytes()).is_some(), "{answer}");
    }
    let mut two = said("a".into(), "stop");
    two["choices"]
        .as_array_mut()
        .unwrap()
        .push(json!({"index": 1, "message": {"content": "b"}, "finish_reason": "length"}));
    assert_eq!(of(two), None);
    for reason in ["max_tokens", "refusal", "pause_turn"] {
        let answer = json!({"content": [{"type": "text", "text": "a"}], "stop_reason": reason});
        assert_eq!(ending(Client::Anthropic, answer.to_string().as_bytes()), None, "{reason}");
    }
}

#[test]
fn an_answer_given_again_has_an_id_and_a_time_of_its_own() {
    let answer = r#"{ "id" : "chatcmpl-old", "created":1 ,"choices":[{"id":"inner"}]}"#;

    let again = String::from_utf8(renamed(Client::OpenAi, answer.as_bytes(), "new", 9)).unwrap();

    assert_eq!(again, r#"{ "id" : "chatcmpl-new", "created":9 ,"choices":[{"id":"inner"}]}"#);
    assert_eq!(renamed(Client::OpenAi, b"{\"data\":[]}", "new", 9), b"{\"data\":[]}");
}
