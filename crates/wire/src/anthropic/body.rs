//! Reading a client's request to `/v1/messages`: one pass for its outline, one for what is typed.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::chat::{Chat, Format, Message, Part, Thought, Tool, ToolCall, ToolChoice};
use crate::error::{Error, Problem};
use crate::lenient::Lenient;
use crate::openai::request::{extensions, is_extension, limits, outline_of, text_of};
use crate::openai::{Facts, Request};
use crate::outline::{Members, Text};
use crate::prompt::Prompt;

/// Members with a place in the canonical form; every other one goes to [`Chat::rest`].
const CANONICAL: [&str; 15] = [
    "model",
    "max_tokens",
    "messages",
    "system",
    "stop_sequences",
    "stream",
    "temperature",
    "top_p",
    "top_k",
    "metadata",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "output_format",
];

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Text<'a>,
    max_tokens: Option<u64>,
    #[serde(borrow)]
    messages: Vec<MessageBody<'a>>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_sequences: Option<Vec<Text<'a>>>,
    stream: Option<bool>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<u64>,
    #[serde(default)]
    metadata: Lenient<Metadata>,
    #[serde(borrow)]
    tools: Option<Vec<ToolBody<'a>>>,
    #[serde(default)]
    tool_choice: Lenient<Choice>,
    #[serde(default)]
    thinking: Lenient<Thinking>,
    #[serde(borrow)]
    output_config: Option<OutputConfig<'a>>,
    #[serde(borrow)]
    output_format: Option<FormatBody<'a>>,
}

#[derive(Deserialize)]
struct MessageBody<'a> {
    role: Role,
    #[serde(borrow)]
    content: &'a RawValue,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
    /// Newer models take instructions in the middle of a conversation.
    System,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    user_id: Lenient<String>,
}

#[derive(Deserialize)]
struct ToolBody<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    description: Option<Text<'a>>,
    #[serde(borrow)]
    input_schema: Option<&'a RawValue>,
    strict: Option<bool>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

#[derive(Deserialize)]
struct Thinking {
    #[serde(rename = "type")]
    kind: String,
    budget_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct OutputConfig<'a> {
    #[serde(borrow)]
    effort: Option<Text<'a>>,
    #[serde(borrow)]
    format: Option<FormatBody<'a>>,
}

#[derive(Deserialize)]
struct FormatBody<'a> {
    #[serde(borrow)]
    schema: Option<&'a RawValue>,
}

/// A content block that a client sends.
#[derive(Deserialize)]
struct Block<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    source: Option<&'a RawValue>,
    #[serde(borrow)]
    title: Option<Text<'a>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<Text<'a>>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    is_error: Option<bool>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    signature: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
    /// The block as it stood in the body.
    #[serde(skip)]
    raw: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Source<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    media_type: Option<Text<'a>>,
    #[serde(borrow)]
    data: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
}

/// Reads and checks a request.
///
/// # Errors
/// The first fault, with its place.
pub fn read(body: &[u8]) -> Result<Request, Error> {
    let request = read_prompt(body)?;
    if request.max_tokens.is_none() {
        let message = "`max_tokens` is required.";
        return Err(Error::at("max_tokens", Problem::MissingRequiredParameter, message));
    }
    Ok(request)
}

/// Reads and checks a request that wants its tokens counted: one without `max_tokens`.
///
/// # Errors
/// The first fault, with its place.
pub fn read_prompt(body: &[u8]) -> Result<Request, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    let parsed = parse(text)?;
    let (model, max_tokens, stream) = (parsed.model.0.clone().into_owned(), parsed.max_tokens, parsed.stream);
    let extensions = extensions(&members);
    let chat = parsed.into_chat(members)?;
    Ok(Request {
        model,
        stream: stream.unwrap_or(false),
        include_usage: true,
        n: 1,
        max_tokens,
        facts: facts(&chat),
        extensions,
    })
}

/// Reads a request into the canonical form.
///
/// # Errors
/// As [`read`].
pub fn decode(body: &[u8]) -> Result<Chat<'_>, Error> {
    let text = text_of(body)?;
    let members = outline_of(text)?;
    parse(text)?.into_chat(members)
}

/// What the model reads, for an answer whose usage is missing or absurd.
///
/// # Errors
/// As [`read`].
pub fn prompt(body: &[u8]) -> Result<Prompt, Error> {
    let chat = decode(body)?;
    let Facts { messages, images, .. } = facts(&chat);
    let mut prompt = Prompt { messages, images, ..Prompt::default() };
    each_text(&chat, |text| prompt.text.push(text));
    Ok(prompt)
}

fn parse(text: &str) -> Result<Body<'_>, Error> {
    let body: Body<'_> = serde_json::from_str(text).map_err(|_| crate::openai::fault::<Body<'_>>(text))?;
    let invalid = |param: &str, message: String| Err(Error::at(param, Problem::InvalidValue, message));
    if body.messages.is_empty() {
        return invalid("messages", "`messages` must hold at least one message.".to_owned());
    }
    if body.messages.len() > limits::MAX_MESSAGES {
        return invalid("messages", format!("`messages` may hold at most {} messages.", limits::MAX_MESSAGES));
    }
    if body.max_tokens == Some(0) {
        return invalid("max_tokens", "`max_tokens` must be at least 1.".to_owned());
    }
    Ok(body)
}

fn facts(chat: &Chat<'_>) -> Facts {
    let mut facts = Facts {
        messages: u32::try_from(chat.messages.len()).unwrap_or(u32::MAX),
        tools: !chat.tools.is_empty(),
        json_schema: matches!(chat.format, Format::JsonSchema(_)),
        is_greedy: chat.temperature == Some(0.0),
        ..Facts::default()
    };
    for part in chat.messages.iter().flat_map(content_of) {
        match part {
            Part::Image { .. } => facts.images = facts.images.saturating_add(1),
            Part::File { .. } => facts.files = true,
            Part::CacheUntilHere(_) => facts.caches = true,
            Part::Text(_) | Part::Other { .. } => {}
        }
    }
    facts.caches |= chat.tools.iter().any(|tool| tool.cache_control.is_some());
    facts.caches |= chat.rest.iter().any(|(name, _)| name == "cache_control");
    each_text(chat, |text| {
        facts.prompt_bytes = facts.prompt_bytes.saturating_add(u64::try_from(text.len()).unwrap_or(u64::MAX));
    });
    facts
}

fn content_of<'c, 'a>(message: &'c Message<'a>) -> &'c [Part<'a>] {
    match message {
        Message::System(content) | Message::User(content) => content,
        Message::Assistant { content, .. } | Message::Tool { content, .. } => content,
    }
}

/// Every text that becomes part of the prompt, in order.
fn each_text(chat: &Chat<'_>, mut visit: impl FnMut(&str)) {
    for message in &chat.messages {
        if let Message::Assistant { thoughts, .. } = message {
            thoughts.iter().for_each(|thought| visit(thought.text()));
        }
        for part in content_of(message) {
            match part {
                Part::Text(text) => visit(text),
                Part::Other { raw, .. } => visit(raw.get()),
                Part::Image { .. } | Part::File { .. } | Part::CacheUntilHere(_) => {}
            }
        }
        if let Message::Assistant { tool_calls, .. } = message {
            for call in tool_calls {
                visit(&call.name);
                visit(&call.arguments);
            }
        }
    }
    for Tool { name, description, parameters, .. } in &chat.tools {
        visit(name);
        visit(description.as_deref().unwrap_or_default());
        visit(parameters.map_or("", RawValue::get));
    }
    if let Format::JsonSchema(schema) = chat.format {
        visit(schema.get());
    }
}

impl<'a> Body<'a> {
    fn into_chat(self, members: Members<'a>) -> Result<Chat<'a>, Error> {
        let is_rest = |name: &str| !CANONICAL.contains(&name) && !is_extension(name);
        let rest = members.0.into_iter().filter(|(name, value)| is_rest(name) && value.get() != "null").collect();
        let mut messages = Vec::with_capacity(self.messages.len().saturating_add(1));
        if let Some(system) = self.system.filter(|system| system.get() != "null") {
            messages.push(Message::System(parts(blocks(system, "system")?)));
        }
        turns(self.messages, &mut messages)?;
        let (mut tools, mut hosted_tools) = (Vec::new(), Vec::new());
        for ToolBody { kind, name, description, input_schema, strict, cache_control } in
            self.tools.into_iter().flatten()
        {
            match (name, input_schema) {
                (Some(name), Some(schema)) if kind.as_ref().is_none_or(|kind| kind.0 == "custom") => tools.push(Tool {
                    name: name.0,
                    description: description.map(|text| text.0),
                    parameters: Some(schema),
                    strict,
                    cache_control,
                }),
                _ => hosted_tools.push(kind.map_or(Cow::Borrowed("unknown"), |kind| kind.0)),
            }
        }
        let (effort, format) = self.output_config.map_or((None, None), |config| (config.effort, config.format));
        let schema = format.or(self.output_format).and_then(|format| format.schema);
        let thinking = self.thinking.0;
        let is_off = thinking.as_ref().is_some_and(|thinking| thinking.kind == "disabled");
        let adapts = thinking.as_ref().is_some_and(|thinking| thinking.kind == "adaptive");
        let effort = effort.map(|effort| effort.0);
        let parallel = self.tool_choice.0.as_ref().and_then(|choice| choice.disable_parallel_tool_use);
        Ok(Chat {
            messages,
            tools,
            hosted_tools,
            tool_choice: self.tool_choice.0.map_or(ToolChoice::Auto, Choice::canonical),
            parallel_tool_calls: parallel.map(|is_off| !is_off),
            format: schema.map_or(Format::Text, Format::JsonSchema),
            max_tokens: self.max_tokens,
            temperature: self.temperature,
            top_p: self.top_p,
            top_k: self.top_k,
            seed: None,
            presence_penalty: None,
            frequency_penalty: None,
            stop: self.stop_sequences.into_iter().flatten().map(|stop| stop.0).collect(),
            reasoning_effort: match (is_off, adapts) {
                (true, _) => Some(Cow::Borrowed("none")),
                (false, true) => effort.or(Some(Cow::Borrowed("medium"))),
                (false, false) => effort,
            },
            thinking_budget: thinking.and_then(|thinking| thinking.budget_tokens),
            user: self.metadata.0.and_then(|metadata| metadata.user_id.0).map(Cow::Owned),
            rest,
        })
    }
}

impl Choice {
    fn canonical<'a>(self) -> ToolChoice<'a> {
        match (self.kind.as_str(), self.name) {
            ("none", _) => ToolChoice::None,
            ("any", _) => ToolChoice::Required,
            ("tool", Some(name)) => ToolChoice::Function(Cow::Owned(name)),
            _ => ToolChoice::Auto,
        }
    }
}

/// Messages in canonical form: of a user's turn, each tool's result is a message of its own.
fn turns<'a>(bodies: Vec<MessageBody<'a>>, messages: &mut Vec<Message<'a>>) -> Result<(), Error> {
    let mut names: HashMap<Cow<'a, str>, Cow<'a, str>> = HashMap::new();
    for (position, MessageBody { role, content }) in bodies.into_iter().enumerate() {
        let path = format!("messages[{position}].content");
        let blocks = blocks(content, &path)?;
        match role {
            Role::System => messages.push(Message::System(parts(blocks))),
            Role::User => {
                let (results, others): (Vec<Block<'a>>, Vec<Block<'a>>) =
                    blocks.into_iter().partition(|block| block.kind.0 == "tool_result");
                for result in results {
                    let id = result.tool_use_id.map_or(Cow::Borrowed(""), |id| id.0);
                    let content = result.content.map_or(Ok(Vec::new()), |raw| self::blocks(raw, &path))?;
                    messages.push(Message::Tool {
                        name: names.get(&id).cloned(),
                        tool_call_id: id,
                        content: parts(content),
                        is_error: result.is_error.unwrap_or(false),
                    });
                }
                if !others.is_empty() {
                    messages.push(Message::User(parts(others)));
                }
            }
            Role::Assistant => messages.push(assistant(blocks, &path, &mut names)?),
        }
    }
    Ok(())
}

fn assistant<'a>(
    blocks: Vec<Block<'a>>,
    path: &str,
    names: &mut HashMap<Cow<'a, str>, Cow<'a, str>>,
) -> Result<Message<'a>, Error> {
    let (mut thoughts, mut tool_calls, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for block in blocks {
        match &*block.kind.0 {
            "thinking" => thoughts.push(Thought::Text {
                text: block.thinking.map_or(Cow::Borrowed(""), |text| text.0),
                signature: block.signature.map(|signature| signature.0).filter(|signature| !signature.is_empty()),
            }),
            "redacted_thinking" => thoughts.extend(block.data.map(|data| Thought::Redacted(data.0))),
            "tool_use" => {
                let (Some(id), Some(name)) = (block.id, block.name) else {
                    let message = format!("A `tool_use` block of `{path}` must have an `id` and a `name`.");
                    return Err(Error::at(path, Problem::InvalidValue, message));
                };
                names.insert(id.0.clone(), name.0.clone());
                let arguments = Cow::Borrowed(block.input.map_or("{}", RawValue::get));
                tool_calls.push(ToolCall { id: id.0, name: name.0, arguments });
            }
            _ => others.push(block),
        }
    }
    Ok(Message::Assistant { content: parts(others), thoughts, tool_calls })
}

/// Content as blocks: a string is one block of text.
fn blocks<'a>(raw: &'a RawValue, path: &str) -> Result<Vec<Block<'a>>, Error> {
    let fault = |_| {
        let message = format!("`{path}` must be a string or a list of content blocks, each with its `type`.");
        Error::at(path, Problem::InvalidType, message)
    };
    if raw.get().starts_with('"') {
        return Ok(vec![Block::of_text(serde_json::from_str(raw.get()).map_err(fault)?)]);
    }
    let raws: Vec<&RawValue> = serde_json::from_str(raw.get()).map_err(fault)?;
    let read = |raw: &'a RawValue| serde_json::from_str(raw.get()).map(|block| Block { raw: Some(raw), ..block });
    raws.into_iter().map(read).collect::<Result<_, _>>().map_err(fault)
}

impl<'a> Block<'a> {
    fn of_text(text: Text<'a>) -> Block<'a> {
        Block {
            kind: Text(Cow::Borrowed("text")),
            text: Some(text),
            source: None,
            title: None,
            id: None,
            name: None,
            input: None,
            tool_use_id: None,
            content: None,
            is_error: None,
            thinking: None,
            signature: None,
            data: None,
            cache_control: None,
            raw: None,
        }
    }
}

fn parts<'a>(blocks: Vec<Block<'a>>) -> Vec<Part<'a>> {
    let mut parts = Vec::with_capacity(blocks.len());
    for block in blocks {
        let cache_control = block.cache_control;
        parts.extend(part(block));
        parts.extend(cache_control.filter(|mark| mark.get() != "null").map(Part::CacheUntilHere));
    }
    parts
}

/// A part; what only Anthropic's own models take stays as it is.
fn part<'a>(block: Block<'a>) -> Option<Part<'a>> {
    let source = || serde_json::from_str::<Source<'a>>(block.source?.get()).ok();
    let typed = match &*block.kind.0 {
        "text" => block.text.map(|text| Part::Text(text.0)),
        "image" => source().and_then(url).map(|url| Part::Image { url }),
        "document" => {
            let name = block.title.map(|title| title.0);
            source().and_then(url).map(|url| Part::File { url, name })
        }
        _ => None,
    };
    typed.or_else(|| Some(Part::Other { kind: block.kind.0, raw: block.raw? }))
}

/// A source as a URL.
fn url<'a>(source: Source<'a>) -> Option<Cow<'a, str>> {
    match (&*source.kind.0, source.media_type, source.data, source.url) {
        ("base64", Some(media_type), Some(data), _) => Some(format!("data:{};base64,{}", media_type.0, data.0).into()),
        ("text", _, Some(data), _) => Some(format!("data:text/plain,{}", data.0).into()),
        ("url", _, _, Some(url)) => Some(url.0),
        _ => None,
    }
}
