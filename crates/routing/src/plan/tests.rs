use catalog::{Capabilities, Price};

use super::*;
use crate::{Composite, Constraints, Evidence, Latency, Permission, PreferLocal, Prior, Quality};

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
    let kept = build(&[remote, far], &Needs::default(), &hard(), &policy(Goal::Weighed(Strategy::Quality)));

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

#[test]
fn configured_weights_are_not_overridden_by_the_strategy() {
    let (dear, cheap) = (price("5", "20"), price("0.02", "0.08"));
    let candidates =
        [model("best", Some(&dear), known(0.95), 300.0), model("cheapest", Some(&cheap), known(0.80), 300.0)];
    let goal = Goal::Weighed(Strategy::Cost);
    let all_for_quality = Policy { weights: Weights::new(0.0, 1.0, 0.0).unwrap(), ..Policy::of(goal) };

    assert_eq!(build(&candidates, &Needs::default(), &hard(), &Policy::of(goal)).ranked[0].candidate, 1);
    assert_eq!(build(&candidates, &Needs::default(), &hard(), &all_for_quality).ranked[0].candidate, 0);
}

#[test]
fn a_local_model_below_the_floor_of_quality_does_not_win() {
    let (cheap, free) = (price("0.1", "0.4"), Price::free());
    let candidates = [
        model("remote", Some(&cheap), known(0.95), 100.0),
        Candidate { is_local: true, ..model("local", Some(&free), known(0.50), 400.0) },
    ];
    let goal = Goal::Weighed(Strategy::Latency);
    let with_floor = |quality_floor| {
        let prefer_local = Some(PreferLocal { ratio: 0.1, quality_floor });
        build(&candidates, &Needs::default(), &easy(), &Policy { prefer_local, ..Policy::of(goal) })
    };

    assert_eq!(with_floor(None).placement, Placement::LocalFirst);
    assert_eq!(with_floor(None).ranked[1].verdict, Verdict::BehindLocal);
    assert_eq!(with_floor(Some(0.999)).placement, Placement::Score);
}

#[test]
fn what_costs_or_takes_too_much_is_left_out() {
    let (dear, cheap) = (price("50", "200"), price("0.1", "0.4"));
    let candidates = [
        model("dear", Some(&dear), known(0.9), 100.0),
        model("slow", Some(&cheap), known(0.9), 90_000.0),
        model("unpriced", None, known(0.9), 100.0),
        model("fits", Some(&cheap), known(0.5), 100.0),
    ];
    let constraints =
        Constraints { max_cost_per_1k_tokens: Some(Nanodollars(1_000_000)), max_latency_ms: Some(60_000.0) };
    let needs = Needs { input_tokens: 1_000, ..Needs::default() };

    let plan = build(&candidates, &needs, &easy(), &Policy { constraints, ..Policy::of(Goal::Best) });

    assert_eq!(plan.excluded, [(0, Reason::Cost), (1, Reason::Latency), (2, Reason::Cost)]);
    assert_eq!(plan.ranked[0].candidate, 3);
}

#[test]
fn an_answer_longer_than_a_model_gives_is_asked_of_another() {
    let some = price("1", "1");
    let candidates = [
        Candidate { max_output_tokens: Some(100), ..model("short", Some(&some), known(0.9), 100.0) },
        model("long", Some(&some), known(0.1), 100.0),
    ];
    let needs = Needs { max_tokens: Some(200), ..Needs::default() };

    assert_eq!(build(&candidates, &needs, &easy(), &policy(Goal::Best)).excluded, [(0, Reason::OutputLimit)]);
}

#[test]
fn a_model_that_must_be_loaded_first_is_slower_by_that() {
    let some = price("1", "1");
    let cold = Candidate { cold_start_ms: 9_000.0, ..model("cold", Some(&some), known(0.9), 100.0) };
    let candidates = [cold, model("warm", Some(&some), known(0.9), 400.0)];

    assert_eq!(first(&candidates, Goal::Fastest), "warm");
}

#[test]
fn a_model_short_of_its_rate_limit_stands_between_ready_and_unreachable_ones() {
    let some = price("1", "1");
    let at = |availability, quality| Candidate { availability, ..model("m", Some(&some), known(quality), 100.0) };
    let candidates = [at(Availability::Unreachable, 0.9), at(Availability::Short, 0.8), at(Availability::Ready, 0.2)];

    let plan = build(&candidates, &Needs::default(), &easy(), &policy(Goal::Best));

    let order: Vec<(usize, Verdict)> = plan.ranked.iter().map(|entry| (entry.candidate, entry.verdict)).collect();
    assert_eq!(order, [(2, Verdict::Taken), (1, Verdict::Short), (0, Verdict::Unreachable)]);
}

fn sticky_plan(candidates: &[Candidate<'_>], sticky: usize) -> Plan {
    let policy = Policy { sticky: Some(sticky), ..Policy::of(Goal::Weighed(Strategy::Balanced)) };
    build(candidates, &Needs { vision: true, ..Needs::default() }, &hard(), &policy)
}

#[test]
fn a_conversation_stays_where_it_is_unless_another_is_clearly_better_or_it_cannot_serve() {
    let (cheap, dear) = (price("0.1", "0.4"), price("1", "4"));
    let seeing = Capabilities { vision: true, ..NO_CAPABILITIES };
    let at = |price, quality| Candidate { capabilities: seeing, ..model("m", Some(price), known(quality), 100.0) };
    let alike = [at(&dear, 0.80), at(&cheap, 0.81)];
    let apart = [at(&dear, 0.10), at(&cheap, 0.95)];
    let blind = [Candidate { capabilities: NO_CAPABILITIES, ..alike[0] }, alike[1]];
    let gone = [Candidate { availability: Availability::Unreachable, ..alike[0] }, alike[1]];

    let kept = sticky_plan(&alike, 0);
    assert_eq!((kept.ranked[0].candidate, kept.placement), (0, Placement::Sticky));
    assert_eq!(kept.ranked[1].verdict, Verdict::BehindSticky);
    for left in [sticky_plan(&apart, 0), sticky_plan(&blind, 0), sticky_plan(&gone, 0), sticky_plan(&alike, 7)] {
        assert_eq!(left.ranked[0].candidate, 1);
        assert_ne!(left.placement, Placement::Sticky);
    }
}

#[test]
fn whoever_asks_for_the_cheapest_gets_it_whoever_has_the_conversation() {
    let (cheap, dear) = (price("0.1", "0.4"), price("1", "4"));
    let candidates = [model("dear", Some(&dear), known(0.80), 10.0), model("cheap", Some(&cheap), known(0.80), 100.0)];
    for (goal, first) in [(Goal::Cheapest, 1), (Goal::Fastest, 0)] {
        for sticky in [0, 1] {
            let policy = Policy { sticky: Some(sticky), ..policy(goal) };
            assert_eq!(build(&candidates, &Needs::default(), &hard(), &policy).ranked[0].candidate, first);
        }
    }
}

#[test]
fn several_models_are_not_asked_unasked_where_something_else_than_the_score_decides() {
    let (cheap, dear) = (price("0.05", "0.1"), price("10", "40"));
    let local = Candidate { is_local: true, ..model("local", Some(&cheap), known(0.6), 100.0) };
    let candidates = [
        local,
        model("two", Some(&cheap), known(0.6), 100.0),
        model("three", Some(&cheap), known(0.62), 100.0),
        model("strong", Some(&dear), known(0.9), 100.0),
    ];
    let comparable = Needs { input_tokens: 500, has_comparable_answer: true, ..Needs::default() };
    let prefer_local = Some(PreferLocal { ratio: 0.1, quality_floor: None });
    let policy = |prefer_local, permission| Policy {
        prefer_local,
        composite: permission,
        ..Policy::of(Goal::Weighed(Strategy::Balanced))
    };
    let plan = |policy: &Policy| build(&candidates, &comparable, &hard(), policy);

    let unasked = plan(&policy(prefer_local, Permission::Automatic));
    assert_eq!((unasked.placement, unasked.composite), (Placement::LocalFirst, None));
    assert!(plan(&policy(prefer_local, Permission::Cascade)).composite.is_some(), "it was asked for");
    let conversation = Policy { sticky: Some(1), ..policy(None, Permission::Automatic) };
    assert_eq!(plan(&conversation).composite, None);
    let free = plan(&policy(None, Permission::Automatic));
    if let Some(composite) = free.composite {
        let best = free.ranked.iter().map(|entry| entry.score).fold(0.0, f64::max);
        assert!(composite.expected().score > best);
    }
}

#[test]
fn a_guess_does_not_win_over_what_is_known() {
    let some = price("1", "1");
    let lucky = Prompt::of_text("Name the capital of Peru.");
    let mut evidence = Evidence::none();
    evidence.observe(&lucky, 1.0);
    let guess = Quality::new(&Prior::default(), &evidence, &Evidence::none());
    let candidates = [model("guess", Some(&some), &guess, 100.0), model("known", Some(&some), known(0.75), 100.0)];

    let plan = build(&candidates, &Needs::default(), &lucky, &policy(Goal::Best));

    assert_eq!(plan.ranked[0].candidate, 1, "{plan:?}");
}

fn composite(permission: Permission, needs: &Needs, prompt: &Prompt) -> Option<Composite> {
    let (cheap, dear) = (price("0.05", "0.1"), price("10", "40"));
    let candidates = [
        model("one", Some(&cheap), known(0.6), 100.0),
        model("two", Some(&cheap), known(0.6), 100.0),
        model("strong", Some(&dear), known(0.9), 100.0),
    ];
    let policy = Policy { composite: permission, ..Policy::of(Goal::Weighed(Strategy::Balanced)) };
    build(&candidates, needs, prompt, &policy).composite
}

#[test]
fn several_models_share_an_answer_only_where_that_is_permitted_and_can_be_compared() {
    let comparable = Needs { input_tokens: 500, has_comparable_answer: true, ..Needs::default() };
    let story = Prompt::of_text("Write a long story about a lighthouse keeper who finds a letter.");

    assert_eq!(composite(Permission::Never, &comparable, &hard()), None);
    assert_eq!(composite(Permission::Cascade, &Needs::default(), &story), None);
    let Some(Composite::Cascade { cheap, strong, expected }) = composite(Permission::Cascade, &comparable, &hard())
    else {
        panic!("no cascade");
    };
    assert_eq!((cheap, strong), ([0, 1], 2));
    assert!(expected.quality > 0.0 && expected.quality <= 1.0 && expected.cost.0 > 0);
    let escalation = composite(Permission::Escalate, &Needs::default(), &hard());
    assert!(matches!(escalation, Some(Composite::Escalate { strong: 2, .. })), "{escalation:?}");
}

#[test]
fn the_decision_says_what_it_was_made_by() {
    let some = price("1", "1");
    let plan = build(&[model("m", Some(&some), known(0.9), 100.0)], &Needs::default(), &easy(), &policy(Goal::Best));

    assert_eq!(plan.decision("m", 0.874), "quality: m (score: 0.87, complexity: simple)");
}

mod properties {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn availability(number: u8) -> Availability {
        [Availability::Unreachable, Availability::Short, Availability::Ready][usize::from(number % 3)]
    }

    fn goal(number: u8) -> Goal {
        let weighed = Strategy::ALL.map(Goal::Weighed);
        [weighed[0], weighed[1], weighed[2], weighed[3], Goal::Fastest, Goal::Cheapest, Goal::Best]
            [usize::from(number % 7)]
    }

    proptest! {
        #[test]
        fn every_candidate_is_ranked_or_excluded_once_and_plans_repeat(
            models in proptest::collection::vec((any::<u64>(), any::<f64>(), any::<f64>(), any::<u8>(), any::<bool>()), 0..12),
            text in ".{0,200}",
            aim in any::<u8>(),
            sticky in proptest::option::of(0_usize..14),
            input_tokens in any::<u64>(),
        ) {
            let price = price("0.3", "1.2");
            let qualities: Vec<Quality> = models
                .iter()
                .map(|(_, quality, ..)| Quality::new(&Prior::overall(Some(*quality)), &Evidence::none(), &Evidence::none()))
                .collect();
            let candidates: Vec<Candidate<'_>> = models
                .iter()
                .zip(&qualities)
                .map(|((window, _, latency, state, is_local), quality)| Candidate {
                    context_window: Some(*window),
                    is_local: *is_local,
                    availability: availability(*state),
                    ..model("m", (*state > 9).then_some(&price), quality, *latency)
                })
                .collect();
            let needs = Needs { input_tokens, ..Needs::default() };
            let policy = Policy { sticky, composite: Permission::Automatic, ..policy(goal(aim)) };
            let prompt = Prompt::of_text(&text);

            let plan = build(&candidates, &needs, &prompt, &policy);

            let again = build(&candidates, &needs, &prompt, &policy);
            prop_assert_eq!(format!("{plan:?}"), format!("{again:?}"));
            let mut seen: Vec<usize> = plan.ranked.iter().map(|entry| entry.candidate).collect();
            seen.extend(plan.excluded.iter().map(|(candidate, _)| *candidate));
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..candidates.len()).collect::<Vec<_>>());
            let in_order = plan.ranked.iter().skip(1).zip(plan.ranked.iter().skip(2)).all(|(a, b)| {
                let rank = |entry: &Ranked| candidates[entry.candidate].availability;
                (rank(b), b.score) <= (rank(a), a.score) || a.score.is_nan()
            });
            prop_assert!(in_order, "{:?}", plan.ranked);
        }
    }
}
