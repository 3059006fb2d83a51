//! `cargo xtask bench`: installs what the harness in `bench/` needs, builds both sides, runs it.

use anyhow::Result;

use crate::machine::{self, C_COMPILER, HAPROXY, NGINX, PYTHON, WRK};
use crate::{shell, tree};

/// Measures the targets that the arguments name and prints the table; `bench/README.md` says how to read it.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    machine::require(&[C_COMPILER, HAPROXY, NGINX, PYTHON, WRK])?;
    let bench = tree::root().join("bench");
    shell::run(shell::cargo().current_dir(&bench).args(["build", "--release", "--locked", "--target-dir", "target"]))?;
    let gateway = tree::build_gateway(tree::Profile::Dist)?;
    shell::run(shell::program("python3").arg(bench.join("run.py")).args(arguments).env("GATEWAY_BINARY", gateway))
}
