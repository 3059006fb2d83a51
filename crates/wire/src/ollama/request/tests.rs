use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Dialect, Thinking, openai};

fn encode(body: &str, model: &str, window: Option<u64>) -> Result<(String, Vec<String>), Error> {
    let target = Target {
        dialect: Dialect::Ollama,
        model,
        quirks: &[],
        context_window: window,
        max_output_tokens: None,
        thinking: Thinking::Unknown,
    };
    let mut loss = Loss::default();
    let encoded = encode_request(&openai::decode(body.as_bytes())?, &target, false, &mut loss)?;
    let lost = loss.items().iter().map(|lost| lost.path.clone()).collect();
    Ok((String::from_utf8(encoded).unwrap(), lost))
}

/// The body that goes out for the one that came in, and the paths of what was lost.
#[track_caller]
fn golden(body: &str, expected: &str, lost: &[&str]) {
    let (encoded, noted) = encode(body, "llama3.2", Some(131_072)).unwrap();
    assert_eq!(encoded, expected);
    assert_eq!(noted, lost);
}

/// The part of the outgoing body that stands under `path`, for a body with these members beside model and messages.
fn part_of(members: &str, model: &str, path: &str) -> (Value, Vec<String>) {
    let body = format!(r#"{{"model":"auto","messages":[{{"role":"user","content":"hi"}}],{members}}}"#);
    let (encoded, lost) = encode(&body, model, None).unwrap();
    (serde_json::from_str::<Value>(&encoded).unwrap().pointer(path).cloned().unwrap_or_default(), lost)
}

#[test]
fn text_system_and_developer_messages() {
    golden(
        r#"{"model":"auto","x-tags":["a"],"messages":[
            {"role":"system","content":"Be brief."},
            {"role":"developer","content":[{"type":"text","text":"Be kind."},{"type":"text","text":"Be right."}]},
            {"role":"user","content":"Gr\u00fc\u00dfe \"you\""},
            {"role":"assistant","content":"Hello!"},
            {"role":"user","content":"And now?"}],"user":null}"#,
        concat!(
            r#"{"model":"llama3.2","messages":["#,
            r#"{"role":"system","content":"Be brief."},"#,
            r#"{"role":"system","content":"Be kind.\nBe right."},"#,
            r#"{"role":"user","content":"Grüße \"you\""},"#,
            r#"{"role":"assistant","content":"Hello!"},"#,
            r#"{"role":"user","content":"And now?"}],"#,
            r#""stream":false,"truncate":false,"options":{"num_ctx":4096}}"#,
        ),
        &[],
    );
}

/// WIRE 1.5.
#[test]
fn sampling_and_limits_go_under_options() {
    golden(
        r#"{"model":"auto","messages":[{"role":"user","content":"hi"}],"temperature":0.5,"top_p":0.9,"seed":-7,
            "max_completion_tokens":9000,"presence_penalty":1,"frequency_penalty":-0.5,"stop":["\n","END"],
            "keep_alive":"5m","n":1,"logprobs":false,"parallel_tool_calls":true,"stream":false}"#,
        concat!(
            r#"{"model":"llama3.2","messages":[{"role":"user","content":"hi"}],"#,
            r#""stream":false,"truncate":false,"keep_alive":"5m","#,
            r#""options":{"num_ctx":16384,"num_predict":9000,"temperature":0.5,"top_p":0.9,"seed":-7,"#,
            r#""presence_penalty":1.0,"frequency_penalty":-0.5,"stop":["\n","END"]}}"#,
        ),
        &[],
    );
}

/// WIRE 1.5.
#[test]
fn images_stand_beside_the_text_as_bare_base64() {
    golden(
        r#"{"model":"auto","messages":[{"role":"user","content":[
            {"type":"text","text":"What is"},
            {"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo=","detail":"low"}},
            {"type":"text","text":"this?"},
            {"type":"image_url","image_url":{"url":"DATA:image/jpeg;charset=x;Base64,/9j/4AAQ"}}]}]}"#,
        concat!(
            r#"{"model":"llama3.2","messages":[{"role":"user","content":"What is\nthis?","#,
            r#""images":["iVBORw0KGgo=","/9j/4AAQ"]}],"#,
            r#""stream":false,"truncate":false,"options":{"num_ctx":8192}}"#,
        ),
        &[],
    );
}

/// WIRE 2.1.
#[test]
fn content_that_cannot_be_sent_is_refused_by_its_place() {
    let parts = [
        (
            r#"{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}"#,
            ".image_url",
            Problem::UnsupportedParameter,
        ),
        (r#"{"type":"image_url","image_url":{"url":"nonsense"}}"#, ".image_url", Problem::UnsupportedParameter),
        (
            r#"{"type":"image_url","image_url":{"url":"data:image/svg+xml,%3Csvg%3E"}}"#,
            ".image_url",
            Problem::InvalidValue,
        ),
        (r#"{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}"#, "", Problem::UnsupportedParameter),
        (r#"{"type":"file","file":{"file_id":"file-1"}}"#, "", Problem::UnsupportedParameter),
    ];
    for (part, field, problem) in parts {
        let body = format!(
            r#"{{"model":"auto","messages":[{{"role":"system","content":"s"}},
                {{"role":"user","content":[{{"type":"text","text":"a"}},{part}]}}]}}"#
        );

        let error = encode(&body, "llama3.2", None).unwrap_err();

        assert_eq!(error.param, Some(format!("messages[1].content[1]{field}")), "{part}");
        assert_eq!(error.problem, problem, "{part}");
    }
}

#[test]
fn tools_parallel_calls_and_their_results() {
    golden(
        r#"{"model":"auto","tools":[
                {"type":"function","function":{"name":"weather","description":"Of a city","strict":true,
                    "parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}},
                {"type":"function","function":{"name":"time"}}],
            "messages":[{"role":"user","content":"Weather in Paris and Rome?"},
                {"role":"assistant","content":null,"tool_calls":[
                    {"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Paris\"}"}},
                    {"id":"call_2","type":"function","function":{"name":"time","arguments":""}}]},
                {"role":"tool","tool_call_id":"call_2","content":"noon"},
                {"role":"tool","tool_call_id":"call_1","content":[{"type":"text","text":"sunny"}]}]}"#,
        concat!(
            r#"{"model":"llama3.2","messages":[{"role":"user","content":"Weather in Paris and Rome?"},"#,
            r#"{"role":"assistant","content":"","tool_calls":["#,
            r#"{"id":"call_1","function":{"name":"weather","arguments":{"city": "Paris"}}},"#,
            r#"{"id":"call_2","function":{"name":"time","arguments":{}}}]},"#,
            r#"{"role":"tool","content":"noon","tool_name":"time","tool_call_id":"call_2"},"#,
            r#"{"role":"tool","content":"sunny","tool_name":"weather","tool_call_id":"call_1"}],"#,
            r#""stream":false,"tools":["#,
            r#"{"type":"function","function":{"name":"weather","description":"Of a city","#,
            r#""parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}},"#,
            r#"{"type":"function","function":{"name":"time","parameters":{"type":"object","properties":{}}}}],"#,
            r#""truncate":false,"options":{"num_ctx":4096}}"#,
        ),
        &[],
    );
}

/// WIRE 3.3.
#[test]
fn arguments_that_are_no_object_are_kept_and_told() {
    golden(
        r#"{"model":"auto","messages":[{"role":"user","content":"hi"},
            {"role":"assistant","tool_calls":[
                {"id":"a","type":"function","function":{"name":"f","arguments":"{\"city\": \"Par"}},
                {"id":"b","type":"function","function":{"name":"f","arguments":"[1]"}}]},
            {"role":"tool","tool_call_id":"lost","content":"?"}]}"#,
        concat!(
            r#"{"model":"llama3.2","messages":[{"role":"user","content":"hi"},"#,
            r#"{"role":"assistant","content":"","tool_calls":["#,
            r#"{"id":"a","function":{"name":"f","arguments":{"_raw":"{\"city\": \"Par"}}},"#,
            r#"{"id":"b","function":{"name":"f","arguments":{"_raw":"[1]"}}}]},"#,
            r#"{"role":"tool","content":"?","tool_call_id":"lost"}],"#,
            r#""stream":false,"truncate":false,"options":{"num_ctx":4096}}"#,
        ),
        &[
            "messages[1].tool_calls[0].function.arguments",
            "messages[1].tool_calls[1].function.arguments",
            "messages[2].tool_call_id",
        ],
    );
}

/// WIRE 3.6.
#[test]
fn tool_choice_offers_no_tools_or_one_and_otherwise_is_told() {
    let tools = r#""tools":[{"type":"function","function":{"name":"a"}},{"type":"function","function":{"name":"b"}}]"#;
    for (choice, names, lost) in [
        (r#""auto""#, json!(["a", "b"]), vec![]),
        (r#""none""#, json!([]), vec![]),
        (r#""required""#, json!(["a", "b"]), vec!["tool_choice"]),
        (r#"{"type":"function","function":{"name":"b"}}"#, json!([]), vec!["tool_choice"]),
    ] {
        let (offered, noted) = part_of(&format!(r#"{tools},"tool_choice":{choice}"#), "llama3.2", "/tools");

        let offered: Value =
            offered.as_array().into_iter().flatten().map(|tool| tool["function"]["name"].clone()).collect();
        assert_eq!((offered, noted), (names, lost.into_iter().map(str::to_owned).collect()), "{choice}");
    }
}

/// WIRE 3.6: The answer is held to the schema of the one function that must be called, and its text becomes the call.
#[test]
fn a_call_that_is_certain_is_asked_for_by_its_schema() {
    let tools = r#""tools":[{"type":"function","function":{"name":"a","description":"Does it.",
        "parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}}]"#;
    for choice in [r#""required""#, r#"{"type":"function","function":{"name":"a"}}"#] {
        let members = format!(r#"{tools},"tool_choice":{choice}"#);
        let (format, _) = part_of(&members, "llama3.2", "/format");
        let (told, lost) = part_of(&members, "llama3.2", "/messages/0");

        assert_eq!(format, json!({"type": "object", "properties": {"x": {"type": "integer"}}}));
        assert_eq!(told["role"], "system");
        assert!(told["content"].as_str().unwrap().ends_with("arguments. Does it."), "{told}");
        assert_eq!(lost, ["tool_choice"]);
    }
    let (without, _) = part_of(
        r#""tools":[{"type":"function","function":{"name":"a"}}],"tool_choice":"required""#,
        "llama3.2",
        "/format",
    );
    assert_eq!(without, json!({"type": "object", "properties": {}}));
}

#[test]
fn a_format_is_a_word_or_the_schema_itself() {
    for (format, expected) in [
        (r#"{"type":"text"}"#, Value::Null),
        (r#"{"type":"json_object"}"#, json!("json")),
        (
            r#"{"type":"json_schema","json_schema":{"name":"n","strict":true,"schema":{"type":"object","$defs":{"a":{}}}}}"#,
            json!({"type": "object", "$defs": {"a": {}}}),
        ),
    ] {
        assert_eq!(part_of(&format!(r#""response_format":{format}"#), "llama3.2", "/format"), (expected, vec![]));
    }
}

/// WIRE 8.2.
#[test]
fn thinking_is_sent_back_and_switched_by_effort() {
    golden(
        r#"{"model":"auto","reasoning_effort":"none","messages":[{"role":"user","content":"hi"},
            {"role":"assistant","reasoning_content":"They greet.","content":"Hello!"},{"role":"user","content":"2+2?"}]}"#,
        concat!(
            r#"{"model":"llama3.2","messages":[{"role":"user","content":"hi"},"#,
            r#"{"role":"assistant","content":"Hello!","thinking":"They greet."},{"role":"user","content":"2+2?"}],"#,
            r#""stream":false,"think":false,"truncate":false,"options":{"num_ctx":4096}}"#,
        ),
        &[],
    );
    for (model, effort, think, is_lost) in [
        ("qwen3", "minimal", json!(false), true),
        ("qwen3", "low", json!(true), true),
        ("qwen3", "max", json!(true), true),
        ("qwen3", "ludicrous", Value::Null, true),
        ("gpt-oss:20b", "none", json!("low"), true),
        ("gpt-oss:20b", "low", json!("low"), false),
        ("hf.co/unsloth/GPT-OSS-20b", "medium", json!("medium"), false),
        ("gpt-oss:20b", "high", json!("high"), false),
        ("gpt-oss:20b", "xhigh", json!("high"), true),
    ] {
        let (sent, lost) = part_of(&format!(r#""reasoning_effort":"{effort}""#), model, "/think");

        assert_eq!((sent, !lost.is_empty()), (think, is_lost), "{model} {effort}");
    }
}

/// WIRE 3.7.
#[test]
fn what_ollama_cannot_do_is_told_by_name() {
    let members = r#""n":2,"logit_bias":{"50256":-100},"logprobs":true,"top_logprobs":3,"parallel_tool_calls":false,
        "service_tier":"flex","future":{"a":1},"x-cache":false,"store":false,"metadata":{}"#;

    let (options, lost) = part_of(members, "llama3.2", "/options");

    assert_eq!(options, json!({"num_ctx": 4096}));
    let expected = ["parallel_tool_calls", "n", "logit_bias", "logprobs", "top_logprobs", "service_tier", "future"];
    assert_eq!(lost, expected);
}

/// WIRE 1.5.
#[test]
fn the_context_grows_with_the_prompt_and_ends_at_the_models_window() {
    let num_ctx = |content: &str, window| {
        let body = json!({"model": "auto", "messages": [{"role": "user", "content": content}]}).to_string();
        let encoded: Value = serde_json::from_str(&encode(&body, "m", window).unwrap().0).unwrap();
        encoded["options"]["num_ctx"].as_u64().unwrap()
    };
    let long = "word ".repeat(10_000);

    assert_eq!(num_ctx("hi", Some(131_072)), 4_096);
    assert_eq!(num_ctx(&long, Some(131_072)), 32_768);
    assert_eq!(num_ctx(&long, Some(8_192)), 8_192);
    assert_eq!(num_ctx(&long, None), 32_768);
}

fn content() -> impl Strategy<Value = Value> {
    let part = prop_oneof![
        ".*".prop_map(|text| json!({"type": "text", "text": text})),
        ".{0,12}".prop_map(|url| json!({"type": "image_url", "image_url": {"url": format!("data:{url}")}})),
        ".{0,12}".prop_map(|kind| json!({"type": kind, "refusal": "no"})),
    ];
    prop_oneof![".*".prop_map(Value::from), proptest::collection::vec(part, 0..3).prop_map(Value::from)]
}

proptest! {
    #[test]
    fn any_valid_chat_is_encoded_to_json_or_refused(
        role in "user|system|developer|assistant|tool", content in content(), arguments in ".*", effort in ".{0,8}",
        max_tokens in 1_u64.., window in proptest::option::of(any::<u64>()),
    ) {
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
        let body = json!({"model": "m", "max_tokens": max_tokens, "reasoning_effort": effort, "messages": [
            {"role": "assistant", "tool_calls": [call]}, {"role": role, "content": content, "tool_call_id": "c"}]});

        if let Ok((encoded, _)) = encode(&body.to_string(), "m", window) {
            let encoded: Value = serde_json::from_str(&encoded).unwrap();
            prop_assert_eq!(encoded["messages"].as_array().map(Vec::len), Some(2));
            prop_assert!(encoded["messages"][0]["tool_calls"][0]["function"]["arguments"].is_object());
        }
    }
}
