//! What a request asks, in a form that two requests have in common exactly when they ask the same: for the cache.
//!
//! The *frame* is all of the request but the text of its last user message: the members that bear on the answer, by
//! name and not by place, without white space, known to us or not. The *question* is that text. Strings and numbers
//! keep their bytes: `1.0` and `1` are different, and so is a letter from its escape. That costs a hit and never a
//! wrong one.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::is_extension;
use crate::outline::{self, Members, Text};
use crate::types::Client;

/// Members that do not bear on the answer: how it is delivered, whom it is for, where its prompt is kept.
const COSMETIC: [&str; 7] =
    ["stream", "stream_options", "user", "metadata", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"];
/// Members that make an answer more than a text on a text: only the very same request may have it.
const MORE_THAN_TEXT: [&str; 9] = [
    "tools",
    "functions",
    "function_call",
    "tool_choice",
    "web_search_options",
    "audio",
    "modalities",
    "prediction",
    "mcp_servers",
];
/// Of longer conversations the turns are not counted.
const MAX_TURNS: usize = 64;

/// A request taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Everything but the question, in canonical form.
    pub frame: Vec<u8>,
    /// The last message, where that is text of the user's.
    pub question: Option<Question>,
    /// Nothing but text is asked for: no tools, searches or sound.
    pub is_plain: bool,
}

/// The text of the last user message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// As it stands in the body, quotes and escapes included.
    pub raw: String,
    /// What it says.
    pub text: String,
    /// Messages of the user in the conversation, this one included; `None` where something else than text of user,
    /// model and system is in it, or very many.
    pub turns: Option<usize>,
}

impl Asked {
    /// Takes a body apart that was read before. `None` where it is no JSON object.
    pub fn read(client: Client, body: &[u8]) -> Option<Asked> {
        let text = std::str::from_utf8(body).ok()?;
        let members: Members<'_> = serde_json::from_str(text).ok()?;
        let found = question(client, &members);
        let hole = found.as_ref().map(|(raw, ..)| outline::span(text, raw).start);
        let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, hole };
        let mut frame = Vec::with_capacity(text.len());
        scanner.object(&mut frame, true);
        let question = found.map(|(raw, text, turns)| Question { raw: raw.get().to_owned(), text, turns });
        Some(Asked { frame, question, is_plain: !members.0.iter().any(|(name, value)| is_more(name, value)) })
    }
}

fn is_more(name: &str, value: &RawValue) -> bool {
    MORE_THAN_TEXT.contains(&name) && !matches!(value.get(), "null" | "[]" | "\"none\"")
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Text<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// The last user message's text: where it stands, what it says, and how many turns there were.
fn question<'a>(client: Client, members: &Members<'a>) -> Option<(&'a RawValue, String, Option<usize>)> {
    let name = match client {
        Client::OpenAi | Client::Anthropic => "messages",
        Client::Completions => "prompt",
    };
    let (_, value) = members.0.iter().find(|(member, _)| member == name)?;
    if client == Client::Completions {
        let raw = text_in(value)?;
        return Some((raw, read(raw)?, Some(1)));
    }
    let messages: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    let last: Message<'_> = serde_json::from_str(messages.last()?.get()).ok()?;
    let raw = text_in(last.content.filter(|_| last.role.0 == "user")?)?;
    Some((raw, read(raw)?, turns(&messages)))
}

/// A string, or the text of a list of one text part.
fn text_in(content: &RawValue) -> Option<&RawValue> {
    if content.get().starts_with('"') {
        return Some(content);
    }
    let parts: Vec<&RawValue> = serde_json::from_str(content.get()).ok()?;
    let [part] = parts.as_slice() else { return None };
    if part.get().starts_with('"') {
        return Some(part);
    }
    let part: Part<'_> = serde_json::from_str(part.get()).ok()?;
    part.text.filter(|text| part.kind.0 == "text" && text.get().starts_with('"'))
}

fn read(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

fn turns(messages: &[&RawValue]) -> Option<usize> {
    if messages.len() > MAX_TURNS {
        return None;
    }
    let mut turns: usize = 0;
    for message in messages {
        let message: Message<'_> = serde_json::from_str(message.get()).ok()?;
        match &*message.role.0 {
            "user" => turns = turns.saturating_add(1),
            "system" | "developer" | "assistant" => {}
            _ => return None,
        }
        message.content.filter(|content| content.get().starts_with('"') || text_in(content).is_some())?;
    }
    Some(turns)
}

/// Walks over JSON that is known to be whole, and not nested deeper than a request may be.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the string stands that is left out.
    hole: Option<usize>,
}

impl<'a> Scanner<'a> {
    fn peek(&mut self) -> u8 {
        while let Some(byte) = self.bytes.get(self.at)
            && byte.is_ascii_whitespace()
        {
            self.at = self.at.saturating_add(1);
        }
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn step(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn value(&mut self, out: &mut Vec<u8>) {
        match self.peek() {
            b'{' => self.object(out, false),
            b'[' => self.list(out),
            b'"' if self.hole == Some(self.at) => {
                self.string();
                // No JSON has this byte.
                out.push(0);
            }
            b'"' => out.extend_from_slice(self.string()),
            _ => {
                let start = self.at;
                let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                while self.bytes.get(self.at).is_some_and(is_part) {
                    self.step();
                }
                out.extend_from_slice(self.bytes.get(start..self.at).unwrap_or_default());
            }
        }
    }

    fn list(&mut self, out: &mut Vec<u8>) {
        out.push(b'[');
        self.step();
        loop {
            match self.peek() {
                b']' | 0 => break,
                b',' => self.step(),
                _ => {
                    let before = self.at;
                    self.value(out);
                    out.push(b',');
                    if self.at == before {
                        break;
                    }
                }
            }
        }
        self.step();
        out.push(b']');
    }

    /// The members in the order of their names; of the whole body those that count.
    fn object(&mut self, out: &mut Vec<u8>, is_body: bool) {
        self.peek();
        out.push(b'{');
        self.step();
        let start = out.len();
        let mut members: Vec<(&'a [u8], std::ops::Range<usize>)> = Vec::new();
        loop {
            match self.peek() {
                b',' => self.step(),
                b'"' => {
                    let (name, from) = (self.string(), out.len());
                    self.peek();
                    self.step();
                    out.extend_from_slice(name);
                    out.push(b':');
                    self.value(out);
                    out.push(b',');
                    if is_body && is_cosmetic(name) {
                        out.truncate(from);
                    } else {
                        members.push((name, from..out.len()));
                    }
                }
                _ => break,
            }
        }
        self.step();
        if !members.is_sorted_by(|a, b| a.0 <= b.0) {
            members.sort_by_key(|(name, _)| *name);
            let sorted: Vec<&[u8]> =
                members.iter().map(|(_, range)| out.get(range.clone()).unwrap_or_default()).collect();
            let sorted = sorted.concat();
            out.truncate(start);
            out.extend_from_slice(&sorted);
        }
        out.push(b'}');
    }

    /// The string that begins here, with its quotes.
    fn string(&mut self) -> &'a [u8] {
        let start = self.at;
        self.step();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            match memchr::memchr2(b'"', b'\\', rest) {
                Some(place) if rest.get(place) == Some(&b'\\') => {
                    self.at = self.at.saturating_add(place).saturating_add(2)
                }
                Some(place) => {
                    self.at = self.at.saturating_add(place).saturating_add(1);
                    break;
                }
                None => {
                    self.at = self.bytes.len();
                    break;
                }
            }
        }
        self.bytes.get(start..self.at).unwrap_or_default()
    }
}

/// Whether the member of that name, in its quotes, does not bear on the answer.
fn is_cosmetic(quoted: &[u8]) -> bool {
    let name = quoted.get(1..quoted.len().saturating_sub(1)).and_then(|name| std::str::from_utf8(name).ok());
    name.is_some_and(|name| COSMETIC.contains(&name) || is_extension(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn of(body: &str) -> Asked {
        Asked::read(Client::OpenAi, body.as_bytes()).unwrap()
    }

    fn chat(messages: Value, more: Value) -> String {
        let mut body = json!({"model": "m", "messages": messages});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    }

    #[test]
    fn order_space_and_what_does_not_bear_on_the_answer_do_not_count() {
        let plain = of(r#"{"model":"m","messages":[{"role":"user","content":"a"}],"seed":1}"#);

        for same in [
            r#"{ "seed" : 1, "messages":[ {"content":"a" ,"role":"user"} ],"model":"m"}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"a"}],"seed":1,"stream":true,"stream_options":{}}"#,
            r#"{"x-cache":true,"model":"m","messages":[{"role":"user","content":"a"}],"seed":1,"user":"u","X-Tags":[1]}"#,
            r#"{"model":"m","metadata":{"stream":1},"messages":[{"role":"user","content":"a"}],"seed":1}"#,
        ] {
            assert_eq!(of(same), plain, "{same}");
        }
    }

    #[test]
    fn everything_else_counts() {
        let plain = of(&chat(json!([{"role": "user", "content": "a"}]), json!({})));
        for more in [
            json!({"temperature": 0}),
            json!({"temperature": 0.0}),
            json!({"tools": []}),
            json!({"future": null}),
            json!({"response_format": {"type": "json_object"}}),
            json!({"nested": {"stream": true}}),
        ] {
            assert_ne!(of(&chat(json!([{"role": "user", "content": "a"}]), more.clone())), plain, "{more}");
        }
        for messages in [
            json!([{"role": "user", "content": "b"}]),
            json!([{"role": "user", "content": [{"type": "text", "text": "a"}]}]),
            json!([{"role": "user", "content": "a", "name": "n"}]),
            json!([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}]),
            json!([{"role": "system", "content": "a"}]),
            json!([{"role": "user", "content": "a"}, {"role": "user", "content": "a"}]),
        ] {
            assert_ne!(of(&chat(messages.clone(), json!({}))), plain, "{messages}");
        }
        let huge =
            |seed: &str| of(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"seed":{seed}}}"#));
        assert_ne!(huge("18446744073709551617"), huge("18446744073709551618"));
    }

    #[test]
    fn the_question_is_the_last_text_of_the_user() {
        let question =
            |messages: Value| of(&chat(messages, json!({}))).question.map(|question| (question.text, question.turns));
        let user = |text: &str| json!({"role": "user", "content": text});
        assert_eq!(question(json!([user("a \"b\" é")])), Some(("a \"b\" é".to_owned(), Some(1))));
        let (system, said) = (json!({"role": "system", "content": "s"}), json!({"role": "assistant", "content": "x"}));
        assert_eq!(question(json!([system, user("a"), said, user("b")])), Some(("b".to_owned(), Some(2))));
        let part = json!({"role": "user", "content": [{"type": "text", "text": "p"}]});
        assert_eq!(question(json!([part])), Some(("p".to_owned(), Some(1))));
        let image = json!({"type": "image_url", "image_url": {"url": "u"}});
        assert_eq!(question(json!([{"role": "user", "content": [{"type": "text", "text": "p"}, image]}])), None);
        assert_eq!(question(json!([{"role": "user", "content": [image]}, user("a")])), Some(("a".to_owned(), None)));
        assert_eq!(question(json!([user("a"), said])), None);
        assert_eq!(question(json!([{"role": "tool", "content": "t"}])), None);

        let older = Asked::read(Client::Completions, br#"{"model":"m","prompt":["say"]}"#).unwrap();
        assert_eq!(older.question.map(|question| question.text).as_deref(), Some("say"));
        let other = Asked::read(Client::Completions, br#"{"model":"m","prompt":["do"]}"#).unwrap();
        assert_eq!(older.frame, other.frame);
    }

    #[test]
    fn tools_and_searches_are_more_than_text() {
        for (more, is_plain) in [
            (json!({}), true),
            (json!({"tools": [], "tool_choice": "none", "audio": null}), true),
            (json!({"tools": [{"type": "function"}]}), false),
            (json!({"web_search_options": {}}), false),
            (json!({"modalities": ["text", "audio"]}), false),
        ] {
            assert_eq!(of(&chat(json!([{"role": "user", "content": "a"}]), more.clone())).is_plain, is_plain, "{more}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::vec((".{0,4}", inner), 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn any_members() -> impl Strategy<Value = serde_json::Map<String, Value>> {
        let member = ("[a-d]{1,2}", any_json());
        proptest::collection::vec(member, 0..4).prop_map(|members| members.into_iter().collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// P9.
        #[test]
        fn two_requests_share_a_form_exactly_when_they_say_the_same(
            a in any_members(), b in any_members(), pretty in any::<bool>(), texts in ("[ab]{0,2}", "[ab]{0,2}")
        ) {
            let written = |more: &serde_json::Map<String, Value>, text: &str, pretty: bool| {
                let mut body: serde_json::Map<String, Value> = more.clone();
                body.insert("messages".to_owned(), json!([{"role": "user", "content": text}]));
                if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap()
            };

            let (one, two) = (of(&written(&a, &texts.0, pretty)), of(&written(&b, &texts.1, false)));

            prop_assert_eq!(one == two, a == b && texts.0 == texts.1);
            prop_assert_eq!(one.frame == two.frame, a == b);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), json in any_json()) {
            for client in [Client::OpenAi, Client::Anthropic, Client::Completions] {
                let _ = Asked::read(client, &bytes);
                let _ = Asked::read(client, json.to_string().as_bytes());
                let _ = Asked::read(client, json!({"messages": json, "prompt": json}).to_string().as_bytes());
            }
        }
    }
}
