use catalog::{Capabilities, Price};

use super::*;
use crate::{Evidence, Latency, PreferLocal, Prior, Quality};

fn price(input: &str, output: &str) -> Price {
    Price::per_million(input, output).unwrap()
}

const NO_CAPABILITIES: Capabilities = Capabilities {
    vision: false,
    tools: false,
    json_schema: false,
    audio: false,
    files: false,
    reasoning: false,
    adaptive_thinking: false,
};

fn known(quality: f64) -> &'static Quality {
    Box::leak(Box::new(Quality::new(&Prior::overall(Some(quality)), &Evidence::none(), &Evidence::none())))
}

fn model<'a>(name: &'a str, price: Option<&'a Price>, quality: &'a Quality, latency_ms: f64) -> Candidate<'a> {
    Candidate {
        model: name,
        price,
        quality,
        latency: Some(Latency { first_content_ms: latency_ms, per_token_ms: 0.0 }),
        cold_start_ms: 0.0,
        context_window: Some(100_000),
        max_output_tokens: None,
        capabilities: NO_CAPABILITIES,
        is_local: false,
        availability: Availability::Ready,
    }
}

fn policy(goal: Goal) -> Policy {
    Policy { prefer_local: Some(PreferLocal::default()), ..Policy::of(goal) }
}

fn easy() -> Prompt {
    Prompt::of_text("Hello there")
}

fn hard() -> Prompt {
    Prompt::of_text(&"Prove and derive why the algorithm is optimal, step by step; x^2 + y^2 = z^2.\n".repeat(30))
}

fn first<'a>(candidates: &[Candidate<'a>], goal: Goal) -> &'a str {
    first_for(candidates, goal, &easy())
}

fn first_for<'a>(candidates: &[Candidate<'a>], goal: Goal, prompt: &Prompt) -> &'a str {
    let plan = build(candidates, &Needs::default(), prompt, &policy(goal));
    candidates[plan.ranked[0].candidate].model
}

#[test]
fn each_goal_picks_its_own_model() {
    let (dear, cheap, middle) = (price("5", "20"), price("0.02", "0.08"), price("0.2", "0.8"));
    let candidates = [
        model("best", Some(&dear), known(0.95), 900.0),
        model("cheapest", Some(&cheap), known(0.60), 800.0),
        model("fastest", Some(&middle), known(0.70), 60.0),
    ];

    assert_eq!(first(&candidates, Goal::Best), "best");
    assert_eq!(first(&candidates, Goal::Cheapest), "cheapest");
    assert_eq!(first(&candidates, Goal::Fastest), "fastest");
    assert_eq!(first_for(&candidates, Goal::Weighed(Strategy::Quality), &hard()), "best");
    assert_eq!(first(&candidates, Goal::Weighed(Strategy::Cost)), "cheapest");
    assert_eq!(first(&candidates, Goal::Weighed(Strategy::Latency)), "fastest");
    assert_eq!(first(&candidates, Goal::Weighed(Strategy::Balanced)), "fastest");
}

#[test]
fn a_local_model_wins_within_the_ratio_and_not_beyond() {
    let (cheap, free) = (price("0.1", "0.4"), Price::free());
    let remote = model("remote", Some(&cheap), known(0.95), 100.0);
    let near = Candidate { is_local: true, ..model("near", Some(&free), known(0.50), 400.0) };
    let far = Candidate { is_local: true, ..model("far", Some(&free), known(0.05), 60_000.0) };

    let taken = build(&[remote, near], &Needs::default(), &easy(), &policy(Goal::Weighed(Strategy::Quality)));
    let kept = build(&[remote, far], &Needs::default(), &easy(), &policy(Goal::Weighed(Strategy::Quality)));

    assert_eq!((taken.ranked[0].candidate, taken.placement == Placement::LocalFirst), (1, true));
    assert!(taken.decision("near", 0.7).ends_with("[local-first]"));
    assert_eq!((kept.ranked[0].candidate, kept.placement == Placement::LocalFirst), (0, false));
}

#[test]
fn prefer_local_does_not_apply_to_single_minded_goals() {
    let (cheap, free) = (price("0.1", "0.4"), Price::free());
    let candidates = [
        model("remote", Some(&cheap), known(0.95), 100.0),
        Candidate { is_local: true, ..model("local", Some(&free), known(0.90), 110.0) },
    ];

    assert_eq!(first(&candidates, Goal::Best), "remote");
    assert_eq!(first(&candidates, Goal::Fastest), "remote");
}

#[test]
fn what_the_request_needs_filters() {
    let some = price("1", "1");
    let plain = model("plain", Some(&some), known(0.9), 100.0);
    let able = Candidate {
        capabilities: Capabilities {
            vision: true,
            tools: true,
            json_schema: true,
            audio: true,
            files: true,
            reasoning: true,
            adaptive_thinking: true,
        },
        ..model("able", Some(&some), known(0.5), 100.0)
    };
    let cases = [
        (Needs { vision: true, ..Needs::default() }, Reason::Vision),
        (Needs { tools: true, ..Needs::default() }, Reason::Tools),
        (Needs { json_schema: true, ..Needs::default() }, Reason::JsonSchema),
        (Needs { audio: true, ..Needs::default() }, Reason::Audio),
        (Needs { files: true, ..Needs::default() }, Reason::Files),
    ];

    for (needs, reason) in cases {
        let plan = build(&[plain, able], &needs, &easy(), &policy(Goal::Best));
        assert_eq!((plan.ranked.len(), plan.ranked[0].candidate), (1, 1), "{reason:?}");
        assert_eq!(plan.excluded, [(0, reason)]);
    }
}

#[test]
fn prompt_and_answer_must_fit_the_window() {
    let some = price("1", "1");
    let small = Candidate { context_window: Some(1_000), ..model("small", Some(&some), known(0.9), 100.0) };
    let unknown = Candidate { context_window: None, ..model("unknown", Some(&some), known(0.1), 100.0) };
    let needs = Needs { input_tokens: 900, max_tokens: Some(200), ..Needs::default() };

    let plan = build(&[small, unknown], &needs, &easy(), &policy(Goal::Best));

    assert_eq!(plan.excluded, [(0, Reason::ContextWindow)]);
    assert_eq!(plan.ranked[0].candidate, 1);
}

#[test]
fn an_unknown_price_is_not_free() {
    let dear = price("5", "20");
    let candidates = [model("unpriced", None, known(0.9), 100.0), model("dear", Some(&dear), known(0.9), 100.0)];

    let plan = build(&candidates, &Needs::default(), &easy(), &policy(Goal::Cheapest));

    assert_eq!(plan.excluded, [(0, Reason::UnknownPrice)]);
    assert_eq!(first(&candidates, Goal::Weighed(Strategy::Cost)), "dear");
}

#[test]
fn an_unhealthy_model_comes_last_and_is_not_lost() {
    let some = price("1", "1");
    let candidates = [
        Candidate { availability: Availability::Unreachable, ..model("ill", Some(&some), known(0.9), 100.0) },
        model("well", Some(&some), known(0.1), 5_000.0),
    ];

    let plan = build(&candidates, &Needs::default(), &easy(), &policy(Goal::Best));

    let order: Vec<usize> = plan.ranked.iter().map(|entry| entry.candidate).collect();
    assert_eq!(order, [1, 0]);
}

#[test]
fn difficulty_decides_how_much_quality_matters() {
    let (dear, cheap) = (price("1", "4"), price("0.2", "0.8"));
    let candidates =
        [model("strong", Some(&dear), known(0.95), 300.0), model("weak", Some(&cheap), known(0.40), 300.0)];
    let goal = Goal::Weighed(Strategy::Balanced);

    assert_eq!(first_for(&candidates, goal, &easy()), "weak");
    assert_eq!(first_for(&candidates, goal, &hard()), "strong");
}
