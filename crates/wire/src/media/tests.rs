use proptest::prelude::*;

use super::*;
use crate::types::{BadAnswer, Piece, StreamFault};
use crate::usage::Usage;
use crate::{Relay, Thinking, observe_media};

const BOUNDARY: &str = "multipart/form-data; boundary=\"a b\"";

fn target(dialect: Dialect) -> Target<'static> {
    Target {
        dialect,
        model: "whisper-1",
        quirks: &[],
        context_window: None,
        max_output_tokens: None,
        thinking: Thinking::Unknown,
    }
}

fn part(name: &str, rest: &str, value: &[u8]) -> Vec<u8> {
    let head = format!("--a b\r\nContent-Disposition: form-data; name=\"{name}\"{rest}\r\n\r\n");
    [head.as_bytes(), value, b"\r\n"].concat()
}

fn form(parts: &[Vec<u8>]) -> Vec<u8> {
    [parts.concat(), b"--a b--\r\n".to_vec()].concat()
}

fn sent(endpoint: Endpoint, content_type: &str, body: Vec<u8>) -> Vec<u8> {
    let request = read(endpoint, content_type, &body).unwrap();
    encode(&body.into(), &request, &target(Dialect::OpenAi)).unwrap().body.to_vec()
}

#[test]
fn of_a_form_only_the_model_and_our_own_fields_change() {
    let sound = part("file", "; filename=\"x-model.mp3\"\r\nContent-Type: audio/mpeg", b"\xff\xfb--a b\r\n\0\r\n\r\n");
    let before = form(&[
        part("x-tags", "", b"a"),
        part("model", "", b"openai/whisper"),
        sound.clone(),
        part("language", "", b""),
    ]);

    let after = sent(Endpoint::Transcriptions, BOUNDARY, before.clone());

    assert_eq!(after, form(&[part("model", "", b"whisper-1"), sound, part("language", "", b"")]));
    let request = read(Endpoint::Transcriptions, BOUNDARY, &before).unwrap();
    assert_eq!((request.files, request.file_bytes, request.stream), (1, 14, false));
    assert_eq!((request.extensions[0].0.as_str(), request.extensions[0].1.get()), ("x-tags", "\"a\""));
}

#[test]
fn of_json_only_the_model_and_our_own_members_change() {
    let body = br#"{"x-tags":["a"], "model" : "openai/tts", "input":"Gr\u00fc\u00dfe", "speed": 1.10, "new":{"a":1}}"#;

    let after = sent(Endpoint::Speech, "application/json; charset=utf-8", body.to_vec());

    assert_eq!(after, br#"{ "model" : "whisper-1", "input":"Gr\u00fc\u00dfe", "speed": 1.10, "new":{"a":1}}"#);
    assert_eq!(read(Endpoint::Speech, "application/json", body).unwrap().characters, 5);
}

#[test]
fn a_moderation_without_a_model_gets_the_usual_one() {
    let after = sent(Endpoint::Moderations, "application/json", br#"{"input":["a","b"]}"#.to_vec());

    assert_eq!(after, br#"{"input":["a","b"],"model":"whisper-1"}"#);
    assert_eq!(read(Endpoint::Moderations, "", br#"{"input":"a"}"#).unwrap().model, "omni-moderation-latest");
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    for (endpoint, content_type, body, param) in [
        (Endpoint::Speech, "application/json", &br#"{"input":"a"}"#[..], Some("model")),
        (Endpoint::Speech, "application/json", br#"{"model":7}"#, Some("model")),
        (Endpoint::ImageGenerations, "application/json", br#"{"model":"m","n":11}"#, Some("n")),
        (Endpoint::ImageGenerations, "application/json", br#"{"model":"m","stream":"yes"}"#, Some("stream")),
        (Endpoint::Transcriptions, "multipart/form-data", b"--x\r\n", None),
        (Endpoint::Transcriptions, "multipart/form-data; boundary=x", b"", None),
        (
            Endpoint::Transcriptions,
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: a; name=b\r\n\r\nc",
            None,
        ),
        (Endpoint::Transcriptions, "multipart/form-data; boundary=x", b"--x\r\n\r\n\r\n--x--", None),
        (Endpoint::Transcriptions, "text/plain", b"hello", None),
    ] {
        let error = read(endpoint, content_type, body).unwrap_err();
        assert_eq!(error.param.as_deref(), param, "{}", String::from_utf8_lossy(body));
    }
    let request = read(Endpoint::Speech, "application/json", br#"{"model":"m"}"#).unwrap();
    for dialect in [Dialect::Anthropic, Dialect::Ollama] {
        let error = encode(&Bytes::from_static(br#"{"model":"m"}"#), &request, &target(dialect)).unwrap_err();
        assert!(error.message.contains("/v1/audio/speech"), "{}", error.message);
    }
}

#[test]
fn an_answer_tells_what_there_is_to_pay_for() {
    let usage = |endpoint, request: &str, is_json, answer: &'static str| {
        let request = read(endpoint, "application/json", request.as_bytes()).unwrap();
        observe_media(Bytes::from_static(answer.as_bytes()), is_json, &request).unwrap().usage
    };

    let image = usage(
        Endpoint::ImageGenerations,
        r#"{"model":"m","n":2}"#,
        true,
        r#"{"data":[{"b64_json":"a"},{"b64_json":"b"}],"usage":{"input_tokens":50,"output_tokens":2112,
            "input_tokens_details":{"text_tokens":10,"image_tokens":40}}}"#,
    );
    let expected =
        Usage { input: Some(50), output: Some(2112), media_input: Some(40), units: Some(2), ..Usage::default() };
    assert_eq!(image, expected);
    let heard = usage(
        Endpoint::Transcriptions,
        r#"{"model":"m"}"#,
        true,
        r#"{"text":"a","usage":{"type":"duration","seconds":7}}"#,
    );
    assert_eq!(heard, Usage { units: Some(7), ..Usage::default() });
    let verbose = usage(Endpoint::Translations, r#"{"model":"m"}"#, true, r#"{"text":"a","duration":7.2}"#);
    assert_eq!(verbose.units, Some(8));
    let subtitles = usage(Endpoint::Transcriptions, r#"{"model":"m"}"#, false, "1\n00:00 --> 00:01\nA\n");
    assert_eq!(subtitles, Usage::default());
    let spoken = usage(Endpoint::Speech, r#"{"model":"m","input":"hello"}"#, false, "ID3");
    assert_eq!(spoken.units, Some(5));
}

#[test]
fn an_error_in_a_success_status_is_an_error() {
    let request = read(Endpoint::Moderations, "", br#"{"input":"a"}"#).unwrap();

    let refused = observe_media(Bytes::from_static(br#"{"error":{"message":"no"}}"#), true, &request);
    let broken = observe_media(Bytes::from_static(b"<html>"), true, &request);

    assert!(matches!(refused, Err(BadAnswer::Error(error)) if error.message == "no"));
    assert_eq!(broken.unwrap_err(), BadAnswer::NotJson);
}

const STREAM: &str = "event: image_generation.partial_image\ndata: {\"type\":\"image_generation.partial_image\",\
    \"b64_json\":\"a\"}\n\ndata: {\"type\":\"image_generation.completed\",\"usage\":{\"input_tokens\":9,\
    \"output_tokens\":99}}\n\n";

fn relayed(stream: &[u8], cut: usize) -> (Vec<u8>, Usage, Result<(), StreamFault>) {
    let request = read(Endpoint::ImageGenerations, "", br#"{"model":"m","stream":true}"#).unwrap();
    let mut relay = Relay::passing(&request);
    let (first, second) = stream.split_at(cut);
    let pushed = [first, second].into_iter().try_for_each(|part| relay.push(Bytes::copy_from_slice(part)));
    let outcome = pushed.and_then(|()| relay.end());
    let mut out = Vec::new();
    while let Some(piece) = relay.pop() {
        match piece {
            Piece::Frame { bytes, .. } => out.extend_from_slice(&bytes),
            Piece::Done => out.extend(relay.done_frame().unwrap_or_default()),
            Piece::Comment(_) | Piece::Last(_) => panic!("{piece:?}"),
        }
    }
    (out, relay.usage(), outcome)
}

#[test]
fn a_stream_cut_at_every_byte_passes_through_with_its_usage() {
    for cut in 0..=STREAM.len() {
        let (out, usage, outcome) = relayed(STREAM.as_bytes(), cut);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(outcome, Ok(()));
        assert_eq!(out, STREAM);
        let paid = Usage { input: Some(9), output: Some(99), units: Some(1), ..Usage::default() };
        assert_eq!(usage, paid);
    }
}

#[test]
fn a_stream_that_ends_early_or_with_an_error_is_not_complete() {
    let (head, _) = STREAM.split_once("data: {\"type\":\"image_generation.completed").unwrap();
    assert_eq!(relayed(head.as_bytes(), 5).2, Err(StreamFault::Truncated));
    let failed = format!("{head}data: {{\"type\":\"error\",\"error\":{{\"message\":\"no\"}}}}\n\n");
    assert!(matches!(relayed(failed.as_bytes(), 5).2, Err(StreamFault::Error(error)) if error.message == "no"));
}

proptest! {
    #[test]
    fn whatever_stands_in_a_form_comes_through(
        values in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
        noise in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let values: Vec<_> = values.into_iter().filter(|value| memchr::memmem::find(value, b"--a b").is_none()).collect();
        let file = |value: &Vec<u8>| part("file", "; filename=f", value);
        let body = form(&[vec![part("model", "", b"m")], values.iter().map(file).collect()].concat());

        let after = sent(Endpoint::Transcriptions, BOUNDARY, body);

        prop_assert_eq!(after, form(&[vec![part("model", "", b"whisper-1")], values.iter().map(file).collect()].concat()));
        // Never a panic, whatever comes.
        let _ = read(Endpoint::Transcriptions, BOUNDARY, &noise);
        let _ = read(Endpoint::Transcriptions, BOUNDARY, &[b"--a b", &noise[..]].concat());
    }
}
