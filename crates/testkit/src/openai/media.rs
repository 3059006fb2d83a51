//! Images, sound and moderations. Forms are read by a parser of others, and what is odd in a request is refused.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::{FutureExt, stream};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};

use super::{CREATED, error, ok};
use crate::reply::{Asked, Content, Frames, Reply};

pub(crate) const PATHS: [&str; 7] = [
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/images/variations",
    "/v1/audio/speech",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/moderations",
];

/// The first bytes of a PNG file, and of an MP3 frame: enough to be told apart and not to be text.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
const MP3: &[u8] = b"\xff\xfb\x90\x64\0\xff\xfe\r\n\r\n\0\x80";
/// The bytes that this imitation takes for a second of sound.
const SECOND: u64 = 1_000;

pub(crate) fn answer(asked: &Asked<'_>, path: &str) -> Reply {
    let fields = match fields(asked) {
        Ok(fields) => fields,
        Err(message) => return error::bad_request(&message, None, None),
    };
    let model = fields["model"].as_str().unwrap_or_default();
    if let Some(ours) =
        fields.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| name.starts_with("x-"))
    {
        return error::bad_request(&format!("Unknown parameter: '{ours}'."), Some(ours), Some("unknown_parameter"));
    }
    if model.is_empty() && path != "/v1/moderations" {
        return error::bad_request("you must provide a model parameter", None, None);
    }
    let needed = match path {
        "/v1/images/generations" => "prompt",
        "/v1/images/edits" | "/v1/images/variations" => "image",
        "/v1/audio/transcriptions" | "/v1/audio/translations" => "file",
        _ => "input",
    };
    if fields[needed].is_null() {
        let message = format!("Missing required parameter: '{needed}'.");
        return error::bad_request(&message, Some(needed), Some("missing_required_parameter"));
    }
    let is_stream = fields["stream"] == true || fields["stream"] == "true" || fields["stream_format"] == "sse";
    // OpenAI documents that whisper-1 ignores it.
    let is_stream = is_stream && model != "whisper-1";
    match path {
        "/v1/moderations" => moderation(&fields),
        "/v1/audio/speech" if is_stream => speech_stream(),
        "/v1/audio/speech" => {
            Reply { status: StatusCode::OK, content_type: "audio/mpeg", content: Content::Binary(MP3.repeat(64)) }
        }
        "/v1/audio/transcriptions" | "/v1/audio/translations" => transcription(&fields, model, is_stream),
        _ => images(&fields, path, is_stream),
    }
}

/// The members of a JSON body, or the parts of a form; a file's bytes count as its length.
fn fields(asked: &Asked<'_>) -> Result<Value, String> {
    let content_type = asked.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if content_type == "application/json" {
        return Some(asked.body.clone()).filter(Value::is_object).ok_or("The body is no JSON object.".to_owned());
    }
    let boundary = multer::parse_boundary(content_type).map_err(|error| error.to_string())?;
    let body = stream::once(std::future::ready(Ok::<_, std::io::Error>(asked.raw.to_vec())));
    let mut form = multer::Multipart::new(body, boundary);
    let read = async {
        let mut fields = Map::new();
        while let Some(field) = form.next_field().await? {
            let name = field.name().unwrap_or_default().to_owned();
            let is_file = field.file_name().is_some();
            let bytes = field.bytes().await?;
            let value = if is_file { json!(bytes.len()) } else { json!(String::from_utf8_lossy(&bytes)) };
            fields.insert(name, value);
        }
        Ok::<_, multer::Error>(Value::Object(fields))
    };
    read.now_or_never().ok_or("the form never ends".to_owned())?.map_err(|error| error.to_string())
}

fn images(fields: &Value, path: &str, is_stream: bool) -> Reply {
    let count = fields["n"].as_u64().or_else(|| fields["n"].as_str()?.parse().ok()).unwrap_or(1);
    let input_images = if path == "/v1/images/generations" { 0 } else { 300 };
    let text = fields["prompt"].as_str().map_or(0, |prompt| prompt.split_whitespace().count());
    let details = json!({"text_tokens": text, "image_tokens": input_images});
    let usage = json!({"input_tokens": text + input_images, "output_tokens": 1_056 * count,
        "total_tokens": 1_056 * count + (text + input_images) as u64, "input_tokens_details": details});
    let image = STANDARD.encode(PNG);
    if !is_stream {
        let data: Vec<Value> = (0..count).map(|_| json!({"b64_json": image})).collect();
        return ok(&json!({"created": CREATED, "data": data, "quality": "medium", "usage": usage}));
    }
    let kind = if path == "/v1/images/edits" { "image_edit" } else { "image_generation" };
    let partial = json!({"type": format!("{kind}.partial_image"), "b64_json": image, "partial_image_index": 0});
    let last = json!({"type": format!("{kind}.completed"), "b64_json": image, "usage": usage});
    let frame = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap_or_default());
    events(vec![frame(&partial)], vec![frame(&last)])
}

fn transcription(fields: &Value, model: &str, is_stream: bool) -> Reply {
    let seconds = fields["file"].as_u64().unwrap_or(0).div_ceil(SECOND);
    let text = "A gateway stands between you and the models.";
    let usage = if model.starts_with("whisper") {
        json!({"type": "duration", "seconds": seconds})
    } else {
        json!({"type": "tokens", "input_tokens": seconds * 10, "output_tokens": 9, "total_tokens": seconds * 10 + 9,
            "input_token_details": {"text_tokens": 0, "audio_tokens": seconds * 10}})
    };
    match fields["response_format"].as_str() {
        _ if is_stream => {
            let frame = |event: &Value| format!("data: {event}\n\n");
            let delta = |text: &str| frame(&json!({"type": "transcript.text.delta", "delta": text}));
            let last = json!({"type": "transcript.text.done", "text": text, "usage": usage});
            events(vec![delta("A gateway stands "), delta("between you and the models.")], vec![frame(&last)])
        }
        Some("text") => {
            let content = Content::Whole(format!("{text}\n"));
            Reply { status: StatusCode::OK, content_type: "text/plain; charset=utf-8", content }
        }
        Some("verbose_json") => ok(&json!({"task": "transcribe", "language": "english", "duration": seconds as f64,
            "text": text, "segments": []})),
        _ => ok(&json!({"text": text, "usage": usage})),
    }
}

fn speech_stream() -> Reply {
    let frame = |event: &Value| format!("data: {event}\n\n");
    let delta = frame(&json!({"type": "speech.audio.delta", "audio": STANDARD.encode(MP3)}));
    let usage = json!({"input_tokens": 14, "output_tokens": 101, "total_tokens": 115});
    events(vec![delta.clone(), delta], vec![frame(&json!({"type": "speech.audio.done", "usage": usage}))])
}

fn moderation(fields: &Value) -> Reply {
    let count = fields["input"].as_array().map_or(1, Vec::len);
    let result = json!({"flagged": false, "categories": {"violence": false}, "category_scores": {"violence": 0.01}});
    ok(&json!({"id": "modr-1", "model": fields["model"], "results": vec![result; count]}))
}

fn events(content: Vec<String>, after: Vec<String>) -> Reply {
    let frames = Frames { content, after, ..Frames::default() };
    Reply { status: StatusCode::OK, content_type: "text/event-stream", content: Content::Stream(frames) }
}
