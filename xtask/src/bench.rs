//! What the hub costs and how fast it is, beside the floor and a peer, in one run on one machine.
//!
//! Nothing here is a test: a figure is printed, never compared with what was hoped for.

mod document;
mod fanout;
mod figures;
mod idle;
mod publish;
mod replay;
mod server;
mod tools;

use anyhow::Result;

use self::document::Document;
use self::tools::Tools;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A short run, to see that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// Write docs/benchmarks.md as well
    #[arg(long)]
    write: bool,
    /// The Cargo profile that the hub is built with; only `release` gives figures worth keeping
    #[arg(long, default_value = "release")]
    profile: String,
}

/// A table, and how its figures came about.
struct Section {
    title: &'static str,
    method: String,
    table: crate::table::Table,
}

type Measure = fn(&Tools, quick: bool) -> Result<Section>;

const MEASURES: [Measure; 5] = [
    publish::measure,
    fanout::paced,
    fanout::full_speed,
    replay::measure,
    idle::measure,
];

pub(crate) fn run(options: &Options) -> Result<()> {
    let tools = Tools::build(&options.profile)?;
    let mut document = Document::new(&tools, options.quick)?;
    println!("{document}");
    for measure in MEASURES {
        let section = measure(&tools, options.quick)?;
        println!("{section}");
        document.add(&section);
    }
    if options.write {
        document.write()?;
    }
    Ok(())
}
