//! Anthropic's API in front of any provider, and Anthropic behind any API.

use axum::body::Body;
use http::Method;
use serde_json::{Value, json};
use testkit::Upstream;

use crate::faults::metadata;
use crate::harness::{Answer, Gateway};

/// The models of three dialects.
const MODELS: [&str; 3] = ["anthropic/claude-haiku-4-5-20251001", "openai/gpt-4o-mini", "ollama/llama3.2"];

struct World {
    gateway: Gateway,
    anthropic: Upstream,
}

impl World {
    async fn new() -> World {
        World::with(&[]).await
    }

    async fn with(more: &[(&str, &str)]) -> World {
        let anthropic = Upstream::anthropic().await;
        let url = anthropic.url();
        let mut variables = vec![("ANTHROPIC_API_KEY", "sk-ant-sentinel"), ("ANTHROPIC_BASE_URL", url.as_str())];
        variables.extend(more);
        World { gateway: Gateway::with_settings("", &variables).await, anthropic }
    }

    /// One user message by Anthropic's API, with further fields.
    async fn say(&self, model: &str, prompt: &str, more: Value) -> Answer {
        let mut body = json!({"model": model, "max_tokens": 500, "messages": [{"role": "user", "content": prompt}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.gateway.post("/v1/messages", &body).await
    }

    /// What Anthropic was sent last.
    fn sent(&self) -> (http::HeaderMap, Value) {
        let request = self.anthropic.requests().into_iter().rfind(|request| request.path == "/v1/messages").unwrap();
        (request.headers, serde_json::from_slice(&request.body).unwrap())
    }
}

/// The events of a stream of Anthropic's, each checked against its name.
fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let events = text.split_terminator("\n\n").filter(|event| !event.starts_with(':')).map(|event| {
        let (name, data) = event.split_once('\n').unwrap_or_else(|| panic!("no name: {event}"));
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(name.strip_prefix("event: ").unwrap(), data["type"], "{event}");
        data
    });
    events.collect()
}

fn kinds(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_openai_client_reaches_anthropic() {
    let world = World::new().await;
    let more = json!({"temperature": 0.3, "seed": 5});

    let answer = world.gateway.chat("claude-haiku-4-5", "[upstream cached=3] Hello there, how are you?", more).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert!(json["choices"][0]["message"]["content"].as_str().unwrap().starts_with("A gateway"));
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    assert_eq!(json["usage"]["prompt_tokens_details"]["cached_tokens"], 3);
    assert_eq!(json["x-gateway"]["losses"], json!([{"param": "seed", "what": "Anthropic has no equivalent"}]));
    assert!(json["x-gateway"]["cost_usd"].as_f64().unwrap() > 0.0);
    let (headers, sent) = world.sent();
    assert_eq!(
        (&headers["x-api-key"], &headers["anthropic-version"]),
        (&"sk-ant-sentinel".parse().unwrap(), &"2023-06-01".parse().unwrap())
    );
    assert!(!headers.contains_key("authorization"));
    assert_eq!((&sent["model"], &sent["max_tokens"]), (&json!("claude-haiku-4-5-20251001"), &json!(64_000)));
    let entry = world.gateway.entries(answer.header("x-request-id").unwrap(), 1).await.remove(0);
    assert_eq!(entry.input_tokens, json["usage"]["prompt_tokens"].as_i64().unwrap());
    assert!(!entry.is_estimated);
}

#[tokio::test]
async fn an_openai_stream_comes_from_anthropic() {
    let world = World::new().await;
    let more = json!({"stream": true, "stream_options": {"include_usage": true}});

    let answer = world.gateway.chat(MODELS[0], "[upstream reasoning] Hello", more).await;

    assert_eq!(answer.events().last().unwrap(), "[DONE]", "{}", answer.text());
    assert!(answer.streamed_text().starts_with("A gateway stands"));
    let chunks: Vec<Value> = answer.events().iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["delta"]["reasoning_content"].is_string()));
    assert!(chunks.last().unwrap()["usage"]["prompt_tokens"].as_u64().unwrap() > 0);
    assert_eq!(metadata(&answer)["provider"], "anthropic");
}

/// TRAPS 24.
#[tokio::test]
async fn an_anthropic_client_reaches_every_provider() {
    let world = World::new().await;
    for model in MODELS {
        let answer = world.say(model, "Hello", json!({"system": "Be brief."})).await;

        assert_eq!(answer.status, 200, "{model}: {}", answer.text());
        let json = answer.json();
        assert_eq!(
            (&json["type"], &json["role"], &json["stop_reason"]),
            (&json!("message"), &json!("assistant"), &json!("end_turn"))
        );
        assert!(json["content"][0]["text"].as_str().unwrap().starts_with("A gateway"), "{model}: {json}");
        assert!(json["usage"]["input_tokens"].as_u64().unwrap() > 0, "{model}: {json}");
        assert_eq!(json["x-gateway"]["provider"], model.split('/').next().unwrap());

        let stream = world.say(model, "Hello", json!({"stream": true})).await;

        let events = events(&stream);
        let kinds = kinds(&events);
        assert_eq!((kinds[0], kinds[kinds.len() - 1]), ("message_start", "message_stop"), "{model}: {}", stream.text());
        assert_eq!(kinds[kinds.len() - 2], "message_delta");
        let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
        assert!(text.starts_with("A gateway stands between"), "{model}: {text}");
        assert!(events[0]["message"]["usage"]["input_tokens"].as_u64().unwrap() > 0);
        assert!(events[events.len() - 2]["usage"]["output_tokens"].as_u64().unwrap() > 1, "{model}");
        assert_eq!(events[events.len() - 1]["x-gateway"]["model"], model.split_once('/').unwrap().1);
    }
}

/// A tool loop as an agent runs it: every block of an answer goes back as it came.
#[tokio::test]
async fn tool_loops_run_with_every_provider_plain_and_streamed() {
    let world = World::new().await;
    let tools = json!([{"name": "look_up", "description": "Looks up.", "input_schema": {"type": "object",
        "properties": {"query": {"type": "string"}}, "required": ["query"]}}]);
    for model in MODELS {
        // Ollama's forced call is one call.
        let choice = if model.starts_with("ollama") { "auto" } else { "any" };
        let more = json!({"tools": tools, "tool_choice": {"type": choice}});
        let first = world.say(model, "[upstream tools=2] Look it up.", more).await;
        assert_eq!(first.status, 200, "{model}: {}", first.text());
        let json = first.json();
        let content = json["content"].as_array().unwrap();
        let calls: Vec<&Value> = content.iter().filter(|block| block["type"] == "tool_use").collect();
        assert_eq!((calls.len(), &json["stop_reason"]), (2, &json!("tool_use")), "{model}: {json}");
        assert!(calls.iter().all(|call| call["input"]["query"].is_string()), "{model}: {json}");
        assert_ne!(calls[0]["id"], calls[1]["id"]);

        let results: Vec<Value> = calls
            .iter()
            .map(|call| json!({"type": "tool_result", "tool_use_id": call["id"], "content": "42"}))
            .collect();
        let messages = json!([{"role": "user", "content": "Look it up."}, {"role": "assistant", "content": content},
            {"role": "user", "content": results}]);
        let second = world.say(model, "", json!({"tools": tools, "messages": messages})).await;
        assert_eq!(second.status, 200, "{model}: {}", second.text());
        assert!(second.json()["content"][0]["text"].as_str().unwrap().contains("42"), "{model}: {}", second.text());

        let stream = world.say(model, "[upstream tools=2] Look it up.", json!({"tools": tools, "stream": true})).await;
        let events = events(&stream);
        let mut open = None;
        let mut arguments = Vec::new();
        for event in &events {
            match event["type"].as_str().unwrap() {
                "content_block_start" => {
                    assert_eq!(open, None, "{model}: one block at a time");
                    open = event["index"].as_u64();
                    if event["content_block"]["type"] == "tool_use" {
                        arguments.push(String::new());
                    }
                }
                "content_block_delta" => {
                    assert_eq!(open, event["index"].as_u64(), "{model}");
                    if let (Some(last), Some(piece)) = (arguments.last_mut(), event["delta"]["partial_json"].as_str()) {
                        last.push_str(piece);
                    }
                }
                "content_block_stop" => assert_eq!(open.take(), event["index"].as_u64(), "{model}"),
                _ => {}
            }
        }
        assert_eq!(arguments.len(), 2, "{model}: {}", stream.text());
        assert!(arguments.iter().all(|text| serde_json::from_str::<Value>(text).unwrap()["query"].is_string()));
    }
}

/// WIRE 8.1; TRAPS 15: the imitation takes no reasoning whose signature it did not give. A client that sends back what
/// it got, and one that drops every field that OpenAI does not have.
#[tokio::test]
async fn signed_reasoning_goes_through_a_tool_loop_of_any_openai_client() {
    let world = World::new().await;
    let tools = json!([{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]);
    for (stream, drops) in [(false, false), (false, true), (true, false), (true, true)] {
        let more = json!({"tools": tools, "reasoning_effort": "low", "max_tokens": 8_000, "stream": stream});
        let first = world.gateway.chat(MODELS[0], "[upstream tools=1] Look it up.", more.clone()).await;
        assert_eq!(first.status, 200, "{}", first.text());
        let mut message = if stream { joined(&first) } else { first.json()["choices"][0]["message"].clone() };
        assert!(message["reasoning_details"][0]["signature"].is_string(), "{message}");
        if drops {
            message
                .as_object_mut()
                .unwrap()
                .retain(|name, _| matches!(name.as_str(), "role" | "content" | "tool_calls"));
        }
        let id = message["tool_calls"][0]["id"].clone();
        let mut body = more;
        body["model"] = json!(MODELS[0]);
        body["messages"] = json!([{"role": "user", "content": "Look it up."}, message,
            {"role": "tool", "tool_call_id": id, "content": "42"}]);

        let second = world.gateway.post("/v1/chat/completions", &body).await;

        assert_eq!(second.status, 200, "stream {stream}, drops {drops}: {}", second.text());
        let (_, sent) = world.sent();
        assert_eq!(sent["messages"][1]["content"][0]["type"], "thinking", "stream {stream}, drops {drops}");
        assert_eq!(sent["thinking"]["type"], "enabled", "{sent}");
        // The same conversation goes on at another provider, which gets no signature.
        body["model"] = json!(MODELS[1]);
        assert_eq!(world.gateway.post("/v1/chat/completions", &body).await.status, 200);
    }
}

/// The message that a stream of one choice makes.
fn joined(answer: &Answer) -> Value {
    let mut message = json!({"role": "assistant", "content": null, "tool_calls": [], "reasoning_details": []});
    let chunks = answer.events().into_iter().filter_map(|event| serde_json::from_str::<Value>(&event).ok());
    for delta in chunks.map(|chunk| chunk["choices"][0]["delta"].clone()) {
        if let Some(details) = delta["reasoning_details"].as_array() {
            message["reasoning_details"].as_array_mut().unwrap().extend(details.clone());
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if call["id"].is_string() {
                calls.push(call.clone());
            } else {
                let held = &mut calls.last_mut().unwrap()["function"]["arguments"];
                *held = json!(held.as_str().unwrap().to_owned() + call["function"]["arguments"].as_str().unwrap());
            }
        }
    }
    message
}

/// WIRE 10.1.
#[tokio::test]
async fn a_request_of_anthropics_own_dialect_is_sent_byte_for_byte_with_its_headers() {
    let world = World::new().await;
    let body = "{ \"model\":\"claude-haiku-4-5\", \"max_tokens\": 50,\n \"messages\" : [{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"h\\u00e9\",\"cache_control\":{\"type\":\"ephemeral\",\"ttl\":\"1h\"}}]}],\"x-tags\":[\"a\"] }";
    let headers =
        [("anthropic-beta", "context-1m-2025-08-07"), ("anthropic-version", "2023-06-01"), ("openai-beta", "x")];

    let answer = world.gateway.post_with("/v1/messages", &headers, body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = world.anthropic.requests().pop().unwrap();
    assert_eq!(
        String::from_utf8(request.body).unwrap(),
        body.replace(",\"x-tags\":[\"a\"]", "").replace("4-5", "4-5-20251001")
    );
    assert_eq!(request.headers["anthropic-beta"], "context-1m-2025-08-07");
    assert!(!request.headers.contains_key("openai-beta"));
    let to_openai = [("anthropic-beta", "x")];
    let body = body.replace("claude-haiku-4-5", "openai/gpt-4o-mini");
    assert_eq!(world.gateway.post_with("/v1/messages", &to_openai, body).await.status, 200);
    assert!(!world.gateway.openai.requests().pop().unwrap().headers.contains_key("anthropic-beta"));
}

/// WIRE 9.1.
#[tokio::test]
async fn errors_have_anthropics_shape_on_anthropics_routes() {
    let world = World::new().await;
    let message = json!([{"role": "user", "content": "a"}]);
    for (path, body, status, kind, code) in [
        (
            "/v1/messages",
            json!({"model": MODELS[0], "messages": message}),
            400,
            "invalid_request_error",
            "missing_required_parameter",
        ),
        (
            "/v1/messages",
            json!({"model": "nobody-has-it", "max_tokens": 5, "messages": message}),
            404,
            "not_found_error",
            "model_not_found",
        ),
        (
            "/v1/messages/count_tokens",
            json!({"messages": message}),
            400,
            "invalid_request_error",
            "missing_required_parameter",
        ),
    ] {
        let answer = world.gateway.post(path, &body).await;
        let json = answer.json();
        assert_eq!((answer.status.as_u16(), &json["type"]), (status, &json!("error")), "{json}");
        assert_eq!((&json["error"]["type"], &json["error"]["code"]), (&json!(kind), &json!(code)), "{json}");
        assert_eq!(json["request_id"], answer.header("request-id").unwrap());
        assert!(!json["error"]["message"].as_str().unwrap().is_empty());
    }
    for (words, status, kind) in [
        ("status=529", 503, "overloaded_error"),
        ("status=429", 429, "rate_limit_error"),
        ("status=500", 502, "api_error"),
        ("error=context_length", 400, "invalid_request_error"),
    ] {
        let world = World::new().await;
        let answer = world.say(MODELS[0], &format!("[upstream {words}]"), json!({})).await;
        let json = answer.json();
        assert_eq!((answer.status.as_u16(), &json["error"]["type"]), (status, &json!(kind)), "{words}: {json}");
    }
}

#[tokio::test]
async fn a_gateway_key_may_come_as_anthropics_clients_send_it() {
    let world = World::new().await;
    let (_, secret) = world.gateway.create_key(json!({})).await;
    let body = json!({"model": MODELS[1], "max_tokens": 5, "messages": [{"role": "user", "content": "a"}]}).to_string();

    let refused =
        world.gateway.post_with("/v1/messages", &[("x-api-key", "gw-development-nobody")], body.clone()).await;
    let answer = world.gateway.post_with("/v1/messages", &[("x-api-key", &secret)], body).await;

    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["type"]), (401, &json!("authentication_error")));
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// WIRE 6.2.
#[tokio::test]
async fn a_stream_that_fails_tells_so_in_anthropics_way() {
    let world = World::new().await;
    for model in &MODELS[..2] {
        let answer = world.say(model, "[upstream chunks=6 error_event=3]", json!({"stream": true})).await;
        let events = events(&answer);
        let last = events.last().unwrap();
        assert_eq!(last["type"], "error", "{model}: {}", answer.text());
        assert!(last["error"]["message"].is_string() && !kinds(&events).contains(&"message_stop"), "{model}");
        let cut = world.say(model, "[upstream chunks=6 cut=3]", json!({"stream": true})).await;
        assert_eq!(cut.text().matches("event: error").count(), 1, "{model}: {}", cut.text());
    }
}

#[tokio::test]
async fn an_overloaded_anthropic_is_stood_in_for_by_another_dialect() {
    let file =
        "[groups.both]\nkind = \"ordered\"\ntargets = [\"anthropic/claude-haiku-4-5\", \"openai/gpt-4o-mini\"]\n";
    let anthropic = Upstream::anthropic().await;
    let variables = [("ANTHROPIC_API_KEY", "sk-ant"), ("ANTHROPIC_BASE_URL", &anthropic.url())];
    let world = World {
        gateway: Gateway::with_settings(file, &variables.map(|(name, value)| (name, value as &str))).await,
        anthropic,
    };
    // Little is left of its rate limits, as its own headers say: the other one is asked first.
    world.say(MODELS[0], "[upstream left_percent=5] Hello", json!({})).await;
    assert_eq!(world.say("both", "Hello", json!({})).await.header("x-gateway-provider"), Some("openai"));
    world.anthropic.tell("error=overloaded").unwrap();
    for stream in [false, true] {
        let answer = world.say("both", "Hello", json!({"stream": stream})).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-gateway-provider"), Some("openai"));
    }
}

#[tokio::test]
async fn tokens_are_counted_by_the_provider_that_can_and_by_the_gateway_for_others() {
    let world = World::new().await;
    let body = |model: &str| json!({"model": model, "system": "Be brief.", "messages": [{"role": "user", "content": "Hello there, how are you?"}]});

    let own = world.gateway.post("/v1/messages/count_tokens", &body(MODELS[0])).await;
    let counted = world.gateway.post("/v1/messages/count_tokens", &body(MODELS[1])).await;

    assert_eq!(own.status, 200, "{}", own.text());
    let asked = world.anthropic.requests().pop().unwrap();
    assert_eq!((asked.path.as_str(), asked.method), ("/v1/messages/count_tokens", Method::POST));
    assert!(own.json()["input_tokens"].as_u64().unwrap() > 5);
    let tokens = counted.json()["input_tokens"].as_u64().unwrap();
    assert!((8..=30).contains(&tokens), "{tokens}");
}

#[tokio::test]
async fn what_would_be_lost_is_told_and_is_refused_to_who_is_strict() {
    let world = World::new().await;
    let more = json!({"logit_bias": {"5": 1}, "x-strict": true});

    let refused = world.gateway.chat(MODELS[0], "Hello", more).await;
    let whole = world.gateway.chat(MODELS[0], "Hello", json!({"x-strict": true, "temperature": 0.5})).await;
    let body = json!({"model": MODELS[0], "messages": [{"role": "user", "content": "a"}], "seed": 1});
    let by_header = world
        .gateway
        .send(Method::POST, "/v1/chat/completions", &[("x-strict", "true")], Body::from(body.to_string()))
        .await;

    assert_eq!(
        (refused.status.as_u16(), refused.error().2.as_deref()),
        (400, Some("logit_bias")),
        "{}",
        refused.text()
    );
    assert_eq!(refused.error().1, "unsupported_parameter");
    assert_eq!((whole.status.as_u16(), by_header.status.as_u16()), (200, 400), "{}", whole.text());
    assert!(whole.json()["x-gateway"].get("losses").is_none());
}

#[tokio::test]
async fn auto_chooses_for_requests_of_every_surface() {
    let world = World::new().await;
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let messages = json!([{"role": "user", "content": [{"type": "text", "text": "Hello"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "42"}]}]);

    let said = world.say("auto", "", json!({"messages": messages, "tools": tools})).await;
    let completed = world.gateway.post("/v1/completions", &json!({"model": "cheap", "prompt": "Hello"})).await;
    let counted =
        world.gateway.post("/v1/messages/count_tokens", &json!({"model": "fast", "messages": messages})).await;

    for answer in [&said, &completed, &counted] {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert!(said.json()["x-gateway"]["routing_decision"].as_str().unwrap().starts_with("balanced: "));
    assert!(completed.json()["x-gateway"]["routing_decision"].as_str().unwrap().contains("complexity"));
}
