//! The official SDKs, run as their users run them, against the gateway's port. The suites are in `tests/sdk`;
//! `cargo xtask setup` installs what they need into `target/xtask`.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::Upstream;

use crate::harness::{ADMIN_KEY, Gateway, NO_BREAKERS};

/// The suites of failures and of keys have a gateway to themselves: what it learns of a failing provider is not for the
/// others, and once it has a key it asks everybody for one.
const FAILURES_IN_PYTHON: &[&str] = &["test_errors.py"];
const KEYS_IN_PYTHON: &[&str] = &["test_keys.py"];
const FAILURES_IN_NODE: &[&str] = &["errors.test.mjs"];
const KEYS_IN_NODE: &[&str] = &["keys.test.mjs"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_python_sdk_works_through_the_gateway() {
    let python = python();
    for files in [
        &[
            "test_chat.py",
            "test_tools.py",
            "test_embeddings.py",
            "test_media.py",
            "test_anthropic.py",
            "test_langchain.py",
        ][..],
        FAILURES_IN_PYTHON,
        KEYS_IN_PYTHON,
    ] {
        let (gateway, _anthropic) = gateway().await;
        let mut pytest = Command::new(&python);
        pytest
            .args([
                "-B",
                "-m",
                "pytest",
                "-p",
                "no:cacheprovider",
                "--quiet",
                "--color=no",
                "-o",
                "asyncio_mode=auto",
                "-o",
                "asyncio_default_test_loop_scope=session",
            ])
            .args(files);
        pytest.current_dir(suite("python"));
        pytest.env("GATEWAY_URL", gateway.url()).env("GATEWAY_ADMIN_KEY", ADMIN_KEY);
        passes(pytest).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_official_node_sdk_works_through_the_gateway() {
    let folder = beside_the_modules();
    for files in [
        &[
            "chat.test.mjs",
            "tools.test.mjs",
            "embeddings.test.mjs",
            "media.test.mjs",
            "anthropic.test.mjs",
            "vercel.test.mjs",
        ][..],
        FAILURES_IN_NODE,
        KEYS_IN_NODE,
    ] {
        let (gateway, _anthropic) = gateway().await;
        let mut node = node(&folder, files);
        node.env("GATEWAY_URL", gateway.url()).env("GATEWAY_ADMIN_KEY", ADMIN_KEY);
        passes(node).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imitations_by_others_are_understood() {
    let folder = beside_the_modules();

    let mut node = node(&folder, &["aimock.test.mjs"]);
    node.env("GATEWAY_BINARY", env!("CARGO_BIN_EXE_llm-gateway"));

    passes(node).await;
}

/// A gateway in front of all three dialects.
async fn gateway() -> (Gateway, Upstream) {
    let anthropic = Upstream::anthropic().await;
    let file = NO_BREAKERS.to_owned() + "[[provider]]\nname = \"anthropic\"\ncircuit_breaker = false\n";
    let variables = [("ANTHROPIC_API_KEY", "sk-ant"), ("ANTHROPIC_BASE_URL", &anthropic.url())];
    (Gateway::with_settings(&file, &variables.map(|(name, value)| (name, value as &str))).await, anthropic)
}

/// The interpreter that has the SDK.
pub(crate) fn python() -> PathBuf {
    installed("sdk-python/bin/python")
}

fn installed(what: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/xtask").join(what);
    assert!(place.exists(), "the SDKs are not installed: run `cargo xtask setup`");
    place
}

fn suite(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(language)
}

/// A copy of the Node suite in a folder beneath `node_modules`' parent: Node looks for packages from where a file is.
fn beside_the_modules() -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(installed("sdk-node")).expect("a folder beside node_modules");
    for entry in std::fs::read_dir(suite("node")).expect("the suite's folder") {
        let file = entry.expect("an entry of the suite's folder").path();
        if file.extension().is_some_and(|extension| extension == "mjs") {
            std::fs::copy(&file, folder.path().join(file.file_name().expect("a file"))).expect("a copy");
        }
    }
    folder
}

fn node(folder: &tempfile::TempDir, files: &[&str]) -> Command {
    let mut node = Command::new("node");
    node.current_dir(folder).arg("--test").args(files);
    node
}

/// Runs the suite while the gateway goes on serving, and shows what it printed if it fails.
async fn passes(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("a program");
    let printed = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "{printed}");
    println!("{printed}");
}
