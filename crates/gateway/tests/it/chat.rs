//! Chat and embeddings through the port: what goes upstream, what comes back.

use serde_json::{Value, json};

use crate::harness::{Gateway, NO_BREAKERS};

#[tokio::test]
async fn a_plain_chat_carries_metadata_and_headers() {
    let gateway = Gateway::with_upstreams().await;

    let answer = gateway.ask("gpt-4o-mini", "[upstream echo] hello").await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert!(json["choices"][0]["message"]["content"].as_str().unwrap().contains("hello"));
    let metadata = &json["x-gateway"];
    assert_eq!(metadata["provider"], "openai");
    assert_eq!(metadata["model"], "gpt-4o-mini");
    assert_eq!(metadata["routing_decision"], "direct: gpt-4o-mini");
    assert_eq!(metadata["cache_hit"], false);
    assert_eq!(metadata["fallback_used"], false);
    assert!(metadata["cost_usd"].as_f64().unwrap() > 0.0);
    assert!(metadata["latency_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(answer.header("x-gateway-provider"), Some("openai"));
    assert_eq!(answer.header("x-gateway-model"), Some("gpt-4o-mini"));
    assert_eq!(answer.header("x-gateway-cache"), Some("bypass"));
}

/// WIRE 10.1.
#[tokio::test]
async fn the_same_dialect_goes_upstream_byte_for_byte_but_for_what_is_ours() {
    let gateway = Gateway::with_upstreams().await;
    let body = "{ \"messages\" : [ {\"role\":\"user\",\"content\":\"h\\u00e9llo\"} ],\n \"x-routing-strategy\":\"cost\", \
                \"model\":\"openai/gpt-4o-mini\", \"unknown_field\": {\"b\":1, \"a\":[1.50, 2e3]}, \"seed\":7 }";

    let answer = gateway.post_with("/v1/chat/completions", &[("x-tags", "a,b")], body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let request = gateway.openai.requests().pop().unwrap();
    let sent = String::from_utf8(request.body).unwrap();
    assert!(sent.contains("[ {\"role\":\"user\",\"content\":\"h\\u00e9llo\"} ]"), "{sent}");
    assert!(sent.contains("\"unknown_field\": {\"b\":1, \"a\":[1.50, 2e3]}"), "{sent}");
    assert!(sent.contains("\"model\":\"gpt-4o-mini\"") && !sent.contains("x-routing"), "{sent}");
    assert_eq!(request.headers["authorization"], "Bearer sk-test-sentinel-provider-key");
    assert!(!request.headers.contains_key("x-tags"));
}

/// WIRE 5.1.
#[tokio::test]
async fn a_stream_is_what_openai_sends_with_usage_only_where_asked() {
    let gateway = Gateway::with_upstreams().await;
    for model in ["gpt-4o-mini", "llama3.2"] {
        let without = gateway.stream(model, "[upstream chunks=5]").await;
        let more = json!({"stream": true, "stream_options": {"include_usage": true}});
        let with = gateway.chat(model, "[upstream chunks=5]", more).await;

        for (answer, is_asked) in [(&without, false), (&with, true)] {
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.header("content-type"), Some("text/event-stream; charset=utf-8"));
            let mut events = answer.events();
            assert_eq!(events.pop().as_deref(), Some("[DONE]"), "{model}: {}", answer.text());
            let events: Vec<Value> = events.iter().map(|event| serde_json::from_str(event).unwrap()).collect();
            let (last, before) = events.split_last().unwrap();
            assert_eq!(events[0]["choices"][0]["delta"]["role"], "assistant");
            assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
            assert!(before.iter().all(|event| event.get("x-gateway").is_none()));
            assert!(last["x-gateway"]["routing_decision"].is_string(), "{last}");
            let has_usage = events.iter().any(|event| event["choices"] == json!([]) && event["usage"].is_object());
            assert_eq!(has_usage, is_asked, "{model}");
            assert_eq!(last["choices"] == json!([]), is_asked, "{last}");
        }
        assert!(!without.streamed_text().is_empty());
    }
    let streams = gateway.openai.requests().into_iter().filter(|request| request.path.ends_with("completions"));
    for request in streams {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        assert_eq!(body["stream_options"]["include_usage"], true, "usage is always asked for upstream");
    }
}

/// WIRE 1.5.
#[tokio::test]
async fn ollama_is_asked_in_its_own_words() {
    let gateway = Gateway::with_upstreams().await;

    let more = json!({"max_tokens": 50, "temperature": 0.5, "reasoning_effort": "low"});
    let answer = gateway.chat("llama3.2", "hi", more).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let json = answer.json();
    assert_eq!(json["object"], "chat.completion");
    assert_eq!(json["choices"][0]["finish_reason"], "stop");
    assert_eq!(json["x-gateway"]["provider"], "ollama");
    assert_eq!(json["x-gateway"]["cost_usd"], 0.0);
    let request = gateway.ollama.requests().into_iter().rfind(|request| request.path == "/api/chat").unwrap();
    let sent: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(sent["options"]["num_predict"], 50);
    assert!(sent["options"]["num_ctx"].as_u64().unwrap() >= 4096);
    assert_eq!(sent["stream"], false);
}

/// TRAPS 20.
#[tokio::test]
async fn an_error_before_content_is_a_real_http_error_and_falls_back_where_there_is_another() {
    let file = "[[provider]]\nname = \"dead\"\ndialect = \"openai\"\nbase_url = \"http://127.0.0.1:9/v1\"\n\
                [groups.both]\nkind = \"ordered\"\ntargets = [\"dead/any\", \"ollama/llama3.2\"]\n";
    let gateway = Gateway::with_settings(file, &[]).await;
    for stream in [false, true] {
        let more = json!({"stream": stream});
        let alone = gateway.chat("gpt-4o-mini", "[upstream status=503]", more.clone()).await;
        assert_eq!(alone.status, 503, "{}", alone.text());
        assert_eq!(alone.error().1, "provider_error");

        let both = gateway.chat("both", "hi", more).await;

        assert_eq!(both.status, 200, "{}", both.text());
        let events = both.events();
        let metadata = if stream {
            serde_json::from_str::<Value>(&events[events.len() - 2]).unwrap()["x-gateway"].clone()
        } else {
            both.json()["x-gateway"].clone()
        };
        assert_eq!(metadata["provider"], "ollama");
        assert_eq!(metadata["fallback_used"], true);
        assert_eq!(metadata["attempts"][0]["outcome"], "provider_unreachable");
    }
}

/// WIRE 6.2.
#[tokio::test]
async fn a_cut_stream_ends_in_an_error_frame_and_without_done() {
    let gateway = Gateway::with_upstreams().await;
    for model in ["gpt-4o-mini", "llama3.2"] {
        let answer = gateway.stream(model, "[upstream chunks=9 cut=3]").await;

        assert_eq!(answer.status, 200);
        let events = answer.events();
        assert!(!answer.text().contains("[DONE]"), "{}", answer.text());
        let error: Value = serde_json::from_str(events.last().unwrap()).unwrap();
        assert_eq!(error["error"]["code"], "stream_interrupted", "{model}");
        assert!(!answer.streamed_text().is_empty());
    }
}

#[tokio::test]
async fn a_stream_that_ends_without_done_after_its_finish_is_complete() {
    let gateway = Gateway::with_upstreams().await;

    let answer = gateway.stream("gpt-4o-mini", "[upstream chunks=3 no_done]").await;

    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}

/// TRAPS 26.
#[tokio::test]
async fn a_long_wait_for_the_first_content_sends_keep_alives_and_then_the_answer() {
    let gateway = Gateway::with_settings("", &[("KEEPALIVE_AFTER_SECONDS", "1")]).await;

    let answer = gateway.stream("gpt-4o-mini", "[upstream first_ms=2500 chunks=3]").await;

    assert_eq!(answer.status, 200);
    assert!(answer.text().starts_with(": keep-alive\n\n"), "{}", answer.text());
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}

#[tokio::test]
async fn a_failure_after_the_first_keep_alive_is_an_error_frame() {
    let gateway = Gateway::with_settings("", &[("KEEPALIVE_AFTER_SECONDS", "1")]).await;

    let answer = gateway.stream("gpt-4o-mini", "[upstream latency_ms=1500 status=500]").await;

    assert_eq!(answer.status, 200);
    let error: Value = serde_json::from_str(answer.events().last().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "provider_error");
    assert!(!answer.text().contains("[DONE]"));
}

/// WIRE 9.1.
#[tokio::test]
async fn upstream_errors_reach_the_client_as_the_contract_says() {
    let gateway = Gateway::with_settings(NO_BREAKERS, &[]).await;
    for (directive, status, code) in [
        ("status=400", 400, "invalid_value"),
        ("status=400 error=context_length", 400, "context_length_exceeded"),
        ("status=400 error=content_filter", 400, "content_filter"),
        ("status=401", 502, "provider_auth_error"),
        ("status=403", 502, "provider_auth_error"),
        ("status=404", 502, "provider_model_not_found"),
        ("status=429 retry_after=7", 429, "provider_rate_limited"),
        ("status=429 error=quota", 503, "provider_quota_exhausted"),
        ("status=500", 502, "provider_error"),
        ("status=529", 503, "provider_overloaded"),
        ("html", 502, "provider_bad_response"),
        ("empty_choices", 502, "provider_bad_response"),
        ("error_in_200", 502, "provider_error"),
        ("gzip", 502, "provider_bad_response"),
    ] {
        for stream in [false, true] {
            if stream && directive == "empty_choices" {
                continue;
            }
            let prompt = format!("[upstream {directive}]");
            let answer = gateway.chat("gpt-4o-mini", &prompt, json!({"stream": stream})).await;
            assert_eq!(answer.status.as_u16(), status, "{directive} stream={stream}: {}", answer.text());
            assert_eq!(answer.error().1, code, "{directive} stream={stream}");
            assert!(!answer.text().contains("sentinel"), "no secret of ours in {}", answer.text());
            if directive.contains("retry_after") {
                assert_eq!(answer.header("retry-after"), Some("7"));
            }
        }
    }
}

#[tokio::test]
async fn a_callers_deadline_ends_the_wait() {
    let gateway = Gateway::with_upstreams().await;

    let answer = gateway.chat("gpt-4o-mini", "[upstream latency_ms=5000]", json!({"x-timeout-ms": 100})).await;

    assert_eq!(answer.status, 504);
    assert_eq!(answer.error().1, "deadline_exceeded");
}

#[tokio::test]
async fn tool_calls_come_back_in_openais_shape_from_either_dialect() {
    let gateway = Gateway::with_upstreams().await;
    let tool = |name: &str| {
        let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
        json!({"type": "function", "function": {"name": name, "parameters": parameters}})
    };
    for model in ["gpt-4o-mini", "llama3.2"] {
        let more = json!({"tools": [tool("weather"), tool("time")]});
        let answer = gateway.chat(model, "[upstream tools=2]", more).await;

        assert_eq!(answer.status, 200, "{}", answer.text());
        let choice = &answer.json()["choices"][0];
        assert_eq!(choice["finish_reason"], "tool_calls", "{model}: {choice}");
        let calls = choice["message"]["tool_calls"].as_array().unwrap();
        assert_eq!(calls.len(), 2, "{model}");
        assert_ne!(calls[0]["id"], calls[1]["id"]);
        for call in calls {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            assert!(serde_json::from_str::<Value>(arguments).unwrap().is_object());
        }
    }
}

#[tokio::test]
async fn embeddings_come_as_floats_or_base64_from_either_dialect() {
    let gateway = Gateway::with_upstreams().await;
    for model in ["text-embedding-3-small", "nomic-embed-text"] {
        let floats = gateway.post("/v1/embeddings", &json!({"model": model, "input": ["a", "b"]})).await;
        let body = json!({"model": model, "input": "a", "encoding_format": "base64"});
        let base64 = gateway.post("/v1/embeddings", &body).await;

        assert_eq!(floats.status, 200, "{}", floats.text());
        let data = floats.json()["data"].as_array().unwrap().clone();
        assert_eq!((data.len(), &data[1]["index"]), (2, &json!(1)));
        let first: Vec<f64> = data[0]["embedding"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        let encoded = base64.json()["data"][0]["embedding"].as_str().unwrap().to_owned();
        let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, encoded).unwrap();
        let decoded: Vec<f64> =
            bytes.chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect();
        assert_eq!(first.len(), decoded.len());
        assert!(first.iter().zip(&decoded).all(|(a, b)| (a - b).abs() < 1e-6), "{model}");
        assert!(floats.json()["x-gateway"]["cost_usd"].is_number(), "{model}: {}", floats.text());
    }
}

/// OpenAI's older API, answered by chat models of any dialect.
#[tokio::test]
async fn completions_are_answered_by_any_model() {
    let gateway = Gateway::with_upstreams().await;
    for model in ["gpt-4o-mini", "llama3.2"] {
        let body = json!({"model": model, "prompt": "Hello", "max_tokens": 50});
        let plain = gateway.post("/v1/completions", &body).await;
        assert_eq!(plain.status, 200, "{}", plain.text());
        let json = plain.json();
        assert_eq!(json["object"], "text_completion");
        assert!(json["choices"][0]["text"].as_str().unwrap().starts_with("A gateway"), "{json}");
        assert!(json["usage"]["total_tokens"].as_u64().unwrap() > 0 && json["x-gateway"]["model"] == model);

        let mut streamed = body.clone();
        streamed["stream"] = json!(true);
        streamed["stream_options"] = json!({"include_usage": true});
        let stream = gateway.post("/v1/completions", &streamed).await;
        let events = stream.events();
        assert_eq!(events.last().unwrap(), "[DONE]", "{}", stream.text());
        let chunks: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
        let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["text"].as_str()).collect();
        assert_eq!(text, json["choices"][0]["text"].as_str().unwrap());
        assert!(chunks.last().unwrap()["usage"]["completion_tokens"].as_u64().unwrap() > 0);
        assert_eq!(chunks[chunks.len() - 2]["choices"][0]["finish_reason"], "stop");
    }
    let echo = json!({"model": "gpt-4o-mini", "prompt": "Hello", "echo": true});
    let refused = gateway.post("/v1/completions", &echo).await;
    assert_eq!((refused.status.as_u16(), refused.error().2.as_deref()), (400, Some("echo")));
}
