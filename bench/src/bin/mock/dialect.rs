//! The bytes of an answer in each dialect, built once: about 1 KB whole, chunks as long as the real ones.

use bytes::Bytes;

pub struct Dialect {
    pub stream_type: &'static str,
    pub models: Bytes,
    pub whole: Bytes,
    /// What a stream begins with; empty where the dialect has no such thing.
    pub head: Bytes,
    pub parts: Vec<Bytes>,
    pub tail: Bytes,
    pub tail_with_usage: Bytes,
}

const WORDS: [&str; 16] = [
    "The",
    " gateway",
    " forwards",
    " each",
    " token",
    " as",
    " soon",
    " as",
    " it",
    " arrives",
    ",",
    " without",
    " any",
    " buffering",
    " at",
    " all",
];

const ANSWER: &str = "A gateway sits between your application and the model providers. It checks the caller's key, \
looks at the budget, picks a provider by cost, quality and latency, and forwards the request. When the provider fails \
or is slow, it retries elsewhere. It also counts tokens, records the price of each call and exports metrics, so that a \
team can see who spends what. The work per request should be small next to the time the model needs, yet it is paid \
on every call: a proxy that burns a millisecond of CPU per request needs a whole core for a thousand requests a second.";

const OPENAI_USAGE: &str = r#"{"prompt_tokens":182,"completion_tokens":120,"total_tokens":302,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;

impl Dialect {
    pub fn openai() -> Dialect {
        let chunk = |choices: &str, usage: &str| {
            format!(
                r#"data: {{"id":"chatcmpl-000000000000000000000000benchm","object":"chat.completion.chunk","created":1760000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_0000bench0","choices":[{choices}],"usage":{usage}}}"#
            ) + "\n\n"
        };
        let choice = |delta: &str, finish: &str| {
            let choice = format!(r#"{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#);
            chunk(&choice, "null")
        };
        let (stop, done) = (choice("{}", r#""stop""#), "data: [DONE]\n\n");
        Dialect {
            stream_type: "text/event-stream; charset=utf-8",
            models: Bytes::from_static(
                br#"{"object":"list","data":[{"id":"gpt-4o-mini","object":"model","created":1721172741,"owned_by":"system"},{"id":"claude-haiku-4-5-20251001","type":"model","display_name":"Claude Haiku 4.5"}]}"#,
            ),
            whole: format!(
                r#"{{"id":"chatcmpl-000000000000000000000000benchm","object":"chat.completion","created":1760000000,"model":"gpt-4o-mini-2024-07-18","choices":[{{"index":0,"message":{{"role":"assistant","content":"{ANSWER}","refusal":null,"annotations":[]}},"logprobs":null,"finish_reason":"stop"}}],"usage":{OPENAI_USAGE},"service_tier":"default","system_fingerprint":"fp_0000bench0"}}"#
            )
            .into(),
            head: choice(r#"{"role":"assistant","content":"","refusal":null}"#, "null").into(),
            parts: WORDS.iter().map(|word| choice(&format!(r#"{{"content":"{word}"}}"#), "null").into()).collect(),
            tail: format!("{stop}{done}").into(),
            tail_with_usage: format!("{stop}{}{done}", chunk("", OPENAI_USAGE)).into(),
        }
    }

    pub fn anthropic() -> Dialect {
        let event = |kind: &str, rest: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"{rest}}}\n\n");
        let message = |content: &str, stop: &str, output: u32| {
            format!(
                r#"{{"id":"msg_00000000000000000benchm","type":"message","role":"assistant","model":"claude-haiku-4-5-20251001","content":[{content}],"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":182,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"cache_creation":{{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0}},"output_tokens":{output},"service_tier":"standard"}}}}"#
            )
        };
        let part = |word: &str| {
            let delta = format!(r#","index":0,"delta":{{"type":"text_delta","text":"{word}"}}"#);
            event("content_block_delta", &delta)
        };
        let begin = r#","index":0,"content_block":{"type":"text","text":""}"#;
        let head = [
            event("message_start", &format!(",\"message\":{}", message("", "null", 1))),
            event("content_block_start", begin),
        ];
        let tail = [
            event("content_block_stop", r#","index":0"#),
            event(
                "message_delta",
                r#","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":120}"#,
            ),
            event("message_stop", ""),
        ];
        let tail: Bytes = tail.concat().into();
        Dialect {
            stream_type: "text/event-stream; charset=utf-8",
            // The list is one with OpenAI's: both stand at `/v1/models`.
            models: Bytes::new(),
            whole: message(&format!(r#"{{"type":"text","text":"{ANSWER}"}}"#), r#""end_turn""#, 120).into(),
            head: head.concat().into(),
            parts: WORDS.iter().map(|word| part(word).into()).collect(),
            tail: tail.clone(),
            tail_with_usage: tail,
        }
    }

    pub fn ollama() -> Dialect {
        let line = |content: &str, rest: &str| {
            format!(
                r#"{{"model":"llama3.2","created_at":"2026-01-05T12:00:00.123456Z","message":{{"role":"assistant","content":"{content}"}},{rest}}}"#
            ) + "\n"
        };
        let done = r#""done_reason":"stop","done":true,"total_duration":4883583458,"load_duration":1334875,"prompt_eval_count":182,"prompt_eval_duration":342546000,"eval_count":120,"eval_duration":4535599000"#;
        Dialect {
            stream_type: "application/x-ndjson",
            models: Bytes::from_static(
                br#"{"models":[{"name":"llama3.2","model":"llama3.2","size":2019393189,"details":{"family":"llama","parameter_size":"3.2B"}}]}"#,
            ),
            whole: line(ANSWER, done).into(),
            head: Bytes::new(),
            parts: WORDS.iter().map(|word| line(word, r#""done":false"#).into()).collect(),
            tail: line("", done).into(),
            tail_with_usage: line("", done).into(),
        }
    }
}
