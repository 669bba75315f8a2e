//! What the hub costs and how fast it is, beside the floor and its peers, in one run on one machine.
//!
//! Nothing here is a test: a figure is printed, never compared with what was hoped for.

mod document;
mod fanout;
mod figures;
mod http2;
mod idle;
mod peers;
mod publish;
mod resume;
mod scale;
mod server;
mod stalled;
mod tools;
mod topics;

use std::path::PathBuf;

use anyhow::Result;

use self::document::Document;
use self::server::Kind;
use self::tools::Tools;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only these [default: all; none with --plots]
    #[arg(value_enum)]
    rows: Vec<Row>,
    /// A short run, to see that everything works; its figures mean little
    #[arg(long)]
    quick: bool,
    /// Measure from 100 to 18,000 subscribers, and draw it into docs/*.svg
    #[arg(long)]
    plots: bool,
    /// Measure all, draw the plots and write docs/benchmarks.md
    #[arg(long, conflicts_with_all = ["rows", "servers", "plots"])]
    write: bool,
    /// Only these servers, where a row has them [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    servers: Vec<Kind>,
    /// A `tidings` binary that was built before, to compare with
    #[arg(long, value_name = "PATH")]
    hub: Option<PathBuf>,
    /// Add what each load program printed to this file, a JSON object per line
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The Cargo profile that the hub is built with; only `release` gives figures worth keeping
    #[arg(long, default_value = "release")]
    profile: String,
}

impl Options {
    fn measures(&self) -> Vec<Measure> {
        let rows = if self.rows.is_empty() && !self.plots {
            <Row as clap::ValueEnum>::value_variants()
        } else {
            &self.rows
        };
        let plots = (self.plots || self.write).then_some(scale::measure as Measure);
        rows.iter().map(|row| row.measure()).chain(plots).collect()
    }
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Row {
    /// Many subscribers of one topic, ten events a second
    Paced,
    /// Eight publishers, each as fast as it is answered
    FullSpeed,
    /// One NDJSON publisher
    Ndjson,
    /// 15,000 subscribers that come at once, and wait
    Idle,
    /// Subscribers that resume, from memory and from disk, while others follow live
    Resume,
    /// As many topics as subscribers, many publishers
    Topics,
    /// Subscribers that never read, and others that do
    Stalled,
    /// Durable publishing, nobody following
    Publish,
    /// Very many streams over HTTP/2
    Http2Streams,
    /// Ten events a second over HTTP/2
    Http2Paced,
}

impl Row {
    fn measure(self) -> Measure {
        match self {
            Self::Paced => fanout::paced,
            Self::FullSpeed => fanout::full_speed,
            Self::Ndjson => fanout::ndjson,
            Self::Idle => idle::measure,
            Self::Resume => resume::measure,
            Self::Topics => topics::measure,
            Self::Stalled => stalled::measure,
            Self::Publish => publish::measure,
            Self::Http2Streams => http2::streams,
            Self::Http2Paced => http2::paced,
        }
    }
}

/// A table, and how its figures came about.
struct Section {
    title: &'static str,
    method: String,
    table: crate::table::Table,
}

type Measure = fn(&Tools, quick: bool) -> Result<Section>;

pub(crate) fn run(options: &Options) -> Result<()> {
    let tools = Tools::build(options)?;
    let mut document = Document::new(&tools, options.quick)?;
    println!("{document}");
    for measure in options.measures() {
        let section = measure(&tools, options.quick)?;
        println!("{section}");
        document.add(&section);
    }
    if options.write {
        document.add_peers(&tools)?;
        document.write()?;
    }
    Ok(())
}
