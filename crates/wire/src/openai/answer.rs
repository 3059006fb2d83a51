//! A whole answer in OpenAI's format: observed, and handed on as it came.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::stream::UsageBody;
use crate::error_body;
use crate::event::Finish;
use crate::outline::Text;
use crate::types::{BadAnswer, Whole};

#[derive(Deserialize)]
struct AnswerBody<'a> {
    #[serde(borrow)]
    choices: Option<Vec<ChoiceBody<'a>>>,
    usage: Option<UsageBody>,
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
    let (usage, finish, output_bytes) = {
        let answer: AnswerBody<'_> = serde_json::from_slice(&body).map_err(|_| BadAnswer::NotJson)?;
        if answer.error.is_some_and(|error| error.get() != "null") {
            return Err(BadAnswer::Error(error_in(&body)));
        }
        let choices = answer.choices.unwrap_or_default();
        let messages = choices.iter().filter_map(|choice| choice.message).filter(|message| message.get() != "null");
        let output_bytes: usize = messages.clone().map(|message| message.get().len()).sum();
        let first = choices.first().filter(|_| messages.count() > 0).ok_or(BadAnswer::NoChoices)?;
        let finish = first.finish_reason.as_ref().map(|reason| Finish::parse(&reason.0));
        (answer.usage.map(UsageBody::usage).unwrap_or_default(), finish, output_bytes)
    };
    Ok(Whole { body, usage, finish, output_bytes: u64::try_from(output_bytes).unwrap_or(u64::MAX) })
}

/// The error in a body that came with a success status.
pub(crate) fn error_in(body: &[u8]) -> error_body::ErrorBody {
    error_body::from_value(200, &serde_json::from_slice(body).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
