//! What the imitations do, seen through their ports.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};

use crate::Upstream;

const CHAT: &str = "/chat/completions";

async fn begin(upstream: &Upstream, path: &str, body: &Value) -> Response<Incoming> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let method = if body.is_null() { "GET" } else { "POST" };
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = Request::builder().method(method).uri(format!("{}{path}", upstream.url()));
    client.request(request.body(Full::from(body)).unwrap()).await.unwrap()
}

/// Status, headers, the body as far as it came, and whether it came whole.
async fn read(upstream: &Upstream, path: &str, body: &Value) -> (StatusCode, HeaderMap, String, bool) {
    let (parts, mut body) = begin(upstream, path, body).await.into_parts();
    let mut bytes = Vec::new();
    loop {
        match body.frame().await {
            Some(Ok(frame)) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            end => return (parts.status, parts.headers, String::from_utf8(bytes).unwrap(), end.is_none()),
        }
    }
}

async fn ask(upstream: &Upstream, path: &str, body: &Value) -> Value {
    let (status, _, text, is_whole) = read(upstream, path, body).await;
    assert!(status == 200 && is_whole, "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

fn chat(prompt: &str, more: Value) -> Value {
    let mut body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": prompt}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn streamed(upstream: &Upstream, prompt: &str) -> (String, bool) {
    let path = if upstream.url().ends_with("/v1") { CHAT } else { "/api/chat" };
    let (_, _, text, is_whole) = read(upstream, path, &chat(prompt, json!({"stream": true}))).await;
    (text, is_whole)
}

#[tokio::test]
async fn an_openai_stream_is_written_as_openai_does() {
    let upstream = Upstream::openai().await;
    let body = chat("[upstream chunks=1]", json!({"stream": true, "stream_options": {"include_usage": true}}));

    let (_, headers, text, _) = read(&upstream, CHAT, &body).await;

    let chunk = |rest: &str| {
        format!(
            "data: {{\"id\":\"chatcmpl-Imitation00000001\",\"object\":\"chat.completion.chunk\",\"created\":1760000000,\
             \"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\
             \"system_fingerprint\":\"fp_0123456789\",{rest}}}\n\n"
        )
    };
    let choice = |delta: &str, finish: &str| {
        format!(
            "\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{finish}}}],\
             \"usage\":null"
        )
    };
    let usage = "\"choices\":[],\"usage\":{\"prompt_tokens\":8,\"completion_tokens\":1,\"total_tokens\":9,\
                 \"prompt_tokens_details\":{\"cached_tokens\":0,\"audio_tokens\":0},\
                 \"completion_tokens_details\":{\"reasoning_tokens\":0,\"audio_tokens\":0,\
                 \"accepted_prediction_tokens\":0,\"rejected_prediction_tokens\":0}}";
    let expected = [
        chunk(&choice(r#"{"role":"assistant","content":"","refusal":null}"#, "null")),
        chunk(&choice(r#"{"content":"A "}"#, "null")),
        chunk(&choice("{}", "\"stop\"")),
        chunk(usage),
        "data: [DONE]\n\n".to_owned(),
    ];
    assert_eq!(text, expected.concat());
    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    let (unasked, _) = streamed(&upstream, "hi").await;
    assert!(!unasked.contains("usage") && unasked.ends_with("data: [DONE]\n\n"));
}

#[tokio::test]
async fn an_ollama_stream_is_lines_of_json_and_is_the_default() {
    let upstream = Upstream::ollama().await;
    let body = json!({"model": "llama3.2", "messages": [{"role": "user", "content": "[upstream chunks=1 reasoning]"}]});

    let (_, headers, text, _) = read(&upstream, "/api/chat", &body).await;

    let lines: Vec<&str> = text.lines().collect();
    let head = r#"{"model":"llama3.2","created_at":"2025-10-09T08:53:20.123456789Z","message":{"role":"assistant","#;
    assert_eq!(lines[0], format!("{head}\"content\":\"\",\"thinking\":\"First \"}},\"done\":false}}"));
    assert_eq!(lines[lines.len() - 2], format!("{head}\"content\":\"A \"}},\"done\":false}}"));
    let tail = "\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"total_duration\":191683332,\
                \"load_duration\":37411250,\"prompt_eval_count\":11,\"prompt_eval_duration\":53154708,\
                \"eval_count\":8,\"eval_duration\":100553125}";
    assert_eq!(lines[lines.len() - 1], format!("{head}{tail}"));
    assert_eq!(headers["content-type"], "application/x-ndjson");
}

#[tokio::test]
async fn streams_fail_as_they_are_told() {
    for upstream in [Upstream::openai().await, Upstream::ollama().await] {
        let is_openai = upstream.url().ends_with("/v1");
        let content = |text: &str| text.matches("\"content\":\"").count();
        let (whole, _) = streamed(&upstream, "[upstream chunks=5]").await;
        let (cut, is_whole) = streamed(&upstream, "[upstream chunks=5 cut=3]").await;
        // The role's chunk and the last line of Ollama's carry empty content.
        assert!(!is_whole && content(&cut) == content(&whole) - if is_openai { 2 } else { 3 }, "{cut}");
        assert!(whole.starts_with(&cut.replace("Imitation00000002", "Imitation00000001")));

        let (sliced, _) = streamed(&upstream, "[upstream chunks=5 slice=1 crlf comments=2]").await;
        assert_eq!(sliced.starts_with(": keep-alive\r\n\r\n: keep-alive\r\n\r\ndata: {"), is_openai);
        assert_eq!(sliced.matches('\n').count(), sliced.matches("\r\n").count());

        let (error, is_whole) = streamed(&upstream, "[upstream error_event=2 error=quota]").await;
        let last: Value =
            serde_json::from_str(error.trim_end().rsplit('\n').next().unwrap().trim_start_matches("data: ")).unwrap();
        assert!(is_whole && !last["error"].is_null(), "{error}");
        if is_openai {
            assert_eq!(last["error"]["code"], "insufficient_quota");
        }

        let (broken, _) = streamed(&upstream, "[upstream bad_json=1]").await;
        let payloads = broken.lines().filter(|line| !line.is_empty()).map(|line| line.trim_start_matches("data: "));
        let bad = payloads.filter(|line| *line != "[DONE]" && serde_json::from_str::<Value>(line).is_err());
        assert_eq!(bad.count(), 1, "{broken}");

        let (open, _) = streamed(&upstream, "[upstream no_done no_finish no_usage]").await;
        assert!(!open.contains("DONE") && !open.contains("stop") && !open.contains("eval_count"), "{open}");
        let (counted, _) = streamed(&upstream, "[upstream chunks=3 usage_every_chunk]").await;
        assert!(counted.matches(if is_openai { "\"usage\":{" } else { "\"eval_count\"" }).count() >= 4, "{counted}");
        assert!(streamed(&upstream, "[upstream huge_event]").await.0.len() > 2 * 1024 * 1024);
        assert_eq!(upstream.open_streams(), 0);
    }
}

#[tokio::test]
async fn errors_have_the_vendors_shape() {
    let (openai, ollama) = (Upstream::openai().await, Upstream::ollama().await);
    for (directive, status, kind, code) in [
        ("status=503 retry_after=2", 503, "server_error", Value::Null),
        ("error=context_length", 400, "invalid_request_error", json!("context_length_exceeded")),
        ("status=418 error=quota", 418, "insufficient_quota", json!("insufficient_quota")),
        ("error_in_200", 200, "server_error", Value::Null),
    ] {
        let body = chat(&format!("[upstream {directive}]"), json!({}));
        let (found, headers, text, _) = read(&openai, CHAT, &body).await;
        let error: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((found.as_u16(), &error["error"]["type"], &error["error"]["code"]), (status, &json!(kind), &code));
        assert_eq!(headers.contains_key("retry-after"), directive.contains("retry_after"));

        let (found, _, text, _) = read(&ollama, "/api/chat", &body).await;
        assert!(found.as_u16() == status && text.starts_with("{\"error\":\""), "{text}");
    }
    for (body, status) in [
        (json!({"model": "made-up-model", "messages": []}), 404),
        (json!({"messages": []}), 400),
        (json!([]), 400),
        (chat("[upstream nonsense]", json!({})), 501),
    ] {
        assert_eq!(read(&openai, CHAT, &body).await.0, status);
        assert_eq!(read(&ollama, "/api/chat", &body).await.0, status);
    }
    let (status, _, text, _) = read(&openai, CHAT, &json!({"model": "gpt-4o"})).await;
    assert!(status == 400 && text.contains(r#""param":"messages","code":"missing_required_parameter""#), "{text}");
    let (status, headers, text, _) = read(&openai, CHAT, &chat("[upstream html gzip]", json!({}))).await;
    assert!(status == 200 && text.starts_with("<!DOCTYPE html>"), "{text}");
    assert_eq!(
        (&headers["content-type"], &headers["content-encoding"]),
        (&"text/html".parse().unwrap(), &"gzip".parse().unwrap())
    );
    let (_, headers, text, is_whole) = read(&openai, CHAT, &chat("[upstream cut=0]", json!({}))).await;
    assert!(!is_whole && text.len().to_string() != headers["content-length"].to_str().unwrap());
}

#[tokio::test]
async fn tools_are_called_in_either_shape_and_their_results_quoted() {
    let (openai, ollama) = (Upstream::openai().await, Upstream::ollama().await);
    let parameters = json!({"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}});
    let tools = json!([{"type": "function", "function": {"name": "weather", "parameters": parameters}}]);
    let body = chat("[upstream tools=2]", json!({"tools": tools, "stream": false}));

    let calls = ask(&openai, CHAT, &body).await["choices"][0].clone();
    let native = ask(&ollama, "/api/chat", &body).await;
    let (stream, _) = {
        let (_, _, text, whole) =
            read(&openai, CHAT, &chat("[upstream tools=2]", json!({"tools": tools, "stream": true}))).await;
        (text, whole)
    };
    let required = chat("hi", json!({"tools": tools, "tool_choice": "required"}));
    let required = ask(&openai, CHAT, &required).await;
    let mut after = body.clone();
    after["messages"].as_array_mut().unwrap().push(json!({"role": "tool", "tool_call_id": "a", "content": "it rains"}));
    let quoted = ask(&openai, CHAT, &after).await;

    assert_eq!((&calls["finish_reason"], &calls["message"]["content"]), (&json!("tool_calls"), &Value::Null));
    assert_eq!(calls["message"]["tool_calls"][1]["function"]["arguments"], r#"{"city":"Paris"}"#);
    assert_ne!(calls["message"]["tool_calls"][0]["id"], calls["message"]["tool_calls"][1]["id"]);
    let call = json!({"function": {"name": "weather", "arguments": {"city": "Paris"}}});
    assert_eq!(native["message"]["tool_calls"], json!([call, call]));
    let first =
        r#"{"index":1,"id":"call_000002000001","type":"function","function":{"name":"weather","arguments":""}}"#;
    assert!(stream.contains(first), "{stream}");
    assert!(stream.contains(r#"{"tool_calls":[{"index":1,"function":{"arguments":"\"Paris\"}"}}]}"#), "{stream}");
    assert_eq!(required["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(), 1);
    assert_eq!(quoted["choices"][0]["message"]["content"], "The tool says: it rains");
}

#[tokio::test]
async fn answers_depend_on_what_was_asked() {
    let (openai, ollama) = (Upstream::openai().await, Upstream::ollama().await);
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}});
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}});
    let text = |answer: &Value| answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned();

    let structured = ask(&openai, CHAT, &chat("hi", format)).await;
    let echo = ask(&openai, CHAT, &chat("[upstream echo] hé", json!({"n": 2}))).await;
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]);
    let seen = json!({"model": "gpt-4o", "messages": [{"role": "user", "content": image}]});
    let seen = ask(&openai, CHAT, &seen).await;
    let message = json!([{"role": "user", "content": "?", "images": ["/9j/4AAQ", "iVBORw0KGgo="]}]);
    let native = chat("", json!({"messages": message, "stream": false}));
    let native = ask(&ollama, "/api/chat", &native).await;
    let data_url = chat("", json!({"messages": [{"role": "user", "images": ["data:image/png;base64,iVBORw0KGgo="]}]}));

    assert_eq!(text(&structured), r#"{"n":1}"#);
    assert_eq!((text(&echo).as_str(), echo["choices"].as_array().unwrap().len()), ("[upstream echo] hé", 2));
    assert_eq!(text(&seen), "I see 1 image: image/png");
    assert_eq!(native["message"]["content"], "I see 2 images: image/jpeg, image/png");
    assert_eq!(read(&ollama, "/api/chat", &data_url).await.0, 400);
    let native = ask(&ollama, "/api/chat", &chat("", json!({"format": schema, "stream": false}))).await;
    assert_eq!(native["message"]["content"], r#"{"n":1}"#);
    let empty = ask(&openai, CHAT, &chat("[upstream empty_choices]", json!({}))).await;
    assert_eq!(empty["choices"], json!([]));
}

#[tokio::test]
async fn embeddings_are_the_same_numbers_in_every_form() {
    use base64::Engine;
    let (openai, ollama) = (Upstream::openai().await, Upstream::ollama().await);
    let body = json!({"model": "m", "input": ["a", "b"], "dimensions": 3});
    let mut encoded = body.clone();
    encoded["encoding_format"] = json!("base64");

    let floats = ask(&openai, "/embeddings", &body).await;
    let base64 = ask(&openai, "/embeddings", &encoded).await;
    let native = ask(&ollama, "/api/embed", &body).await;

    let text = base64["data"][1]["embedding"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let decoded: Vec<f32> = bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let plain: Vec<f32> = serde_json::from_value(floats["data"][1]["embedding"].clone()).unwrap();
    assert_eq!((decoded.len(), &decoded), (3, &plain));
    assert_eq!(native["embeddings"][1], floats["data"][1]["embedding"]);
    assert_ne!(native["embeddings"][0], native["embeddings"][1]);
    assert_eq!(floats["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));
}

#[tokio::test]
async fn models_are_listed_and_described() {
    let (openai, ollama) = (Upstream::openai().await, Upstream::ollama().await);

    let list = ask(&openai, "/models", &Value::Null).await;
    let tags = ask(&ollama, "/api/tags", &Value::Null).await;
    let llama = ask(&ollama, "/api/show", &json!({"model": "llama3.2"})).await;
    let nomic = ask(&ollama, "/api/show", &json!({"model": "nomic-embed-text:latest"})).await;

    assert_eq!(list["data"][2]["id"], "gpt-4.1");
    assert_eq!(tags["models"][0]["details"]["family"], "llama");
    assert_eq!(llama["model_info"]["llama.context_length"], 131_072);
    assert_eq!(llama["capabilities"], json!(["completion", "tools", "vision"]));
    assert_eq!(nomic["model_info"]["nomic-bert.context_length"], 2048);
    assert!(ask(&ollama, "/api/version", &Value::Null).await["version"].is_string());
}

#[tokio::test]
async fn requests_are_kept_and_a_reader_that_leaves_is_seen() {
    let upstream = Upstream::openai().await;
    let body = chat("[upstream chunks=1000 delay_ms=20]", json!({"stream": true}));
    let mut response = begin(&upstream, CHAT, &body).await.into_body();
    response.frame().await.unwrap().unwrap();

    assert_eq!(upstream.open_streams(), 1);
    assert_eq!((upstream.last_json(), upstream.requests()[0].path.as_str()), (body, "/v1/chat/completions"));
    drop(response);

    while upstream.open_streams() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(upstream.chunks_written() < 1000);
}

#[tokio::test]
async fn a_dropped_upstream_breaks_its_streams() {
    let upstream = Upstream::openai().await;
    let body = chat("[upstream first_ms=3600000]", json!({"stream": true}));
    let mut response = begin(&upstream, CHAT, &body).await.into_body();
    let address = upstream.url().trim_start_matches("http://").trim_end_matches("/v1").to_owned();

    drop(upstream);

    assert!(response.frame().await.unwrap().is_err());
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
