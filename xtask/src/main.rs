//! The verbs of this repository, for people and for CI: `cargo xtask --help` lists them.

mod bare;
mod bench;
mod browser;
mod chart;
mod check;
mod console;
mod deadline;
mod deny;
mod e2e;
mod fuzz;
mod gate;
mod hub;
mod instructions;
mod packages;
mod process;
mod proxy;
mod repository;
mod table;
mod test;
mod torture;

use std::process::ExitCode;

use clap::Parser;

/// Each verb installs what it needs and is missing (Debian packages, as root), and works from a
/// fresh clone.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
enum Verb {
    /// Formatting, lints, licenses and sources of dependencies, documentation
    Check,
    /// Everything: `check`, every test in every language, the page in a browser, the proxy, a short
    /// e2e and torture, the instructions
    Test,
    /// The console page in a real browser, with screenshots in target/screenshots
    Console(repository::Build),
    /// The hub behind a real nginx: nothing is held back
    Proxy(repository::Build),
    /// The main job on real input, with kill -9 in the middle
    E2e(e2e::Options),
    /// kill -9 in a loop under load; receipts, followers and the log on disk are compared
    Torture(torture::Options),
    /// The wire crate's regression guard: instructions, against the bounds on record
    Instructions,
    /// Fan-out, memory, resuming, publishing, HTTP/2: beside the floor and peers, in one run
    Bench(bench::Options),
    /// The fuzz targets, for a while each
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What went wrong and why, without a backtrace: it is the machine or the tree, not this.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    match Verb::parse() {
        Verb::Check => check::run(),
        Verb::Test => test::run(),
        Verb::Console(build) => console::run(&build),
        Verb::Proxy(build) => proxy::run(&build),
        Verb::E2e(options) => e2e::run(&options),
        Verb::Torture(options) => torture::run(&options),
        Verb::Instructions => instructions::run(),
        Verb::Bench(options) => bench::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
    }
}
