//! Followers that all come back at once and want what they missed, while others follow live: how
//! fast they get it, what it costs, and what the others notice.

use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use bench_peers::{
    Histogram, Load, Manner, Numbering, Plan, Report, Server, Target, Usage, fill, memory_kib, post,
};
use clap::Parser;
use serde_json::json;

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: Server,
    /// `{t}` is the topic
    #[arg(long)]
    url: Target,
    /// Takes `application/json`, and text for the topic `{t}`
    #[arg(long)]
    pub_url: Target,
    #[arg(long)]
    subs: usize,
    /// That each is behind
    #[arg(long)]
    events: u64,
    /// First make the hub's memory forget them, by this much of another topic's
    #[arg(long, default_value_t = 0)]
    push_out_mib: u64,
}

/// Followers of another topic that are there all the time.
const LIVE: usize = 100;
/// How often all come back; a few events make no percentile.
const ROUNDS: u32 = 5;
/// Live traffic before each time, to compare with.
const CALM: Duration = Duration::from_secs(1);
/// Live events per second.
const RATE: u64 = 200;
const LIMIT: Duration = Duration::from_secs(60);
const STALL: Duration = Duration::from_secs(10);
/// What a hub does after so much was published, and connections that are new, are not what is
/// compared with.
const WARM_UP: Duration = Duration::from_secs(2);

/// What goes on while others follow live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    WarmUp,
    Calm,
    Busy,
    Done,
}

impl Phase {
    fn set(self, phase: &AtomicU8) {
        phase.store(self as u8, Ordering::Relaxed);
    }
}

fn main() -> Result<()> {
    let options = Options::parse();
    let first = fill(&options.pub_url, "bench0", options.events)?;
    for _ in 0..options.push_out_mib {
        let data = "x".repeat((1 << 20) - 1024);
        post(
            &options.pub_url,
            &json!({ "topic": "bench-filler", "data": data }),
        )?;
    }
    let phase = AtomicU8::new(Phase::WarmUp as u8);
    thread::scope(|scope| {
        let live = scope.spawn(|| follow_live(&options, &phase));
        thread::sleep(WARM_UP);
        let report = resume(&options, &first, &phase);
        Phase::Done.set(&phase);
        let live = live
            .join()
            .map_err(|_| anyhow!("the live load panicked"))??;
        let mut report = report?;
        report.add(
            json!({ "calm_us": live.calm.json(), "busy_us": live.busy.json(),
            "live_lost": live.lost }),
        );
        println!("{report}");
        Ok(())
    })
}

/// All rounds together.
fn resume(options: &Options, first: &str, phase: &AtomicU8) -> Result<Report> {
    // The followers of the live topic share this processor, and are to wait for the server only.
    rustix::process::setpriority_process(None, LOAD_NICENESS)?;
    let before = memory_kib(options.server.pid)?;
    let mut sum = Round::default();
    for _ in 0..ROUNDS {
        Phase::Calm.set(phase);
        thread::sleep(CALM);
        Phase::Busy.set(phase);
        sum.add(&round(options, first)?);
    }
    let (expected, seconds) = (sum.expected, sum.seconds);
    let mut report = Report::default();
    report.add(
        json!({ "name": options.server.name, "subs": options.subs, "events": options.events,
        "rounds": ROUNDS, "bad": sum.refused, "closed": sum.closed,
        "delivered": sum.delivered, "lost": expected.saturating_sub(sum.delivered),
        "dups": sum.doubled, "secs": seconds / f64::from(ROUNDS),
        "per_s": sum.delivered as f64 / seconds, "peak_growth_kib": sum.peak_kib - before }),
    );
    report.usage(&sum.server, &sum.load, seconds, sum.delivered);
    Ok(report)
}

#[derive(Default)]
struct Round {
    seconds: f64,
    expected: u64,
    delivered: u64,
    doubled: u64,
    refused: usize,
    closed: usize,
    peak_kib: f64,
    server: Usage,
    load: Usage,
}

impl Round {
    fn add(&mut self, other: &Self) {
        self.seconds += other.seconds;
        self.expected += other.expected;
        self.delivered += other.delivered;
        self.doubled += other.doubled;
        self.refused += other.refused;
        self.closed += other.closed;
        self.peak_kib = self.peak_kib.max(other.peak_kib);
        self.server = self.server.plus(&other.server);
        self.load = self.load.plus(&other.load);
    }
}

/// All come, get what they missed, and go.
fn round(options: &Options, first: &str) -> Result<Round> {
    let (server, own) = (options.server.usage()?, Usage::own()?);
    let start = Instant::now();
    let mut load = Load::new(Numbering::ONE)?;
    load.follow(
        options.subs,
        &options.url,
        &format!("Last-Event-ID: {first}\r\n"),
    )?;
    let expected = options.events * options.subs as u64;
    let (mut peak_kib, mut looked) = (server.memory_kib, start);
    let (mut progress, mut seen) = (start, 0);
    while load.tally.delivered < expected && progress.elapsed() < STALL {
        load.step(Duration::from_millis(20))?;
        if load.tally.delivered > seen {
            (progress, seen) = (Instant::now(), load.tally.delivered);
        }
        if looked.elapsed() > Duration::from_millis(100) {
            (peak_kib, looked) = (
                peak_kib.max(memory_kib(options.server.pid)?),
                Instant::now(),
            );
        }
    }
    let used = options.server.usage()?;
    Ok(Round {
        seconds: (progress - start).as_secs_f64(),
        expected,
        delivered: load.tally.delivered,
        doubled: load.tally.doubled,
        refused: load.refused,
        closed: load.closed,
        peak_kib: peak_kib.max(used.memory_kib),
        server: used.since(&server),
        load: Usage::own()?.since(&own),
    })
}

struct Live {
    calm: Histogram,
    busy: Histogram,
    lost: u64,
}

/// What the thread that resumes gives way with, to the one that follows live.
const LOAD_NICENESS: i32 = 19;

/// Live followers on a thread of their own: they are to notice the server, not the load.
fn follow_live(options: &Options, phase: &AtomicU8) -> Result<Live> {
    let mut load = Load::new(Numbering::ONE)?;
    let url = options.url.of_topic("bench-live");
    load.follow(LIVE, &url, "")?;
    load.wait_until_ready(Instant::now(), LIMIT)?;
    let target = options.pub_url.of_topic("bench-live");
    load.publishers(&target, Manner::Events, "bench-live")?;
    let (mut before, mut events) = (Phase::WarmUp as u8, 0);
    let (mut calm, mut busy) = (Histogram::default(), Histogram::default());
    loop {
        let now = phase.load(Ordering::Relaxed);
        if now != before {
            let times = std::mem::take(&mut load.tally.latency);
            if before == Phase::Calm as u8 {
                calm.merge(&times);
            } else if before == Phase::Busy as u8 {
                busy.merge(&times);
            }
            if now == Phase::Done as u8 {
                let lost = events * LIVE as u64 - load.tally.delivered;
                return Ok(Live { calm, busy, lost });
            }
            before = now;
        }
        let step = Plan {
            events: RATE / 20,
            rate: RATE,
        };
        events += step.events;
        load.run(step, events * LIVE as u64, STALL)?;
    }
}
