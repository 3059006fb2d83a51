//! What a semantic look-up costs: the sentence encoded, and 10,000 rows searched.

use criterion::{Criterion, criterion_group, criterion_main};
use embedding::{Encoder, Row, Rows, token_vector};

const SHORT: &str = "What is the capital of Australia?";
const LONG: &str = "How do I convert a list of strings into a comma separated string in Python without a trailing comma \
                    at the end of it?";
const ENTRIES: usize = 10_000;

fn look_up(bench: &mut Criterion) {
    let Ok(encoder) = Encoder::load() else { return };
    let mut rows = Rows::new(384);
    for entry in 0..ENTRIES {
        rows.push(&Row::of(&token_vector(&format!("entry {entry} of {}", entry % 97), 32)));
    }
    let row = Row::of(&encoder.encode(SHORT, 128).vector);
    for text in [SHORT, LONG] {
        let tokens = encoder.encode(text, 128).tokens;
        bench.bench_function(&format!("encode {tokens} tokens"), |bench| bench.iter(|| encoder.encode(text, 128)));
        bench.bench_function(&format!("look {tokens} tokens up among 10,000 rows"), |bench| {
            bench.iter(|| rows.nearest(&Row::of(&encoder.encode(text, 128).vector), 0.8, 8));
        });
    }
    let text = LONG.repeat(6);
    bench.bench_function("encode 128 tokens", |bench| bench.iter(|| encoder.encode(&text, 128)));
    bench.bench_function("search 10,000 rows", |bench| bench.iter(|| rows.nearest(&row, 0.8, 8)));
    bench.bench_function("token vector", |bench| bench.iter(|| token_vector(LONG, 128)));
    bench.bench_function("load", |bench| bench.iter(Encoder::load));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = look_up
}
criterion_main!(benches);
