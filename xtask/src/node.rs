//! Node packages by lock file under `target/xtask`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{shell, tree};

/// The oldest Node that the suites and their packages run on.
const OLDEST_MAJOR: u32 = 20;

/// Installs what `source/package-lock.json` pins into `target/xtask/<name>`, again when the lock changes, and returns
/// that folder. Packages' install scripts do not run.
pub(crate) fn modules(name: &str, source: &Path) -> Result<PathBuf> {
    require_node()?;
    let folder = tree::installed().join(name);
    let lock = fs::read_to_string(source.join("package-lock.json")).context("reading package-lock.json")?;
    let stamp = folder.join("installed-lock.json");
    if fs::read_to_string(&stamp).is_ok_and(|present| present == lock) {
        return Ok(folder);
    }
    println!("installing Node packages into {}", folder.display());
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    for file in ["package.json", "package-lock.json"] {
        fs::copy(source.join(file), folder.join(file)).with_context(|| format!("copying {file}"))?;
    }
    let mut npm = shell::program("npm");
    npm.current_dir(&folder).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "10"]);
    shell::read(&mut npm).context("the Node packages could not be installed; is the package registry reachable?")?;
    fs::write(&stamp, lock).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(folder)
}

fn require_node() -> Result<()> {
    let hint =
        format!("Node.js {OLDEST_MAJOR} or newer with npm is missing: install it from your system or nodejs.org");
    let version = shell::read(shell::program("node").arg("--version")).context(hint.clone())?;
    shell::read(shell::program("npm").arg("--version")).context(hint.clone())?;
    let major = version.trim().trim_start_matches('v').split('.').next().and_then(|text| text.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_MAJOR) {
        bail!("{hint}; this one is {}", version.trim());
    }
    Ok(())
}
