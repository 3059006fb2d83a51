//! `cargo xtask`: everything a fresh machine needs to run, test and measure the gateway, in one place.
//!
//! The map: `suite` is the list of checks that CI runs, `bench` and `local_model` are the two programs that measure and
//! try the gateway for real, `routing` trains and scores the router. `machine`, `python` and `node` find or install what those need, into `target/xtask` where
//! the registry allows it and by apt otherwise. `deny` drives cargo-deny. `shell` and `tree` run commands and know paths.
//! Nothing here is linked into the product.

mod bench;
mod deny;
mod local_model;
mod machine;
mod node;
mod python;
mod routing;
mod shell;
mod suite;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

const USAGE: &str = "\
usage: cargo xtask COMMAND

  demo [ARGS…]         build the gateway and run `llm-gateway demo ARGS…`: simulated providers, no key needed
  run [ARGS…]          build it and run `llm-gateway serve ARGS…`: providers from the environment or .env
  test [PART]          install what is missing, then run every check; PART is rust, sdk or lint
  bench [ARGS…]        measure beside nginx and HAProxy; --quick is shorter, names pick targets
  train [--check]      train the router's heads from its table; --check compares; --table FILE… builds the table anew
  eval-routing FILE…   what the router's plans save and keep over files of graded prompts
  local-model          run a small real model server behind the gateway and talk to it
  setup                only install what `test` needs";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[String]) -> Result<()> {
    let Some((command, rest)) = arguments.split_first() else { bail!("no command\n\n{USAGE}") };
    match (command.as_str(), rest) {
        ("demo", rest) => run_gateway("demo", rest),
        ("run", rest) => run_gateway("serve", rest),
        ("test", rest) => suite::run(suite::Part::parse(rest)?),
        ("bench", rest) => bench::run(rest),
        ("train", rest) => routing::train(rest),
        ("eval-routing", rest) => routing::evaluate(rest),
        ("local-model", []) => local_model::run(),
        ("setup", []) => suite::set_up(),
        ("help" | "--help" | "-h", _) => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("`{}` is no command\n\n{USAGE}", arguments.join(" ")),
    }
}

/// Builds the release binary, then becomes it, so that signals and the exit code are the gateway's own.
fn run_gateway(subcommand: &str, arguments: &[String]) -> Result<()> {
    machine::require(&[machine::C_COMPILER])?;
    let binary = tree::build_gateway(tree::Profile::Release)?;
    Err(shell::become_program(std::process::Command::new(binary).arg(subcommand).args(arguments)))
}
