//! Editing JSON by its bytes: what is not changed stays as it was sent, white space and number formats included.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::Quirk;
use crate::openai::request::{is_extension, outline_of};
use crate::outline::{self, Members};

/// Adds a member at the end of the object `json`. A text that is no object comes back as it is.
pub fn append_member(json: &[u8], name: &str, value: &[u8]) -> Vec<u8> {
    let trimmed = json.trim_ascii_end();
    let Some(inside) = trimmed.strip_suffix(b"}") else { return json.to_vec() };
    let is_empty = inside.trim_ascii() == b"{";
    let mut out = Vec::with_capacity(json.len() + name.len() + value.len() + 8);
    out.extend_from_slice(inside);
    out.extend_from_slice(if is_empty { b"\"" } else { b",\"" });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value);
    out.push(b'}');
    out
}

/// The object `json` without the members of these names; every other byte stays. A text that is no object comes back as
/// it is.
pub fn without(json: &[u8], names: &[&str]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(json) else { return json.to_vec() };
    let Ok(members) = outline_of(text) else { return json.to_vec() };
    let (mut out, rest, _) = copy_members(text, &members, 0, |name, value| {
        (!names.contains(&name)).then(|| Edited { renamed: None, value: value.get().into() })
    });
    out.extend_from_slice(rest.as_bytes());
    out
}

/// The object up to its closing brace, without the members of these names and with one set.
pub(crate) fn head(
    text: &str,
    members: &Members<'_>,
    without: &[&str],
    (name, value): (&str, &'static str),
) -> Vec<u8> {
    let mut is_set = false;
    let (mut out, _, is_empty) = copy_members(text, members, 0, |member, held| {
        let is_it = member == name;
        is_set |= is_it;
        let value = if is_it { value } else { held.get() };
        (!without.contains(&member)).then(|| Edited { renamed: None, value: value.into() })
    });
    if !is_set {
        let comma = if is_empty { "" } else { "," };
        out.extend_from_slice(format!("{comma}\"{name}\":{value}").as_bytes());
    }
    out
}

/// A request for a provider of the same dialect: the model's name replaced, our own members left out, usage asked for
/// where `asks_usage`, quirks applied, and every other byte as the caller sent it.
pub(crate) fn rewrite(text: &str, members: &Members<'_>, model: &str, asks_usage: bool, quirks: &[Quirk]) -> Vec<u8> {
    let asks_usage = asks_usage && !quirks.contains(&Quirk::NoStreamOptions);
    let mut has_options = false;
    let room = model.len().saturating_add(64);
    let (mut out, rest, is_empty) = copy_members(text, members, room, |name, value| {
        let value = edited(name, value, model, asks_usage, quirks)?;
        has_options |= name == "stream_options";
        let is_renamed = name == "max_completion_tokens" && quirks.contains(&Quirk::MaxTokensOnly);
        Some(Edited { renamed: is_renamed.then_some(("max_completion_tokens", "max_tokens")), value })
    });
    if asks_usage && !has_options {
        out.extend_from_slice(if is_empty { b"" } else { b"," });
        out.extend_from_slice(br#""stream_options":{"include_usage":true}"#);
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

/// A member as it goes on.
struct Edited<'a> {
    /// Its name, and what it is called instead.
    renamed: Option<(&'static str, &'static str)>,
    value: Cow<'a, str>,
}

/// Copies the object's beginning and those members that `edit` keeps. Gives what is copied, what follows the last member
/// in `text`, and whether no member was kept.
fn copy_members<'a>(
    text: &'a str,
    members: &Members<'a>,
    room: usize,
    mut edit: impl FnMut(&str, &'a RawValue) -> Option<Edited<'a>>,
) -> (Vec<u8>, &'a str, bool) {
    let mut previous = text.find('{').map_or(0, |brace| brace.saturating_add(1));
    let mut out = Vec::with_capacity(text.len().saturating_add(room));
    out.extend_from_slice(text.get(..previous).unwrap_or_default().as_bytes());
    let mut is_first = true;
    for (name, value) in &members.0 {
        let span = outline::span(text, value);
        // From the end of the member before: comma, white space, name and colon.
        let mut lead = text.get(previous..span.start).unwrap_or_default();
        previous = span.end;
        let Some(Edited { renamed, value }) = edit(name, value) else { continue };
        if std::mem::take(&mut is_first) {
            lead = lead.trim_start().strip_prefix(',').unwrap_or(lead);
        }
        match renamed {
            Some((from, to)) => out.extend_from_slice(lead.replacen(from, to, 1).as_bytes()),
            None => out.extend_from_slice(lead.as_bytes()),
        }
        out.extend_from_slice(value.as_bytes());
    }
    (out, text.get(previous..).unwrap_or_default(), is_first)
}

/// The value that goes upstream under `name`; `None` where the member stays behind.
fn edited<'a>(
    name: &str,
    value: &'a RawValue,
    model: &str,
    asks_usage: bool,
    quirks: &[Quirk],
) -> Option<Cow<'a, str>> {
    match name {
        name if is_extension(name) => None,
        "model" => Some(serde_json::Value::from(model).to_string().into()),
        "stream_options" if quirks.contains(&Quirk::NoStreamOptions) => None,
        "stream_options" if asks_usage => {
            let mut options: serde_json::Map<_, _> = serde_json::from_str(value.get()).unwrap_or_default();
            options.insert("include_usage".to_owned(), true.into());
            Some(serde_json::Value::Object(options).to_string().into())
        }
        "messages" if quirks.contains(&Quirk::NoDeveloperRole) => Some(with_system_role(value.get())),
        _ => Some(value.get().into()),
    }
}

/// The messages with every role `developer` called `system`.
fn with_system_role(messages: &str) -> Cow<'_, str> {
    let Ok(items) = serde_json::from_str::<Vec<Members<'_>>>(messages) else { return messages.into() };
    let roles = items.iter().flat_map(|members| members.0.iter()).filter(|(name, _)| name == "role");
    let developers = roles.filter(|(_, role)| role.get() == "\"developer\"").map(|(_, role)| *role);
    let mut out = String::with_capacity(messages.len());
    let mut copied = 0;
    for role in developers {
        let span = outline::span(messages, role);
        out.push_str(messages.get(copied..span.start).unwrap_or_default());
        out.push_str("\"system\"");
        copied = span.end;
    }
    out.push_str(messages.get(copied..).unwrap_or_default());
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn spliced(text: &str, asks_usage: bool, quirks: &[Quirk]) -> String {
        String::from_utf8(rewrite(text, &outline_of(text).unwrap(), "new", asks_usage, quirks)).unwrap()
    }

    #[test]
    fn only_what_must_change_changes() {
        for (text, expected) in [
            (r#"{"model":"a","x":1}"#, r#"{"model":"new","x":1}"#),
            (r#"{ "a" : [1.50, 2e3] , "model" : "a" }"#, r#"{ "a" : [1.50, 2e3] , "model" : "new" }"#),
            (r#"{"x-a":1,"model":"a"}"#, r#"{"model":"new"}"#),
            (r#"{"x-a":1, "X-B":2, "model":"a", "x-c":[1,2], "z":"x-d"}"#, r#"{ "model":"new", "z":"x-d"}"#),
            (r#"{"model":"a","x-a":{"model":"b"}}"#, r#"{"model":"new"}"#),
            ("{\"model\":\"a\\u00e9\"}", r#"{"model":"new"}"#),
        ] {
            assert_eq!(spliced(text, false, &[]), expected, "{text}");
        }
    }

    #[test]
    fn usage_is_asked_for_whatever_stood_there() {
        let asked = r#""stream_options":{"include_usage":true}"#;
        for text in [
            r#"{"model":"a"}"#,
            r#"{"model":"a","stream_options":null}"#,
            r#"{"model":"a","stream_options":{"include_usage":false}}"#,
            r#"{"model":"a","stream_options":{}}"#,
        ] {
            assert_eq!(spliced(text, true, &[]), format!("{{\"model\":\"new\",{asked}}}"), "{text}");
        }
        let kept = spliced(r#"{"model":"a","stream_options":{"include_obfuscation":false}}"#, true, &[]);
        assert!(kept.contains(r#"{"include_obfuscation":false,"include_usage":true}"#), "{kept}");
    }

    #[test]
    fn quirks_bend_what_they_name() {
        let text = r#"{"model":"a","max_completion_tokens":5,"messages":[{"role":"developer","content":"developer"}],"stream_options":{}}"#;

        assert_eq!(
            spliced(text, true, &[Quirk::MaxTokensOnly, Quirk::NoDeveloperRole, Quirk::NoStreamOptions]),
            r#"{"model":"new","max_tokens":5,"messages":[{"role":"system","content":"developer"}]}"#
        );
    }

    #[test]
    fn a_member_is_appended_to_any_object() {
        for (json, expected) in
            [("{}", r#"{"m":1}"#), ("{ }", r#"{ "m":1}"#), ("{\"a\":{}} \n", r#"{"a":{},"m":1}"#), ("[1]", "[1]")]
        {
            assert_eq!(String::from_utf8(append_member(json.as_bytes(), "m", b"1")).unwrap(), expected);
        }
    }

    #[test]
    fn members_are_left_out_wherever_they_stand() {
        for (json, expected) in [
            (r#"{"stream":true,"a":1}"#, r#"{"a":1}"#),
            (r#"{"a":1, "stream":true, "b":[2]}"#, r#"{"a":1, "b":[2]}"#),
            (r#"{ "a":1,"stream_options":{"include_usage":true},"stream":true }"#, r#"{ "a":1 }"#),
            (r#"{"stream":true}"#, "{}"),
            ("[1]", "[1]"),
        ] {
            let got = without(json.as_bytes(), &["stream", "stream_options"]);
            assert_eq!(String::from_utf8(got).unwrap(), expected, "{json}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 20, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::vec((".{0,6}", inner), 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_meaning_of_every_other_member_stays(
            members in proptest::collection::vec(("(x-)?[a-z]{1,5}", any_json()), 0..6), pretty in any::<bool>()
        ) {
            let mut body: serde_json::Map<String, Value> = members.into_iter().collect();
            body.insert("model".to_owned(), json!("a"));
            let value = Value::Object(body.clone());
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();

            let got: Value = serde_json::from_str(&spliced(&text, false, &[])).unwrap();

            body.retain(|name, _| !name.starts_with("x-"));
            body.insert("model".to_owned(), json!("new"));
            prop_assert_eq!(got, Value::Object(body));
        }
    }
}
