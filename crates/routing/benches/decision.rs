//! One `auto` decision over a catalogue's worth of candidates, for a short and a long prompt.

use catalog::{Catalog, Kind};
use criterion::{Criterion, criterion_group, criterion_main};
use routing::{Availability, Candidate, Evidence, Goal, Latency, Needs, Policy, Prior, Prompt, Quality, Strategy};

fn decision(criterion: &mut Criterion) {
    let catalog = Catalog::embedded();
    let providers = catalog.providers().iter();
    let models: Vec<_> = providers
        .flat_map(|provider| catalog.models_of(&provider.name))
        .filter(|model| model.kind == Kind::Chat)
        .map(|model| (model, Quality::new(&Prior::overall(model.quality), &Evidence::none(), &Evidence::none())))
        .collect();
    let candidates: Vec<Candidate<'_>> = models
        .iter()
        .take(20)
        .map(|(model, quality)| Candidate {
            model: &model.id,
            price: model.price.as_ref(),
            quality,
            latency: Some(Latency { first_content_ms: 300.0, per_token_ms: 10.0 }),
            cold_start_ms: 0.0,
            context_window: model.context_window,
            max_output_tokens: model.max_output_tokens,
            capabilities: model.capabilities,
            is_local: false,
            availability: Availability::Ready,
        })
        .collect();
    let policy = Policy::of(Goal::Weighed(Strategy::Balanced));
    for length in [40, 2_000, 1_000_000] {
        let text = "Why is the sky blue? ".repeat(length / 20);
        criterion.bench_function(&format!("decision over {} models, {length} bytes", candidates.len()), |bencher| {
            bencher.iter(|| {
                let prompt = Prompt::of_text(&text);
                routing::plan(&candidates, &Needs::default(), &prompt, &policy)
            });
        });
    }
}

criterion_group!(benches, decision);
criterion_main!(benches);
