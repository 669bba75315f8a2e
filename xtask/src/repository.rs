//! Where things are: the root, what Cargo builds, the sources of what it depends on.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The folder with the workspace's `Cargo.toml`.
///
/// Cargo says at run time where this package is; what it said when this program was compiled is
/// wrong once a target directory is shared by two clones.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.join("..").canonicalize().unwrap_or(package)
}

/// `cargo`, the one that runs this program, at the root.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Where Cargo puts what it builds.
pub(crate) fn target() -> Result<PathBuf> {
    let metadata = metadata(&["--no-deps"])?;
    let directory = metadata.get("target_directory").and_then(Value::as_str);
    Ok(PathBuf::from(
        directory.context("cargo metadata names no target directory")?,
    ))
}

/// The folders of all packages that the workspace is built from, its own first.
pub(crate) fn package_folders() -> Result<Vec<PathBuf>> {
    let metadata = metadata(&[])?;
    let packages = metadata.get("packages").and_then(Value::as_array);
    let mut folders: Vec<(bool, PathBuf)> = packages
        .context("cargo metadata lists no packages")?
        .iter()
        .filter_map(|package| {
            let manifest = package.get("manifest_path")?.as_str()?;
            let foreign = package.get("source").is_some_and(Value::is_string);
            Some((foreign, PathBuf::from(manifest).parent()?.to_path_buf()))
        })
        .collect();
    folders.sort();
    Ok(folders.into_iter().map(|(_, folder)| folder).collect())
}

/// How the hub is built for a verb.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Build {
    /// The Cargo profile that the hub is built with
    #[arg(long, default_value = "quick")]
    profile: String,
}

impl Build {
    pub(crate) fn with_profile(profile: &str) -> Self {
        let profile = profile.to_owned();
        Self { profile }
    }

    /// Builds it and answers where it is.
    pub(crate) fn hub(&self) -> Result<PathBuf> {
        build_hub(&self.profile)
    }
}

/// Builds the `tidings` binary and answers where it is.
pub(crate) fn build_hub(profile: &str) -> Result<PathBuf> {
    process::run(cargo().args(["build", "--package", "tidings-hub", "--profile", profile]))?;
    // Cargo's own profiles have folders of another name.
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(target()?.join(folder).join("tidings"))
}

fn metadata(arguments: &[&str]) -> Result<Value> {
    let mut command = cargo();
    command
        .args(["metadata", "--format-version", "1"])
        .args(arguments);
    let text = process::stdout(&mut command)?;
    serde_json::from_str(&text).context("cargo metadata did not print JSON")
}
