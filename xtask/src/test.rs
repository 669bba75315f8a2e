//! Everything that can be tested, in every language of the tree. What CI runs.

use anyhow::Result;

use crate::repository::Build;
use crate::{check, console, e2e, instructions, packages, process, proxy, repository, torture};

/// Enough for three kills at different places, and a few seconds.
const E2E_LINES: usize = 20_000;

/// Deaths of the hub in each mode: some seconds.
const TORTURE_ROUNDS: usize = 10;

/// The tests have built the hub with it already, and it checks its own arithmetic.
const PROFILE: &str = "dev";

pub(crate) fn run() -> Result<()> {
    // First, so that a machine that cannot have them says so at once.
    packages::ensure(&[
        packages::CHROMIUM,
        packages::CHROMEDRIVER,
        packages::CURL,
        packages::NGINX,
        packages::VALGRIND,
    ])?;
    check::run()?;
    workspace()?;
    interleavings()?;
    instructions::run()?;
    console::run(&Build::with_profile(PROFILE))?;
    proxy::run(&Build::with_profile(PROFILE))?;
    e2e::run(&e2e::Options::short(E2E_LINES, PROFILE))?;
    let torture = torture::Options::short(TORTURE_ROUNDS, PROFILE);
    torture::run(&torture.clone().with_interval())?;
    torture::run(&torture.clone().on_full_disk())?;
    torture::run(&torture)
}

/// Unit, integration and documentation tests of all crates.
fn workspace() -> Result<()> {
    process::run(repository::cargo().args(["test", "--workspace"]))
}

/// The seam between replay and live, under a scheduler that explores the orders of threads.
fn interleavings() -> Result<()> {
    let mut command = repository::cargo();
    command.args(["test", "--package", "tidings", "--features", "shuttle"]);
    // Documentation tests cannot run under shuttle's primitives.
    process::run(command.args(["--lib", "--tests"]))
}
