use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{AnswerContext, BadAnswer, Thinking};

fn refused(body: &str) -> (Option<String>, &'static str) {
    let error = read(body.as_bytes()).unwrap_err();
    assert!(error.message.ends_with('.'), "{}", error.message);
    (error.param, error.problem.code())
}

fn with_input(input: &str) -> String {
    format!(r#"{{"model":"m","input":{input}}}"#)
}

fn target(dialect: Dialect) -> Target<'static> {
    Target {
        dialect,
        model: "nomic-embed-text",
        quirks: &[],
        context_window: None,
        max_output_tokens: None,
        thinking: Thinking::Unknown,
    }
}

fn encoded(body: &str, dialect: Dialect) -> Result<(String, Vec<String>), Error> {
    let encoded = encode(body.as_bytes(), &read(body.as_bytes())?, &target(dialect))?;
    let lost = encoded.loss.items().iter().map(|lost| lost.path.clone()).collect();
    Ok((String::from_utf8(encoded.body.to_vec()).unwrap(), lost))
}

fn translated(from: Dialect, answer: &str, body: &str) -> Result<crate::Whole, BadAnswer> {
    let context = AnswerContext {
        id: "embd-1".to_owned(),
        created: 0,
        model: "nomic-embed-text".to_owned(),
        prompt_tokens: 0,
        bent: Default::default(),
    };
    translate(from, Bytes::copy_from_slice(answer.as_bytes()), &read(body.as_bytes()).unwrap(), &context)
}

#[test]
fn every_form_of_input_is_counted() {
    for (input, inputs) in [
        (r#""a""#, 1),
        (r#"["a","b\n"]"#, 2),
        ("[1, 2, 3]", 1),
        ("[[1],[2,3]]", 2),
        (&json!(vec!["a"; 2_048]).to_string(), 2_048),
        (&json!(vec![7; 5_000]).to_string(), 1),
    ] {
        assert_eq!(read(with_input(input).as_bytes()).unwrap().inputs, inputs, "{input}");
    }
    let body = r#"{"model":"m","input":"a","encoding_format":"base64","dimensions":256,"X-Tags":["t"],"user":"u"}"#;
    let request = read(body.as_bytes()).unwrap();
    assert_eq!((request.model.as_str(), request.encoding, request.dimensions), ("m", Encoding::Base64, Some(256)));
    assert_eq!((request.extensions[0].0.as_str(), request.extensions[0].1.get()), ("x-tags", r#"["t"]"#));
}

#[test]
fn the_prompt_is_every_text_and_the_number_of_tokens() {
    for (input, text, tokens) in
        [(r#""a\n""#, "a\n", 0), (r#"["a","b"]"#, "ab", 0), ("[1, 2, 3]", "", 3), ("[[1],[2,3]]", "", 3)]
    {
        let prompt = prompt(with_input(input).as_bytes()).unwrap();
        assert_eq!((prompt.text.text(), prompt.tokens), (text, tokens), "{input}");
    }
    assert!(prompt(with_input("[]").as_bytes()).is_err());
}

#[test]
fn counts_that_are_no_numbers_are_unknown() {
    let body = with_input(r#""a""#);
    for bad in ["-1", "1e999", "99999999999999999999999999", "\"6\"", "null", "{}"] {
        let openai = format!(r#"{{"data":[{{"embedding":[0.5]}}],"usage":{{"prompt_tokens":{bad}}}}}"#);
        assert_eq!(translated(Dialect::OpenAi, &openai, &body).unwrap().usage.input, None, "{bad}");
        let ollama = format!(r#"{{"embeddings":[[0.5]],"prompt_eval_count":{bad}}}"#);
        assert_eq!(translated(Dialect::Ollama, &ollama, &body).unwrap().usage.input, None, "{bad}");
    }
}

#[test]
fn faults_are_named_by_their_field() {
    for (body, param, code) in [
        ("[]".to_owned(), None, "invalid_type"),
        ("{".to_owned(), None, "invalid_json"),
        (r#"{"input":"a"}"#.to_owned(), Some("model"), "missing_required_parameter"),
        (r#"{"model":7,"input":"a"}"#.to_owned(), Some("model"), "invalid_type"),
        (r#"{"model":"m"}"#.to_owned(), Some("input"), "missing_required_parameter"),
        (r#"{"model":"m","input":"a","input":"b"}"#.to_owned(), Some("input"), "duplicate_parameter"),
        (with_input("null"), Some("input"), "missing_required_parameter"),
        (with_input("5"), Some("input"), "invalid_type"),
        (with_input("{}"), Some("input"), "invalid_type"),
        (with_input(r#"["a",1]"#), Some("input"), "invalid_type"),
        (with_input(r#"[1,"a"]"#), Some("input"), "invalid_type"),
        (with_input(r#"[["a"]]"#), Some("input"), "invalid_type"),
        (with_input("[[[1]]]"), Some("input"), "invalid_type"),
        (with_input("[-1]"), Some("input"), "invalid_type"),
        (with_input("[1.5]"), Some("input"), "invalid_type"),
        (with_input(r#""\ud800""#), None, "invalid_json"),
        (with_input(r#""""#), Some("input"), "invalid_value"),
        (with_input("[]"), Some("input"), "invalid_value"),
        (with_input(r#"["a",""]"#), Some("input"), "invalid_value"),
        (with_input("[[1],[]]"), Some("input"), "invalid_value"),
        (with_input(&json!(vec!["a"; 2_049]).to_string()), Some("input"), "invalid_value"),
        (with_input(r#""a","encoding_format":"hex""#), Some("encoding_format"), "invalid_value"),
        (with_input(r#""a","encoding_format":5"#), Some("encoding_format"), "invalid_type"),
        (with_input(r#""a","dimensions":0"#), Some("dimensions"), "invalid_value"),
        (with_input(r#""a","dimensions":1.5"#), Some("dimensions"), "invalid_value"),
        (with_input(r#""a","dimensions":"9""#), Some("dimensions"), "invalid_type"),
    ] {
        assert_eq!(refused(&body), (param.map(str::to_owned), code), "{body}");
    }
}

#[test]
fn an_openai_target_gets_the_callers_bytes_but_for_the_model() {
    let body = r#"{ "input": [[1, 2]] ,"model":"auto","x-tags":[],"encoding_format":"base64", "future":1.0 }"#;
    let (sent, lost) = encoded(body, Dialect::OpenAi).unwrap();
    assert_eq!(sent, r#"{ "input": [[1, 2]] ,"model":"nomic-embed-text","encoding_format":"base64", "future":1.0 }"#);
    assert!(lost.is_empty());
}

#[test]
fn an_ollama_target_gets_texts_and_room_for_the_longest() {
    let body = r#"{"model":"auto","input":"Gr\u00fc\u00dfe","dimensions":256,"encoding_format":"base64","user":"u","x-tags":[]}"#;
    let (sent, lost) = encoded(body, Dialect::Ollama).unwrap();
    assert_eq!(
        sent,
        r#"{"model":"nomic-embed-text","input":["Grüße"],"truncate":false,"dimensions":256,"options":{"num_ctx":4096}}"#
    );
    assert_eq!(lost, ["user"]);

    let long = json!({"model": "auto", "input": ["a", "word ".repeat(3_000)], "keep_alive": 60}).to_string();
    let sent: Value = serde_json::from_str(&encoded(&long, Dialect::Ollama).unwrap().0).unwrap();
    assert_eq!((&sent["options"]["num_ctx"], &sent["keep_alive"]), (&json!(8_192), &json!(60)));
}

#[test]
fn ollama_takes_no_tokens() {
    for input in ["[1,2]", "[[1],[2]]"] {
        let error = encoded(&with_input(input), Dialect::Ollama).unwrap_err();
        assert_eq!((error.param.as_deref(), error.problem), (Some("input"), Problem::UnsupportedParameter));
    }
}

#[test]
fn ollamas_vectors_become_openais_list() {
    let answer =
        r#"{"model":"nomic-embed-text","embeddings":[[0.5,-1.25e-3],[1,2]],"total_duration":9,"prompt_eval_count":6}"#;

    let floats = translated(Dialect::Ollama, answer, &with_input(r#"["a","b"]"#)).unwrap();
    let base64 = translated(Dialect::Ollama, answer, &with_input(r#"["a","b"],"encoding_format":"base64""#)).unwrap();

    assert_eq!(
        floats.body,
        concat!(
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.25e-3]},"#,
            r#"{"object":"embedding","index":1,"embedding":[1,2]}],"model":"nomic-embed-text","#,
            r#""usage":{"prompt_tokens":6,"total_tokens":6}}"#,
        )
    );
    assert_eq!(
        base64.body,
        concat!(
            r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":"AAAAPwrXo7o="},"#,
            r#"{"object":"embedding","index":1,"embedding":"AACAPwAAAEA="}],"model":"nomic-embed-text","#,
            r#""usage":{"prompt_tokens":6,"total_tokens":6}}"#,
        )
    );
    assert_eq!((floats.usage.input, floats.usage.output), (Some(6), Some(0)));
    let silent = translated(Dialect::Ollama, r#"{"embeddings":[[1]]}"#, &with_input(r#""a""#)).unwrap();
    assert!(silent.usage.is_unknown() && !silent.body.windows(5).any(|bytes| bytes == b"usage"));
}

#[test]
fn an_openai_answer_passes_untouched_unless_numbers_stand_for_base64() {
    let floats = r#"{ "data":[{"index":0,"embedding": [0.5, -1.25e-3] ,"x":1},{"index":1,"embedding":"AACAPw=="}],"future":[1.0],"usage":{"prompt_tokens":6,"total_tokens":6}}"#;

    let untouched = translated(Dialect::OpenAi, floats, &with_input(r#"["a","b"]"#)).unwrap();
    let converted =
        translated(Dialect::OpenAi, floats, &with_input(r#"["a","b"],"encoding_format":"base64""#)).unwrap();

    assert_eq!(untouched.body, floats);
    assert_eq!(converted.body, floats.replace("[0.5, -1.25e-3]", r#""AAAAPwrXo7o=""#));
    assert_eq!((converted.usage.input, converted.usage.output), (Some(6), Some(0)));
}

#[test]
fn what_is_no_answer_is_told_apart() {
    let body = with_input(r#"["a","b"],"encoding_format":"base64""#);
    for (from, answer, expected) in [
        (Dialect::OpenAi, "<html>", BadAnswer::NotJson),
        (Dialect::OpenAi, "{}", BadAnswer::NoChoices),
        (Dialect::OpenAi, r#"{"data":[]}"#, BadAnswer::NoChoices),
        (Dialect::OpenAi, r#"{"data":[{"embedding":[1,"x"]}]}"#, BadAnswer::NotJson),
        (Dialect::Ollama, "<html>", BadAnswer::NotJson),
        (Dialect::Ollama, "{}", BadAnswer::NoChoices),
        (Dialect::Ollama, r#"{"embeddings":[[1]]}"#, BadAnswer::NoChoices),
        (Dialect::Ollama, r#"{"embeddings":[[1],null]}"#, BadAnswer::NotJson),
    ] {
        assert_eq!(translated(from, answer, &body).unwrap_err(), expected, "{answer}");
    }
    let nothing = translated(Dialect::Ollama, r#"{"embeddings":[null]}"#, &with_input(r#""a""#)).unwrap_err();
    assert_eq!(nothing, BadAnswer::NotJson);
    for (from, answer) in [(Dialect::OpenAi, r#"{"error":{"message":"no"}}"#), (Dialect::Ollama, r#"{"error":"no"}"#)] {
        let BadAnswer::Error(error) = translated(from, answer, &body).unwrap_err() else { panic!("{answer}") };
        assert_eq!(error.message, "no");
    }
}

proptest! {
    #[test]
    fn base64_carries_every_float_bit_for_bit(numbers in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL | proptest::num::f32::ZERO, 1..50)) {
        let answer = json!({"embeddings": [numbers]}).to_string();
        let whole = translated(Dialect::Ollama, &answer, &with_input(r#""a","encoding_format":"base64""#)).unwrap();

        let list: Value = serde_json::from_slice(&whole.body).unwrap();
        let bytes = STANDARD.decode(list["data"][0]["embedding"].as_str().unwrap()).unwrap();
        let back: Vec<u32> = bytes.chunks_exact(4).map(|four| u32::from_le_bytes(four.try_into().unwrap())).collect();

        prop_assert_eq!(back, numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
    }

    #[test]
    fn arbitrary_bodies_and_answers_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60), text in r#"[\[\]{}",:0-9a.e-]{0,40}"#) {
        let _bytes = read(&bytes);
        let _request = read(with_input(&text).as_bytes());
        for from in [Dialect::OpenAi, Dialect::Ollama] {
            for answer in [text.clone(), format!("{{\"data\":[{{\"embedding\":{text}}}],\"embeddings\":[{text}]}}")] {
                let _answer = translated(from, &answer, &with_input(r#""a","encoding_format":"base64""#));
            }
        }
    }
}
