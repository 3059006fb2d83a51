//! Where things are: the repository, what xtask installs, what cargo builds.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::shell;

/// How the gateway is built; the profiles are explained in the root `Cargo.toml`.
#[derive(Clone, Copy)]
pub(crate) enum Profile {
    /// Optimised, quick to build: what `demo`, `run` and `local-model` start.
    Release,
    /// What is shipped, and so what is measured.
    Dist,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Release => "release",
            Profile::Dist => "dist",
        }
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_path_buf()
}

/// What xtask installs and unpacks; removing it is always safe.
pub(crate) fn installed() -> PathBuf {
    root().join("target/xtask")
}

/// Builds the gateway, cargo's progress in sight, and tells where the binary is.
pub(crate) fn build_gateway(profile: Profile) -> Result<PathBuf> {
    shell::run(shell::cargo().args(["build", "--locked", "--package", "llm-gateway", "--profile", profile.name()]))?;
    Ok(target_directory()?.join(profile.name()).join("llm-gateway"))
}

/// Cargo's target directory, read off this very program's place in it (`…/debug/xtask`): no setting can mislead it.
fn target_directory() -> Result<PathBuf> {
    let program = std::env::current_exe().context("where this program is")?;
    program.ancestors().nth(2).map(Path::to_path_buf).context("this program is not in a target directory")
}
