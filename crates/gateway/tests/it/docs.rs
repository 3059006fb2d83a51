//! The examples of the documents, run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Parser;
use gateway::cli::Arguments;
use gateway::config::{Config, Sources};
use http::Method;
use serde_json::Value;

use crate::harness::Gateway;
use crate::models::SIMULATED;
use crate::sdk;

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)).unwrap()
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line.strip_prefix("```") == Some(language) {
            found.push(lines.by_ref().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n"));
        } else if line.starts_with("```") {
            lines.by_ref().take_while(|line| *line != "```").for_each(drop);
        }
    }
    found
}

async fn simulated() -> Gateway {
    Gateway::with_settings(SIMULATED, &[("OPENAI_API_KEY", ""), ("OLLAMA_URL", "http://127.0.0.1:9")]).await
}

#[tokio::test]
async fn the_first_curl_of_the_readme_answers_with_the_metadata_it_shows() {
    let gateway = simulated().await;
    let readme = read("README.md");
    let curl = blocks(&readme, "sh").into_iter().find(|block| block.starts_with("curl")).unwrap();
    let body = curl.split('\'').find(|part| part.starts_with("{\"model\"")).unwrap().to_owned();
    let shown = blocks(&readme, "json").remove(0);
    let shown: Value = serde_json::from_str(&format!("{{{shown}}}")).unwrap();

    let answer = gateway.post_with("/v1/chat/completions", &[], body).await;

    assert_eq!(answer.status, 200, "{}", answer.text());
    let keys = |json: &Value| json["x-gateway"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&answer.json()), keys(&shown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_python_of_the_documents_runs() {
    let gateway = simulated().await;
    for path in ["README.md", "docs/anthropic.md"] {
        let script = blocks(&read(path), "python").remove(0).replace("http://127.0.0.1:4000", &gateway.url());
        let mut python = std::process::Command::new(sdk::python());
        python.args(["-c", &script]);

        let run = tokio::task::spawn_blocking(move || python.output()).await.unwrap().unwrap();

        assert!(run.status.success(), "{path}: {}", String::from_utf8_lossy(&run.stderr));
        assert!(String::from_utf8_lossy(&run.stdout).contains("complexity: "));
    }
}

#[test]
fn every_configuration_in_the_documents_is_valid() {
    let mut checked = 0;
    for path in ["docs/api.md", "docs/local-models.md"] {
        for block in blocks(&read(path), "toml") {
            let variables = ["OPENAI_API_KEY", "TOGETHER_API_KEY", "VLLM_API_KEY", "LOCAL_KEY"];
            let environment: BTreeMap<_, _> =
                variables.iter().map(|name| ((*name).to_owned(), "sk-x".to_owned())).collect();
            let file = Some((PathBuf::from(path), block.clone()));
            let loaded = Config::load(&Sources { environment, file, ..Sources::default() });
            assert!(loaded.is_ok(), "{path}:\n{block}\n{}", loaded.unwrap_err());
            checked += 1;
        }
    }
    assert!(checked >= 2, "the documents lost their examples");
}

#[tokio::test]
async fn the_key_in_the_documents_can_be_made() {
    let gateway = Gateway::with_upstreams().await;
    let example = blocks(&read("docs/keys.md"), "json").remove(0);

    let made = gateway.admin(Method::POST, "/api/admin/keys", &serde_json::from_str(&example).unwrap()).await;

    assert_eq!(made.status, 201, "{}", made.text());
}

#[tokio::test]
async fn the_change_of_routing_in_the_documents_is_accepted() {
    let gateway = Gateway::with_upstreams().await;
    let example: Value = serde_json::from_str(&blocks(&read("docs/routing.md"), "json").remove(0)).unwrap();

    let changed = gateway.admin(Method::PUT, "/api/admin/routing", &example).await;

    assert_eq!(changed.status, 200, "{}", changed.text());
    let in_force = changed.json();
    for (name, value) in example.as_object().unwrap() {
        let is_same = in_force[name] == *value || in_force[name].as_f64().is_some_and(|it| Some(it) == value.as_f64());
        assert!(is_same, "{name}: {}", in_force[name]);
    }
}

#[test]
fn the_commands_in_the_documents_are_understood() {
    let mut lines: Vec<String> = blocks(&read("docs/keys.md"), "sh").join("\n").lines().map(str::to_owned).collect();
    let texts = blocks(&read("docs/routing.md"), "text").join("\n");
    lines.extend(texts.lines().filter(|line| line.starts_with("llm-gateway ")).map(str::to_owned));
    assert!(lines.len() >= 6);

    for line in lines {
        // A quoted argument is one word to the shell.
        let words = line.split('"').enumerate().flat_map(|(place, part)| match place % 2 {
            0 => part.split_whitespace().collect::<Vec<_>>(),
            _ => vec![part],
        });
        let parsed = Arguments::try_parse_from(words);
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
    }
}

#[tokio::test]
async fn the_curls_of_the_api_run() {
    let gateway = Gateway::with_upstreams().await;
    let documents = ["docs/api.md", "docs/routing.md"].map(|path| blocks(&read(path), "sh")).concat();
    let curls: Vec<String> = documents.into_iter().filter(|block| block.starts_with("curl ")).collect();
    assert!(curls.len() >= 3);

    for curl in curls {
        let (_, path) = curl.split_once("http://127.0.0.1:4000").unwrap();
        let path = path.split_whitespace().next().unwrap();
        let body = curl.split('\'').find(|part| part.starts_with('{')).unwrap().to_owned();

        let answer = gateway.post_with(path, &[], body).await;

        assert_eq!(answer.status, 200, "{curl}: {}", answer.text());
    }
}
