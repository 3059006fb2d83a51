//! A vendor's answer before it is sent, and what a directive does to every answer alike.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde_json::Value;

use crate::directive::Directive;
use crate::script::{Counts, Script, Step};

/// What a vendor's module answers from.
pub(crate) struct Asked<'a> {
    pub(crate) route: (&'a str, &'a str),
    /// Null where the body is no JSON.
    pub(crate) body: &'a Value,
    /// The bytes as they came.
    pub(crate) raw: &'a [u8],
    pub(crate) directive: &'a Directive,
    /// Counts the upstream's requests: ids are made of it.
    pub(crate) number: usize,
    pub(crate) headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// The model's name, if there is one.
    pub(crate) fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    pub(crate) fn has_header(&self, name: &str) -> bool {
        self.headers.contains_key(name)
    }

    /// The status that the directive names, or this one.
    pub(crate) fn status_or(&self, status: u16) -> StatusCode {
        StatusCode::from_u16(self.directive.status.unwrap_or(status)).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// An answer.
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) content: Content,
}

/// A reply's body.
pub(crate) enum Content {
    Whole(String),
    Binary(Vec<u8>),
    Stream(Frames),
}

/// A streamed answer as the frames of its dialect, ends of lines included.
#[derive(Default)]
pub(crate) struct Frames {
    pub(crate) comment: String,
    pub(crate) before: Vec<String>,
    pub(crate) content: Vec<String>,
    pub(crate) after: Vec<String>,
    /// What `bad_json` sends in place of a content frame.
    pub(crate) broken: String,
    /// What `error_event` sends before it ends the stream.
    pub(crate) error: String,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, content_type: &'static str, body: &Value) -> Reply {
        Reply { status, content_type, content: Content::Whole(body.to_string()) }
    }

    /// What a proxy in front of a provider shows when it means well.
    pub(crate) fn html() -> Reply {
        let page = "<!DOCTYPE html>\n<html><head><title>Welcome</title></head><body>It works.</body></html>\n";
        Reply { status: StatusCode::OK, content_type: "text/html", content: Content::Whole(page.to_owned()) }
    }

    /// The response with the directive's faults in it.
    pub(crate) fn into_response(
        self,
        directive: &Directive,
        number: usize,
        counts: Arc<Counts>,
        limit_name: fn(&str, &str) -> String,
    ) -> Response<Script> {
        let body = match self.content {
            Content::Stream(frames) => Script::stream(frames.into_steps(directive), counts),
            Content::Whole(text) if directive.cut.is_some() => Script::broken(Bytes::from(text), counts),
            Content::Whole(text) if directive.bad_json.is_some() => {
                let middle = text.floor_char_boundary(text.len() / 2);
                Script::whole(Bytes::from(text).slice(..middle), counts)
            }
            Content::Whole(text) if directive.huge_body => {
                Script::whole(Bytes::from(text + &" ".repeat(33 << 20)), counts)
            }
            Content::Whole(text) => Script::whole(Bytes::from(text), counts),
            Content::Binary(bytes) if directive.cut.is_some() => Script::broken(Bytes::from(bytes), counts),
            Content::Binary(bytes) => Script::whole(Bytes::from(bytes), counts),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if let Ok(id) = HeaderValue::from_str(&format!("req_{number:032x}")) {
            headers.insert("x-request-id", id);
        }
        if let Some(seconds) = directive.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(left) = directive.left_percent {
            for (name, value) in [("limit", 100), ("remaining", left)] {
                for unit in ["requests", "tokens"] {
                    if let Ok(name) = HeaderName::try_from(limit_name(name, unit)) {
                        headers.insert(name, value.into());
                    }
                }
            }
        }
        if directive.gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl Frames {
    fn into_steps(self, directive: &Directive) -> Vec<Step> {
        let mut steps = Vec::new();
        let wait = |steps: &mut Vec<Step>, time: Duration| {
            if !time.is_zero() {
                steps.push(Step::Wait(time));
            }
        };
        let plain = |steps: &mut Vec<Step>, frames: Vec<String>| {
            for frame in frames {
                steps.extend(slices(&frame, directive).into_iter().map(Step::Write));
            }
        };
        plain(&mut steps, vec![self.comment; directive.comments]);
        wait(&mut steps, directive.first);
        if directive.done_only {
            plain(&mut steps, vec!["data: [DONE]\n\n".to_owned()]);
            return steps;
        }
        plain(&mut steps, self.before);
        if let (Some(frame), 1..) = (self.content.first(), directive.fast_mb) {
            let words = "word ".repeat(160);
            let big = frame.replacen("\"content\":\"", &format!("\"content\":\"{words}"), 1);
            let big = Bytes::from(big.replacen(
                "\"text_delta\",\"text\":\"",
                &format!("\"text_delta\",\"text\":\"{words}"),
                1,
            ));
            steps.push(Step::Repeat(big, directive.fast_mb * 1_024));
        }
        for (place, frame) in self.content.into_iter().enumerate() {
            if [directive.cut, directive.error_event].contains(&Some(place)) {
                break;
            }
            if directive.hang_at == Some(place) {
                steps.push(Step::Wait(FOR_EVER));
            }
            if place > 0 {
                wait(&mut steps, directive.delay);
            }
            let frame = if directive.bad_json == Some(place) { &self.broken } else { &frame };
            if !directive.drip.is_zero() && place > 1 {
                for byte in frame.bytes() {
                    steps.extend([Step::Wait(directive.drip), Step::Write(Bytes::from(vec![byte]))]);
                }
                continue;
            }
            let mut slices = slices(frame, directive);
            let last = slices.pop();
            steps.extend(slices.into_iter().map(Step::Write));
            steps.extend(last.map(Step::Content));
        }
        if directive.error_event.is_some() {
            plain(&mut steps, vec![self.error]);
        } else if directive.cut.is_some() {
            steps.extend([Step::Flush, Step::Cut]);
        } else {
            plain(&mut steps, self.after);
        }
        if directive.after_done {
            plain(
                &mut steps,
                vec!["data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"LATE\"}}]}\n\n".to_owned()],
            );
        }
        steps
    }
}

/// Longer than any test.
const FOR_EVER: Duration = Duration::from_secs(3_600);

/// A frame with the ends of lines and in the pieces that were told.
fn slices(frame: &str, directive: &Directive) -> Vec<Bytes> {
    let frame = Bytes::from(if directive.crlf { frame.replace('\n', "\r\n") } else { frame.to_owned() });
    let size = directive.slice.unwrap_or(frame.len()).max(1);
    (0..frame.len()).step_by(size).map(|start| frame.slice(start..frame.len().min(start + size))).collect()
}
