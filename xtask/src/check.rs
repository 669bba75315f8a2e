//! What can be said about the tree without running it.

use std::path::PathBuf;
use std::process::Command;

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
    clippy(&["--package", "tidings", "--features", "shuttle"])?;
    lints_aside()
}

fn lints_aside() -> Result<()> {
    // One folder for what all of them depend on, the log above all.
    let target = repository::target()?.join("aside");
    for manifest in workspaces_aside() {
        let mut command = repository::cargo();
        command.arg("clippy").arg("--manifest-path").arg(manifest);
        command.arg("--target-dir").arg(&target);
        // A lint needs no libFuzzer: said to be built elsewhere, it is not built, and so asks for no
        // C++ compiler. Nobody links it, so that there is none at this place is never noticed.
        command.env("CUSTOM_LIBFUZZER_PATH", target.join("libfuzzer.a"));
        deny_warnings(&mut command)?;
    }
    Ok(())
}

fn clippy(what: &[&str]) -> Result<()> {
    let mut command = repository::cargo();
    deny_warnings(command.arg("clippy").args(what))
}

fn deny_warnings(clippy: &mut Command) -> Result<()> {
    process::run(clippy.args(["--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut command = repository::cargo();
    command
        .args(["doc", "--workspace", "--no-deps"])
        .env("RUSTDOCFLAGS", "-D warnings");
    process::run(&mut command)
}

/// The workspaces beside the main one: fuzz targets and benchmarks, with dependencies that nobody
/// who builds the hub should wait for. All of them compile on stable; only to run a fuzz target takes
/// nightly.
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
