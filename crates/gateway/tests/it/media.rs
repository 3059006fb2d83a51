//! Images, sound and moderations: what passes through comes out as it went in, and is paid for.

use serde_json::{Value, json};

use crate::harness::{Answer, Gateway};

const BOUNDARY: &str = "7f3a";

/// A form with a sound of so many bytes, and these fields.
fn form(bytes: usize, fields: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend_from_slice(part.as_bytes());
    }
    let head = format!(
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\
         Content-Type: audio/mpeg\r\n\r\n"
    );
    body.extend_from_slice(head.as_bytes());
    body.extend(std::iter::repeat_n(0xff, bytes));
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body
}

async fn transcribed(gateway: &Gateway, bytes: usize, fields: &[(&str, &str)]) -> Answer {
    let kind = format!("multipart/form-data; boundary={BOUNDARY}");
    gateway.post_with("/v1/audio/transcriptions", &[("content-type", &kind)], form(bytes, fields)).await
}

#[tokio::test]
async fn images_pass_through_and_cost_what_their_tokens_cost() {
    let gateway = Gateway::with_upstreams().await;
    let body = json!({"model": "openai/gpt-image-1", "prompt": "a cat in space", "n": 2, "x-tags": ["a"]});

    let answer = gateway.post("/v1/images/generations", &body).await.json();

    assert_eq!(answer["data"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["x-gateway"]["provider"], "openai");
    // 4 tokens of text at $5, 2,112 of images at $40 a million.
    assert_eq!(answer["x-gateway"]["cost_usd"], 0.0845);
    let sent = gateway.openai.requests().pop().unwrap();
    assert_eq!(sent.path, "/v1/images/generations");
    assert_eq!(serde_json::from_slice::<Value>(&sent.body).unwrap()["model"], "gpt-image-1");
    assert_eq!(sent.headers["authorization"], "Bearer sk-test-sentinel-provider-key");
}

#[tokio::test]
async fn a_stream_of_images_passes_through() {
    let gateway = Gateway::with_upstreams().await;
    let body = json!({"model": "gpt-image-1", "prompt": "a cat", "stream": true, "partial_images": 1});

    let answer = gateway.post("/v1/images/generations", &body).await;

    assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
    let text = answer.text();
    assert!(text.starts_with("event: image_generation.partial_image\ndata: {"), "{text}");
    assert!(text.contains("event: image_generation.completed\n") && text.ends_with("}\n\n"), "{text}");
    gateway.openai.tell("cut=1").unwrap();
    let cut = gateway.post("/v1/images/generations", &body).await.text();
    assert!(cut.contains("\"error\""), "{cut}");
}

#[tokio::test]
async fn sound_is_transcribed_and_paid_by_the_second() {
    let gateway = Gateway::with_upstreams().await;

    let plain = transcribed(&gateway, 60_000, &[("model", "whisper-1"), ("x-tags", "a")]).await.json();
    let text = transcribed(&gateway, 60_000, &[("model", "whisper-1"), ("response_format", "text")]).await;
    let stream = transcribed(&gateway, 2_000, &[("model", "gpt-4o-transcribe"), ("stream", "true")]).await;
    let ignored = transcribed(&gateway, 2_000, &[("model", "whisper-1"), ("stream", "true")]).await;

    // The imitation takes a thousand bytes for a second.
    assert_eq!(plain["x-gateway"]["cost_usd"], 0.006, "{plain}");
    assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(text.text(), "A gateway stands between you and the models.\n");
    assert_eq!(text.header("x-gateway-provider"), Some("openai"));
    assert!(stream.events().last().unwrap().contains("transcript.text.done"), "{}", stream.text());
    assert_eq!(ignored.header("content-type"), Some("application/json"));
    assert_eq!(ignored.json()["x-gateway"]["cost_usd"], 0.0002);
}

#[tokio::test]
async fn speech_is_bytes_of_its_media_type() {
    let gateway = Gateway::with_upstreams().await;
    let body = json!({"model": "tts-1", "input": "Hello there", "voice": "alloy"});

    let answer = gateway.post("/v1/audio/speech", &body).await;

    assert_eq!(answer.header("content-type"), Some("audio/mpeg"));
    assert_eq!((answer.body.len(), &answer.body[..2]), (13 * 64, &b"\xff\xfb"[..]));
    assert_eq!(answer.header("x-gateway-model"), Some("tts-1"));
    let sse = json!({"model": "tts-1", "input": "Hello", "voice": "alloy", "stream_format": "sse"});
    let stream = gateway.post("/v1/audio/speech", &sse).await;
    assert!(stream.events().last().unwrap().contains("speech.audio.done"));
}

#[tokio::test]
async fn moderations_need_no_model_and_cost_nothing() {
    let gateway = Gateway::with_upstreams().await;

    let answer = gateway.post("/v1/moderations", &json!({"input": ["a", "b"]})).await.json();

    assert_eq!(answer["results"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["x-gateway"]["cost_usd"], 0.0);
    assert_eq!(answer["x-gateway"]["model"], "omni-moderation-latest");
}

#[tokio::test]
async fn a_budget_holds_for_what_passes_through() {
    let gateway = Gateway::with_upstreams().await;
    let (_, secret) = gateway.create_key(json!({"name": "images", "monthly_budget_usd": 0.01})).await;
    let bearer = format!("Bearer {secret}");
    let headers = [("authorization", bearer.as_str())];
    let image = json!({"model": "gpt-image-1", "prompt": "a cat"}).to_string();

    let refused = gateway.post_with("/v1/images/generations", &headers, image).await;

    assert_eq!(refused.error().1, "budget_exceeded", "{}", refused.text());
    let speech = json!({"model": "tts-1", "input": "Hello", "voice": "alloy"}).to_string();
    let spoken = gateway.post_with("/v1/audio/speech", &headers, speech).await;
    assert_eq!(spoken.status, 200, "{}", spoken.text());
}

#[tokio::test]
async fn who_has_no_such_api_is_told_so() {
    let gateway = Gateway::with_upstreams().await;

    let local = gateway.post("/v1/audio/speech", &json!({"model": "ollama/llama3.2", "input": "a"})).await;
    let auto = gateway.post("/v1/images/generations", &json!({"model": "auto", "prompt": "a"})).await;
    let unnamed = gateway.post("/v1/images/generations", &json!({"prompt": "a"})).await;

    assert_eq!((local.status.as_u16(), local.error().1.as_str()), (400, "unsupported_parameter"), "{}", local.text());
    assert_eq!((auto.status.as_u16(), auto.error().1.as_str()), (404, "model_not_found"), "{}", auto.text());
    assert_eq!(unnamed.error().2.as_deref(), Some("model"));
}
