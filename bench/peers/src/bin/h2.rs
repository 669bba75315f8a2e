//! Followers over HTTP/2 without TLS: many streams on each connection, or one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use bench_peers::{
    Exchange, Histogram, Numbering, Progress, Report, Scanner, Server, Tally, Target, Usage, now_ns,
};
use bytes::Bytes;
use clap::Parser;
use h2::RecvStream;
use h2::client::SendRequest;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{sleep, timeout};

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: Server,
    #[arg(long)]
    url: Target,
    #[arg(long)]
    pub_url: Target,
    #[arg(long)]
    connections: usize,
    /// On each connection
    #[arg(long, default_value_t = 1)]
    streams: usize,
    #[arg(long)]
    events: u64,
    /// Events per second, or less where an answer takes longer
    #[arg(long)]
    rate: f64,
}

const LIMIT: Duration = Duration::from_secs(60);
const SETTLE: Duration = Duration::from_millis(300);
const STALL: Duration = Duration::from_secs(5);
/// Connections that are opened at the same time.
const OPENING_MAX: usize = 256;

struct Shared {
    tally: Tally,
    ready: usize,
    closed: usize,
}

type State = Rc<RefCell<Shared>>;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run(Options::parse()))
}

async fn run(options: Options) -> Result<()> {
    let streams = options.connections * options.streams;
    let state = Rc::new(RefCell::new(Shared {
        tally: Tally::new(Numbering::ONE),
        ready: 0,
        closed: 0,
    }));
    let server = || options.server.usage();
    let before = server()?;
    let start = Instant::now();
    // Kept: a connection whose last sender goes may be closed.
    let _senders = connect(&options, &state).await?;
    while state.borrow().ready < streams {
        let shown = (state.borrow().ready, state.borrow().closed);
        let is_well = start.elapsed() < LIMIT && shown.1 == 0;
        ensure!(is_well, "{} of {streams} streams got a response", shown.0);
        sleep(Duration::from_millis(5)).await;
    }
    let connect_s = start.elapsed().as_secs_f64();
    sleep(SETTLE).await;
    let idle = server()?;
    let load = Usage::own()?;

    let expected = options.events * streams as u64;
    let publishing = Instant::now();
    let receipts = tokio::task::spawn_local(publish(
        options.pub_url.clone(),
        options.events,
        options.rate,
    ));
    let (mut progress, mut seen) = (Instant::now(), 0);
    // A pause of the publisher is no stall.
    let stall = STALL + Duration::from_secs_f64(1.0 / options.rate);
    while state.borrow().tally.delivered < expected && progress.elapsed() < stall {
        sleep(Duration::from_millis(2)).await;
        if state.borrow().tally.delivered > seen {
            (progress, seen) = (Instant::now(), state.borrow().tally.delivered);
        }
    }
    let seconds = (progress - publishing).as_secs_f64();
    let used = server()?.since(&idle);
    let own = Usage::own()?.since(&load);
    let receipts = receipts.await??;
    let state = state.borrow();
    let mut report = Report::default();
    report.add(json!({
        "name": options.server.name, "subs": streams, "connections": options.connections,
        "events": options.events, "connect_s": connect_s, "closed": state.closed,
        "kb_per_conn": idle.since(&before).memory_kib / streams as f64,
        "kb_per_conn_after": server()?.since(&before).memory_kib / streams as f64,
        "pub_us": receipts.json(),
    }));
    report.add(state.tally.json(expected, seconds));
    report.usage(&used, &own, seconds, state.tally.delivered);
    println!("{report}");
    Ok(())
}

async fn connect(options: &Options, state: &State) -> Result<Vec<SendRequest<Bytes>>> {
    let mut senders = Vec::with_capacity(options.connections);
    while senders.len() < options.connections {
        let count = OPENING_MAX.min(options.connections - senders.len());
        let opening: Vec<_> = (0..count)
            .map(|_| {
                tokio::task::spawn_local(open(options.url.clone(), options.streams, state.clone()))
            })
            .collect();
        for one in opening {
            senders.push(one.await??);
        }
    }
    Ok(senders)
}

async fn open(target: Target, streams: usize, state: State) -> Result<SendRequest<Bytes>> {
    let socket = TcpStream::connect(target.address).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = h2::client::handshake(socket).await?;
    // How it ended is told by its streams.
    tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
    for _ in 0..streams {
        sender = sender.ready().await?;
        let request = http::Request::get(format!("http://{}{}", target.address, target.path(0)))
            .header("accept", "text/event-stream")
            .body(())?;
        let (response, _) = sender.send_request(request, true)?;
        let state = state.clone();
        tokio::task::spawn_local(async move {
            if let Ok(response) = response.await
                && response.status() == 200
            {
                state.borrow_mut().ready += 1;
                follow(response.into_body(), &state).await;
            }
            state.borrow_mut().closed += 1;
        });
    }
    Ok(sender)
}

async fn follow(mut body: RecvStream, state: &State) {
    let (mut scanner, mut progress) = (Scanner::default(), Progress::new(Numbering::ONE));
    while let Some(Ok(piece)) = body.data().await {
        let _ = body.flow_control().release_capacity(piece.len());
        state
            .borrow_mut()
            .tally
            .read(&mut scanner, &mut progress, &piece);
    }
}

/// One event at a time over HTTP/1.1, as in the rows that this is compared with.
async fn publish(target: Target, events: u64, rate: f64) -> Result<Histogram> {
    let mut stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    let mut exchange = Exchange::new(&target);
    let (mut receipts, mut buffer) = (Histogram::default(), [0; 4096]);
    let start_ns = now_ns();
    for sequence in 0..events {
        let due_ns = start_ns + (sequence as f64 * 1e9 / rate) as u64;
        sleep(Duration::from_nanos(due_ns.saturating_sub(now_ns()))).await;
        let mut request = Vec::new();
        exchange.request(sequence, 0, &mut request);
        stream.write_all(&request).await?;
        loop {
            let got = timeout(LIMIT, stream.read(&mut buffer))
                .await
                .context("no receipt")??;
            ensure!(got > 0, "the server closed the publisher's connection");
            if let Some(took_ns) = exchange.take(&buffer[..got])? {
                receipts.add(took_ns);
                break;
            }
        }
    }
    Ok(receipts)
}
