use super::*;

fn complexity(text: &str) -> Complexity {
    Prompt::of_text(text).complexity()
}

#[test]
fn small_talk_is_simple_and_a_proof_is_not() {
    assert_eq!(complexity("Hello, how are you?"), Complexity::Simple);
    assert_eq!(complexity("What is the capital of France?"), Complexity::Simple);
    assert_eq!(complexity("What is the capital of Norway?"), Complexity::Simple);
    assert_eq!(
        complexity(
            "Prove that the algorithm below runs in O(n log n), derive the recurrence and compare it with merge sort:\n\
             ```rust\nfn sort(v: &mut [u32]) { if v.len() < 2 { return; } let p = v[0]; }\n```\nExplain each step, then \
             implement a version that does not allocate."
        ),
        Complexity::Complex
    );
}

#[test]
fn difficulty_stays_in_bounds_for_any_input() {
    for text in ["", " ", &"=".repeat(100_000), &"why ".repeat(50_000), &"1".repeat(100_000), "\u{0}é漢"] {
        let prompt = Prompt::of_text(text);
        assert!((0.0..=1.0).contains(&prompt.difficulty()), "{prompt:?}");
        assert!((prompt.memberships().iter().sum::<f64>() - 1.0).abs() < 1e-6, "{prompt:?}");
        assert!(prompt.output_tokens() >= 1 && prompt.basis().iter().all(|value| value.is_finite()), "{prompt:?}");
    }
}

#[test]
fn tasks_are_told_apart() {
    let cases = [
        ("Write a Python function that checks whether a string is a palindrome.", Task::Code),
        ("Tom has 12 apples and buys 7 more, then gives half of them away. How many apples has he left?", Task::Math),
        ("Write a poem about the sea at night.", Task::Creative),
        ("Write an email to my boss asking for two days off.", Task::Writing),
        (
            "Extract all dates from this text and return them as JSON: we met on 3 March and again on 9 June.",
            Task::Extraction,
        ),
        ("Hi, how is it going?", Task::Conversation),
        (
            "Which enzyme unwinds DNA during replication?\nA. ligase\nB. helicase\nC. primase\nD. polymerase",
            Task::Knowledge,
        ),
    ];

    for (text, task) in cases {
        assert_eq!(Prompt::of_text(text).task(), task, "{text}");
    }
}

#[test]
fn answers_that_can_be_compared_are_known_by_their_question() {
    assert!(Prompt::of_text("Which is larger?\nA. the sun\nB. the moon").has_comparable_answer());
    assert!(
        Prompt::of_text("A train leaves at 9 and drives 80 km per hour. How far is it at noon?")
            .has_comparable_answer()
    );
    assert!(Prompt::of_text("What is 6 times 7?").has_comparable_answer());
    assert!(!Prompt::of_text("Write a long story about a lighthouse keeper.").has_comparable_answer());
}

#[test]
fn stories_are_longer_than_greetings() {
    let (story, greeting) = (Prompt::of_text("Write a short story about a fox."), Prompt::of_text("Hello!"));

    assert!(story.output_tokens() > 3 * greeting.output_tokens(), "{story:?} {greeting:?}");
}
