//! What can be said about the tree without running it.

use std::path::PathBuf;

use anyhow::Result;

use crate::{bare, deny, process, repository};

pub(crate) fn run() -> Result<()> {
    format()?;
    lints()?;
    bare::run()?;
    deny::run()?;
    documentation()
}

fn format() -> Result<()> {
    process::run(repository::cargo().args(["fmt", "--all", "--check"]))?;
    for manifest in workspaces_aside() {
        let mut command = repository::cargo();
        process::run(
            command
                .args(["fmt", "--check", "--manifest-path"])
                .arg(manifest),
        )?;
    }
    Ok(())
}

fn lints() -> Result<()> {
    clippy(&["--workspace"])?;
    // The engine under shuttle is other code: its own primitives, its own test.
    clippy(&["--package", "tidings", "--features", "shuttle"])
}

fn clippy(what: &[&str]) -> Result<()> {
    let mut command = repository::cargo();
    command
        .arg("clippy")
        .args(what)
        .args(["--all-targets", "--", "-D", "warnings"]);
    process::run(&mut command)
}

fn documentation() -> Result<()> {
    let mut command = repository::cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command)
}

/// The workspaces beside the main one: fuzz targets and benchmarks, with dependencies that nobody
/// who builds the hub should wait for.
fn workspaces_aside() -> Vec<PathBuf> {
    let root = repository::root();
    let benches = root
        .join("bench")
        .read_dir()
        .into_iter()
        .flatten()
        .flatten();
    let folders = benches.map(|entry| entry.path()).chain([root.join("fuzz")]);
    folders
        .map(|folder| folder.join("Cargo.toml"))
        .filter(|file| file.is_file())
        .collect()
}
