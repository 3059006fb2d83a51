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

fn run(arguments: &[String]) -> Result<()> {
    let program = ["run", "--quiet", "--locked", "--release", "--package", "gw-routing", "--example", "train", "--"];
    shell::run(shell::cargo().args(program).args(arguments))
}
