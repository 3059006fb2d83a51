//! `cargo xtask train` and `eval-routing`: the program beside the routing crate that trains its heads and scores its plans.

use anyhow::Result;

use crate::shell;

/// Trains; `--check` compares with what is checked in, `--table FILE…` builds the table that is trained from.
pub(crate) fn train(arguments: &[String]) -> Result<()> {
    run(arguments)
}

/// Prints what plans save and keep over files of graded prompts.
pub(crate) fn evaluate(files: &[String]) -> Result<()> {
    let mut arguments = vec!["--eval".to_owned()];
    arguments.extend_from_slice(files);
    run(&arguments)
}

/// Trains anew and compares, bit for bit, with the build that the tests have made already.
pub(crate) fn check() -> Result<()> {
    shell::run(shell::cargo().args(["run", "--quiet", "--locked"]).args(PROGRAM).arg("--check"))
}

fn run(arguments: &[String]) -> Result<()> {
    shell::run(shell::cargo().args(["run", "--quiet", "--locked", "--release"]).args(PROGRAM).args(arguments))
}

const PROGRAM: [&str; 5] = ["--package", "gw-routing", "--example", "train", "--"];
