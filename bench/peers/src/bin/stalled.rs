//! Followers that never read, and others of the same topic that do: how much the server's memory
//! grows, and what the others notice.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bench_peers::{Histogram, Load, Manner, Numbering, Plan, Report, Server, Target, memory_kib};
use clap::Parser;
use serde_json::json;
use socket2::{Domain, Socket, Type};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    url: Target,
    /// Takes NDJSON
    #[arg(long)]
    pub_url: Target,
    /// That never read
    #[arg(long)]
    subs: usize,
    /// Published to those that never read
    #[arg(long)]
    events: u64,
    /// Published before, to compare with
    #[arg(long)]
    calm_events: u64,
    /// Events per second
    #[arg(long)]
    rate: u64,
    /// Published to another topic before anything else, so that the server's memory of recent
    /// events is full already
    #[arg(long)]
    filler_events: u64,
}

/// Followers that read.
const LIVE: usize = 100;
const LIMIT: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(5);
/// What a follower that never reads lets the kernel keep for it.
const RECEIVE_BYTES: usize = 4096;

fn main() -> Result<()> {
    let options = Options::parse();
    let mut filler = Load::new(Numbering::ONE)?;
    filler.publishers(&options.pub_url, Manner::LINES, "bench-filler")?;
    filler.run(plan(options.filler_events, 0), 0, STALL)?;

    let mut load = Load::new(Numbering::ONE)?;
    load.follow(LIVE, &options.url, "")?;
    load.wait_until_ready(Instant::now(), LIMIT)?;
    load.publishers(&options.pub_url, Manner::LINES, "bench0")?;
    let mut sent = 0;
    let (calm_growth_kib, calm) = publish(&options, options.calm_events, &mut sent, &mut load)?;

    let stalled = (0..options.subs)
        .map(|_| stall(&options.url))
        .collect::<Result<Vec<_>>>()?;
    let server = options.server.usage()?;
    let expected = (options.calm_events + options.events) * LIVE as u64;
    let start = Instant::now();
    let (growth_kib, busy) = publish(&options, options.events, &mut sent, &mut load)?;
    let seconds = start.elapsed().as_secs_f64();
    let used = options.server.usage()?.since(&server);
    let mut report = Report::default();
    report.add(load.tally.json(expected, seconds));
    report.add(json!({
        "name": options.server.name, "subs": options.subs, "events": options.events,
        "live": LIVE, "bad": load.refused, "closed": load.closed,
        "calm_us": whole(&calm).json(), "busy_us": whole(&busy).json(),
        "calm_part_p99_us": median_p99_us(&calm), "busy_part_p99_us": median_p99_us(&busy),
        "first_part_p99_us": busy.first().map(p99_us),
        "calm_growth_kib": calm_growth_kib, "peak_growth_kib": growth_kib, "server_busy": used.cpu_s() / seconds,
    }));
    drop(stalled);
    println!("{report}");
    Ok(())
}

const PARTS: u64 = 20;

/// Publishes in parts. Answers how far the server's memory grew at most, seen between them, and the
/// latencies of each.
fn publish(
    options: &Options,
    events: u64,
    sent: &mut u64,
    load: &mut Load,
) -> Result<(f64, Vec<Histogram>)> {
    let before_kib = memory_kib(options.server.pid)?;
    let (mut peak_kib, mut parts) = (before_kib, Vec::new());
    for _ in 0..PARTS {
        *sent += events / PARTS;
        let expected = *sent * LIVE as u64;
        load.run(plan(events / PARTS, options.rate), expected, STALL)?;
        parts.push(std::mem::take(&mut load.tally.latency));
        peak_kib = peak_kib.max(memory_kib(options.server.pid)?);
    }
    Ok((peak_kib - before_kib, parts))
}

fn whole(parts: &[Histogram]) -> Histogram {
    let mut whole = Histogram::default();
    parts.iter().for_each(|part| whole.merge(part));
    whole
}

fn p99_us(part: &Histogram) -> f64 {
    part.us(0.99)
}

/// That of a part like most: one of a few that are slow has no part in it.
fn median_p99_us(parts: &[Histogram]) -> f64 {
    let mut all: Vec<f64> = parts.iter().map(p99_us).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

fn plan(events: u64, rate: u64) -> Plan {
    Plan { events, rate }
}

/// Asks for its stream, sees the answer begin, and never reads again.
fn stall(target: &Target) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_recv_buffer_size(RECEIVE_BYTES)?;
    socket.connect(&target.address.into())?;
    let mut stream = TcpStream::from(socket);
    let (path, address) = (target.path(0), target.address);
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")?;
    stream
        .read_exact(&mut [0])
        .context("no answer to a follower that never reads")?;
    Ok(stream)
}
