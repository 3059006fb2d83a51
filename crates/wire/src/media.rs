//! OpenAI's other APIs, whose requests and answers pass through as they are: images, sound, moderations.
//!
//! Only providers of OpenAI's dialect have them. What is read is what the gateway must know: the model, whether a
//! stream is wanted, and how much there is to pay for.

mod answer;
mod form;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::openai::request::{extensions, outline_of, text_of};
use crate::outline::Members;
use crate::{Dialect, Encoded, Error, Problem, Target, loss::Loss, splice};

pub(crate) use answer::{observe, observe_event};
use form::Form;

/// One of these APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/images/generations`.
    ImageGenerations,
    /// `POST /v1/images/edits`.
    ImageEdits,
    /// `POST /v1/images/variations`.
    ImageVariations,
    /// `POST /v1/audio/speech`.
    Speech,
    /// `POST /v1/audio/transcriptions`.
    Transcriptions,
    /// `POST /v1/audio/translations`.
    Translations,
    /// `POST /v1/moderations`.
    Moderations,
}

impl Endpoint {
    /// Every one of them.
    pub const ALL: [Endpoint; 7] = [
        Endpoint::ImageGenerations,
        Endpoint::ImageEdits,
        Endpoint::ImageVariations,
        Endpoint::Speech,
        Endpoint::Transcriptions,
        Endpoint::Translations,
        Endpoint::Moderations,
    ];

    /// Its path, below a base URL.
    pub fn path(self) -> &'static str {
        match self {
            Endpoint::ImageGenerations => "/images/generations",
            Endpoint::ImageEdits => "/images/edits",
            Endpoint::ImageVariations => "/images/variations",
            Endpoint::Speech => "/audio/speech",
            Endpoint::Transcriptions => "/audio/transcriptions",
            Endpoint::Translations => "/audio/translations",
            Endpoint::Moderations => "/moderations",
        }
    }

    /// What is paid for where it is not tokens; see [`Usage::units`](crate::usage::Usage::units).
    fn unit(self) -> Unit {
        match self {
            Endpoint::ImageGenerations | Endpoint::ImageEdits | Endpoint::ImageVariations => Unit::Image,
            Endpoint::Speech => Unit::Character,
            Endpoint::Transcriptions | Endpoint::Translations => Unit::Second,
            Endpoint::Moderations => Unit::Nothing,
        }
    }

    /// The model that OpenAI takes where a request names none.
    fn default_model(self) -> Option<&'static str> {
        (self == Endpoint::Moderations).then_some("omni-moderation-latest")
    }
}

/// What is paid for where it is not tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// An image that was made.
    Image,
    /// A character to be spoken.
    Character,
    /// A second of sound that was heard.
    Second,
    /// Nothing.
    Nothing,
}

/// A request that passes through.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which API.
    pub endpoint: Endpoint,
    /// The model asked for.
    pub model: String,
    /// The answer is wanted as Server-Sent Events.
    pub stream: bool,
    /// Images to be made, 1 unless it says more.
    pub images: u64,
    /// Characters to be spoken, or of a prompt.
    pub characters: u64,
    /// Files in it.
    pub files: u64,
    /// Bytes of these.
    pub file_bytes: u64,
    /// The media type of the body, with the boundary of its parts.
    pub content_type: String,
    /// Members or parts whose name begins with `x-`, the name in lower case.
    pub extensions: Vec<(String, Box<RawValue>)>,
}

/// What an answer to a request is measured by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    unit: Unit,
    images: u64,
    characters: u64,
}

impl Request {
    pub(crate) fn measure(&self) -> Measure {
        Measure { unit: self.endpoint.unit(), images: self.images, characters: self.characters }
    }
}

/// The most images that OpenAI makes for one request.
const MAX_IMAGES: u64 = 10;

/// Reads what must be known of a request. `content_type` is the header of that name.
///
/// # Errors
/// The first fault, with its place.
pub fn read(endpoint: Endpoint, content_type: &str, body: &[u8]) -> Result<Request, Error> {
    let is_form = content_type.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"));
    let (fields, mut request) = if is_form { read_form(content_type, body)? } else { read_json(body)? };
    request.endpoint = endpoint;
    request.model = match (fields.model, endpoint.default_model()) {
        (Some(model), _) if !model.is_empty() => model,
        (None, Some(model)) => model.to_owned(),
        _ => return Err(Error::at("model", Problem::MissingRequiredParameter, "`model` is required.")),
    };
    request.stream = match fields.stream.as_deref() {
        None | Some("false" | "null") => fields.stream_format.as_deref() == Some("sse"),
        Some("true") => true,
        Some(_) => return Err(Error::at("stream", Problem::InvalidType, "`stream` must be `true` or `false`.")),
    };
    request.images = match fields.n.as_deref() {
        None | Some("null") => 1,
        Some(n) => n.parse().ok().filter(|n| (1..=MAX_IMAGES).contains(n)).ok_or_else(|| {
            let message = format!("`n` must be a whole number from 1 to {MAX_IMAGES}.");
            Error::at("n", Problem::InvalidValue, message)
        })?,
    };
    Ok(request)
}

/// What the two kinds of body say under the same names.
#[derive(Default)]
struct Fields {
    model: Option<String>,
    stream: Option<String>,
    stream_format: Option<String>,
    n: Option<String>,
}

fn empty_request(content_type: &str) -> Request {
    Request {
        endpoint: Endpoint::Moderations,
        model: String::new(),
        stream: false,
        images: 1,
        characters: 0,
        files: 0,
        file_bytes: 0,
        content_type: content_type.to_owned(),
        extensions: Vec::new(),
    }
}

fn read_json(body: &[u8]) -> Result<(Fields, Request), Error> {
    let members = outline_of(text_of(body)?)?;
    let mut request = empty_request("application/json");
    request.extensions = extensions(&members);
    let text = |name| text_member(&members, name);
    let raw = |name: &str| members.0.iter().find(|(member, _)| member == name).map(|(_, value)| value.get().to_owned());
    let fields =
        Fields { model: text("model")?, stream: raw("stream"), stream_format: text("stream_format")?, n: raw("n") };
    for name in ["prompt", "input", "instructions"] {
        let characters = match text(name) {
            Ok(text) => text.map_or(0, |text| text.chars().count()),
            // Moderations take lists, and images by address or in base64: bounded by what they are written in.
            Err(_) => raw(name).map_or(0, |raw| raw.len()),
        };
        request.characters = request.characters.saturating_add(characters as u64);
    }
    Ok((fields, request))
}

fn text_member(members: &Members<'_>, name: &'static str) -> Result<Option<String>, Error> {
    let Some((_, value)) = members.0.iter().find(|(member, _)| member == name) else { return Ok(None) };
    serde_json::from_str(value.get())
        .map_err(|_| Error::at(name, Problem::InvalidType, format!("`{name}` must be a string.")))
}

fn read_form(content_type: &str, body: &[u8]) -> Result<(Fields, Request), Error> {
    let form = Form::read(content_type, body)?;
    let mut request = empty_request(content_type);
    let mut fields = Fields::default();
    for part in &form.parts {
        let value = form.value(part);
        if part.is_file {
            request.files = request.files.saturating_add(1);
            request.file_bytes = request.file_bytes.saturating_add(value.len() as u64);
            continue;
        }
        let text = || String::from_utf8_lossy(value).into_owned();
        match part.name.as_str() {
            "model" => fields.model = Some(text()),
            "stream" => fields.stream = Some(text().to_ascii_lowercase()),
            "n" => fields.n = Some(text()),
            "prompt" => request.characters = request.characters.saturating_add(text().chars().count() as u64),
            name if crate::openai::request::is_extension(name) => {
                let value = serde_json::value::to_raw_value(&text());
                request.extensions.extend(value.ok().map(|value| (name.to_ascii_lowercase(), value)));
            }
            _ => {}
        }
    }
    Ok((fields, request))
}

/// The request for `target`: the model's name replaced, our own members left out, every other byte as it was sent.
///
/// # Errors
/// The target's provider has no such API.
pub(crate) fn encode(body: &Bytes, request: &Request, target: &Target<'_>) -> Result<Encoded, Error> {
    if target.dialect != Dialect::OpenAi {
        let message = format!("The provider of this model has no `/v1{}`.", request.endpoint.path());
        return Err(Error::at("model", Problem::UnsupportedParameter, message));
    }
    let body = if request.content_type.starts_with("application/json") {
        let text = text_of(body)?;
        let members = outline_of(text)?;
        let body = splice::rewrite(text, &members, target.model, false, &[]);
        match members.0.iter().any(|(name, _)| name == "model") {
            true => body,
            false => {
                splice::append_member(&body, "model", serde_json::Value::from(target.model).to_string().as_bytes())
            }
        }
    } else {
        Form::read(&request.content_type, body)?.for_model(target.model)
    };
    Ok(Encoded { body: body.into(), loss: Loss::default(), bent: Default::default() })
}

#[cfg(test)]
mod tests;
