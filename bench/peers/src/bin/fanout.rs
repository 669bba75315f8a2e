//! Followers and publishers: what a delivery costs the server, and when it comes.
//!
//! Understands those options of the yardstick's `sseload` that `cargo xtask bench` uses, and prints
//! the same names, so that one may stand in for the other.

use std::time::{Duration, Instant};

use anyhow::Result;
use bench_peers::{Load, Manner, Numbering, Plan, Report, Server, Target, Usage};
use clap::Parser;
use serde_json::json;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    url: Target,
    /// Without it nothing is published, and only what connections cost is told
    #[arg(long)]
    pub_url: Option<Target>,
    /// Publish as one stream of NDJSON, to the topic `bench0`
    #[arg(long)]
    lines: bool,
    #[arg(long)]
    subs: usize,
    #[arg(long, default_value_t = 1)]
    topics: u64,
    #[arg(long, default_value_t = 0)]
    events: u64,
    /// Requests, where one makes many events
    #[arg(long)]
    posts: Option<u64>,
    /// Events per second; 0: as fast as they are answered
    #[arg(long, default_value_t = 0)]
    rate: u64,
    #[arg(long, default_value_t = 1)]
    publishers: u64,
    /// Watch the idle connections for so many seconds
    #[arg(long, default_value_t = 0)]
    idle: u64,
    /// And then for so many, in which each gets a heartbeat
    #[arg(long, default_value_t = 0)]
    beat: u64,
}

const CONNECT_LIMIT: Duration = Duration::from_secs(60);
/// What is still on its way to a server or from it when all are connected.
const SETTLE: Duration = Duration::from_millis(300);
const STALL: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let options = Options::parse();
    let server = || options.server.usage();
    let numbering = Numbering {
        topics: options.topics,
        publishers: options.publishers,
    };
    let before = server()?;
    let mut load = Load::new(numbering)?;
    let start = Instant::now();
    load.follow(options.subs, &options.url, "")?;
    let connect_s = load.wait_until_ready(start, CONNECT_LIMIT)?;
    load.wait(SETTLE)?;
    let connected = server()?;
    load.wait(Duration::from_secs(options.idle))?;
    let quiet = server()?;
    let beats = load.listen(Duration::from_secs(options.beat))?;
    let idle = server()?;
    let mut report = Report::default();
    report.add(json!({
        "name": options.server.name, "subs": options.subs, "topics": options.topics,
        "events": options.events, "connect_s": connect_s,
        "connect_us_cpu": connected.since(&before).cpu_s() * 1e6 / options.subs as f64,
        "idle_cpu_s": quiet.since(&connected).cpu_s(), "beat_cpu_s": idle.since(&quiet).cpu_s(),
        "beats": beats,
        "kb_per_conn": idle.since(&before).memory_kib / options.subs as f64,
    }));
    if let Some(target) = &options.pub_url {
        let manner = if options.lines {
            Manner::LINES
        } else {
            Manner::Events
        };
        load.publishers(target, manner, "bench0")?;
        let plan = Plan {
            events: options.posts.unwrap_or(options.events),
            rate: options.rate,
        };
        let expected = options.events * options.subs as u64 / options.topics;
        let (server_before, load_before) = (server()?, Usage::own()?);
        let seconds = load.run(plan, expected, STALL)?;
        let used = server()?.since(&server_before);
        let own = Usage::own()?.since(&load_before);
        report.add(load.tally.json(expected, seconds));
        report.usage(&used, &own, seconds, load.tally.delivered);
        report.add(json!({
            "pub_per_s": options.events as f64 / seconds, "pub_us": load.receipts.json(),
        }));
    }
    report.add(json!({ "bad": load.refused, "closed": load.closed }));
    println!("{report}");
    Ok(())
}
