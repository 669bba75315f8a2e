//! Followers and publishers: what a delivery costs the server, and when it comes.
//!
//! Understands those options of the yardstick's `sseload` that `cargo xtask bench` uses, and prints
//! the same names, so that one may stand in for the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use bench_peers::{Followers, Histogram, Publisher, Target, Usage, data};
use clap::Parser;
use serde_json::json;

#[derive(Parser)]
struct Options {
    #[arg(long)]
    name: String,
    #[arg(long)]
    pid: u32,
    #[arg(long)]
    url: Target,
    /// Without it nothing is published, and only what connections cost is told
    #[arg(long)]
    pub_url: Option<Target>,
    #[arg(long, default_value = "text/plain")]
    pub_ctype: String,
    #[arg(long)]
    subs: usize,
    #[arg(long, default_value_t = 0)]
    events: u64,
    /// Requests, where one makes many events
    #[arg(long)]
    posts: Option<u64>,
    /// Events per second; 0: as fast as they are answered
    #[arg(long, default_value_t = 0)]
    rate: u32,
    #[arg(long, default_value_t = 1)]
    publishers: u64,
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Watch the idle connections for so many seconds
    #[arg(long, default_value_t = 0)]
    idle: u64,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let before = Usage::of(options.pid)?;
    let connecting = Instant::now();
    let mut followers = Followers::connect(options.subs, &options.url, "")?;
    followers.wait_until_ready(Duration::from_secs(60))?;
    let connect_s = connecting.elapsed().as_secs_f64();
    let idle = Usage::of(options.pid)?;
    thread::sleep(Duration::from_secs(options.idle));
    let idle_cpu_s = Usage::of(options.pid)?.cpu_s - idle.cpu_s;

    let schedule = Arc::new(Schedule::new(&options));
    let start = schedule.start;
    let target = options.pub_url.iter();
    let publishers: Vec<_> = target
        .flat_map(|target| (0..options.publishers).map(move |_| target.clone()))
        .map(|target| {
            let kind = options.pub_ctype.clone();
            let (body, schedule) = (data(options.size), Arc::clone(&schedule));
            thread::spawn(move || schedule.publish(Publisher::connect(&target, &kind, &body)?))
        })
        .collect();
    let mut latency = Histogram::default();
    followers.wait_for(options.events, Duration::from_secs(10), |number| {
        latency.add(start.elapsed().saturating_sub(schedule.sent_at(number)));
    })?;
    let secs = start.elapsed().as_secs_f64();
    for publisher in publishers {
        publisher
            .join()
            .map_err(|_| anyhow::anyhow!("a publisher panicked"))??;
    }
    let used = Usage::of(options.pid)?.cpu_s - idle.cpu_s;
    let (lost, dups) = followers.lost_and_doubled(options.events);
    // With several publishers, or several events in a request, who sent the n-th event is not known.
    let known = options.publishers == 1 && options.posts.is_none();
    let mut us = |percent| {
        if known {
            latency.percentile(percent)
        } else {
            0
        }
    };
    let report = json!({
        "name": options.name, "subs": options.subs, "bad": 0, "closed": followers.closed,
        "connect_s": connect_s, "idle_cpu_s": idle_cpu_s,
        "kb_per_conn": (idle.memory_kib - before.memory_kib) / options.subs as f64,
        "delivered": followers.delivered, "lost": lost, "dups": dups, "secs": secs,
        "per_s": followers.delivered as f64 / secs,
        "pub_per_s": options.events as f64 / secs,
        "us_cpu_per_delivery": used * 1e6 / followers.delivered.max(1) as f64,
        "lat_us": { "p50": us(50), "p99": us(99) },
    });
    println!("{report}");
    Ok(())
}

/// Which request is next, when it is due, and when each was sent.
struct Schedule {
    start: Instant,
    next: AtomicU64,
    period: Duration,
    sent_us: Vec<AtomicU64>,
}

impl Schedule {
    fn new(options: &Options) -> Self {
        let posts = options.posts.unwrap_or(options.events);
        let period = Duration::from_secs(1)
            .checked_div(options.rate)
            .unwrap_or_default();
        let sent_us = (0..posts).map(|_| AtomicU64::new(0)).collect();
        Self {
            start: Instant::now(),
            next: AtomicU64::new(0),
            period,
            sent_us,
        }
    }

    fn publish(&self, mut publisher: Publisher) -> Result<()> {
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(sent) = self.sent_us.get(number as usize) else {
                return Ok(());
            };
            let due = self.period * number as u32;
            // This is the load's own pace, not a wait for something to happen.
            thread::sleep(due.saturating_sub(self.start.elapsed()));
            sent.store(self.start.elapsed().as_micros() as u64, Ordering::Relaxed);
            publisher.publish()?;
        }
    }

    fn sent_at(&self, number: u64) -> Duration {
        let sent = self
            .sent_us
            .get(number as usize)
            .map_or(0, |sent| sent.load(Ordering::Relaxed));
        Duration::from_micros(sent)
    }
}
