//! The typed part of a chat body, and its way into the canonical form. A good body is read once; the place of a fault is
//! found by a second, slower reading that keeps track of the path.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::request::{Facts, is_extension, limits};
use crate::chat::{Chat, Format, Message, Part, Thought, Tool, ToolCall, ToolChoice};
use crate::error::{Error, Problem};
use crate::lenient::Lenient;
use crate::outline::{Members, Text};
use crate::prompt::Prompt;

/// Members with a place in the canonical form; every other one goes to [`Chat::rest`].
const CANONICAL: [&str; 19] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "stop",
    "reasoning_effort",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "top_k",
    "user",
];

/// The typed members of a chat body.
#[derive(Debug, Deserialize)]
pub(crate) struct Body<'a> {
    #[serde(borrow)]
    pub(crate) model: Text<'a>,
    #[serde(borrow)]
    messages: Messages<'a>,
    pub(crate) stream: Option<bool>,
    pub(crate) stream_options: Option<StreamOptions>,
    pub(crate) n: Option<u64>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) max_completion_tokens: Option<u64>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    seed: Option<i64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    #[serde(borrow)]
    stop: Option<OneOrMany<'a>>,
    #[serde(borrow)]
    reasoning_effort: Option<Text<'a>>,
    #[serde(borrow)]
    tools: Option<Vec<ToolBody<'a>>>,
    /// The older form of `tools`: sent on as it is, and part of the prompt.
    #[serde(borrow)]
    functions: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<FormatBody<'a>>,
    // A field of vLLM's and others': what is no number there is theirs to refuse.
    #[serde(default)]
    top_k: Lenient<u64>,
    #[serde(default)]
    parallel_tool_calls: Lenient<bool>,
    #[serde(default)]
    user: Lenient<String>,
    logprobs: Option<bool>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct MessageBody<'a> {
    role: Role,
    #[serde(borrow, default)]
    content: Content<'a>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCallBody<'a>>>,
    #[serde(borrow)]
    function_call: Option<FunctionCallBody<'a>>,
    #[serde(borrow)]
    tool_call_id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking_blocks: Option<&'a RawValue>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

#[derive(Debug, Default)]
struct Content<'a>(Vec<Part<'a>>);

#[derive(Debug, Deserialize)]
struct ToolCallBody<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<FunctionCallBody<'a>>,
}

#[derive(Debug, Deserialize)]
struct FunctionCallBody<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    arguments: Option<Text<'a>>,
}

#[derive(Debug, Deserialize)]
struct ToolBody<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    function: Option<FunctionBody<'a>>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct FunctionBody<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
    strict: Option<bool>,
}

#[derive(Debug, Deserialize)]
struct Forced<'a> {
    #[serde(borrow)]
    function: Named<'a>,
}

#[derive(Debug, Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

#[derive(Debug, Deserialize)]
struct FormatBody<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    json_schema: Option<SchemaBody<'a>>,
}

#[derive(Debug, Deserialize)]
struct SchemaBody<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// Parses the typed members and checks their bounds.
pub(crate) fn parse(text: &str) -> Result<Body<'_>, Error> {
    let body: Body<'_> = serde_json::from_str(text).map_err(|_| fault::<Body<'_>>(text))?;
    let range = |param: &str, message: &'static str| Err(Error::at(param, Problem::InvalidValue, message));
    if body.messages.0.is_empty() {
        return range("messages", "`messages` must hold at least one message.");
    }
    if !(1..=limits::MAX_N).contains(&body.n.unwrap_or(1)) {
        return range("n", "`n` must be from 1 to 16.");
    }
    if body.stop.as_ref().is_some_and(|stop| stop.0.len() > limits::MAX_STOP) {
        return range("stop", "`stop` may hold at most 4 sequences.");
    }
    for (param, value) in [("max_tokens", body.max_tokens), ("max_completion_tokens", body.max_completion_tokens)] {
        if value == Some(0) {
            return Err(Error::at(param, Problem::InvalidValue, format!("`{param}` must be at least 1.")));
        }
    }
    Ok(body)
}

/// Finds what is wrong with a body that did not parse, and where.
pub(crate) fn fault<'a, T: Deserialize<'a>>(text: &'a str) -> Error {
    let mut reader = serde_json::Deserializer::from_str(text);
    let error = match serde_path_to_error::deserialize::<_, T>(&mut reader) {
        Ok(_) => return Error::body(Problem::InvalidJson, "The request body is not valid JSON."),
        Err(error) => error,
    };
    let path = error.path().to_string();
    let path = if path == "." { String::new() } else { path };
    let inner = error.into_inner().to_string();
    let what = inner.split(" at line ").next().unwrap_or(&inner);
    if let Some(field) = quoted_after(what, "missing field `") {
        let param = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        let message = format!("`{param}` is required.");
        return Error::at(param, Problem::MissingRequiredParameter, message);
    }
    if let Some(field) = quoted_after(what, "duplicate field `") {
        let param = if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
        let message = format!("`{param}` stands more than once.");
        return Error::at(param, Problem::DuplicateParameter, message);
    }
    if what.contains("lone leading surrogate") || what.contains("unexpected end of hex escape") || path.is_empty() {
        return Error::body(Problem::InvalidJson, "The request body is not valid JSON.");
    }
    let is_shape = what.starts_with("invalid type") || what.starts_with("invalid length");
    let problem = if is_shape { Problem::InvalidType } else { Problem::InvalidValue };
    let message = format!("`{path}` is not valid: {what}.");
    Error::at(path, problem, message)
}

fn quoted_after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.strip_prefix(mark)?.split('`').next()
}

impl<'a> Body<'a> {
    /// What the request asks of a model.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts {
            messages: u32::try_from(self.messages.0.len()).unwrap_or(u32::MAX),
            logprobs: self.logprobs.unwrap_or(false),
            is_greedy: self.temperature == Some(0.0),
            ..Facts::default()
        };
        self.each_text(|text| facts.prompt_bytes = facts.prompt_bytes.saturating_add(bytes(text)));
        for part in self.messages.0.iter().flat_map(|message| &message.content.0) {
            match part {
                Part::Text(_) => {}
                Part::Image { .. } => facts.images = facts.images.saturating_add(1),
                Part::File { .. } => facts.files = true,
                Part::CacheUntilHere(_) => facts.caches = true,
                Part::Other { kind, .. } => {
                    facts.audio |= kind == "input_audio";
                    facts.files |= kind == "file";
                }
            }
        }
        facts.caches |= self.tools.iter().flatten().any(|tool| tool.cache_control.is_some());
        facts.tools = self.tools.iter().flatten().any(|tool| tool.function.is_some());
        facts.json_schema = self.response_format.as_ref().is_some_and(|format| format.json_schema.is_some());
        facts
    }

    /// What the model reads, as far as it is text.
    pub(crate) fn prompt(&self) -> Prompt {
        let Facts { messages, images, .. } = self.facts();
        let mut prompt = Prompt { messages, images, ..Prompt::default() };
        self.each_text(|text| prompt.text.push(text));
        prompt
    }

    /// Every text that becomes part of the prompt, in order. What is counted and what is collected is the same.
    fn each_text(&self, mut visit: impl FnMut(&str)) {
        for message in &self.messages.0 {
            let MessageBody { role: _, content, tool_calls, function_call, tool_call_id: _, name, .. } = message;
            let MessageBody { reasoning_content, reasoning, reasoning_details, thinking_blocks, .. } = message;
            for text in [name, reasoning_content].into_iter().flatten() {
                visit(&text.0);
            }
            // The same reasoning under several names is sent on once.
            if let Some(details) =
                reasoning_details.or(*thinking_blocks).or(reasoning.filter(|_| reasoning_content.is_none()))
            {
                visit(details.get());
            }
            for part in &content.0 {
                match part {
                    Part::Text(text) => visit(text),
                    Part::Other { kind, raw } if kind == "refusal" => visit(raw.get()),
                    Part::Image { .. } | Part::File { .. } | Part::CacheUntilHere(_) | Part::Other { .. } => {}
                }
            }
            let calls = tool_calls.iter().flatten().filter_map(|call| call.function.as_ref());
            for FunctionCallBody { name, arguments } in calls.chain(function_call) {
                visit(&name.0);
                visit(arguments.as_ref().map_or("", |arguments| &arguments.0));
            }
        }
        for FunctionBody { name, description, parameters, strict: _ } in
            self.tools.iter().flatten().filter_map(|tool| tool.function.as_ref())
        {
            visit(&name.0);
            visit(description.as_ref().map_or("", |text| &text.0));
            visit(parameters.map_or("", RawValue::get));
        }
        let format = self.response_format.as_ref().and_then(|format| format.json_schema.as_ref());
        for schema in [self.functions, format.and_then(|body| body.schema)].into_iter().flatten() {
            visit(schema.get());
        }
    }

    /// The canonical form; `members` is the outline of the same body.
    pub(crate) fn into_chat(self, members: Members<'a>) -> Chat<'a> {
        let is_rest = |name: &str| !CANONICAL.contains(&name) && !is_extension(name);
        let rest = members.0.into_iter().filter(|(name, value)| is_rest(name) && value.get() != "null").collect();
        let (mut tools, mut hosted_tools) = (Vec::new(), Vec::new());
        for ToolBody { kind, function, cache_control } in self.tools.into_iter().flatten() {
            match function {
                Some(FunctionBody { name, description, parameters, strict }) => tools.push(Tool {
                    name: name.0,
                    description: description.map(|text| text.0),
                    parameters,
                    strict,
                    cache_control,
                }),
                None => hosted_tools.push(kind.map_or(Cow::Borrowed("unknown"), |kind| kind.0)),
            }
        }
        Chat {
            messages: messages(self.messages.0),
            tools,
            hosted_tools,
            tool_choice: self.tool_choice.map_or(ToolChoice::Auto, |choice| tool_choice(choice.get())),
            parallel_tool_calls: self.parallel_tool_calls.0,
            format: self.response_format.map_or(Format::Text, FormatBody::into_format),
            max_tokens: self.max_completion_tokens.or(self.max_tokens),
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k.0,
            seed: self.seed,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            stop: self.stop.map(|stop| stop.0).unwrap_or_default(),
            reasoning_effort: self.reasoning_effort.map(|effort| effort.0),
            thinking_budget: None,
            user: self.user.0.map(Cow::Owned),
            rest,
        }
    }
}

fn bytes(text: &str) -> u64 {
    u64::try_from(text.len()).unwrap_or(u64::MAX)
}

/// Messages in canonical form; a tool's result learns the function's name from the call that it answers.
fn messages(bodies: Vec<MessageBody<'_>>) -> Vec<Message<'_>> {
    let mut names: HashMap<Cow<'_, str>, Cow<'_, str>> = HashMap::new();
    let mut messages = Vec::with_capacity(bodies.len());
    for body in bodies {
        let content = body.content.0;
        messages.push(match body.role {
            Role::System | Role::Developer => Message::System(content),
            Role::User => Message::User(content),
            Role::Assistant => {
                let calls = body.tool_calls.into_iter().flatten().filter_map(|call| {
                    let function = call.function?;
                    Some((call.id.map_or(Cow::Borrowed(""), |id| id.0), function))
                });
                let older = body.function_call.map(|function| (Cow::Borrowed(""), function));
                let tool_calls: Vec<ToolCall<'_>> = calls
                    .chain(older)
                    .map(|(id, function)| ToolCall {
                        id,
                        name: function.name.0,
                        arguments: function.arguments.map_or(Cow::Borrowed(""), |arguments| arguments.0),
                    })
                    .collect();
                for call in &tool_calls {
                    names.insert(call.id.clone(), call.name.clone());
                }
                let details = body.thinking_blocks.or(body.reasoning_details);
                let mut thoughts = details.map(thoughts).unwrap_or_default();
                let plain = || serde_json::from_str::<Text<'_>>(body.reasoning?.get()).ok();
                if let Some(text) = body.reasoning_content.or_else(plain).filter(|text| !text.0.is_empty())
                    && thoughts.is_empty()
                {
                    thoughts.push(Thought::Text { text: text.0, signature: None });
                }
                Message::Assistant { content, thoughts, tool_calls }
            }
            Role::Tool | Role::Function => {
                let tool_call_id = body.tool_call_id.map_or(Cow::Borrowed(""), |id| id.0);
                let name = names.get(&tool_call_id).cloned().or(body.name.map(|name| name.0));
                Message::Tool { tool_call_id, name, content, is_error: false }
            }
        });
    }
    messages
}

/// Reasoning in one of the two forms that keep a signature: LiteLLM's `thinking_blocks`, which are Anthropic's own
/// blocks, and OpenRouter's `reasoning_details`. What has neither form is no reasoning.
fn thoughts(details: &RawValue) -> Vec<Thought<'_>> {
    #[derive(Deserialize)]
    struct Block<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
        #[serde(borrow, alias = "thinking")]
        text: Option<Text<'a>>,
        #[serde(borrow)]
        signature: Option<Text<'a>>,
        #[serde(borrow)]
        data: Option<Text<'a>>,
    }
    let blocks: Vec<Block<'_>> = serde_json::from_str(details.get()).unwrap_or_default();
    let thoughts = blocks.into_iter().filter_map(|block| match &*block.kind.0 {
        "thinking" | "reasoning.text" => Some(Thought::Text {
            text: block.text.map_or(Cow::Borrowed(""), |text| text.0),
            signature: block.signature.map(|signature| signature.0).filter(|signature| !signature.is_empty()),
        }),
        "redacted_thinking" | "reasoning.encrypted" => block.data.map(|data| Thought::Redacted(data.0)),
        _ => None,
    });
    thoughts.collect()
}

/// One of the words, or one named function; what we do not know leaves the choice to the model.
fn tool_choice(choice: &str) -> ToolChoice<'_> {
    match choice {
        "\"none\"" => ToolChoice::None,
        "\"required\"" => ToolChoice::Required,
        choice => serde_json::from_str::<Forced<'_>>(choice)
            .map_or(ToolChoice::Auto, |forced| ToolChoice::Function(forced.function.name.0)),
    }
}

impl<'a> FormatBody<'a> {
    fn into_format(self) -> Format<'a> {
        match (&*self.kind.0, self.json_schema.and_then(|body| body.schema)) {
            ("json_schema", Some(schema)) => Format::JsonSchema(schema),
            ("json_schema" | "json_object", _) => Format::JsonObject,
            _ => Format::Text,
        }
    }
}

/// Messages, at most [`limits::MAX_MESSAGES`] of them.
#[derive(Debug)]
struct Messages<'a>(Vec<MessageBody<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Messages<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded<'de>(PhantomData<&'de ()>);
        impl<'de> Visitor<'de> for Bounded<'de> {
            type Value = Messages<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of messages")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut messages = Vec::new();
                while let Some(message) = items.next_element()? {
                    if messages.len() == limits::MAX_MESSAGES {
                        return Err(de::Error::custom("more than 10000 messages"));
                    }
                    messages.push(message);
                }
                Ok(Messages(messages))
            }
        }
        deserializer.deserialize_seq(Bounded(PhantomData))
    }
}

/// One string, or a list of them.
#[derive(Debug)]
struct OneOrMany<'a>(Vec<Cow<'a, str>>);

impl<'de: 'a, 'a> Deserialize<'de> for OneOrMany<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OneOrMany<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![Cow::Borrowed(text)]))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(OneOrMany(vec![Cow::Owned(text.to_owned())]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(Text(text)) = items.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany(texts))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Content<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Content<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of content parts")
            }
            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Content::default())
            }
            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Content(vec![Part::Text(Cow::Borrowed(text))]))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Content(vec![Part::Text(Cow::Owned(text.to_owned()))]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut parts = Vec::new();
                while let Some(raw) = items.next_element::<&'de RawValue>()? {
                    let (part, cache_control) = part(raw).map_err(de::Error::custom)?;
                    parts.push(part);
                    parts.extend(cache_control.map(Part::CacheUntilHere));
                }
                Ok(Content(parts))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// One content part, and its `cache_control`. An unknown `type` passes; a known one must have its field.
fn part(raw: &RawValue) -> Result<(Part<'_>, Option<&RawValue>), &'static str> {
    #[derive(Deserialize)]
    struct PartBody<'a> {
        #[serde(borrow, rename = "type")]
        kind: Text<'a>,
        #[serde(borrow)]
        text: Option<Text<'a>>,
        #[serde(borrow)]
        image_url: Option<&'a RawValue>,
        #[serde(borrow)]
        file: Option<&'a RawValue>,
        #[serde(borrow)]
        cache_control: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct File<'a> {
        #[serde(borrow)]
        file_data: Option<Text<'a>>,
        #[serde(borrow)]
        filename: Option<Text<'a>>,
    }
    #[derive(Deserialize)]
    struct Url<'a> {
        #[serde(borrow)]
        url: Text<'a>,
    }
    let body: PartBody<'_> =
        serde_json::from_str(raw.get()).map_err(|_| "a content part must be an object with a `type`")?;
    let file = || serde_json::from_str::<File<'_>>(body.file?.get()).ok();
    let part = match (&*body.kind.0, body.text, body.image_url) {
        ("text", Some(text), _) => Part::Text(text.0),
        ("text", None, _) => return Err("a text part must have a `text`"),
        ("image_url", _, Some(image)) => serde_json::from_str::<Url<'_>>(image.get())
            .map(|image| Part::Image { url: image.url.0 })
            .map_err(|_| "an image part must have an `image_url.url`")?,
        ("image_url", _, None) => return Err("an image part must have an `image_url`"),
        ("file", ..) => match file() {
            Some(File { file_data: Some(url), filename }) => {
                Part::File { url: url.0, name: filename.map(|name| name.0) }
            }
            _ => Part::Other { kind: body.kind.0, raw },
        },
        _ => Part::Other { kind: body.kind.0, raw },
    };
    Ok((part, body.cache_control))
}
