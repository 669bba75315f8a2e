//! Durable publishing: NDJSON streams, each with at most `--window` lines without a receipt.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use bench_peers::{Histogram, Target, Usage, data};
use clap::Parser;
use serde_json::json;

#[derive(Parser, Clone)]
struct Options {
    #[arg(long)]
    name: String,
    #[arg(long)]
    pid: u32,
    #[arg(long)]
    pub_url: Target,
    /// In all
    #[arg(long)]
    events: usize,
    #[arg(long, default_value_t = 1)]
    connections: usize,
    #[arg(long, default_value_t = 1)]
    window: usize,
    #[arg(long, default_value_t = 128)]
    size: usize,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let before = Usage::of(options.pid)?;
    let start = Instant::now();
    let each = options.events / options.connections;
    let connections: Vec<_> = (0..options.connections)
        .map(|_| {
            let options = options.clone();
            thread::spawn(move || Connection::open(&options)?.publish(each))
        })
        .collect();
    let mut latency = Histogram::default();
    for connection in connections {
        latency.merge(
            connection
                .join()
                .map_err(|_| anyhow!("a connection panicked"))??,
        );
    }
    let secs = start.elapsed().as_secs_f64();
    let events = (each * options.connections) as f64;
    let used = Usage::of(options.pid)?.cpu_s - before.cpu_s;
    let report = json!({
        "name": options.name, "connections": options.connections, "window": options.window,
        "secs": secs, "per_s": events / secs, "us_cpu_per_event": used * 1e6 / events,
        "lat_us": { "p50": latency.percentile(50), "p99": latency.percentile(99) },
    });
    println!("{report}");
    Ok(())
}

struct Connection {
    stream: TcpStream,
    line: String,
    window: usize,
    sent: VecDeque<Instant>,
    head_passed: bool,
    answer: Vec<u8>,
}

impl Connection {
    fn open(options: &Options) -> Result<Self> {
        let Target { address, path } = &options.pub_url;
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        )?;
        let line =
            json!({ "topic": "bench-publish", "data": data(options.size) }).to_string() + "\n";
        let (sent, answer) = (VecDeque::new(), vec![0; 1 << 16]);
        Ok(Self {
            stream,
            line,
            window: options.window,
            sent,
            head_passed: false,
            answer,
        })
    }

    fn publish(mut self, events: usize) -> Result<Histogram> {
        let mut latency = Histogram::default();
        let mut left = events;
        while left > 0 || !self.sent.is_empty() {
            let count = left.min(self.window - self.sent.len());
            self.send(count)?;
            left -= count;
            for _ in 0..self.receipts()? {
                let sent = self
                    .sent
                    .pop_front()
                    .ok_or_else(|| anyhow!("a receipt too many"))?;
                latency.add(sent.elapsed());
            }
        }
        self.stream.write_all(b"0\r\n\r\n")?;
        Ok(latency)
    }

    /// So many lines, in one chunk.
    fn send(&mut self, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let lines = self.line.repeat(count);
        let chunk = format!("{:x}\r\n{lines}\r\n", lines.len());
        let now = Instant::now();
        self.sent.extend(std::iter::repeat_n(now, count));
        Ok(self.stream.write_all(chunk.as_bytes())?)
    }

    /// Waits for receipts, and counts them: each is one JSON object, and nothing else has a brace.
    fn receipts(&mut self) -> Result<usize> {
        let got = self.stream.read(&mut self.answer)?;
        let mut answer = &self.answer[..got];
        let text = || String::from_utf8_lossy(&self.answer[..got]);
        ensure!(got > 0, "the server closed the connection");
        ensure!(
            self.head_passed || answer.starts_with(b"HTTP/1.1 200"),
            "refused: {}",
            text()
        );
        ensure!(
            memchr::memmem::find(answer, b"\"status\"").is_none(),
            "refused: {}",
            text()
        );
        if !self.head_passed {
            let end = memchr::memmem::find(answer, b"\r\n\r\n");
            answer = &answer[end.ok_or_else(|| anyhow!("half a head: {}", text()))?..];
            self.head_passed = true;
        }
        Ok(memchr::memchr_iter(b'{', answer).count())
    }
}
