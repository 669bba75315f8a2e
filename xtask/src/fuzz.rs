//! The fuzz targets of `fuzz/`, with cargo-fuzz on a nightly toolchain.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

use crate::{packages, process, repository};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target
    target: Option<String>,
}

/// One allocation of more than this fails a target: nobody may take memory by what a length field
/// says.
const ALLOCATION_MIB_MAX: u32 = 64;

pub(crate) fn run(options: &Options) -> Result<()> {
    require_tools()?;
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets()?,
    };
    for target in targets {
        let limit = format!("-max_total_time={}", options.seconds);
        let memory = format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}");
        process::run(cargo_fuzz().args(["run", &target, "--", &limit, &memory]))?;
    }
    Ok(())
}

fn require_tools() -> Result<()> {
    if packages::find("cargo-fuzz").is_none() {
        bail!("cargo-fuzz is missing: run `cargo install cargo-fuzz --locked` and try again");
    }
    let mut probe = Command::new("cargo");
    probe
        .args(["+nightly", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        bail!("fuzzing wants a nightly toolchain: run `rustup toolchain install nightly`");
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let list = process::stdout(cargo_fuzz().arg("list"))?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// Through rustup's `cargo`, which alone understands `+nightly`.
fn cargo_fuzz() -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "fuzz"])
        .current_dir(repository::root());
    // Set by the cargo that runs this program, these would pin the toolchain to its own.
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC");
    command
}
