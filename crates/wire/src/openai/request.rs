//! Reading an OpenAI chat request: one pass for its outline, one for what is typed. Strings borrow from the body.

use serde_json::value::RawValue;

use super::body;
use crate::chat::Chat;
use crate::error::{Error, Problem};
use crate::outline::Members;
use crate::prompt::Prompt;

/// Bounds on what a request may hold.
pub mod limits {
    /// Nesting of arrays and objects.
    pub const MAX_DEPTH: usize = 128;
    /// Messages of one conversation.
    pub const MAX_MESSAGES: usize = 10_000;
    /// Stop sequences.
    pub const MAX_STOP: usize = 4;
    /// Choices.
    pub const MAX_N: u64 = 16;
}

/// A checked chat request: what routing and accounting need of it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The model asked for.
    pub model: String,
    /// Whether the answer is wanted as a stream.
    pub stream: bool,
    /// Whether the stream's usage chunk is wanted.
    pub include_usage: bool,
    /// Choices wanted, 1 to 16.
    pub n: u32,
    /// `max_completion_tokens`, or `max_tokens` when only that was given.
    pub max_tokens: Option<u64>,
    /// What the request asks of a model.
    pub facts: Facts,
    /// Members whose name begins with `x-`, the name in lower case.
    pub extensions: Vec<(String, Box<RawValue>)>,
}

/// What a request asks of a model, seen without keeping any of its text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of text in messages, tools and schema; no images, audio or files.
    pub prompt_bytes: u64,
    /// Messages.
    pub messages: u32,
    /// Images.
    pub images: u32,
    /// Audio parts.
    pub audio: bool,
    /// File parts.
    pub files: bool,
    /// Functions on offer.
    pub tools: bool,
    /// An answer that fits a JSON Schema.
    pub json_schema: bool,
    /// The provider shall keep parts of the prompt in its cache, which some charge for.
    pub caches: bool,
    /// Log probabilities wanted.
    pub logprobs: bool,
    /// Temperature 0: the same request has the same answer.
    pub is_greedy: bool,
}

/// Reads and checks a request.
///
/// # Errors
/// The first fault, with its place as OpenAI writes it.
pub fn read(body: &[u8]) -> Result<Request, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    let body = body::parse(text)?;
    Ok(Request {
        stream: body.stream.unwrap_or(false),
        include_usage: body.stream_options.as_ref().and_then(|options| options.include_usage).unwrap_or(false),
        n: u32::try_from(body.n.unwrap_or(1)).unwrap_or(u32::MAX),
        max_tokens: body.max_completion_tokens.or(body.max_tokens),
        facts: body.facts(),
        extensions: extensions(&members),
        model: body.model.0.into_owned(),
    })
}

/// Reads a request into the canonical form.
///
/// # Errors
/// As [`read`].
pub fn decode(body: &[u8]) -> Result<Chat<'_>, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    Ok(body::parse(text)?.into_chat(members))
}

/// What the model reads, for an answer whose usage is missing or absurd. As long as [`Facts::prompt_bytes`] says.
///
/// # Errors
/// As [`read`].
pub fn prompt(body: &[u8]) -> Result<Prompt, Error> {
    Ok(body::parse(text_of(body)?)?.prompt())
}

/// The body as text.
pub(crate) fn text_of(body: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(body).map_err(|_| Error::body(Problem::InvalidJson, "The request body is not valid UTF-8."))
}

/// The members of the body, after a check of its depth and of doubles among the names that decide.
pub(crate) fn outline_of(text: &str) -> Result<Members<'_>, Error> {
    if is_too_deep(text.as_bytes()) {
        let message = "The request body is nested deeper than 128 levels.";
        return Err(Error::body(Problem::InvalidJson, message));
    }
    let members: Members<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            return Error::body(Problem::InvalidType, "The request body must be a JSON object.");
        }
        let (line, column) = (error.line(), error.column());
        let message = format!("The request body is not valid JSON: see line {line}, column {column}.");
        Error::body(Problem::InvalidJson, message)
    })?;
    let decides = |name: &str| matches!(name, "model" | "messages" | "input" | "stream") || is_extension(name);
    let names = members.0.iter().map(|(name, _)| &**name).filter(|name| decides(name));
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable_by_key(|name| name.to_ascii_lowercase());
    match names.windows(2).find(|pair| matches!(pair, [a, b] if a.eq_ignore_ascii_case(b))) {
        Some([name, ..]) => {
            let message = format!("`{name}` stands more than once in the request body.");
            Err(Error::at(*name, Problem::DuplicateParameter, message))
        }
        Some([]) | None => Ok(members),
    }
}

/// Our own members, which never travel on, by their names in lower case.
pub(crate) fn extensions(members: &Members<'_>) -> Vec<(String, Box<RawValue>)> {
    let ours = members.0.iter().filter(|(name, _)| is_extension(name));
    ours.map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect()
}

/// Whether a member is ours.
pub(crate) fn is_extension(name: &str) -> bool {
    name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
}

/// Counts nesting outside strings. A body with few brackets is cleared by counting those.
fn is_too_deep(bytes: &[u8]) -> bool {
    if memchr::memchr2_iter(b'[', b'{', bytes).nth(limits::MAX_DEPTH).is_none() {
        return false;
    }
    let (mut depth, mut in_string, mut is_escaped) = (0_usize, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if is_escaped => is_escaped = false,
            (true, b'\\') => is_escaped = true,
            (true, b'"') => in_string = false,
            (true, _) => {}
            (false, b'"') => in_string = true,
            (false, b'[' | b'{') => {
                depth = depth.saturating_add(1);
                if depth > limits::MAX_DEPTH {
                    return true;
                }
            }
            (false, b']' | b'}') => depth = depth.saturating_sub(1),
            (false, _) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::chat::{Format, Message, Part, ToolChoice};

    fn refused(body: &str) -> (Option<String>, &'static str) {
        let error = read(body.as_bytes()).unwrap_err();
        assert!(error.message.ends_with('.'), "{}", error.message);
        (error.param, error.problem.code())
    }

    #[test]
    fn what_is_no_json_object_is_told() {
        for (body, code) in [
            ("", "invalid_json"),
            ("{", "invalid_json"),
            ("{\"model\":\"m\",}", "invalid_json"),
            ("[]", "invalid_type"),
            ("5", "invalid_type"),
            (r#"{"model":"m","messages":[{"role":"user","content":"\ud800"}]}"#, "invalid_json"),
        ] {
            assert_eq!(refused(body), (None, code), "{body}");
        }
        assert_eq!(read(b"{\"model\":\"\xff\"}").unwrap_err().problem, Problem::InvalidJson);
    }

    #[test]
    fn faults_are_named_by_their_path() {
        let user = r#"{"role":"user","content":"hi"}"#;
        let with = |more: &str| format!(r#"{{"model":"m","messages":[{user}],{more}}}"#);
        let message = |message: &str| format!(r#"{{"model":"m","messages":[{user},{message}]}}"#);
        for (body, param, code) in [
            (format!(r#"{{"messages":[{user}]}}"#), "model", "missing_required_parameter"),
            (r#"{"model":"m"}"#.to_owned(), "messages", "missing_required_parameter"),
            (r#"{"model":null,"messages":[]}"#.to_owned(), "model", "invalid_type"),
            (r#"{"model":"m","messages":[]}"#.to_owned(), "messages", "invalid_value"),
            (message("7"), "messages[1]", "invalid_type"),
            (message("{}"), "messages[1].role", "missing_required_parameter"),
            (message(r#"{"role":"wizard"}"#), "messages[1].role", "invalid_value"),
            (message(r#"{"role":"user","content":7}"#), "messages[1].content", "invalid_type"),
            (message(r#"{"role":"user","content":[{"text":"a"}]}"#), "messages[1].content", "invalid_value"),
            (message(r#"{"role":"user","content":[{"type":"text"}]}"#), "messages[1].content", "invalid_value"),
            (message(r#"{"role":"assistant","tool_calls":{}}"#), "messages[1].tool_calls", "invalid_type"),
            (with(r#""stream":"yes""#), "stream", "invalid_type"),
            (with(r#""n":0"#), "n", "invalid_value"),
            (with(r#""n":-1"#), "n", "invalid_value"),
            (with(r#""stop":["1","2","3","4","5"]"#), "stop", "invalid_value"),
            (with(r#""stop":{}"#), "stop", "invalid_type"),
            (with(r#""max_tokens":0"#), "max_tokens", "invalid_value"),
            (with(r#""max_completion_tokens":-5"#), "max_completion_tokens", "invalid_value"),
            (with(r#""temperature":"hot""#), "temperature", "invalid_type"),
            (
                with(r#""tools":[{"type":"function","function":{}}]"#),
                "tools[0].function.name",
                "missing_required_parameter",
            ),
            (with(r#""stream_options":[]"#), "stream_options", "invalid_type"),
            (with(r#""model":"n""#), "model", "duplicate_parameter"),
            (with(r#""x-cache":true,"X-Cache":false"#), "x-cache", "duplicate_parameter"),
        ] {
            let (got, got_code) = refused(&body);
            assert_eq!(got.map(|param| param.to_ascii_lowercase()).as_deref(), Some(param), "{body}");
            assert_eq!(got_code, code, "{body}");
        }
    }

    #[test]
    fn bounds_hold_at_their_edges() {
        let nested = |depth: usize| {
            format!(r#"{{"model":"m","messages":[{{"role":"user"}}],"y":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
        };
        assert!(read(nested(127).as_bytes()).is_ok());
        assert_eq!(refused(&nested(128)), (None, "invalid_json"));
        assert_eq!(refused(&nested(100_000)).1, "invalid_json");
        let quoted = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"{}"}}]}}"#, "[\\\"{".repeat(500));
        assert!(read(quoted.as_bytes()).is_ok(), "brackets in a string are text");

        let many = |count: usize| {
            let messages = vec![r#"{"role":"user","content":"a"}"#; count].join(",");
            format!(r#"{{"model":"m","messages":[{messages}]}}"#)
        };
        assert!(read(many(limits::MAX_MESSAGES).as_bytes()).is_ok());
        assert_eq!(refused(&many(limits::MAX_MESSAGES + 1)).0.as_deref(), Some("messages"));
    }

    #[test]
    fn unknown_fields_and_parts_are_no_fault_and_facts_are_seen() {
        let body = json!({
            "model": "m", "future": {"a": 1}, "user": null, "stop": null, "X-Tags": ["a"],
            "messages": [
                {"role": "developer", "content": "ab"},
                {"role": "user", "content": [
                    {"type": "text", "text": "cde"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_audio", "input_audio": {}},
                    {"type": "hologram", "data": 1},
                ]},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "c1", "content": "ok"},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 5, "max_completion_tokens": 7,
            "logit_bias": {"5": 1},
        })
        .to_string();

        let request = read(body.as_bytes()).unwrap();
        let chat = decode(body.as_bytes()).unwrap();

        assert!(request.stream && request.include_usage);
        assert_eq!((request.max_tokens, request.extensions[0].0.as_str()), (Some(7), "x-tags"));
        let facts = request.facts;
        assert!(facts.audio && facts.tools && facts.json_schema && !facts.files && !facts.logprobs);
        assert_eq!((facts.messages, facts.images), (4, 1));
        let schemas = 2 * r#"{"type":"object"}"#.len();
        assert_eq!(
            facts.prompt_bytes as usize,
            "ab".len() + "cde".len() + "f".len() + "{}".len() + "ok".len() + "f".len() + schemas
        );
        let rest: Vec<&str> = chat.rest.iter().map(|(name, _)| &**name).collect();
        assert_eq!(rest, ["future", "logit_bias"]);
        assert_eq!(chat.tool_choice, ToolChoice::Function("f".into()));
        assert!(matches!(chat.format, Format::JsonSchema(_)));
        let Message::Tool { name: Some(name), .. } = &chat.messages[3] else { panic!("no name") };
        assert_eq!(name, "f");
        let Message::User(parts) = &chat.messages[1] else { panic!("not the user") };
        assert!(matches!(&parts[3], Part::Other { kind, .. } if kind == "hologram"));
    }

    #[test]
    fn the_prompt_is_every_text_that_the_model_reads() {
        let body = json!({
            "model": "m",
            "messages": [
                {"role": "system", "content": "[s]", "name": "[n]"},
                {"role": "user", "content": [
                    {"type": "text", "text": "[u]"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "input_audio", "input_audio": {"data": "AAAA"}},
                    {"type": "file", "file": {"file_data": "AAAA"}},
                ]},
                {"role": "assistant", "content": null, "reasoning_content": "[r]",
                    "tool_calls": [{"id": "c1", "function": {"name": "[f]", "arguments": "[a]"}}],
                    "function_call": {"name": "[g]", "arguments": "[b]"}},
                {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "[t]"},
            ],
            "tools": [{"type": "function", "function": {"name": "[h]", "description": "[d]", "parameters": {"p": 1}}}],
            "functions": [{"name": "o"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"q": 1}}},
        })
        .to_string();

        let prompt = prompt(body.as_bytes()).unwrap();

        assert_eq!(
            prompt.text.text(),
            r#"[n][s][u][r][f][a][g][b]{"type":"refusal","refusal":"no"}[t][h][d]{"p":1}[{"name":"o"}]{"q":1}"#
        );
        assert_eq!((prompt.messages, prompt.images, prompt.tokens), (5, 1, 0));
        assert_eq!(read(body.as_bytes()).unwrap().facts.prompt_bytes, prompt.text.bytes());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read(&bytes), decode(&bytes));
        }

        #[test]
        fn what_reads_also_decodes(role in "(user|assistant|system|tool|x)", content in any::<String>(), n in any::<i8>()) {
            let body = json!({"model": "m", "n": n, "messages": [{"role": role, "content": content}]}).to_string();
            prop_assert_eq!(read(body.as_bytes()).is_ok(), decode(body.as_bytes()).is_ok());
        }
    }
}
