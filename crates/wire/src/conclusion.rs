//! What a whole answer comes to: whether it is one, and whether two come to the same.
//!
//! For plans that ask a cheap model first. Only what can be compared by its bytes is compared: a tool call, a JSON value,
//! a number, a choice, a short text. Two long texts never agree here, for nobody could tell.

use serde_json::Value;

use crate::event::{Answer, Finish};
use crate::{Client, anthropic, openai};

/// A text of more characters says too much to be compared.
const SHORT: usize = 80;
/// Words before the place where a model states its result, lower case. The last one counts.
const MARKERS: [&str; 9] = [
    "####",
    "\\boxed{",
    "final answer is",
    "final answer:",
    "the answer is",
    "answer is",
    "answer:",
    "correct option is",
    "correct choice is",
];

/// What two answers are compared by.
#[derive(Clone, Debug, PartialEq)]
pub enum Conclusion {
    /// The functions it calls, with their arguments.
    Calls(Vec<(String, Value)>),
    /// A JSON value.
    Json(Value),
    /// A number; equal where they differ by rounding alone.
    Number(f64),
    /// One of several choices, as an upper-case letter.
    Choice(char),
    /// A few words, without case and punctuation.
    Words(String),
}

/// What form the request wants its result in, where that can be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// Whatever the answer shows by itself.
    #[default]
    Any,
    /// A number, which may stand at the end of its working.
    Number,
    /// The letter of a choice, which may stand at the end of an explanation.
    Choice,
}

impl Form {
    /// The form that a question asks for by its words. Only the end of a long one is read: what is asked stands there.
    pub fn asked_in(question: &str) -> Form {
        let mut start = question.len().saturating_sub(READ_BYTES);
        while !question.is_char_boundary(start) {
            start = start.saturating_add(1);
        }
        let question = question.get(start..).unwrap_or_default();
        let is_option = |line: &&str| {
            let line = line.trim_start_matches(['(', ' ', '\t']).as_bytes();
            matches!(line, [b'A'..=b'J', b'.' | b')' | b':', ..])
        };
        if question.lines().filter(is_option).take(2).count() == 2 {
            return Form::Choice;
        }
        let lower = question.to_ascii_lowercase();
        let asks_number = NUMBER_WORDS.iter().any(|words| lower.contains(words));
        if asks_number { Form::Number } else { Form::Any }
    }
}

/// Bytes of a question's end that are read.
const READ_BYTES: usize = 4_096;
/// Words that ask for a number.
const NUMBER_WORDS: [&str; 10] = [
    "how many",
    "how much",
    "what is the sum",
    "what is the value",
    "what percent",
    "calculate",
    "compute",
    "evaluate",
    "find the value",
    "find the number",
];

/// Why an answer cannot be the last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// There is nothing in it.
    Empty,
    /// The model or its provider declines.
    Refused,
    /// It ends in the middle.
    CutShort,
    /// JSON was asked for and this is none, or a tool's arguments are none.
    BadJson,
}

impl Shortfall {
    /// The word in metadata and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Shortfall::Empty => "empty_answer",
            Shortfall::Refused => "refused",
            Shortfall::CutShort => "cut_short",
            Shortfall::BadJson => "bad_json",
        }
    }
}

/// What is missing in a whole answer that is in the client's format; `None` where it is good. `wants_json`: the request
/// asked for JSON.
pub fn shortfall(client: Client, body: &[u8], wants_json: bool) -> Option<Shortfall> {
    let Some(answer) = read(client, body) else { return Some(Shortfall::Empty) };
    match &answer.finish {
        Some(Finish::ContentFilter) => return Some(Shortfall::Refused),
        Some(Finish::Length) => return Some(Shortfall::CutShort),
        Some(Finish::Stop | Finish::ToolCalls | Finish::Other(_)) | None => {}
    }
    if answer.refusal.is_some() {
        return Some(Shortfall::Refused);
    }
    if !answer.tool_calls.is_empty() {
        let are_json = answer.tool_calls.iter().all(|(_, arguments)| arguments_of(arguments).is_some());
        return (!are_json).then_some(Shortfall::BadJson);
    }
    let text = answer.text.trim();
    if text.is_empty() {
        return Some(Shortfall::Empty);
    }
    if wants_json && json_of(text).is_none() {
        return Some(Shortfall::BadJson);
    }
    declines(text).then_some(Shortfall::Refused)
}

/// What a whole answer in the client's format comes to; `None` where it cannot be compared with another.
pub fn conclusion(client: Client, body: &[u8], form: Form) -> Option<Conclusion> {
    let answer = read(client, body)?;
    if !answer.tool_calls.is_empty() {
        let call = |(head, arguments): &(crate::event::ToolCallHead, String)| {
            Some((head.name.clone(), arguments_of(arguments)?))
        };
        return answer.tool_calls.iter().map(call).collect::<Option<Vec<_>>>().map(Conclusion::Calls);
    }
    of_text(answer.text.trim(), form)
}

impl Conclusion {
    /// Whether both come to the same.
    pub fn agrees(&self, other: &Conclusion) -> bool {
        match (self, other) {
            (Conclusion::Number(one), Conclusion::Number(two)) => {
                (one - two).abs() <= 1e-9 * one.abs().max(two.abs()).max(1.0)
            }
            (one, two) => one == two,
        }
    }
}

fn read(client: Client, body: &[u8]) -> Option<Answer> {
    match client {
        Client::OpenAi => openai::decode::decode_answer(body).ok(),
        Client::Anthropic => anthropic::decode_answer(body).ok(),
        Client::Completions => None,
    }
}

fn of_text(text: &str, form: Form) -> Option<Conclusion> {
    if let Some(json @ (Value::Object(_) | Value::Array(_))) = json_of(text) {
        return Some(Conclusion::Json(json));
    }
    if let Some(stated) = stated(text) {
        return short(stated);
    }
    match form {
        Form::Number => last_number(text).map(Conclusion::Number),
        Form::Choice => last_choice(text).map(Conclusion::Choice),
        Form::Any => short(text),
    }
}

/// A number, a choice, or a few words.
fn short(text: &str) -> Option<Conclusion> {
    let text = text.trim();
    if text.chars().count() > SHORT {
        return None;
    }
    if let Some(number) = number(text) {
        return Some(Conclusion::Number(number));
    }
    if let Some(choice) = choice(text) {
        return Some(Conclusion::Choice(choice));
    }
    let words: Vec<String> = text
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    (!words.is_empty()).then(|| Conclusion::Words(words.join(" ")))
}

/// What stands behind the last marker, up to the end of its line or sentence.
fn stated(text: &str) -> Option<&str> {
    // Lower-casing by ASCII keeps every place where it is.
    let lower = text.to_ascii_lowercase();
    let (place, marker) =
        MARKERS.iter().filter_map(|marker| Some((lower.rfind(marker)?.saturating_add(marker.len()), *marker))).max()?;
    let rest = text.get(place..)?;
    let end = match marker {
        "\\boxed{" => closing_brace(rest)?,
        _ => rest.find('\n').unwrap_or(rest.len()),
    };
    let rest = rest.get(..end)?.trim().trim_start_matches(':').trim();
    let rest = rest.strip_suffix('.').unwrap_or(rest).trim_matches(['*', '$', '`', '"', ' ']);
    (!rest.is_empty()).then_some(rest)
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut open = 1_usize;
    for (place, letter) in text.char_indices() {
        match letter {
            '{' => open = open.saturating_add(1),
            '}' => open = open.saturating_sub(1),
            _ => {}
        }
        if open == 0 {
            return Some(place);
        }
    }
    None
}

/// The text as JSON, also where it stands in a fence.
fn json_of(text: &str) -> Option<Value> {
    let inner = text.strip_prefix("```json").or_else(|| text.strip_prefix("```"));
    let inner = inner.and_then(|text| text.trim_end().strip_suffix("```")).unwrap_or(text);
    serde_json::from_str(inner.trim()).ok()
}

/// No arguments are an empty object.
fn arguments_of(text: &str) -> Option<Value> {
    if text.trim().is_empty() { Some(Value::Object(Default::default())) } else { serde_json::from_str(text).ok() }
}

/// The text as a number, whatever unit of money or share stands at it.
fn number(text: &str) -> Option<f64> {
    let text = text.trim().trim_start_matches(['$', '€', '£', '=']).trim_end_matches(['%', '.', '$']).trim();
    let plain: String = text.chars().filter(|letter| !matches!(letter, ',' | '_' | ' ')).collect();
    let starts_right = plain.starts_with(|letter: char| letter.is_ascii_digit() || matches!(letter, '-' | '+' | '.'));
    plain.parse().ok().filter(|number: &f64| starts_right && number.is_finite())
}

fn last_number(text: &str) -> Option<f64> {
    let is_part = |letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ',' | '-');
    text.rsplit(|letter: char| !is_part(letter)).find_map(|word| number(word.trim_matches([',', '.'])))
}

/// A letter alone, as `C`, `(C)`, `C.` or `C) because`.
fn choice(text: &str) -> Option<char> {
    let text = text.trim_start_matches(['(', '*', '[']);
    let mut letters = text.chars();
    let letter = letters.next().filter(char::is_ascii_uppercase)?;
    match letters.next() {
        None | Some(')' | '.' | ':' | '*' | ']') => Some(letter),
        Some(_) => None,
    }
}

fn last_choice(text: &str) -> Option<char> {
    text.rsplit(char::is_whitespace).filter(|word| !word.is_empty()).find_map(choice)
}

/// Whether a short answer says no more than that the model will not.
fn declines(text: &str) -> bool {
    const LONGEST: usize = 400;
    const OPENINGS: [&str; 10] = [
        "i'm sorry, but i can",
        "i’m sorry, but i can",
        "i am sorry, but i can",
        "sorry, but i can",
        "i can't assist",
        "i can’t assist",
        "i cannot assist",
        "i can't help with",
        "i cannot help with",
        "i'm unable to",
    ];
    let is_short = text.len() <= LONGEST;
    let lower = if is_short { text.to_lowercase() } else { String::new() };
    OPENINGS.iter().any(|opening| lower.starts_with(opening))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openai(text: &str) -> Vec<u8> {
        serde_json::json!({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
            .to_string()
            .into_bytes()
    }

    fn agree(one: &str, two: &str, form: Form) -> bool {
        let of = |text| conclusion(Client::OpenAi, &openai(text), form);
        matches!((of(one), of(two)), (Some(one), Some(two)) if one.agrees(&two))
    }

    #[test]
    fn what_can_be_compared_is_compared_and_nothing_else() {
        let long =
            "The tides are caused by the gravity of the moon and of the sun, which pull at the oceans of the earth.";
        for (one, two, form, expected) in [
            ("42", "42.0", Form::Any, true),
            ("$1,200", "1200", Form::Any, true),
            ("42", "43", Form::Any, false),
            ("C", "(C)", Form::Any, true),
            ("C", "D", Form::Any, false),
            ("Paris", "paris.", Form::Any, true),
            ("Paris", "Lyon", Form::Any, false),
            (r#"{"a":1,"b":[2]}"#, "```json\n{\"b\": [2], \"a\": 1}\n```", Form::Any, true),
            (r#"{"a":1}"#, r#"{"a":2}"#, Form::Any, false),
            ("She has 3 left, so 3 * 6 = 18.\n#### 18", "The answer is 18.", Form::Any, true),
            ("so \\boxed{\\frac{1}{2}}", "Thus the final answer is \\boxed{\\frac{1}{2}}.", Form::Any, true),
            ("It is 3 + 4, which makes 7 apples.", "7", Form::Number, true),
            ("It is 3 + 4, which makes 7 apples.", "8", Form::Number, false),
            ("Because of gravity it must be B.", "B", Form::Choice, true),
            (long, long, Form::Any, false),
        ] {
            assert_eq!(agree(one, two, form), expected, "{one:?} {two:?}");
        }
    }

    #[test]
    fn the_form_of_a_result_is_seen_in_the_question() {
        for (question, expected) in [
            ("How many apples are left?", Form::Number),
            ("Which of these is a metal?\nA. Iron\nB. Oxygen", Form::Choice),
            ("Which?\n(A) Iron\n(B) Oxygen", Form::Choice),
            ("Write a poem about rain.", Form::Any),
        ] {
            assert_eq!(Form::asked_in(question), expected, "{question}");
        }
        assert_eq!(Form::asked_in(&"é".repeat(READ_BYTES)), Form::Any);
    }

    #[test]
    fn calls_agree_by_function_and_arguments() {
        let call = |name: &str, arguments: &str| {
            let body = serde_json::json!({"choices": [{"message": {"content": null, "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}]},
                "finish_reason": "tool_calls"}]});
            conclusion(Client::OpenAi, body.to_string().as_bytes(), Form::Any)
        };

        assert_eq!(call("f", r#"{"a": 1, "b": 2}"#), call("f", r#"{"b":2,"a":1}"#));
        assert_ne!(call("f", r#"{"a":1}"#), call("g", r#"{"a":1}"#));
        assert_ne!(call("f", ""), call("f", r#"{"a":1}"#));
        assert_eq!(call("f", "not json"), None);
    }

    #[test]
    fn an_answer_that_cannot_be_the_last_word_is_told_why() {
        let with = |content: &str, finish: &str| {
            serde_json::json!({"choices": [{"message": {"content": content}, "finish_reason": finish}]}).to_string()
        };
        for (body, wants_json, expected) in [
            (with("fine", "stop"), false, None),
            (with("", "stop"), false, Some(Shortfall::Empty)),
            (with("fine", "length"), false, Some(Shortfall::CutShort)),
            (with("fine", "content_filter"), false, Some(Shortfall::Refused)),
            (with("I'm sorry, but I can't do that.", "stop"), false, Some(Shortfall::Refused)),
            (with("fine", "stop"), true, Some(Shortfall::BadJson)),
            (with("{\"a\":1}", "stop"), true, None),
            ("{}".to_owned(), false, Some(Shortfall::Empty)),
        ] {
            assert_eq!(shortfall(Client::OpenAi, body.as_bytes(), wants_json), expected, "{body}");
        }
    }

    #[test]
    fn anthropics_answers_are_read_too() {
        let body = r#"{"id":"m","type":"message","role":"assistant","model":"x","content":[{"type":"text","text":"18"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

        assert_eq!(conclusion(Client::Anthropic, body.as_bytes(), Form::Any), Some(Conclusion::Number(18.0)));
        assert_eq!(shortfall(Client::Anthropic, body.as_bytes(), false), None);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in ".{0,300}") {
            for form in [Form::Any, Form::Number, Form::Choice] {
                let _ = conclusion(Client::OpenAi, &openai(&text), form);
            }
            let _ = shortfall(Client::OpenAi, &openai(&text), true);
        }
    }
}
