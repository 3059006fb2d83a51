//! OpenAI's older completions: a prompt in, text out. Only clients speak it; every provider gets it as a chat of one
//! message.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::chat::{Chat, Format, Message, Part, ToolChoice};
use crate::error::{Error, Problem};
use crate::event::{Answer, Event};
use crate::lenient::Lenient;
use crate::openai::encode::{Counts, to_json};
use crate::openai::request::{extensions, is_extension, limits, outline_of, text_of};
use crate::openai::{Facts, Request};
use crate::outline::{Members, Text};
use crate::prompt::Prompt;
use crate::types::AnswerContext;
use crate::usage::Usage;

/// Members with a place in the canonical form; every other one goes to [`Chat::rest`].
const CANONICAL: [&str; 15] = [
    "model",
    "prompt",
    "max_tokens",
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "stream",
    "stream_options",
    "user",
    "echo",
    "suffix",
    "best_of",
];

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Text<'a>,
    #[serde(borrow)]
    prompt: &'a RawValue,
    max_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Lenient<StreamOptions>,
    #[serde(default)]
    user: Lenient<String>,
    n: Option<u64>,
    best_of: Option<u64>,
    echo: Option<bool>,
    #[serde(borrow)]
    suffix: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// Reads and checks a request.
///
/// # Errors
/// The first fault, with its place, or what a chat cannot do: several prompts or choices, tokens, an echo, a suffix.
pub fn read(body: &[u8]) -> Result<Request, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    let body = parse(text)?;
    let prompt = prompt_of(body.prompt)?;
    Ok(Request {
        model: body.model.0.into_owned(),
        stream: body.stream.unwrap_or(false),
        include_usage: body.stream_options.0.and_then(|options| options.include_usage).unwrap_or(false),
        n: 1,
        max_tokens: body.max_tokens,
        facts: Facts {
            prompt_bytes: u64::try_from(prompt.len()).unwrap_or(u64::MAX),
            messages: 1,
            is_greedy: body.temperature == Some(0.0),
            ..Facts::default()
        },
        extensions: extensions(&members),
    })
}

/// Reads a request into the canonical form.
///
/// # Errors
/// As [`read`].
pub fn decode(body: &[u8]) -> Result<Chat<'_>, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    let body = parse(text)?;
    Ok(Chat {
        messages: vec![Message::User(vec![Part::Text(prompt_of(body.prompt)?)])],
        tools: Vec::new(),
        hosted_tools: Vec::new(),
        tool_choice: ToolChoice::Auto,
        parallel_tool_calls: None,
        format: Format::Text,
        max_tokens: body.max_tokens,
        temperature: body.temperature,
        top_p: body.top_p,
        top_k: None,
        seed: body.seed,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
        stop: stops(body.stop)?,
        reasoning_effort: None,
        thinking_budget: None,
        user: body.user.0.map(Cow::Owned),
        rest: rest(members),
    })
}

/// What the model reads, for an answer whose usage is missing or absurd.
///
/// # Errors
/// As [`read`].
pub fn prompt(body: &[u8]) -> Result<Prompt, Error> {
    let text = prompt_of(parse(text_of(body)?)?.prompt)?;
    let mut prompt = Prompt { messages: 1, ..Prompt::default() };
    prompt.text.push(&text);
    Ok(prompt)
}

fn rest(members: Members<'_>) -> Vec<(Cow<'_, str>, &RawValue)> {
    let is_rest = |name: &str| !CANONICAL.contains(&name) && !is_extension(name);
    members.0.into_iter().filter(|(name, value)| is_rest(name) && value.get() != "null").collect()
}

fn parse(text: &str) -> Result<Body<'_>, Error> {
    let body: Body<'_> = serde_json::from_str(text).map_err(|_| crate::openai::fault::<Body<'_>>(text))?;
    let cannot = |param: &str, what: &str| {
        let message = format!("`{param}` {what}: completions are answered by chat models here.");
        Err(Error::at(param, Problem::UnsupportedParameter, message))
    };
    if body.echo == Some(true) {
        return cannot("echo", "cannot be served");
    }
    if body.suffix.is_some_and(|suffix| !matches!(suffix.get(), "null" | "\"\"")) {
        return cannot("suffix", "cannot be served");
    }
    for (param, count) in [("n", body.n), ("best_of", body.best_of)] {
        if count.is_some_and(|count| count != 1) {
            return cannot(param, "can only be 1");
        }
    }
    if body.max_tokens == Some(0) {
        return Err(Error::at("max_tokens", Problem::InvalidValue, "`max_tokens` must be at least 1."));
    }
    Ok(body)
}

/// The prompt: a string, or a list of one.
fn prompt_of(raw: &RawValue) -> Result<Cow<'_, str>, Error> {
    let read = |raw: &RawValue| serde_json::from_str::<Text<'_>>(raw.get()).ok().map(|text| text.0.into_owned());
    if raw.get().starts_with('"') {
        let text: Text<'_> = serde_json::from_str(raw.get())
            .map_err(|_| Error::at("prompt", Problem::InvalidType, "`prompt` is not valid text."))?;
        return Ok(text.0);
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    match items.as_slice() {
        [one] if one.get().starts_with('"') => Ok(Cow::Owned(read(one).unwrap_or_default())),
        _ => {
            let message = "`prompt` must be a string here, or a list of one: chat models take neither tokens nor several \
                           prompts at once.";
            Err(Error::at("prompt", Problem::UnsupportedParameter, message))
        }
    }
}

fn stops(raw: Option<&RawValue>) -> Result<Vec<Cow<'_, str>>, Error> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else { return Ok(Vec::new()) };
    let one = serde_json::from_str::<Text<'_>>(raw.get()).map(|text| vec![text]);
    let stops = one.or_else(|_| serde_json::from_str::<Vec<Text<'_>>>(raw.get()));
    match stops {
        Ok(stops) if stops.len() <= limits::MAX_STOP => Ok(stops.into_iter().map(|text| text.0).collect()),
        Ok(_) => Err(Error::at("stop", Problem::InvalidValue, "`stop` may hold at most 4 sequences.")),
        Err(_) => Err(Error::at("stop", Problem::InvalidType, "`stop` must be a string or a list of strings.")),
    }
}

#[derive(Serialize)]
struct Envelope<'a> {
    id: String,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counts>,
}

#[derive(Serialize)]
struct Choice<'a> {
    text: &'a str,
    index: u32,
    logprobs: (),
    finish_reason: Option<&'a str>,
}

impl<'a> Envelope<'a> {
    fn new(context: &'a AnswerContext, choices: &'a [Choice<'a>], usage: Option<Counts>) -> Envelope<'a> {
        let id = format!("cmpl-{}", context.id.split_once('-').map_or(context.id.as_str(), |(_, id)| id));
        Envelope { id, object: "text_completion", created: context.created, model: &context.model, choices, usage }
    }
}

/// Encoder of one stream. Reasoning has no place in it.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: AnswerContext,
}

impl Encoder {
    pub(crate) fn new(context: AnswerContext) -> Encoder {
        Encoder { context }
    }

    /// The payload of the chunk that says `event`, where it says anything here.
    pub(crate) fn encode(&self, event: &Event) -> Option<Vec<u8>> {
        let (text, finish_reason) = match event {
            Event::Text { choice: 0, text } => (text.as_str(), None),
            Event::Finish { choice: 0, reason } => ("", Some(reason.as_str())),
            _ => return None,
        };
        let choice = Choice { text, index: 0, logprobs: (), finish_reason };
        Some(to_json(&Envelope::new(&self.context, &[choice], None)))
    }

    /// The payload of the last chunk of a stream whose caller asked for usage.
    pub(crate) fn usage_chunk(&self, usage: &Usage) -> Vec<u8> {
        to_json(&Envelope::new(&self.context, &[], Some(Counts::from(usage))))
    }
}

/// The body of a whole answer.
pub(crate) fn encode_answer(answer: &Answer, context: &AnswerContext) -> Vec<u8> {
    let finish_reason = answer.finish.as_ref().map(|finish| finish.as_str());
    let choices = [Choice { text: &answer.text, index: 0, logprobs: (), finish_reason }];
    let usage = Some(&answer.usage).filter(|usage| !usage.is_unknown()).map(Counts::from);
    to_json(&Envelope::new(context, &choices, usage))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Client, Dialect, translate_answer};

    #[test]
    fn a_prompt_becomes_a_chat_of_one_message() {
        for prompt in [r#""Say \"hi\"""#, r#"["Say \"hi\""]"#] {
            let body =
                format!(r#"{{"model":"m","prompt":{prompt},"max_tokens":5,"stop":"END","logit_bias":{{"5":1}}}}"#);
            let chat = decode(body.as_bytes()).unwrap();
            let [Message::User(parts)] = chat.messages.as_slice() else { panic!("{:?}", chat.messages) };
            assert!(matches!(parts.as_slice(), [Part::Text(text)] if text == "Say \"hi\""));
            assert_eq!((chat.max_tokens, chat.stop.as_slice()), (Some(5), &[Cow::Borrowed("END")][..]));
            assert_eq!(chat.rest[0].0, "logit_bias");
            assert_eq!(read(body.as_bytes()).unwrap().facts.prompt_bytes, 8);
        }
    }

    #[test]
    fn what_a_chat_cannot_do_is_refused_by_name() {
        for (more, param) in [
            (r#""prompt":["a","b"]"#, "prompt"),
            (r#""prompt":[1,2]"#, "prompt"),
            (r#""prompt":"a","echo":true"#, "echo"),
            (r#""prompt":"a","suffix":"z""#, "suffix"),
            (r#""prompt":"a","n":2"#, "n"),
            (r#""prompt":"a","best_of":3"#, "best_of"),
        ] {
            let error = read(format!(r#"{{"model":"m",{more}}}"#).as_bytes()).unwrap_err();
            assert_eq!((error.param.as_deref(), error.problem), (Some(param), Problem::UnsupportedParameter), "{more}");
        }
        let error = read(br#"{"model":"m"}"#).unwrap_err();
        assert_eq!((error.param.as_deref(), error.problem), (Some("prompt"), Problem::MissingRequiredParameter));
    }

    #[test]
    fn an_answer_is_text_alone() {
        let body = r#"{"id":"x","choices":[{"index":0,"message":{"content":"Hi","reasoning_content":"hm"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
        let context = AnswerContext {
            id: "chatcmpl-1".to_owned(),
            created: 7,
            model: "m".to_owned(),
            prompt_tokens: 3,
            bent: Default::default(),
        };

        let whole = translate_answer(Dialect::OpenAi, Client::Completions, body.into(), &context).unwrap();

        assert_eq!(
            String::from_utf8(whole.body.to_vec()).unwrap(),
            r#"{"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"text":"Hi","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}"#
        );
    }
}
