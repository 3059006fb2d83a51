//! What Ollama answers, as an OpenAI client sees it: whole and streamed, the stream in every slicing.

use proptest::prelude::*;

use super::*;
use crate::event::{Event, Finish};
use crate::openai::{Encoder, encode_answer};
use crate::{AnswerContext, BadAnswer, StreamFault};

fn context() -> AnswerContext {
    AnswerContext {
        id: "chatcmpl-0190a1b2".to_owned(),
        created: 1_700_000_000,
        model: "llama3.2".to_owned(),
        prompt_tokens: 0,
        bent: Default::default(),
    }
}

fn decode<'a>(slices: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Result<(), StreamFault>) {
    let mut decoder = Decoder::new(None);
    let mut events = Vec::new();
    let pushed = slices.into_iter().try_for_each(|slice| decoder.push(slice, &mut events));
    let outcome = pushed.and_then(|()| decoder.end(&mut events));
    (events, outcome)
}

/// Checks that every slicing gives the same events.
#[track_caller]
fn decode_in_every_slicing(stream: &str) -> (Vec<Event>, Result<(), StreamFault>) {
    let whole = decode([stream.as_bytes()]);
    for cut in 0..=stream.len() {
        let (head, tail) = stream.as_bytes().split_at(cut);
        assert_eq!(decode([head, tail]), whole, "cut at {cut}");
    }
    assert_eq!(decode(stream.as_bytes().chunks(1)), whole, "byte by byte");
    whole
}

const HEAD: &str =
    r#"{"id":"chatcmpl-0190a1b2","object":"chat.completion.chunk","created":1700000000,"model":"llama3.2","#;

/// The chunks that a stream becomes, from `"delta":` on; what comes before is the same in all and checked here.
#[track_caller]
fn chunks(stream: &str) -> Vec<String> {
    let (events, outcome) = decode_in_every_slicing(stream);
    assert_eq!(outcome, Ok(()));
    let mut encoder = Encoder::new(context());
    let mut payloads = Vec::new();
    events.iter().for_each(|event| encoder.encode(event, &mut payloads));
    let head = format!(r#"{HEAD}"choices":[{{"index":0,"#);
    let tail = |payload: Vec<u8>| {
        let text = String::from_utf8(payload).unwrap();
        text.strip_prefix(&head).unwrap().replace(r#""logprobs":null,"#, "").strip_suffix("]}").unwrap().to_owned()
    };
    payloads.into_iter().map(tail).collect()
}

/// The whole answer, from `"choices":` on.
#[track_caller]
fn answer(body: &str) -> String {
    let encoded = encode_answer(&decode_answer(body.as_bytes(), None).unwrap(), &context());
    let text = String::from_utf8(encoded).unwrap();
    let head = r#"{"id":"chatcmpl-0190a1b2","object":"chat.completion","created":1700000000,"model":"llama3.2","#;
    text.strip_prefix(head).unwrap().to_owned()
}

const ROLE: &str = r#""delta":{"role":"assistant","content":""},"finish_reason":null}"#;

#[test]
fn text_in_whole_and_in_pieces() {
    let body = r#"{"model":"llama3.2","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"Grüße \"you\""},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":26,"eval_count":4}"#;
    assert_eq!(
        answer(body),
        concat!(
            r#""choices":[{"index":0,"message":{"role":"assistant","content":"Grüße \"you\"","refusal":null},"#,
            r#""logprobs":null,"finish_reason":"stop"}],"#,
            r#""usage":{"prompt_tokens":26,"completion_tokens":4,"total_tokens":30}}"#,
        )
    );

    let stream = concat!(
        r#"{"model":"llama3.2","created_at":"t","message":{"role":"assistant","content":"Grüße"},"done":false}"#,
        "\n",
        r#"{"model":"llama3.2","created_at":"t","message":{"role":"assistant","content":" \"you\""},"done":false}"#,
        "\r\n",
        r#"{"model":"llama3.2","created_at":"t","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","prompt_eval_count":26,"eval_count":4}"#,
        "\n",
        "after the end nothing counts\n",
    );
    assert_eq!(
        chunks(stream),
        [
            ROLE,
            r#""delta":{"content":"Grüße"},"finish_reason":null}"#,
            r#""delta":{"content":" \"you\""},"finish_reason":null}"#,
            r#""delta":{},"finish_reason":"stop"}"#,
        ]
    );
}

/// WIRE 7.3, 7.4.
#[test]
fn usage_has_a_chunk_of_its_own_and_absent_counts_are_absent() {
    let encoder = Encoder::new(context());
    let usage = crate::usage::Usage { input: Some(26), output: Some(4), ..Default::default() };
    let text = |payload: Vec<u8>| String::from_utf8(payload).unwrap();

    assert_eq!(
        text(encoder.usage_chunk(&usage)),
        format!(r#"{HEAD}"choices":[],"usage":{{"prompt_tokens":26,"completion_tokens":4,"total_tokens":30}}}}"#)
    );
    let detailed = crate::usage::Usage { cached_input: Some(20), reasoning: Some(3), input: None, ..usage };
    assert_eq!(
        text(encoder.usage_chunk(&detailed)),
        format!(
            r#"{HEAD}"choices":[],"usage":{{"completion_tokens":4,"prompt_tokens_details":{{"cached_tokens":20}},"completion_tokens_details":{{"reasoning_tokens":3}}}}}}"#
        )
    );
    let cached = decode_answer(br#"{"message":{"content":"a"},"done":true,"eval_count":4.0}"#, None).unwrap();
    assert_eq!((cached.usage.input, cached.usage.output), (None, Some(4)));
    let silent = decode_answer(br#"{"message":{"content":"a"},"done":true}"#, None).unwrap();
    assert!(!text(encode_answer(&silent, &context())).contains("usage"));
}

/// WIRE 3.4.
#[test]
fn parallel_tool_calls_of_an_old_version_get_ids_and_numbers() {
    let call = |name: &str, arguments: &str| format!(r#"{{"function":{{"name":"{name}","arguments":{arguments}}}}}"#);
    let (paris, time) = (call("weather", r#"{"city":"Paris"}"#), call("time", "{}"));
    let body = format!(
        r#"{{"message":{{"role":"assistant","content":"","tool_calls":[{paris},{time}]}},"done_reason":"stop","done":true}}"#
    );
    assert_eq!(
        answer(&body),
        concat!(
            r#""choices":[{"index":0,"message":{"role":"assistant","content":null,"refusal":null,"tool_calls":["#,
            r#"{"id":"call_chatcmpl0190a1b2_0","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}},"#,
            r#"{"id":"call_chatcmpl0190a1b2_1","type":"function","function":{"name":"time","arguments":"{}"}}]},"#,
            r#""logprobs":null,"finish_reason":"tool_calls"}]}"#,
        )
    );

    let line = |content: &str, calls: &str| {
        format!(
            "{{\"message\":{{\"role\":\"assistant\",\"content\":\"{content}\",\"tool_calls\":[{calls}]}},\"done\":false}}\n"
        )
    };
    let done = "{\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\"}\n";
    let stream = [line("Let me see.", &paris), line("", &time), done.to_owned()].concat();
    assert_eq!(
        chunks(&stream),
        [
            ROLE,
            r#""delta":{"content":"Let me see."},"finish_reason":null}"#,
            r#""delta":{"tool_calls":[{"index":0,"id":"call_chatcmpl0190a1b2_0","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Paris\"}"}}]},"finish_reason":null}"#,
            r#""delta":{"tool_calls":[{"index":1,"id":"call_chatcmpl0190a1b2_1","type":"function","function":{"name":"time","arguments":"{}"}}]},"finish_reason":null}"#,
            r#""delta":{},"finish_reason":"tool_calls"}"#,
        ]
    );
}

#[test]
fn tool_calls_of_a_new_version_keep_their_ids() {
    let stream = concat!(
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"id":"call_a1","function":{"index":0,"name":"f","arguments":{"a": 1}}}]},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":"","tool_calls":[{"id":"call_b2","function":{"index":0,"name":"f","arguments":"{\"a\":2}"}},{"id":"call_c3","function":{"name":"g","arguments":null}}]},"done":true,"done_reason":"stop"}"#,
    );
    let call = |index, id, name, arguments| {
        format!(
            r#""delta":{{"tool_calls":[{{"index":{index},"id":"{id}","type":"function","function":{{"name":"{name}","arguments":"{arguments}"}}}}]}},"finish_reason":null}}"#
        )
    };
    assert_eq!(
        chunks(stream),
        [
            ROLE.to_owned(),
            call(0, "call_a1", "f", r#"{\"a\": 1}"#),
            call(1, "call_b2", "f", r#"{\"a\":2}"#),
            call(2, "call_c3", "g", "{}"),
            r#""delta":{},"finish_reason":"tool_calls"}"#.to_owned(),
        ]
    );
}

/// WIRE 8.2.
#[test]
fn thinking_comes_as_reasoning_content() {
    let body = r#"{"message":{"role":"assistant","content":"4","thinking":"2+2"},"done":true,"done_reason":"stop"}"#;
    assert_eq!(
        answer(body),
        concat!(
            r#""choices":[{"index":0,"message":{"role":"assistant","content":"4","refusal":null,"reasoning_content":"2+2"},"#,
            r#""logprobs":null,"finish_reason":"stop"}]}"#,
        )
    );

    let stream = concat!(
        r#"{"message":{"role":"assistant","content":"","thinking":"2"},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":"4","thinking":"+2"},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#,
        "\n",
    );
    assert_eq!(
        chunks(stream),
        [
            ROLE,
            r#""delta":{"reasoning_content":"2"},"finish_reason":null}"#,
            r#""delta":{"reasoning_content":"+2"},"finish_reason":null}"#,
            r#""delta":{"content":"4"},"finish_reason":null}"#,
            r#""delta":{},"finish_reason":"stop"}"#,
        ]
    );
}

#[test]
fn structured_output_is_text_like_any_other() {
    let stream = concat!(
        r#"{"message":{"role":"assistant","content":"{\"city\":"},"done":false}"#,
        "\n",
        r#"{"message":{"role":"assistant","content":"\"Paris\"}"},"done":true,"done_reason":"stop"}"#,
        "\n",
    );
    let (events, _) = decode_in_every_slicing(stream);

    let mut folded = crate::event::Answer::default();
    events.into_iter().for_each(|event| folded.fold(event));

    assert_eq!(folded.text, r#"{"city":"Paris"}"#);
}

/// WIRE 4.
#[test]
fn the_end_has_a_reason() {
    let calls = r#","tool_calls":[{"function":{"name":"f","arguments":{}}}]"#;
    for (reason, message, finish) in [
        (r#","done_reason":"stop""#, "", Finish::Stop),
        (r#","done_reason":"length""#, "", Finish::Length),
        ("", "", Finish::Stop),
        (r#","done_reason":"""#, "", Finish::Stop),
        (r#","done_reason":"stop""#, calls, Finish::ToolCalls),
        ("", calls, Finish::ToolCalls),
        (r#","done_reason":"length""#, calls, Finish::Length),
        (r#","done_reason":"novel""#, "", Finish::Other("novel".to_owned())),
    ] {
        let body = format!(r#"{{"message":{{"content":"a"{message}}},"done":true{reason}}}"#);
        assert_eq!(decode_answer(body.as_bytes(), None).unwrap().finish, Some(finish.clone()), "{body}");
        let (events, outcome) = decode_in_every_slicing(&body);
        assert_eq!((events.last(), outcome), (Some(&Event::Finish { choice: 0, reason: finish }), Ok(())), "{body}");
    }
}

/// WIRE 4.
#[test]
fn an_empty_answer_is_an_answer_but_loading_is_none() {
    let empty = r#"{"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop"}"#;
    assert_eq!(decode_answer(empty.as_bytes(), None).unwrap().finish, Some(Finish::Stop));
    assert_eq!(chunks(empty), [ROLE, r#""delta":{},"finish_reason":"stop"}"#]);

    for reason in ["load", "unload"] {
        let body = empty.replace("stop", reason);
        assert_eq!(decode_answer(body.as_bytes(), None), Err(BadAnswer::NoChoices));
        assert_eq!(decode_in_every_slicing(&body), (vec![], Err(StreamFault::Truncated)));
    }
}

#[test]
fn an_error_line_ends_the_stream_after_what_came_before() {
    let text = "{\"message\":{\"content\":\"Hel\"},\"done\":false}\n";
    let before = vec![Event::Text { choice: 0, text: "Hel".to_owned() }];
    for (last, words) in
        [("{\"error\":\"an error was encountered\"}\n", "an error was encountered"), ("{\"error\":\"late\"}", "late")]
    {
        let (events, outcome) = decode_in_every_slicing(&format!("{text}{last}"));

        assert_eq!(events, before);
        let Err(StreamFault::Error(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.message, words);
    }
    let Err(BadAnswer::Error(error)) = decode_answer(b"{\"error\":\"model requires more system memory\"}", None) else {
        panic!()
    };
    assert_eq!(error.message, "model requires more system memory");
}

#[test]
fn a_cut_stream_is_truncated_and_a_broken_line_is_bad() {
    let text = "{\"message\":{\"content\":\"Hel\"},\"done\":false}\n";
    assert_eq!(decode_in_every_slicing("").1, Err(StreamFault::Truncated));
    assert_eq!(decode_in_every_slicing(text).1, Err(StreamFault::Truncated));
    assert_eq!(decode_in_every_slicing(&format!("{text}{{\"message\":{{\"con")).1, Err(StreamFault::Truncated));
    assert_eq!(decode_in_every_slicing(&format!("{text}<html>\n")).1, Err(StreamFault::BadFrame));
    assert_eq!(decode([b"{\"message\":{\"content\":\"\xff\"}}\n".as_slice()]).1, Err(StreamFault::BadFrame));
    assert_eq!(decode([vec![b' '; 3_000_000].as_slice()]).1, Err(StreamFault::TooLarge));
    for body in ["", "<html>", "5", r#"{"message":{"tool_calls":[{"function":{}}]}}"#] {
        assert_eq!(decode_answer(body.as_bytes(), None), Err(BadAnswer::NotJson), "{body}");
    }
    assert_eq!(decode_answer(b"{}", None), Err(BadAnswer::NoChoices));
}

/// WIRE 3.4.
#[test]
fn minted_ids_stay_within_the_letters_and_length_that_all_providers_take() {
    let body = br#"{"message":{"tool_calls":[{"function":{"name":"f","arguments":{}}}]},"done":true}"#;
    let answer = decode_answer(body, None).unwrap();
    let id = "chatcmpl-0190a1b2-c3d4-7000-8000-0123456789ab/".to_owned();

    let encoded = encode_answer(&answer, &AnswerContext { id, ..context() });

    let encoded: serde_json::Value = serde_json::from_slice(&encoded).unwrap();
    assert_eq!(encoded["choices"][0]["message"]["tool_calls"][0]["id"], "call_c3d4700080000123456789ab_0");
}

fn line() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(&b"{\"message\":{\"content\":\""[..]),
        Just(&b"\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":"[..]),
        Just(&b"\"done\":true"[..]),
        Just(&b"\"error\":"[..]),
        Just(&b"}"[..]),
        Just(&b"{}"[..]),
        Just(&b"[["[..]),
        Just(&b"\""[..]),
        Just(&b","[..]),
        Just(&b"\n"[..]),
    ];
    let bytes = proptest::collection::vec(any::<u8>(), 0..20);
    let any = prop_oneof![piece.prop_map(<[u8]>::to_vec), bytes];
    proptest::collection::vec(any, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_slicing_never_matters(bytes in line(), size in 1_usize..16) {
        let _answer = decode_answer(&bytes, None);
        prop_assert_eq!(decode(bytes.chunks(size)), decode([bytes.as_slice()]));
    }

    #[test]
    fn any_text_survives(texts in proptest::collection::vec(".+", 0..6)) {
        let line = |text: &String| serde_json::json!({"message": {"content": text}, "done": false}).to_string() + "\n";
        let stream: String = texts.iter().map(line).chain(["{\"done\":true}".to_owned()]).collect();

        let (events, outcome) = decode(stream.as_bytes().chunks(7));

        let seen = events.into_iter().filter_map(|event| match event { Event::Text { text, .. } => Some(text), _ => None });
        // What may be the beginning of a tag waits for the next piece.
        prop_assert_eq!(seen.collect::<String>(), texts.concat());
        prop_assert_eq!(outcome, Ok(()));
    }
}

/// WIRE 3.6: The answer to a request that had to call a function is its arguments.
#[test]
fn the_text_of_a_forced_call_is_its_arguments() {
    let whole = br#"{"message":{"content":"{\"city\":\"Rome\"}"},"done":true,"done_reason":"stop"}"#;
    let lines = "{\"message\":{\"thinking\":\"hm\"}}\n{\"message\":{\"content\":\"{\\\"city\\\":\"}}\n\
        {\"message\":{\"content\":\"\\\"Rome\\\"}\"},\"done\":true,\"done_reason\":\"stop\"}\n";

    let answer = decode_answer(whole, Some("get_weather")).unwrap();
    let mut decoder = Decoder::new(Some("get_weather"));
    let mut events = Vec::new();
    for byte in lines.as_bytes() {
        decoder.push(&[*byte], &mut events).unwrap();
    }

    let (head, arguments) = &answer.tool_calls[0];
    assert_eq!((head.name.as_str(), arguments.as_str()), ("get_weather", r#"{"city":"Rome"}"#));
    assert_eq!((answer.text.as_str(), answer.finish), ("", Some(Finish::ToolCalls)));
    let heads = events.iter().filter(|event| matches!(event, Event::ToolCall { head: Some(_), .. }));
    assert_eq!(heads.count(), 1);
    assert_eq!(events.last(), Some(&Event::Finish { choice: 0, reason: Finish::ToolCalls }));
    let cut = decode_answer(br#"{"message":{"content":"{"},"done":true,"done_reason":"length"}"#, Some("f")).unwrap();
    assert_eq!(cut.finish, Some(Finish::Length));
}
