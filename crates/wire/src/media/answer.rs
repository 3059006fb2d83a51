//! What can be read of an answer that passes through: how much there is to pay for, and whether it is complete.

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::{Measure, Unit};
use crate::Dialect;
use crate::lenient::Lenient;
use crate::types::{BadAnswer, Kept, StreamFault, Whole};
use crate::usage::{Usage, count};

/// What is read of an answer, or of one event of a stream.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    usage: Lenient<UsageBody>,
    #[serde(default)]
    data: Lenient<Vec<IgnoredAny>>,
    /// Of the sound, in seconds: `verbose_json`.
    #[serde(default)]
    duration: Lenient<f64>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct UsageBody {
    input_tokens: Lenient<f64>,
    output_tokens: Lenient<f64>,
    /// Of images.
    input_tokens_details: Lenient<Details>,
    /// Of sound.
    input_token_details: Lenient<Details>,
    seconds: Lenient<f64>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct Details {
    image_tokens: Lenient<f64>,
    audio_tokens: Lenient<f64>,
    cached_tokens: Lenient<f64>,
}

impl Body<'_> {
    fn usage(&self, measure: Measure) -> Usage {
        let told = self.usage.0.unwrap_or_default();
        let details = told.input_tokens_details.0.or(told.input_token_details.0).unwrap_or_default();
        // Moderations have no tokens that anybody counts.
        let is_free = measure.unit == Unit::Nothing;
        let seconds = told.seconds.0.or(self.duration.0).map(f64::ceil);
        Usage {
            input: count(told.input_tokens).or(is_free.then_some(0)),
            output: count(told.output_tokens).or(is_free.then_some(0)),
            cached_input: count(details.cached_tokens),
            media_input: count(details.image_tokens).or(count(details.audio_tokens)),
            units: match measure.unit {
                Unit::Image => self.data.0.as_ref().map(|images| images.len() as u64),
                Unit::Second => count(Lenient(seconds)),
                Unit::Character => Some(measure.characters),
                Unit::Nothing => Some(0),
            },
            ..Usage::default()
        }
    }

    fn is_error(&self) -> bool {
        self.error.is_some_and(|error| error.get() != "null")
    }
}

/// Reads a whole answer. `is_json`: its media type says so.
pub(crate) fn observe(body: Bytes, is_json: bool, measure: Measure) -> Result<Whole, BadAnswer> {
    let usage = if is_json {
        let read: Body<'_> = std::str::from_utf8(&body)
            .ok()
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or(BadAnswer::NotJson)?;
        if read.is_error() {
            return Err(BadAnswer::Error(crate::read_error(Dialect::OpenAi, 200, &body)));
        }
        read.usage(measure)
    } else {
        let units = (measure.unit == Unit::Character).then_some(measure.characters);
        Usage { units, ..Usage::default() }
    };
    Ok(Whole { body, usage, finish: None, kept: Kept::default(), media_type: None })
}

/// What an event of a stream says.
pub(crate) struct Seen {
    /// What there is to pay for, where it tells.
    pub(crate) usage: Usage,
    /// The answer is complete: `image_generation.completed`, `transcript.text.done`, `speech.audio.done`.
    pub(crate) is_last: bool,
    /// Its name.
    pub(crate) kind: String,
}

/// Reads an event of a stream.
pub(crate) fn observe_event(data: &[u8], measure: Measure) -> Result<Seen, StreamFault> {
    let read: Body<'_> =
        std::str::from_utf8(data).ok().and_then(|text| serde_json::from_str(text).ok()).ok_or(StreamFault::BadFrame)?;
    let kind = read.kind.as_deref().unwrap_or_default();
    if read.is_error() || kind == "error" {
        return Err(StreamFault::Error(crate::read_error(Dialect::OpenAi, 200, data)));
    }
    let is_last = kind.ends_with(".completed") || kind.ends_with(".done");
    let mut usage = read.usage(measure);
    if measure.unit == Unit::Image {
        // An event has one image at most.
        usage.units = is_last.then_some(measure.images);
    }
    Ok(Seen { usage, is_last, kind: read.kind.unwrap_or_default() })
}
