//! The `tidings` binary: the hub, and the commands that speak with one.
//!
//! | module | what it does |
//! | --- | --- |
//! | `arguments` | the command line |
//! | `serve` | the hub: options, listeners, signals, log lines |
//! | `publish` | events, or lines of stdin, to a hub, each once |
//! | `subscribe` | events from a hub, over broken connections |
//! | `bench` | many subscribers and publishers, and a check of every delivery |
//! | `inspect` | a log on disk |
//! | `client` | what `publish`, `subscribe` and `bench` share: URL, connection, back-off, problems |
//! | `environment` | the clock and chance, read nowhere else |

mod arguments;
mod bench;
mod client;
mod environment;
mod failure;
mod inspect;
mod notice;
mod open_files;
mod publish;
mod serve;
mod size;
mod span;
mod status_line;
mod subscribe;
mod topic_rule;

use std::{ffi::OsString, process::ExitCode};

use clap::Parser;

use arguments::{Arguments, Command};
use failure::Failure;

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_told() {
                notice::say(format_args!("tidings: {failure}"));
            }
            failure.exit_code()
        }
    }
}

fn run(command: Option<Command>) -> Result<(), Failure> {
    match command {
        None => serve::run_default(),
        Some(Command::Serve(serve)) => {
            let options: Vec<OsString> = std::env::args_os().skip(2).collect();
            serve::run(*serve, &options)
        }
        Some(Command::Publish(publish)) => publish::run(publish),
        Some(Command::Subscribe(subscribe)) => subscribe::run(&subscribe),
        Some(Command::Bench(bench)) => bench::run(&bench),
        Some(Command::Log(log)) => inspect::run(log),
    }
}
