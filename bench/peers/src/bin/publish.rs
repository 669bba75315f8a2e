//! Durable publishing, nobody following: events over kept-alive connections, each one at a time, or
//! as streams of NDJSON with at most `--window` lines without a receipt each.

use std::time::Duration;

use anyhow::{Result, ensure};
use bench_peers::{Load, Manner, Numbering, Plan, Report, Server, Target, Usage};
use clap::Parser;
use serde_json::json;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    pub_url: Target,
    /// In all
    #[arg(long)]
    events: u64,
    #[arg(long, default_value_t = 1)]
    connections: u64,
    /// Streams of NDJSON, instead of a request for each event
    #[arg(long)]
    window: Option<usize>,
}

const STALL: Duration = Duration::from_secs(5);
/// Lines sent at once, at most.
const CHUNK: usize = 512;

fn main() -> Result<()> {
    let options = Options::parse();
    let numbering = Numbering {
        topics: 1,
        publishers: options.connections,
    };
    let mut load = Load::new(numbering)?;
    let manner = match options.window {
        Some(window) => Manner::Lines {
            window,
            chunk: CHUNK.min(window.div_ceil(2)),
        },
        None => Manner::Events,
    };
    load.publishers(&options.pub_url, manner, "bench-publish")?;
    let plan = Plan {
        events: options.events,
        rate: 0,
    };
    let (server, own) = (options.server.usage()?, Usage::own()?);
    let seconds = load.run(plan, 0, STALL)?;
    let used = options.server.usage()?.since(&server);
    let own = Usage::own()?.since(&own);
    let answered = load.receipts.count();
    let sent = options.events;
    ensure!(
        answered == sent,
        "{answered} of {sent} events were answered"
    );
    let mut report = Report::default();
    report.add(json!({
        "name": options.server.name, "connections": options.connections, "window": options.window,
        "secs": seconds, "per_s": answered as f64 / seconds, "lat_us": load.receipts.json(),
    }));
    report.usage(&used, &own, seconds, answered);
    println!("{report}");
    Ok(())
}
