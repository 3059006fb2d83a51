//! What must be on the machine itself. As root on a system with apt it is installed, elsewhere it is named.

use anyhow::{Context, Result, bail};

use crate::shell;

/// Something that must be installed, how to see that it is, and where it comes from.
pub(crate) struct Tool {
    name: &'static str,
    /// A command that ends at once, and well if the tool is there.
    probe: &'static [&'static str],
    /// The Debian package that brings it.
    package: &'static str,
}

impl Tool {
    const fn new(name: &'static str, probe: &'static [&'static str], package: &'static str) -> Tool {
        Tool { name, probe, package }
    }
}

/// The crates that carry C and assembly need it (ring, mimalloc).
pub(crate) const C_COMPILER: Tool = Tool::new("a C compiler", &["cc", "--version"], "build-essential");
pub(crate) const GIT: Tool = Tool::new("git", &["git", "--version"], "git");
pub(crate) const HAPROXY: Tool = Tool::new("HAProxy", &["haproxy", "-v"], "haproxy");
pub(crate) const NGINX: Tool = Tool::new("nginx", &["nginx", "-v"], "nginx-light");
/// Debian keeps its programs off the PATH, where `testkit` finds them as well.
pub(crate) const POSTGRESQL: Tool =
    Tool::new("PostgreSQL", &["sh", "-c", "ls /usr/lib/postgresql/*/bin/initdb || command -v initdb"], "postgresql");
pub(crate) const PYTHON: Tool = Tool::new("Python 3", &["python3", "--version"], "python3");
pub(crate) const PYTHON_VENV: Tool =
    Tool::new("Python's venv", &["python3", "-c", "import venv, ensurepip"], "python3-venv");
pub(crate) const REDIS: Tool = Tool::new("Redis", &["redis-server", "--version"], "redis-server");
pub(crate) const WRK: Tool = Tool::new("wrk", &["sh", "-c", "command -v wrk"], "wrk");

/// Makes every tool available, or says which one is missing and how to get it.
pub(crate) fn require(tools: &[Tool]) -> Result<()> {
    let missing: Vec<&Tool> = tools.iter().filter(|tool| !shell::works(tool.probe)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let names = missing.iter().map(|tool| tool.name).collect::<Vec<_>>().join(", ");
    let hint =
        format!("{names} missing: install it, on Debian or Ubuntu with `apt-get install {}`", packages.join(" "));
    if !(shell::works(&["apt-get", "--version"]) && is_root()) {
        bail!(hint);
    }
    println!("installing {}", packages.join(" "));
    shell::read(shell::program("apt-get").args(["update", "--quiet"])).context(hint.clone())?;
    let mut install = shell::program("apt-get");
    install.args(["install", "--yes", "--quiet", "--no-install-recommends"]).args(packages);
    shell::read(install.env("DEBIAN_FRONTEND", "noninteractive")).context(hint.clone())?;
    match missing.iter().find(|tool| !shell::works(tool.probe)) {
        None => Ok(()),
        Some(tool) => bail!("{} does not work even now that {} is installed", tool.name, tool.package),
    }
}

/// The parts of the Rust toolchain that a minimal installation lacks.
pub(crate) fn require_rust_components() -> Result<()> {
    for component in ["fmt", "clippy"] {
        let mut probe = shell::cargo();
        shell::read(probe.args([component, "--version"]))
            .with_context(|| format!("`cargo {component}` missing: run `rustup component add rustfmt clippy`"))?;
    }
    Ok(())
}

fn is_root() -> bool {
    shell::read(shell::program("id").arg("-u")).is_ok_and(|user| user.trim() == "0")
}
