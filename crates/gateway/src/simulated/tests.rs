//! The simulated providers through their port.

use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::oneshot;

use super::*;

/// The server in the test's own runtime; it ends with this value.
struct Running {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    _server: JoinSet<()>,
}

/// What came back: status, whether the body was whole, and the body as far as it came.
struct Reply {
    status: u16,
    is_whole: bool,
    text: String,
}

impl Running {
    async fn start() -> Running {
        let simulated = Simulated::bind().await.unwrap();
        let address = simulated.address();
        let mut server = JoinSet::new();
        server.spawn(simulated.serve(std::future::pending()));
        Running { address, client: Client::builder(TokioExecutor::new()).build_http(), _server: server }
    }

    async fn send(&self, method: &str, path: &str, body: String) -> Reply {
        let uri = format!("http://{}{path}", self.address);
        let request = Request::builder().method(method).uri(uri).body(Full::from(body)).unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status().as_u16();
        let mut body = response.into_body();
        let (mut text, mut is_whole) = (String::new(), true);
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                is_whole = false;
                break;
            };
            text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
        Reply { status, is_whole, text }
    }

    async fn ask(&self, prompt: &str, fields: Value) -> Reply {
        let mut body = json!({"model": "sim-swift", "messages": [{"role": "user", "content": prompt}]});
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.send("POST", "/simulated-beta/v1/chat/completions", body.to_string()).await
    }
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn events(text: &str) -> Vec<&str> {
    text.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap()).collect()
}

#[test]
fn the_catalogue_has_the_same_simulated_models() {
    let catalog = catalog::Catalog::embedded();
    let mut listed: Vec<(String, String)> = Vec::new();
    for provider in catalog.providers().iter().filter(|provider| provider.is_simulated) {
        listed.extend(catalog.models_of(&provider.name).map(|model| (provider.name.to_string(), model.id.to_string())));
    }

    let ours: Vec<(String, String)> =
        MODELS.iter().map(|model| (model.provider.to_owned(), model.id.to_owned())).collect();
    assert_eq!(listed, ours);
}

#[tokio::test]
async fn every_provider_lists_its_own_models() {
    let server = Running::start().await;

    let listed = parse(&server.send("GET", "/simulated-alpha/v1/models", String::new()).await.text);

    let model = |id: &str| json!({"id": id, "object": "model", "created": 0, "owned_by": "simulated-alpha"});
    assert_eq!(listed, json!({"object": "list", "data": [model("sim-frontier"), model("sim-standard")]}));
}

#[tokio::test]
async fn a_plain_answer_is_a_completion_with_usage() {
    let server = Running::start().await;

    let reply = parse(&server.ask("Hello [sim slow_ms=0 tokens=8]", json!({})).await.text);

    assert_eq!(reply["object"], "chat.completion");
    assert_eq!(reply["system_fingerprint"], "simulated");
    assert_eq!(reply["choices"][0]["message"]["content"], "[simulated sim-swift] The questi");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["usage"]["prompt_tokens"], 8);
    assert_eq!(reply["usage"]["total_tokens"], 16);
}

#[tokio::test]
async fn a_stream_is_role_content_finish_usage_and_end() {
    let server = Running::start().await;
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});

    let reply = server.ask("Hello [sim slow_ms=0 tokens=2]", fields).await;

    let mut events = events(&reply.text);
    assert_eq!(events.pop(), Some("[DONE]"));
    let chunks: Vec<Value> = events.iter().map(|event| parse(event)).collect();
    let deltas: Vec<&Value> = chunks.iter().filter_map(|chunk| chunk.pointer("/choices/0/delta")).collect();
    let role = json!({"role": "assistant", "content": "", "refusal": null});
    assert_eq!(deltas, [&role, &json!({"content": "[sim"}), &json!({"content": "ulat"}), &json!({})]);
    assert!(chunks[..4].iter().all(|chunk| chunk["usage"].is_null() && chunk["system_fingerprint"] == "simulated"));
    assert_eq!(chunks[3]["choices"][0]["finish_reason"], "stop");
    assert_eq!(chunks[4]["choices"], json!([]));
    assert_eq!(chunks[4]["usage"]["completion_tokens"], 2);
    assert_eq!(chunks.len(), 5);
}

#[tokio::test]
async fn usage_is_streamed_only_when_asked_for() {
    let server = Running::start().await;

    let reply = server.ask("Hello [sim slow_ms=0 tokens=1]", json!({"stream": true})).await;

    assert!(!reply.text.contains("usage"));
    assert_eq!(events(&reply.text).len(), 4);
}

#[tokio::test]
async fn a_streamed_call_names_its_function_first_and_then_the_arguments() {
    let server = Running::start().await;
    let function = json!({"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "integer"}}}});
    let fields = json!({"stream": true, "tools": [{"type": "function", "function": function}]});

    let reply = server.ask("Hello [sim slow_ms=0 tool]", fields).await;

    let chunks: Vec<Value> =
        events(&reply.text).iter().filter(|data| **data != "[DONE]").map(|data| parse(data)).collect();
    let call = |chunk: &Value, field: &str| {
        chunk
            .pointer(&format!("/choices/0/delta/tool_calls/0/function/{field}"))
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    assert_eq!(call(&chunks[0], "name").as_deref(), Some("look"));
    assert_eq!(chunks.iter().filter_map(|chunk| call(chunk, "arguments")).collect::<String>(), r#"{"at":1}"#);
    assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "tool_calls");
}

#[tokio::test]
async fn a_prompt_can_order_a_failure() {
    let server = Running::start().await;

    let reply = server.ask("[sim slow_ms=0 fail=503]", json!({})).await;

    assert_eq!(reply.status, 503);
    let message = "simulated failure: 503 Service Unavailable";
    let error = json!({"message": message, "type": "server_error", "param": null, "code": null});
    assert_eq!(parse(&reply.text), json!({"error": error}));
}

#[tokio::test]
async fn a_cut_answer_breaks_off_in_the_middle() {
    let server = Running::start().await;

    let stream = server.ask("[sim slow_ms=0 tokens=6 cut]", json!({"stream": true})).await;
    assert!(!stream.is_whole && stream.text.contains(r#""content":"[sim""#) && !stream.text.contains("DONE"));

    let plain = server.ask("[sim slow_ms=0 tokens=6 cut]", json!({})).await;
    assert!(!plain.is_whole && plain.status == 200);
}

#[tokio::test]
async fn embeddings_come_one_per_text() {
    let server = Running::start().await;
    let ask = async |body: Value| server.send("POST", "/simulated-local/v1/embeddings", body.to_string()).await;

    let reply = parse(&ask(json!({"model": "sim-embed", "input": ["one", "two"]})).await.text);
    assert_eq!(reply["data"][1]["index"], 1);
    assert_eq!(reply["data"][1]["embedding"].as_array().unwrap().len(), 384);
    assert_eq!(reply["usage"], json!({"prompt_tokens": 2, "total_tokens": 2}));

    let coded = parse(&ask(json!({"model": "sim-embed", "input": "one", "encoding_format": "base64"})).await.text);
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), 384 * 4 * 4 / 3);
    assert_eq!(ask(json!({"model": "sim-embed", "input": []})).await.status, 400);
}

#[tokio::test]
async fn what_cannot_be_answered_gets_an_error_in_openais_form() {
    let server = Running::start().await;
    let chat = "/simulated-alpha/v1/chat/completions";
    let elsewhere = json!({"model": "sim-swift", "messages": []}).to_string();
    for (method, path, body, status, code) in [
        ("GET", "/", String::new(), 404, Value::Null),
        ("GET", "/nobody/v1/models", String::new(), 404, Value::Null),
        ("GET", chat, String::new(), 404, Value::Null),
        ("POST", chat, "{".to_owned(), 400, Value::Null),
        ("POST", chat, r#"{"model": "sim-standard", "messages": 1}"#.to_owned(), 400, Value::Null),
        ("POST", chat, elsewhere, 404, json!("model_not_found")),
        ("POST", chat, " ".repeat(LARGEST_BODY + 1), 413, Value::Null),
    ] {
        let reply = server.send(method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(parse(&reply.text)["error"]["code"], code);
    }
}

#[tokio::test]
async fn shutdown_ends_the_server_although_a_connection_is_idle() {
    let simulated = Simulated::bind().await.unwrap();
    let _idle = TcpStream::connect(simulated.address()).await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let mut server = JoinSet::new();
    server.spawn(simulated.serve(async move { drop(stopped.await) }));

    stop.send(()).unwrap();

    assert!(server.join_next().await.unwrap().is_ok());
}
