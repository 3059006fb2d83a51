use super::*;

fn stated(quality: f64) -> Quality {
    Quality::new(&Prior::overall(Some(quality)), &Evidence::none(), &Evidence::none())
}

fn easy() -> Prompt {
    Prompt::of_text("Hello, how are you?")
}

fn hard() -> Prompt {
    Prompt::of_text("Prove that every bounded monotone sequence converges, then design a lock-free queue and prove it.")
}

fn graded(prompt: &Prompt, score: f64, times: usize) -> Evidence {
    let mut evidence = Evidence::none();
    (0..times).for_each(|_| evidence.observe(prompt, score));
    evidence
}

#[test]
fn the_gap_between_a_strong_and_a_weak_model_grows_with_difficulty() {
    let (strong, weak) = (stated(0.75), stated(0.45));
    let gap = |prompt: &Prompt| strong.predict(prompt).value - weak.predict(prompt).value;

    assert!(gap(&easy()) < 0.2, "{}", gap(&easy()));
    assert!(gap(&hard()) > 1.5 * gap(&easy()), "{} {}", gap(&hard()), gap(&easy()));
}

#[test]
fn a_model_that_nobody_knows_is_predicted_with_a_wide_error() {
    let (unknown, known) = (Quality::default().predict(&hard()), stated(0.5).predict(&hard()));

    assert!(unknown.standard_error > 1.2 * known.standard_error, "{unknown:?} {known:?}");
    assert_eq!(unknown.layers, Layers { prior: 1.0, benchmarks: 0.0, feedback: 0.0 });
}

#[test]
fn graded_prompts_pull_a_prediction_and_sharpen_it() {
    let prior = Prior::overall(Some(0.8));
    let before = Quality::new(&prior, &Evidence::none(), &Evidence::none()).predict(&hard());
    let after = Quality::new(&prior, &graded(&hard(), 0.1, 200), &Evidence::none()).predict(&hard());

    assert!((after.value - 0.1).abs() < 0.05, "{after:?}");
    assert!(after.standard_error < before.standard_error / 2.0);
    assert!(after.layers.benchmarks > 0.9);
}

#[test]
fn feedback_counts_less_than_benchmarks() {
    let prior = Prior::overall(Some(0.8));
    let evidence = graded(&hard(), 0.0, 20);
    let by_benchmarks = Quality::new(&prior, &evidence, &Evidence::none()).predict(&hard());
    let by_feedback = Quality::new(&prior, &Evidence::none(), &evidence).predict(&hard());

    assert!(by_benchmarks.value < by_feedback.value, "{by_benchmarks:?} {by_feedback:?}");
    assert!(by_feedback.layers.feedback > 0.0 && by_feedback.layers.benchmarks == 0.0);
}

#[test]
fn a_stated_quality_in_a_task_holds_for_that_task() {
    let code = Prompt::of_text("Write a function to find the longest common subsequence of two given strings.");
    let mut prior = Prior::overall(Some(0.6));
    prior.tasks[Task::Code as usize] = Some(0.95);
    let with_task = Quality::new(&prior, &Evidence::none(), &Evidence::none());

    assert!(with_task.predict(&code).value > stated(0.6).predict(&code).value + 0.1);
    let moved = |prompt: &Prompt| (with_task.predict(prompt).value - stated(0.6).predict(prompt).value).abs();
    assert!(moved(&easy()) < moved(&code) / 2.0, "{} {}", moved(&easy()), moved(&code));
}

#[test]
fn layers_sum_to_one() {
    let quality = Quality::new(&Prior::default(), &graded(&hard(), 0.5, 30), &graded(&easy(), 1.0, 30));

    for prompt in [easy(), hard()] {
        let Layers { prior, benchmarks, feedback } = quality.predict(&prompt).layers;
        assert!((prior + benchmarks + feedback - 1.0).abs() < 1e-6);
        assert!(prior > 0.0 && benchmarks > 0.0 && feedback > 0.0);
    }
}

#[test]
fn priors_that_are_no_numbers_are_as_good_as_none() {
    assert_eq!(stated(f64::NAN), Quality::default());
}

#[test]
fn a_model_that_is_better_on_the_whole_is_expected_to_be_better_on_every_prompt() {
    for text in ["What is 6 times 7?", "", "42", "hello [x]", "Fix this: `print(x`", "What is the capital of France?"] {
        let prompt = Prompt::of_text(text);
        let values = [0.3, 0.5, 0.7, 0.9].map(|quality| stated(quality).predict(&prompt).value);
        assert!(values.is_sorted_by(|a, b| a < b), "{text}: {values:?}");
    }
}

#[test]
fn the_short_way_for_models_without_evidence_gives_what_the_long_one_does() {
    for overall in [None, Some(0.0), Some(0.31), Some(0.5), Some(0.87), Some(7.0), Some(f64::NAN)] {
        let (short, long) =
            (Quality::new(&Prior::overall(overall), &Evidence::none(), &Evidence::none()), bare(overall));
        for prompt in [easy(), hard()] {
            let (short, long) = (short.predict(&prompt), long.predict(&prompt));
            assert!((short.value - long.value).abs() < 1e-9, "{overall:?}: {short:?} {long:?}");
            assert!((short.standard_error - long.standard_error).abs() < 1e-9, "{overall:?}");
            assert_eq!(short.layers, long.layers);
        }
    }
}
