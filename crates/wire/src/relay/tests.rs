use super::*;

/// All that came out: events as the client would see them, and the fault if there was one.
fn relay(from: Dialect, text: &str, cuts: &[usize], include_usage: bool) -> (String, Option<StreamFault>) {
    let context = AnswerContext { id: "chatcmpl-1".to_owned(), created: 7, model: "m".to_owned() };
    let mut relay = Relay::new(from, context, include_usage, &[]);
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

#[test]
fn usage_is_the_last_that_came_wherever_it_stands() {
    let with_usage = |count: u32| {
        format!(
            "data: {{\"choices\":[{{\"delta\":{{\"content\":\"a\"}}}}],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":{count}}}}}\n\n"
        )
    };
    let context = AnswerContext { id: String::new(), created: 0, model: String::new() };
    let mut relay = Relay::new(Dialect::OpenAi, context, false, &[Quirk::UsageInXGroq]);

    relay.push((with_usage(1) + &with_usage(2)).into()).unwrap();
    assert_eq!((relay.usage().input, relay.usage().output), (Some(9), Some(2)));

    let groq = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"x_groq\":{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5.0}}}\n\n";
    relay.push(groq.into()).unwrap();
    assert_eq!(relay.usage().output, Some(5));
}

#[test]
fn events_that_arrive_together_leave_in_one_slice() {
    let text = Bytes::from(chunk(r#"{"content":"a"}"#, "null") + &chunk(r#"{"content":"b"}"#, "null"));
    let context = AnswerContext { id: String::new(), created: 0, model: String::new() };
    let mut relay = Relay::new(Dialect::OpenAi, context, false, &[]);
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
