//! One `auto` decision over a catalogue's worth of candidates, for a short and a long prompt.

use catalog::{Catalog, Kind};
use criterion::{Criterion, criterion_group, criterion_main};
use routing::{Candidate, Difficulty, Features, Goal, Needs, Policy, Strategy};

fn decision(criterion: &mut Criterion) {
    let catalog = Catalog::embedded();
    let models = catalog.providers().iter().flat_map(|provider| catalog.models_of(&provider.name));
    let candidates: Vec<Candidate<'_>> = models
        .filter(|model| model.kind == Kind::Chat)
        .map(|model| Candidate {
            model: &model.id,
            price: model.price.as_ref(),
            quality: model.quality,
            latency_ms: Some(300.0),
            context_window: model.context_window,
            capabilities: model.capabilities,
            is_local: false,
            is_healthy: true,
        })
        .collect();
    let goal = Goal::Weighed(Strategy::Balanced);
    let policy = Policy { goal, prefer_local: true, prefer_local_ratio: 0.7 };
    for length in [40, 2_000, 1_000_000] {
        let prompt = "Why is the sky blue? ".repeat(length / 20);
        criterion.bench_function(&format!("decision over {} models, {length} bytes", candidates.len()), |bencher| {
            bencher.iter(|| {
                let mut features = Features::default();
                features.read(&prompt);
                routing::plan(&candidates, &Needs::default(), Difficulty::of(&features), &policy)
            });
        });
    }
}

criterion_group!(benches, decision);
criterion_main!(benches);
