//! Followers that come back and want what they missed: publishes `--events` events, then lets
//! `--subs` followers in at once that resume at the first of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench_peers::{Followers, Target, Usage, data};
use clap::Parser;
use serde_json::{Value, json};

#[derive(Parser)]
struct Options {
    #[arg(long)]
    name: String,
    #[arg(long)]
    pid: u32,
    #[arg(long)]
    url: Target,
    /// Takes `application/json`: an event, or an array of them
    #[arg(long)]
    pub_url: Target,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    subs: usize,
    #[arg(long)]
    events: u64,
    #[arg(long, default_value_t = 128)]
    size: usize,
}

const BATCH: u64 = 500;

fn main() -> Result<()> {
    let options = Options::parse();
    let event = json!({ "topic": options.topic, "data": data(options.size) });
    let first = post(&options.pub_url, &event)?;
    let first = first
        .get("id")
        .and_then(Value::as_str)
        .context("no ID in the receipt")?;
    for from in (0..options.events).step_by(BATCH as usize) {
        let count = BATCH.min(options.events - from) as usize;
        post(&options.pub_url, &Value::from(vec![event.clone(); count]))?;
    }
    let before = Usage::of(options.pid)?;
    let start = Instant::now();
    let resume = format!("Last-Event-ID: {first}\r\n");
    let mut followers = Followers::connect(options.subs, &options.url, &resume)?;
    followers.wait_for(options.events, Duration::from_secs(10), |_| {})?;
    let secs = start.elapsed().as_secs_f64();
    let after = Usage::of(options.pid)?;
    let (lost, dups) = followers.lost_and_doubled(options.events);
    let report = json!({
        "name": options.name, "subs": options.subs, "events": options.events,
        "delivered": followers.delivered, "lost": lost, "dups": dups, "secs": secs,
        "per_s": followers.delivered as f64 / secs,
        "us_cpu_per_delivery":
            (after.cpu_s - before.cpu_s) * 1e6 / followers.delivered.max(1) as f64,
        "memory_growth_kib": after.memory_kib - before.memory_kib,
    });
    println!("{report}");
    Ok(())
}

/// One request on a connection of its own.
fn post(target: &Target, body: &Value) -> Result<Value> {
    let (Target { address, path }, body) = (target, body.to_string());
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.contains(" 200 "), "refused: {answer}");
    serde_json::from_str(body.trim()).with_context(|| format!("no JSON in the answer: {answer}"))
}
