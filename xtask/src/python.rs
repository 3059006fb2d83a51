//! Python environments with pinned packages under `target/xtask`.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::{machine, shell, tree};

/// A virtual environment of that name holding exactly these packages (`name==version`), built again when they change.
/// Returns its folder; programs are in `bin`. Only wheels are taken: nothing is compiled and no package's code is run.
pub(crate) fn environment(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = tree::installed().join(name);
    let stamp = folder.join("packages.txt");
    let wanted = packages.join("\n");
    if fs::read_to_string(&stamp).is_ok_and(|present| present == wanted) {
        return Ok(folder);
    }
    machine::require(&[machine::PYTHON, machine::PYTHON_VENV])?;
    println!("installing {} Python packages into {}", packages.len(), folder.display());
    shell::read(shell::program("python3").args(["-m", "venv", "--clear"]).arg(&folder))?;
    let mut pip = shell::program(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]);
    pip.args(["--timeout", "180", "--retries", "10"]).args(packages);
    shell::read(&mut pip).context("the Python packages could not be installed; is the package index reachable?")?;
    fs::write(&stamp, wanted).with_context(|| format!("writing {}", stamp.display()))?;
    Ok(folder)
}
