//! The log beside the stores that one would use instead, in one run on one machine: durable
//! append, replay, open. `README.md` has the figures of one such run.

mod append;
mod bound;
mod disk;
mod figures;
mod load;
mod log;
mod machine;
mod memory;
mod opening;
mod readers;
mod replay;
mod retention;
mod stores;
#[path = "../../../xtask/src/table.rs"]
mod table;
mod workload;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use stores::Kind;

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
    /// Of which stores, e.g. `floor,tidings`; all of them as it comes
    #[arg(long, value_delimiter = ',', value_enum, global = true)]
    stores: Vec<Kind>,
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
    /// A topic's replay beside only reading its bytes (Tidings)
    Bound,
    /// Many cursors of the same old range beside the committer (Tidings)
    Readers,
    /// How long commits wait for retention (Tidings)
    Retention,
    /// By topics and by segments (Tidings)
    Memory,
    /// What `memory` looks at
    #[command(hide = true)]
    Resident {
        of: memory::Of,
        many: usize,
        times: usize,
        at: PathBuf,
    },
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
        stores,
        verb,
    } = Arguments::parse();
    if let Some(Verb::Commit { kind, folder }) = &verb {
        return opening::commit_until_killed(kind, folder);
    }
    if let Some(Verb::Resident {
        of,
        many,
        times,
        at,
    }) = &verb
    {
        return memory::resident(*of, *many, *times, at);
    }
    println!("{}", machine::describe(&folder)?);
    let stores = if stores.is_empty() {
        Kind::value_variants().to_vec()
    } else {
        stores
    };
    let append = || append::run(&folder, &stores, rounds, seconds);
    match verb {
        Some(Verb::Append) => append(),
        Some(Verb::Load) => load::run(&folder, &stores, events),
        Some(Verb::Replay) => replay::run(&folder, &stores),
        Some(Verb::Open) => opening::run(&folder, &stores),
        Some(Verb::Bound) => bound::run(&folder, events),
        Some(Verb::Readers) => readers::run(&folder, seconds * rounds as f64),
        Some(Verb::Retention) => retention::run(&folder, seconds * rounds as f64 * 2.0),
        Some(Verb::Memory) => memory::run(&folder),
        Some(Verb::Commit { .. } | Verb::Resident { .. }) => unreachable!("returned above"),
        None => {
            append()?;
            load::run(&folder, &stores, events)?;
            replay::run(&folder, &stores)?;
            bound::run(&folder, events)?;
            readers::run(&folder, seconds * rounds as f64)?;
            opening::run(&folder, &stores)?;
            retention::run(&folder, seconds * rounds as f64 * 2.0)?;
            memory::run(&folder)?;
            Ok(std::fs::remove_dir_all(&folder)?)
        }
    }
}
