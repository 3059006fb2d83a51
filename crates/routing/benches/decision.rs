//! One `auto` decision, prompt and all, over twenty candidates: short, long, hostile prompts.

use catalog::{Catalog, Kind};
use criterion::{Criterion, criterion_group, criterion_main};
use routing::{Availability, Candidate, Evidence, Goal, Latency, Needs, Policy, Prior, Prompt, Quality, Strategy};

const CANDIDATES: usize = 20;

fn graded(salt: usize) -> Evidence {
    let mut evidence = Evidence::none();
    for number in 0..50 {
        let prompt = Prompt::of_text(&format!("What is {number} times {salt}, and why?"));
        evidence.observe(&prompt, f64::from(u8::from(!(number + salt).is_multiple_of(3))));
    }
    evidence
}

fn decision(criterion: &mut Criterion) {
    let catalog = Catalog::embedded();
    let providers = catalog.providers().iter();
    let models: Vec<_> = providers
        .flat_map(|provider| catalog.models_of(&provider.name))
        .filter(|model| model.kind == Kind::Chat)
        .take(CANDIDATES)
        .enumerate()
        .map(|(number, model)| {
            (model, Quality::new(&Prior::overall(model.quality), &graded(number), &graded(number + 100)))
        })
        .collect();
    let candidates: Vec<Candidate<'_>> = models
        .iter()
        .map(|(model, quality)| Candidate {
            model: &model.id,
            price: model.price.as_ref(),
            quality,
            latency: Some(Latency { first_content_ms: 300.0, per_token_ms: 10.0 }),
            cold_start_ms: 0.0,
            context_window: None,
            max_output_tokens: None,
            capabilities: model.capabilities,
            is_local: false,
            availability: Availability::Ready,
        })
        .collect();
    let policy = Policy::of(Goal::Weighed(Strategy::Balanced));
    let prose = "Explain why the northern lights are seen near the poles, how the solar wind causes them, and what colours \
                 oxygen and nitrogen give. ";
    let prompts = [
        ("40 characters", "Why is the sky blue at noon, and not red?".to_owned()),
        ("2,000 characters", prose.repeat(2_000 / prose.len() + 1)),
        ("16 KiB", prose.repeat(16 * 1024 / prose.len() + 1)),
        ("32 MB of one letter", "a".repeat(32 << 20)),
        ("32 MB of accents", "e\u{301}".repeat(32 << 20 >> 2)),
        ("32 MB of lines", "A. \n".repeat(8 << 20)),
    ];
    for (name, text) in prompts {
        criterion.bench_function(&format!("read and plan over {CANDIDATES}: {name}"), |bencher| {
            bencher.iter(|| routing::plan(&candidates, &Needs::default(), &Prompt::of_text(&text), &policy));
        });
    }
    let prompt = Prompt::of_text(prose);
    criterion.bench_function(&format!("plan over {CANDIDATES}"), |bencher| {
        bencher.iter(|| routing::plan(&candidates, &Needs::default(), &prompt, &policy));
    });
    criterion.bench_function("a quality made anew", |bencher| {
        let (benchmarks, feedback) = (graded(1), graded(2));
        bencher.iter(|| Quality::new(&Prior::overall(Some(0.8)), &benchmarks, &feedback));
    });
}

criterion_group!(benches, decision);
criterion_main!(benches);
