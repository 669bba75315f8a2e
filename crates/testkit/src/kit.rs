//! A hub with its HTTP server, in the test's own process.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tidings::{Committer, Hub, Limits, NewEvent, Progress, Publish, Stats};
use tidings_http::{Config, Environment, Server};
use tidings_log::{Options, ReadLimits, Reader, Select, open};
use tokio::{
    io::DuplexStream,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

use crate::{
    client::{Client, Response},
    clock::{now_ms, random},
    disk::Disk,
    events::Events,
    patience::soon,
};

/// The epoch of every kit's log, unless its [`Setup`] says otherwise.
pub const EPOCH: &str = "e1";

/// Bytes that a pipe holds in each direction.
const PIPE_BYTES: usize = 64 << 10;

/// What a test may choose.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The server's configuration.
    pub config: Config,
    /// The engine's limits.
    pub limits: Limits,
    /// The log's options.
    pub log: Options,
    /// The log's epoch.
    pub epoch: &'static str,
    /// Where the log is.
    pub disk: Disk,
}

/// A hub, its server, and the task that steps its committer. It runs until the runtime ends.
pub struct Kit {
    /// The hub.
    pub hub: Hub,
    /// The server.
    pub server: Server,
    /// Where the log is.
    pub disk: Disk,
    log: Reader,
    committing: Arc<AtomicBool>,
}

impl std::fmt::Debug for Kit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kit").finish_non_exhaustive()
    }
}

/// Whether hyper serves all streams of this program's kits, and no shard does: where the tests of
/// the contract run a second time, in a program whose name ends in `on_hyper`.
pub fn on_hyper() -> bool {
    let program = std::env::args_os().next().unwrap_or_default();
    let name = std::path::Path::new(&program).file_stem();
    // Cargo puts a hash behind the name of a test.
    name.and_then(|name| name.to_str()?.rsplit_once('-'))
        .is_some_and(|(name, _)| name.ends_with("on_hyper"))
}

impl Kit {
    /// A kit with all defaults, but for what [`on_hyper`] says.
    pub fn start() -> Self {
        Self::with(|_| {})
    }

    /// A kit with what `change` changes.
    pub fn with(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup {
            config: Config::default(),
            limits: Limits::default(),
            log: Options::default(),
            epoch: EPOCH,
            disk: Disk::default(),
        };
        if on_hyper() {
            setup.config.shards = 0;
        }
        change(&mut setup);
        let disk = setup.disk;
        let (writer, reader, _) = open(Arc::new(disk.clone()), setup.log, setup.epoch, now_ms())
            .expect("the log in memory opens");
        let log = reader.clone();
        let (hub, committer) =
            Hub::new(writer, reader, setup.limits, now_ms()).expect("the log in memory is read");
        let committing = Arc::new(AtomicBool::new(true));
        tokio::spawn(commit(committer, committing.clone()));
        let environment = Environment { now_ms, random };
        let server = Server::new(hub.clone(), setup.config, environment);
        Self {
            hub,
            server,
            disk,
            log,
            committing,
        }
    }

    /// Whether what is published is committed, or waits.
    pub fn commit(&self, on: bool) {
        self.committing.store(on, Ordering::Relaxed);
    }

    /// A connection, as a pipe.
    pub fn connect(&self) -> Client<DuplexStream> {
        self.connect_through(PIPE_BYTES).0
    }

    /// A connection through a pipe that holds so many bytes, and the server's end of it.
    pub fn connect_through(
        &self,
        pipe_bytes: usize,
    ) -> (Client<DuplexStream>, JoinHandle<std::io::Result<()>>) {
        let (near, far) = tokio::io::duplex(pipe_bytes);
        let server = self.server.clone();
        let serving = tokio::spawn(async move { server.serve_connection(far).await });
        (Client::new(near), serving)
    }

    /// A listener on loopback that is served, for what only the kernel does.
    pub async fn listen(&self) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("a bound listener");
        let server = self.server.clone();
        tokio::spawn(async move { server.serve(listener).await });
        address
    }

    /// A connection over TCP to what [`Kit::listen`] returned.
    pub async fn dial(address: std::net::SocketAddr) -> Client<TcpStream> {
        Client::new(TcpStream::connect(address).await.expect("it listens"))
    }

    /// One request on a connection of its own, and its response.
    pub async fn ask(&self, line: &str, fields: &[(&str, &str)], body: &[u8]) -> Response {
        let mut client = self.connect();
        client.request(line, fields, body).await;
        client.response().await
    }

    /// Why the hub says that it is not ready.
    pub async fn not_ready(&self) -> String {
        let response = self.ask("GET /readyz", &[], b"").await;
        assert_eq!(response.status(), 503);
        response.detail()
    }

    /// A subscriber on a connection of its own.
    pub async fn subscribe(&self, target: &str) -> Events<DuplexStream> {
        self.connect().subscribe(target, &[]).await
    }

    /// Publishes events to `topic`, not over HTTP, and waits for the receipt: their sequences.
    pub async fn publish(&self, topic: &str, data: &[&str]) -> Vec<u64> {
        let topic: tidings::Topic = topic.parse().expect("a good topic");
        let events = data.iter().map(|data| NewEvent::new(topic.clone(), data));
        let ticket = self.hub.publish(Publish::new(events.collect()));
        let receipt = soon("a receipt", ticket.expect("it fits")).await;
        receipt.expect("it is committed").sequences().collect()
    }

    /// Waits until what the hub counts is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&Stats) -> bool) {
        let reached = async {
            while !wanted(&self.hub.stats()) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        soon(what, reached).await;
    }

    /// The value of one metric, by its full name and labels.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let response = self.ask("GET /metrics", &[], b"").await;
        let text = response.text();
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse().expect("a number"))
    }

    /// Everything that the log holds, as data, oldest first.
    pub async fn everything(&self) -> Vec<String> {
        let log = self.log.clone();
        let read = tokio::task::spawn_blocking(move || {
            let (mut frames, mut at) = (Vec::new(), log.first());
            while at < log.next() {
                let page = log.read(&All, at, ReadLimits::default());
                let page = page.expect("the log in memory is read");
                page.frames
                    .iter()
                    .for_each(|stored| frames.extend_from_slice(&stored.frame));
                at = page.next;
            }
            frames
        });
        let frames = read.await.expect("no panic");
        let mut decoder = tidings_wire::Decoder::new();
        let mut input = frames.as_slice();
        let mut data = Vec::new();
        while let Some(item) = decoder.next(&mut input) {
            if let Ok(tidings_wire::Item::Event(event)) = item {
                data.push(event.data.to_string());
            }
        }
        data
    }
}

/// Every topic.
struct All;

impl Select for All {
    fn matches(&self, _: &str) -> bool {
        true
    }
}

/// Steps the committer: often while there is work, seldom when not, or hours would take minutes.
async fn commit(mut committer: Committer, on: Arc<AtomicBool>) {
    let mut pause = Duration::from_millis(1);
    loop {
        if on.load(Ordering::Relaxed) {
            match committer.step(now_ms()) {
                Progress::Done => return,
                Progress::Idle => pause = (pause * 2).min(Duration::from_millis(20)),
                _ => pause = Duration::from_millis(1),
            }
            // A disk that fails is some test's very subject.
            let _ = committer.retain(now_ms());
        }
        sleep(pause).await;
    }
}
