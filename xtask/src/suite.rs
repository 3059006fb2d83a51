//! `cargo xtask test`: every check in order, the quick ones first, stopping at the first that fails.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::{deny, machine, node, python, routing, shell, tree};

/// Which checks to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// All of them, as CI does.
    All,
    /// The Rust tests, less those that need the SDKs.
    Rust,
    /// The official SDKs and other people's imitations through the gateway.
    Sdk,
    /// Formatting, lints, dependencies.
    Lint,
}

impl Part {
    /// Reads the arguments after `test`.
    pub(crate) fn parse(arguments: &[String]) -> Result<Part> {
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Part::All),
            ["rust"] => Ok(Part::Rust),
            ["sdk"] => Ok(Part::Sdk),
            ["lint"] => Ok(Part::Lint),
            _ => bail!("`test {}`: expected nothing, rust, sdk or lint", arguments.join(" ")),
        }
    }
}

struct Step {
    title: &'static str,
    parts: &'static [Part],
    run: fn() -> Result<()>,
}

const STEPS: [Step; 10] = [
    Step { title: "the toolchain", parts: &[Part::All, Part::Rust, Part::Sdk, Part::Lint], run: check_toolchain },
    Step { title: "the databases", parts: &[Part::All, Part::Rust], run: check_databases },
    Step { title: "formatting", parts: &[Part::All, Part::Lint], run: check_formatting },
    Step { title: "dependencies", parts: &[Part::All, Part::Lint], run: deny::check },
    Step { title: "the SDKs", parts: &[Part::All, Part::Sdk], run: install_sdks },
    Step { title: "lints", parts: &[Part::All, Part::Lint], run: check_lints },
    Step { title: "all tests", parts: &[Part::All], run: test_everything },
    Step { title: "Rust tests", parts: &[Part::Rust], run: test_rust },
    Step { title: "SDK tests", parts: &[Part::Sdk], run: test_sdks },
    Step { title: "the router's constants", parts: &[Part::All, Part::Rust], run: routing::check },
];

/// Runs the steps of that part with a header and the elapsed time each.
pub(crate) fn run(part: Part) -> Result<()> {
    let started = now();
    let steps: Vec<&Step> = STEPS.iter().filter(|step| step.parts.contains(&part)).collect();
    for (index, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {} (after {} s)", index + 1, steps.len(), step.title, started.elapsed().as_secs());
        (step.run)().with_context(|| format!("{} did not pass", step.title))?;
    }
    println!("\n=== all {} steps passed in {} s", steps.len(), started.elapsed().as_secs());
    Ok(())
}

/// Installs what the steps need and runs none of them.
pub(crate) fn set_up() -> Result<()> {
    check_toolchain()?;
    check_databases()?;
    deny::program()?;
    install_sdks()
}

fn check_toolchain() -> Result<()> {
    machine::require_rust_components()?;
    machine::require(&[machine::C_COMPILER, machine::GIT])
}

/// The tests start private ones of their own.
fn check_databases() -> Result<()> {
    machine::require(&[machine::POSTGRESQL, machine::REDIS])
}

fn check_formatting() -> Result<()> {
    shell::run(shell::cargo().args(["fmt", "--all", "--check"]))
}

fn check_lints() -> Result<()> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    shell::run(shell::cargo().args(arguments))
}

/// Into the places where the test `it::sdk` looks.
fn install_sdks() -> Result<()> {
    let source = tree::root().join("crates/gateway/tests/sdk");
    let pinned = fs::read_to_string(source.join("python/requirements.txt")).context("reading requirements.txt")?;
    let packages: Vec<&str> = pinned.lines().filter(|line| line.contains("==")).collect();
    python::environment("sdk-python", &packages)?;
    node::modules("sdk-node", &source.join("node"))?;
    Ok(())
}

fn test_everything() -> Result<()> {
    shell::run(shell::cargo().args(["test", "--workspace", "--locked"]))
}

fn test_rust() -> Result<()> {
    shell::run(shell::cargo().args(["test", "--workspace", "--locked", "--", "--skip", "sdk::"]))
}

fn test_sdks() -> Result<()> {
    shell::run(shell::cargo().args(["test", "--locked", "--package", "llm-gateway", "--test", "it", "sdk::"]))
}

#[expect(clippy::disallowed_methods, reason = "how long the steps took is for the reader and decides nothing")]
fn now() -> Instant {
    Instant::now()
}
