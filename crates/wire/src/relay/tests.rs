use super::*;

/// All that came out: events as the client would see them, and the fault if there was one.
fn relay(from: Dialect, text: &str, cuts: &[usize], include_usage: bool) -> (String, Option<StreamFault>) {
    let context = AnswerContext {
        id: "chatcmpl-1".to_owned(),
        created: 7,
        model: "m".to_owned(),
        prompt_tokens: 0,
        bent: Default::default(),
    };
    let mut relay = Relay::new(from, Client::OpenAi, context, include_usage, &[]);
    let input = Bytes::copy_from_slice(text.as_bytes());
    let mut out = String::new();
    let mut from = 0;
    let mut fault = None;
    for cut in cuts.iter().copied().chain([text.len()]) {
        fault = fault.or(relay.push(input.slice(from..cut)).err());
        from = cut;
        drain(&mut relay, &mut out);
    }
    let fault = fault.or_else(|| relay.end().err());
    drain(&mut relay, &mut out);
    (out, fault)
}

fn drain(relay: &mut Relay, out: &mut String) {
    while let Some(piece) = relay.pop() {
        match piece {
            Piece::Frame { bytes, .. } | Piece::Comment(bytes) => out.push_str(std::str::from_utf8(&bytes).unwrap()),
            Piece::Last(payload) => {
                out.push_str("last: ");
                out.push_str(std::str::from_utf8(&payload).unwrap());
                out.push_str("\n\n");
            }
            Piece::Done => out.push_str("done"),
        }
    }
}

fn chunk(delta: &str, finish: &str) -> String {
    format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}],\"new\":1}}\n\n")
}

fn stream() -> String {
    let start = chunk(r#"{"role":"assistant","content":""}"#, "null");
    let text = chunk(r#"{"content":"Hé"}"#, "null") + &chunk(r#"{"content":" you"}"#, "null");
    start + &text + &chunk("{}", "\"stop\"")
}

const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n";

fn payload(event: &str) -> &str {
    event.trim_start_matches("data: ")
}

/// WIRE 5.1.
#[test]
fn every_cut_gives_the_same_stream() {
    let finish = chunk("{}", "\"stop\"");
    let body = stream();
    let before = body.strip_suffix(&finish).unwrap();
    let whole = format!(": hello\n\n{body}{USAGE}data: [DONE]\n\n");
    for (include_usage, expected) in [
        (false, format!(": keep-alive\n\n{before}last: {}done", payload(&finish))),
        (true, format!(": keep-alive\n\n{body}last: {}done", payload(USAGE))),
    ] {
        for text in [whole.clone(), whole.replace('\n', "\r\n"), whole.replace("data: ", "data:")] {
            assert_eq!(relay(Dialect::OpenAi, &text, &[], include_usage), (expected.clone(), None));
            for cut in 0..text.len() {
                assert_eq!(relay(Dialect::OpenAi, &text, &[cut], include_usage).0, expected, "cut at {cut}");
            }
            let all: Vec<usize> = (0..text.len()).collect();
            assert_eq!(relay(Dialect::OpenAi, &text, &all, include_usage), (expected.clone(), None));
        }
    }
}

/// TRAPS 19.
#[test]
fn a_stream_without_done_is_complete_after_its_finish_and_cut_before_it() {
    let (out, fault) = relay(Dialect::OpenAi, &stream(), &[], false);
    assert!(out.ends_with("done") && fault.is_none(), "{out}");

    let text = chunk(r#"{"content":"Hé"}"#, "null");
    assert_eq!(relay(Dialect::OpenAi, &text, &[], false), (text, Some(StreamFault::Truncated)));
}

#[test]
fn faults_come_after_what_was_whole() {
    let text = chunk(r#"{"content":"Hé"}"#, "null");
    let error = "data: {\"error\":{\"message\":\"no\",\"code\":\"overloaded\"}}\n\n";
    let named = "event: error\ndata: {\"message\":\"no\"}\n\n";
    for (tail, is_expected) in [
        ("data: {\"choices\":\n\n", (|fault| matches!(fault, StreamFault::BadFrame)) as fn(&StreamFault) -> bool),
        (error, |fault| matches!(fault, StreamFault::Error(error) if error.message == "no")),
        (named, |fault| matches!(fault, StreamFault::Error(error) if error.message == "no")),
    ] {
        let (out, fault) = relay(Dialect::OpenAi, &format!("{text}{tail}"), &[], false);
        assert_eq!(out, text);
        assert!(is_expected(&fault.unwrap()), "{tail}");
    }
    let (_, fault) =
        relay(Dialect::OpenAi, &format!("data: \"{}", "a".repeat(1_100_000)), &[600_000, 1_090_000], false);
    assert_eq!(fault, Some(StreamFault::TooLarge));
}

/// WIRE 7.3.
#[test]
fn usage_is_the_last_that_came_wherever_it_stands() {
    let with_usage = |count: u32| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{count}}}}}\n\n"
        )
    };
    let context = AnswerContext {
        id: String::new(),
        created: 0,
        model: String::new(),
        prompt_tokens: 0,
        bent: Default::default(),
    };
    let mut relay = Relay::new(Dialect::OpenAi, Client::OpenAi, context, false, &[Quirk::UsageInXGroq]);

    relay.push((with_usage(1) + &with_usage(2)).into()).unwrap();
    assert_eq!((relay.usage().input, relay.usage().output), (Some(9), Some(2)));

    let groq = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5.0}}}\n\n";
    relay.push(groq.into()).unwrap();
    assert_eq!(relay.usage().output, Some(5));
}

#[test]
fn events_that_arrive_together_leave_in_one_slice() {
    let text = Bytes::from(chunk(r#"{"content":"a"}"#, "null") + &chunk(r#"{"content":"b"}"#, "null"));
    let context = AnswerContext {
        id: String::new(),
        created: 0,
        model: String::new(),
        prompt_tokens: 0,
        bent: Default::default(),
    };
    let mut relay = Relay::new(Dialect::OpenAi, Client::OpenAi, context, false, &[]);
    relay.push(Bytes::from(chunk(r#"{"role":"assistant","content":""}"#, "null"))).unwrap();
    assert!(matches!(relay.pop(), Some(Piece::Frame { content: false, .. })));

    relay.push(text.clone()).unwrap();

    assert_eq!(relay.pop(), Some(Piece::Frame { bytes: text, content: true }));
    assert_eq!(relay.pop(), None);
}

#[test]
fn every_choice_of_several_ends_before_the_stream_does() {
    let end = |choice: u32| {
        format!("data: {{\"choices\":[{{\"index\":{choice},\"delta\":{{}},\"finish_reason\":\"stop\"}}]}}\n\n")
    };
    let text = format!("{}{}{}data: [DONE]\n\n", chunk(r#"{"content":"a"}"#, "null"), end(0), end(1));

    let (out, fault) = relay(Dialect::OpenAi, &text, &[], false);

    assert_eq!(fault, None);
    assert!(out.contains(&end(0)) && out.ends_with(&format!("last: {}done", payload(&end(1)))), "{out}");
}

#[test]
fn after_done_nothing_counts() {
    let text = format!("{}data: [DONE]\n\n{}", stream(), chunk(r#"{"content":"more"}"#, "null"));

    assert!(relay(Dialect::OpenAi, &text, &[], false).0.ends_with("done"));
}

fn context() -> AnswerContext {
    AnswerContext {
        id: "chatcmpl-1".to_owned(),
        created: 7,
        model: "m".to_owned(),
        prompt_tokens: 0,
        bent: Default::default(),
    }
}

/// What was generated, read from the stream in slices that end at `cuts`; nothing is popped.
fn generated(from: Dialect, text: &str, cuts: &[usize]) -> Generated {
    let mut relay = Relay::new(from, Client::OpenAi, context(), false, &[]);
    let input = Bytes::copy_from_slice(text.as_bytes());
    let mut from = 0;
    for cut in cuts.iter().copied().chain([text.len()]) {
        relay.push(input.slice(from..cut)).unwrap();
        from = cut;
    }
    relay.generated().clone()
}

#[test]
fn every_cut_generates_the_same_text() {
    let call = r#"{"tool_calls":[{"index":0,"id":"c","type":"function","function":{"name":"f","arguments":"{\"a"}}]}"#;
    let rest = r#"{"tool_calls":[{"index":0,"function":{"arguments":"\":1}"}}]}"#;
    let thinking = chunk(r#"{"reasoning_content":"Hm.","reasoning":"Hm."}"#, "null");
    let calls = chunk(call, "null") + &chunk(rest, "null") + &chunk("{}", "\"tool_calls\"");
    let openai = format!("{thinking}{}{}{calls}data: [DONE]\n\n", stream(), chunk(r#"{"refusal":"no"}"#, "null"));
    let ollama = concat!(
        r#"{"message":{"role":"assistant","content":"","thinking":"Hm."},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":"Hé you"},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":"no","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#,
        "\n",
    );
    let expected = "Hm.Hé younof{\"a\":1}";
    for (dialect, text) in [(Dialect::OpenAi, openai.as_str()), (Dialect::Ollama, ollama)] {
        for cut in 0..text.len() {
            assert_eq!(generated(dialect, text, &[cut]).text(), expected, "cut at {cut}");
        }
        let all: Vec<usize> = (0..text.len()).collect();
        let generated = generated(dialect, text, &all);
        assert_eq!((generated.text(), generated.bytes()), (expected, expected.len() as u64));
    }
}

#[test]
fn what_was_read_before_the_client_left_is_known_whether_it_was_sent_or_not() {
    let text = chunk(r#"{"content":"one"}"#, "null") + &chunk(r#"{"content":" two"}"#, "null");
    let cut = text.len() - 5;

    let mut relay = Relay::new(Dialect::OpenAi, Client::OpenAi, context(), false, &[]);
    relay.push(Bytes::copy_from_slice(&text.as_bytes()[..cut])).unwrap();

    assert_eq!(relay.generated().text(), "one");
    assert!(relay.push("\n\ndata: {]\n\n".into()).is_err());
    assert_eq!(relay.generated().text(), "one");
}

/// WIRE 5.2.
#[test]
fn an_event_that_is_not_utf_8_is_bad_wherever_the_bytes_stand() {
    let mut relay = Relay::new(Dialect::OpenAi, Client::OpenAi, context(), false, &[]);

    let bad = Bytes::from_static(b"data: {\"choices\":[],\"new\":\"\xff\"}\n\n");

    assert_eq!(relay.push(bad), Err(StreamFault::BadFrame));
}

/// The stream after `text` was read and the cap was reached: every chunk that the client sees.
fn stopped(from: Dialect, text: &str, include_usage: bool) -> Vec<serde_json::Value> {
    let mut relay = Relay::new(from, Client::OpenAi, context(), include_usage, &[]);
    relay.push(Bytes::copy_from_slice(text.as_bytes())).unwrap();

    relay.stop_at_length(Usage { input: Some(3), output: Some(2), ..Usage::default() });

    assert!(relay.is_done());
    let mut out = String::new();
    drain(&mut relay, &mut out);
    let chunks = out.strip_suffix("done").unwrap().split_terminator("\n\n");
    let chunks: Vec<&str> = chunks.collect();
    let (last, before) = chunks.split_last().unwrap();
    let payloads = before.iter().map(|chunk| chunk.strip_prefix("data: ").unwrap());
    let payloads = payloads.chain([last.strip_prefix("last: ").unwrap()]);
    let parsed = payloads.map(|payload| serde_json::from_str(payload).unwrap()).collect();

    let before = relay.usage();
    relay.push(Bytes::copy_from_slice(text.as_bytes())).unwrap();
    relay.end().unwrap();
    relay.stop_at_length(Usage::default());
    assert_eq!((relay.pop(), relay.usage()), (None, before), "nothing follows the end");
    parsed
}

/// `(index, finish_reason)` of every choice of every chunk, or `usage` for the usage chunk.
fn ends(chunks: &[serde_json::Value]) -> Vec<String> {
    let end = |choice: &serde_json::Value| format!("{} {}", choice["index"], choice["finish_reason"]);
    let said = |chunk: &serde_json::Value| match chunk["choices"].as_array().unwrap().as_slice() {
        [] => format!("usage {}", chunk["usage"]),
        choices => choices.iter().map(end).collect::<Vec<_>>().join(", "),
    };
    chunks.iter().map(said).collect()
}

const COUNTED: &str = r#"usage {"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}"#;

/// A chunk as OpenAI sends it.
fn named(index: u32, delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"up-1\",\"object\":\"chat.completion.chunk\",\"created\":9,\"model\":\"theirs\",\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

#[test]
fn a_stream_that_is_stopped_ends_as_at_max_tokens() {
    let before = "data: {\"choices\":[],\"id\":\"\",\"prompt_filter_results\":[]}\n\n";
    let openai = format!("{before}{}data: {{\"id\":\"up-1\",\"cho", named(0, r#"{"content":"Hi"}"#, "null"));
    let ollama = "{\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},\"done\":false}\n{\"mess";
    for (dialect, text, head) in
        [(Dialect::OpenAi, openai.as_str(), ("up-1", 9, "theirs")), (Dialect::Ollama, ollama, ("chatcmpl-1", 7, "m"))]
    {
        for (include_usage, tail) in [(false, &["0 \"length\""][..]), (true, &["0 \"length\"", COUNTED][..])] {
            let chunks = stopped(dialect, text, include_usage);
            assert!(
                ends(&chunks).ends_with(&tail.iter().map(|end| (*end).to_owned()).collect::<Vec<_>>()),
                "{chunks:?}"
            );
            let end = chunks.iter().find(|chunk| chunk["choices"][0]["finish_reason"] == "length").unwrap();
            assert_eq!(end["choices"][0]["delta"], serde_json::json!({}));
            for chunk in chunks.iter().filter(|chunk| chunk["id"] != "") {
                assert_eq!(chunk["object"], "chat.completion.chunk");
                let said = (chunk["id"].as_str(), chunk["created"].as_i64(), chunk["model"].as_str());
                assert_eq!(said, (Some(head.0), Some(head.1), Some(head.2)));
            }
        }
    }
}

#[test]
fn every_choice_that_is_not_complete_ends_with_length() {
    let text = [
        named(0, r#"{"content":"a"}"#, "null"),
        named(1, r#"{"content":"b"}"#, "null"),
        named(2, r#"{"content":"c"}"#, "null"),
        named(1, "{}", "\"stop\""),
    ]
    .concat();

    let chunks = stopped(Dialect::OpenAi, &text, true);

    let expected = ["0 null", "1 null", "2 null", "1 \"stop\"", "0 \"length\"", "2 \"length\"", COUNTED];
    assert_eq!(ends(&chunks), expected);
}

#[test]
fn a_stream_that_had_ended_but_for_its_done_keeps_its_reason() {
    let text = named(0, r#"{"content":"a"}"#, "\"stop\"");

    assert_eq!(ends(&stopped(Dialect::OpenAi, &text, false)), ["0 \"stop\""]);
    assert_eq!(ends(&stopped(Dialect::OpenAi, &format!("{text}{USAGE}"), true)), ["0 \"stop\"", COUNTED]);
}

#[test]
fn a_stream_that_is_stopped_before_it_began_is_a_whole_one() {
    for dialect in [Dialect::OpenAi, Dialect::Ollama] {
        let chunks = stopped(dialect, "", false);
        assert_eq!(ends(&chunks), ["0 null", "0 \"length\""]);
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    }
}
