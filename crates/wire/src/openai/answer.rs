//! A whole answer in OpenAI's format: observed, and handed on as it came.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream::UsageBody;
use crate::error_body;
use crate::event::Finish;
use crate::generated::{Carriers, Generated};
use crate::lenient::Lenient;
use crate::outline::Text;
use crate::types::{BadAnswer, Kept, Whole};

#[derive(Deserialize)]
struct AnswerBody<'a> {
    #[serde(borrow)]
    choices: Option<Vec<ChoiceBody<'a>>>,
    #[serde(default)]
    usage: Lenient<UsageBody>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct ChoiceBody<'a> {
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

/// Reads what accounting needs. The body stays as it is.
pub(crate) fn observe(body: Bytes) -> Result<Whole, BadAnswer> {
    let (usage, finish) = {
        let answer: AnswerBody<'_> = serde_json::from_slice(&body).map_err(|_| BadAnswer::NotJson)?;
        if answer.error.is_some_and(|error| error.get() != "null") {
            return Err(BadAnswer::Error(error_in(&body)));
        }
        let choices = answer.choices.unwrap_or_default();
        let has_message = choices.iter().filter_map(|choice| choice.message).any(|message| message.get() != "null");
        let first = choices.first().filter(|_| has_message).ok_or(BadAnswer::NoChoices)?;
        let finish = first.finish_reason.as_ref().map(|reason| Finish::parse(&reason.0));
        (answer.usage.0.map(UsageBody::usage).unwrap_or_default(), finish)
    };
    Ok(Whole { body, usage, finish, kept: Kept::default(), media_type: None })
}

/// The text of all choices.
pub(crate) fn generated_in(body: &[u8]) -> Generated {
    let mut generated = Generated::default();
    let answer = serde_json::from_slice::<AnswerBody<'_>>(body).ok();
    for message in answer.and_then(|answer| answer.choices).into_iter().flatten().filter_map(|choice| choice.message) {
        if let Ok(message) = serde_json::from_str::<Carriers<'_>>(message.get()) {
            message.collect(&mut generated);
        }
    }
    generated
}

/// The error in a body that came with a success status.
pub(crate) fn error_in(body: &[u8]) -> error_body::ErrorBody {
    error_body::from_value(200, &serde_json::from_slice(body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Usage;

    fn read(body: &'static str) -> Result<Whole, BadAnswer> {
        observe(Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn usage_and_finish_are_read_and_the_bytes_stay() {
        let body = r#"{"choices":[{"message":{"content":"hi"},"finish_reason":"eos"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}},"new":1}"#;

        let whole = read(body).unwrap();

        assert_eq!(whole.body, body);
        assert_eq!((whole.usage.input, whole.usage.cached_input, whole.usage.output), (Some(5), Some(3), Some(2)));
        assert_eq!(whole.finish, Some(Finish::Other("eos".to_owned())));
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        assert_eq!(read("<html>").unwrap_err(), BadAnswer::NotJson);
        for body in ["{}", r#"{"choices":[]}"#, r#"{"choices":null}"#, r#"{"choices":[{"message":null}]}"#] {
            assert_eq!(read(body).unwrap_err(), BadAnswer::NoChoices, "{body}");
        }
        let BadAnswer::Error(error) = read(r#"{"error":{"message":"no"}}"#).unwrap_err() else { panic!() };
        assert_eq!(error.message, "no");
        assert!(read(r#"{"error":null,"choices":[{"message":{}}]}"#).is_ok());
    }

    /// WIRE 7.4.
    #[test]
    fn counts_that_are_no_numbers_are_unknown() {
        for bad in ["-1", "1e999", "99999999999999999999999999", "\"2\"", "null", "[]"] {
            let usage = format!(
                r#"{{"prompt_tokens":5,"completion_tokens":{bad},"prompt_tokens_details":{{"cached_tokens":{bad}}},"completion_tokens_details":{bad}}}"#
            );
            for (usage, input) in [(usage.as_str(), Some(5)), (bad, None)] {
                let body = format!(r#"{{"choices":[{{"message":{{"content":"hi"}}}}],"usage":{usage}}}"#);
                let whole = observe(Bytes::from(body)).unwrap();
                assert_eq!(whole.usage, Usage { input, ..Usage::default() }, "{usage}");
            }
        }
    }

    #[test]
    fn the_text_of_all_choices_can_be_counted() {
        let body = r#"{"choices":[{"message":{"role":"assistant","content":"a\n","reasoning":"r","annotations":[{"url":"x"}]}},{"message":{"content":null,"refusal":"no"}},{"message":null},{"message":{"tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}}]}"#;

        assert_eq!(read(body).unwrap().generated().text(), "ra\nnof{}");
        assert!(generated_in(b"{\"object\":\"list\",\"data\":[]}").is_empty());
        assert!(generated_in(b"<html>").is_empty());
    }
}
