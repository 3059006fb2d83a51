//! What a model generated, kept to count its tokens where the provider does not.
//!
//! In OpenAI's dialect the text stands in JSON whose shape differs from provider to provider: strings, lists of typed
//! parts, tool calls. So every string counts but those that are known to be no text.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::excerpt::Excerpt;
use crate::outline::Text;

/// The text of one answer: visible text, reasoning, refusals, names and arguments of tool calls, of all choices in the
/// order in which they came. 16 KiB are some 4,000 tokens, and leave an open stream small.
pub type Generated = Excerpt<16_384>;

/// The fields of a delta, or of a whole message, that carry content. Whatever their shape, what is not null and not
/// empty counts.
#[derive(Deserialize)]
pub(crate) struct Carriers<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_details: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    audio: Option<&'a RawValue>,
}

impl Carriers<'_> {
    /// Appends the text to `generated`; false when there is no content.
    pub(crate) fn collect(&self, generated: &mut Generated) -> bool {
        let Carriers { content, tool_calls, function_call, reasoning_content, reasoning, .. } = *self;
        let Carriers { reasoning_details, refusal, audio, .. } = *self;
        // Several providers send the same reasoning under two or three names.
        let thinking =
            [reasoning_content, reasoning, reasoning_details].into_iter().flatten().find(|field| carries(field));
        let mut has_content = false;
        for field in [thinking, content, refusal, tool_calls, function_call, audio].into_iter().flatten() {
            if carries(field) {
                has_content = true;
                push_json(generated, field.get());
            }
        }
        has_content
    }
}

fn carries(field: &RawValue) -> bool {
    !matches!(field.get(), "null" | "\"\"" | "[]" | "{}")
}

/// Appends the text in a JSON value. The common case, a string without escapes, is one copy.
fn push_json(generated: &mut Generated, json: &str) {
    match json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(text) if memchr::memchr(b'\\', text.as_bytes()).is_none() => generated.push(text),
        Some(_) | None => {
            let mut reader = serde_json::Deserializer::from_str(json);
            // What is valid JSON and no text, such as half of a surrogate pair, counts as it stands.
            let before = generated.bytes();
            if Strings(generated).deserialize(&mut reader).is_err() && generated.bytes() == before {
                generated.push(json);
            }
        }
    }
}

/// Members whose strings are no generated text: identities, names of types, and what is encrypted or encoded.
fn is_text(member: &str) -> bool {
    !matches!(member, "id" | "type" | "format" | "signature" | "data" | "encrypted_content" | "thought_signature")
}

/// Appends every string of a value.
struct Strings<'g>(&'g mut Generated);

impl<'de> DeserializeSeed<'de> for Strings<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.push(text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _value: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _value: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _value: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _value: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Strings(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = members.next_key()? {
            match &*name {
                // JSON text as a rule; where it is JSON itself, its names and numbers were generated too.
                "arguments" | "input" => push_arguments(self.0, members.next_value()?),
                name if is_text(name) => members.next_value_seed(Strings(self.0))?,
                _ => {
                    members.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

fn push_arguments(generated: &mut Generated, raw: &RawValue) {
    match raw.get() {
        "null" => {}
        string if string.starts_with('"') => push_json(generated, string),
        other => generated.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(delta: &str) -> (String, bool) {
        let mut generated = Generated::default();
        let carriers: Carriers<'_> = serde_json::from_str(delta).unwrap();
        let has_content = carriers.collect(&mut generated);
        assert_eq!(generated.bytes(), generated.text().len() as u64);
        (generated.text().to_owned(), has_content)
    }

    #[test]
    fn every_shape_of_content_is_text() {
        let call =
            r#"{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\": \"é\"}"}}"#;
        for (delta, text) in [
            (r#"{"content":"Hé"}"#.to_owned(), "Hé"),
            (r#"{"content":"a\n\"b\" \u00e9\ud83d\ude00"}"#.to_owned(), "a\n\"b\" é😀"),
            (r#"{"refusal":"no","content":null}"#.to_owned(), "no"),
            (r#"{"content":"b","reasoning_content":"a"}"#.to_owned(), "ab"),
            (r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"a"}]},{"type":"text","text":"b"}]}"#.to_owned(), "ab"),
            (format!(r#"{{"tool_calls":[{call},{{"index":0,"function":{{"arguments":"x"}}}}]}}"#), "f{\"a\": \"é\"}x"),
            (r#"{"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]}"#.to_owned(), "f{\"a\":1}"),
            (r#"{"tool_calls":[{"type":"custom","custom":{"name":"f","input":"x"}}]}"#.to_owned(), "fx"),
            (r#"{"function_call":{"name":"f","arguments":"x"}}"#.to_owned(), "fx"),
            (r#"{"audio":{"id":"a","data":"UklGRg==","transcript":"hi","expires_at":1}}"#.to_owned(), "hi"),
        ] {
            assert_eq!(collected(&delta), (text.to_owned(), true), "{delta}");
        }
    }

    #[test]
    fn reasoning_that_comes_under_two_names_counts_once() {
        let details = r#""reasoning_details":[{"type":"reasoning.text","text":"a","signature":"s","format":"x"}]"#;
        assert_eq!(collected(&format!(r#"{{"content":"","reasoning":"a",{details}}}"#)).0, "a");
        assert_eq!(collected(&format!(r#"{{"reasoning":null,{details}}}"#)).0, "a");
        assert_eq!(collected(r#"{"reasoning":"a","reasoning_content":"a"}"#).0, "a");
    }

    #[test]
    fn what_is_empty_is_no_content_and_what_is_no_text_is_content_all_the_same() {
        for delta in ["{}", r#"{"content":"","tool_calls":[],"reasoning":null,"audio":{},"role":"assistant"}"#] {
            assert_eq!(collected(delta), (String::new(), false), "{delta}");
        }
        let encrypted = r#"{"reasoning_details":[{"type":"reasoning.encrypted","data":"gAAAA"}]}"#;
        assert_eq!(collected(encrypted), (String::new(), true));
        assert_eq!(collected(r#"{"content":7}"#), (String::new(), true));
        assert_eq!(collected(r#"{"content":"\ud83d"}"#), (r#""\ud83d""#.to_owned(), true));
    }
}
