//! The log beside the stores that one would use instead, in one run on one machine: durable
//! append, replay, open. `README.md` has the figures of one such run.

mod append;
mod disk;
mod figures;
mod load;
mod machine;
mod opening;
mod replay;
mod stores;
#[path = "../../../xtask/src/table.rs"]
mod table;
mod workload;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Without a verb: all of them, in this order.
#[derive(Parser)]
struct Arguments {
    /// Where the stores are; on the disk that is to be measured, with 10 GB free
    #[arg(long, default_value = "target/compare", global = true)]
    folder: PathBuf,
    /// How many events replay and open are measured on
    #[arg(long, default_value_t = 4_000_000, global = true)]
    events: usize,
    /// How often each store takes its turn at appending
    #[arg(long, default_value_t = 5, global = true)]
    rounds: usize,
    /// How long each of these turns is
    #[arg(long, default_value_t = 1.0, global = true)]
    seconds: f64,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Durable append at batches of 1, 32, 512
    Append,
    /// Stores what the next two need
    Load,
    /// All events, one topic of 10,000, one topic of a tenth of all events; warm and cold
    Replay,
    /// After a close and after a kill; warm and cold
    Open,
    /// What is killed by `open`
    #[command(hide = true)]
    Commit { kind: String, folder: PathBuf },
}

fn main() -> Result<()> {
    let Arguments {
        folder,
        events,
        rounds,
        seconds,
        verb,
    } = Arguments::parse();
    if let Some(Verb::Commit { kind, folder }) = &verb {
        return opening::commit_until_killed(kind, folder);
    }
    println!("{}", machine::describe(&folder)?);
    let append = || append::run(&folder, rounds, seconds);
    match verb {
        Some(Verb::Append) => append(),
        Some(Verb::Load) => load::run(&folder, events),
        Some(Verb::Replay) => replay::run(&folder),
        Some(Verb::Open | Verb::Commit { .. }) => opening::run(&folder),
        None => {
            append()?;
            load::run(&folder, events)?;
            replay::run(&folder)?;
            opening::run(&folder)?;
            Ok(std::fs::remove_dir_all(&folder)?)
        }
    }
}
