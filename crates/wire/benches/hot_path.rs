//! What every request and every streamed chunk pays here.

#![expect(clippy::expect_used, reason = "in a benchmark a panic is the report")]

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use wire::{AnswerContext, Client, Dialect, Relay, Target, Thinking};

fn hot_path(criterion: &mut Criterion) {
    let prompt = "You are a support assistant of a shop that sells tools. ".repeat(16);
    let body = Bytes::from(format!(
        r#"{{"model":"m","messages":[{{"role":"system","content":"{prompt}"}},{{"role":"user","content":"hi"}}],"x-cache":false}}"#
    ));
    let request = wire::openai::read(&body).expect("a valid body");
    let target = Target {
        dialect: Dialect::OpenAi,
        model: "gpt-4o-mini",
        quirks: &[],
        context_window: None,
        max_output_tokens: None,
        thinking: Thinking::Unknown,
    };
    criterion.bench_function("read a request of 1 KB", |bencher| bencher.iter(|| wire::openai::read(&body)));
    criterion.bench_function("splice it for a provider", |bencher| {
        bencher.iter(|| wire::encode_chat(Client::OpenAi, &body, &request, &target, |_| None));
    });

    let chunk = Bytes::from_static(
        br#"data: {"id":"chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-mini-2024-07-18","service_tier":"default","system_fingerprint":"fp_06737a9306","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":null}

"#,
    );
    let context = AnswerContext {
        id: "chatcmpl-1".to_owned(),
        created: 0,
        model: "m".to_owned(),
        prompt_tokens: 0,
        bent: Default::default(),
    };
    let begin = || Relay::new(Dialect::OpenAi, Client::OpenAi, context.clone(), false, &[]);
    let (mut relay, mut chunks) = (begin(), 0);
    criterion.bench_function("relay a chunk of 300 bytes", |bencher| {
        bencher.iter(|| {
            // Answers end: one endless stream would soon show only what comes after the text that is kept.
            chunks += 1;
            if chunks % 1_000 == 0 {
                relay = begin();
            }
            relay.push(chunk.clone()).expect("a whole event");
            relay.pop()
        });
    });
}

criterion_group!(benches, hot_path);
criterion_main!(benches);
