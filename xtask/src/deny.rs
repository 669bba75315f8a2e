//! cargo-deny: licenses, sources and duplicates always; advisories where their database can be had.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::{packages, process, repository};

/// The version that `deny.toml` is written for.
const VERSION: &str = "0.20.2";

pub(crate) fn run() -> Result<()> {
    let program = program()?;
    let mut always = deny(&program);
    always.args([
        "check",
        "--hide-inclusion-graph",
        "bans",
        "licenses",
        "sources",
    ]);
    process::run(&mut always)?;
    if advisories_fetched(&program)? {
        return process::run(deny(&program).args(["check", "--disable-fetch", "advisories"]));
    }
    eprintln!("SKIPPED: advisories. Their database could not be fetched from this machine");
    Ok(())
}

fn deny(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(repository::root());
    command
}

fn advisories_fetched(program: &Path) -> Result<bool> {
    let mut fetch = deny(program);
    fetch
        .args(["fetch", "db"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(fetch
        .status()
        .context("could not start cargo-deny")?
        .success())
}

/// The one on the PATH, or the one installed before, or a new one.
fn program() -> Result<PathBuf> {
    if let Some(found) = packages::find("cargo-deny") {
        return Ok(found);
    }
    let root = tools()?;
    let program = root.join("bin/cargo-deny");
    if !program.is_file() {
        install(&root)?;
    }
    Ok(program)
}

/// Unoptimized, for it runs for a second and takes minutes to build otherwise.
fn install(root: &Path) -> Result<()> {
    let mut command = repository::cargo();
    command
        .args([
            "install",
            "cargo-deny",
            "--version",
            VERSION,
            "--locked",
            "--debug",
            "--root",
        ])
        .arg(root)
        .env("CARGO_PROFILE_DEV_DEBUG", "false");
    process::run(&mut command)
}

/// In the user's cache: a fresh clone need not build its tools again.
fn tools() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).map_or_else(repository::target, Ok)?;
    Ok(cache.join("tidings-tools"))
}
