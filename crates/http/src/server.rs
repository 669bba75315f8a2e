//! Accepting, counting and draining connections.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tidings::{EndReason, Hub};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    config::{Config, Environment},
    connection,
    counters::{Counters, Held, increment},
    shard::{TaskShard, ThreadShards},
    stream,
};

/// A hub over HTTP. Cheap to clone; all clones are the same server.
#[derive(Debug, Clone)]
pub struct Server(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    /// Begun when there is something to serve: they need a runtime.
    threads: OnceLock<Option<ThreadShards>>,
    task: OnceLock<TaskShard>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) hub: Hub,
    pub(crate) stream: Arc<stream::Shared>,
    phase: watch::Sender<Phase>,
}

/// How far a server is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Streams are being ended, new ones are told to come back.
    Draining,
    /// All streams were told; connections finish what they are at.
    Drained,
    /// What is still open is closed.
    Over,
}

impl Shared {
    pub(crate) fn is_draining(&self) -> bool {
        *self.phase.borrow() >= Phase::Draining
    }

    pub(crate) async fn drained(&self) {
        self.reached(Phase::Drained).await;
    }

    pub(crate) async fn grace_is_over(&self) {
        self.reached(Phase::Over).await;
    }

    pub(crate) fn is_drained(&self) -> bool {
        *self.phase.borrow() >= Phase::Drained
    }

    pub(crate) fn is_over(&self) -> bool {
        *self.phase.borrow() >= Phase::Over
    }

    async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so this ends only by the phase.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn connections(&self) -> usize {
        self.stream.counters.connections.load(Ordering::Relaxed)
    }
}

/// The gauge of open connections.
#[derive(Debug)]
pub(crate) struct Connections(Arc<Counters>);

impl AsRef<AtomicUsize> for Connections {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.connections
    }
}

/// Connections beyond the limit that are kept long enough to tell the client to come back.
const SHEDDING_MAX: usize = 64;

/// Connections that are accepted at once before others of the runtime get their turn.
const ACCEPT_TURN: usize = 64;

/// How long accepting pauses when the system has no descriptor or memory for one more.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How often a drain ends the next few streams.
const DRAIN_TICK: Duration = Duration::from_millis(50);

impl Server {
    /// A server for `hub`. Nothing happens until [`Server::serve`].
    pub fn new(hub: Hub, config: Config, environment: Environment) -> Self {
        let counters = Arc::default();
        let stream = Arc::new(stream::Shared {
            config,
            environment,
            counters,
        });
        let shared = Arc::new(Shared {
            hub,
            stream,
            phase: watch::Sender::new(Phase::Serving),
        });
        Self(Arc::new(Inner {
            shared,
            threads: OnceLock::new(),
            task: OnceLock::new(),
        }))
    }

    /// Accepts connections until the server has drained. Several may run, one for each listener.
    ///
    /// Cancel safe: connections that were accepted go on.
    pub async fn serve(&self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.0.shared.drained() => return,
            };
            let taken = accepted
                .and_then(|(socket, _)| self.take(socket.into_std()?))
                .and_then(|()| self.take_waiting(&listener));
            if let Err(error) = taken {
                increment(&self.0.shared.stream.counters.accept_errors);
                tracing::warn!(%error, "could not accept a connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }

    /// Takes more of those that wait, without the runtime, whose poller they need not pass through.
    fn take_waiting(&self, listener: &TcpListener) -> io::Result<()> {
        for _ in 0..ACCEPT_TURN {
            match SockRef::from(listener).accept() {
                Ok((socket, _)) => self.take(socket.into())?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Serves one connection that somebody else accepted: a Unix socket, a pipe, a test's.
    ///
    /// # Errors
    ///
    /// The connection broke. That is its client's business more than the caller's.
    pub async fn serve_connection<I>(&self, io: I) -> io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (held, connections) = self.count();
        let shared = self.0.shared.clone();
        let config = &shared.stream.config;
        let over_limit = connections > config.connections_max;
        if over_limit || config.shards == 0 {
            let _held = held;
            return connection::serve(shared, io, over_limit).await;
        }
        let task = self.0.task.get_or_init(|| TaskShard::start(&shared));
        task.serve(shared, Box::new(io), held).await
    }

    fn count(&self) -> (Held<Connections>, usize) {
        let counters = &self.0.shared.stream.counters;
        increment(&counters.connections_accepted);
        Held::new(Connections(counters.clone()))
    }

    /// Stops in order: new subscribers are told to come back, those that are there are ended
    /// spread over the time of a drain, then connections finish what they are at, then what is
    /// still open is closed.
    pub async fn drain(&self) {
        let Inner {
            shared,
            threads,
            task,
        } = &*self.0;
        let config = &shared.stream.config;
        let (threads, task) = (|| threads.get().and_then(Option::as_ref), || task.get());
        shared.phase.send_replace(Phase::Draining);
        shared.hub.close_to_subscribers();
        self.end_streams(Duration::from_millis(config.drain_ms))
            .await;
        shared.phase.send_replace(Phase::Drained);
        threads().inspect(|shards| shards.tell_drained());
        task().inspect(|shard| shard.tell_drained());
        let grace = Duration::from_millis(config.grace_ms);
        let _ = timeout(grace, self.all_closed()).await;
        shared.phase.send_replace(Phase::Over);
        threads().inspect(|shards| shards.tell_over());
        task().inspect(|shard| shard.tell_over());
        let _ = timeout(DRAIN_TICK * 10, self.all_closed()).await;
    }

    async fn end_streams(&self, over: Duration) {
        let begun = Instant::now();
        let all = self.0.shared.hub.subscribers();
        let mut ended = 0;
        while ended < all {
            let share = begun.elapsed().as_secs_f64() / over.as_secs_f64().max(0.001);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a share of a count: exactness is of no consequence"
            )]
            let due = ((all as f64 * share).ceil() as usize).clamp(1, all);
            let now_ended = self
                .0
                .shared
                .hub
                .end(due.saturating_sub(ended), EndReason::Drain);
            if now_ended == 0 && due > ended {
                break; // the others left by themselves
            }
            ended += now_ended;
            if ended < all {
                sleep(DRAIN_TICK).await;
            }
        }
    }

    async fn all_closed(&self) {
        while self.0.shared.connections() > 0 {
            sleep(DRAIN_TICK / 5).await;
        }
    }

    fn take(&self, socket: std::net::TcpStream) -> io::Result<()> {
        let shared = self.0.shared.clone();
        let (held, connections) = self.count();
        let max = shared.stream.config.connections_max;
        if connections > max + SHEDDING_MAX {
            return Ok(()); // closed at once: there is no room even to say why
        }
        socket.set_nonblocking(true)?;
        tune(&socket, &shared.stream.config);
        if let Some(shards) = self.threads().filter(|_| connections <= max) {
            shards.take(socket, held);
            return Ok(());
        }
        let socket = TcpStream::from_std(socket)?;
        tokio::spawn(async move {
            let _held = held;
            if let Err(error) = connection::serve(shared, socket, connections > max).await {
                tracing::debug!(%error, "a connection broke");
            }
        });
        Ok(())
    }

    /// The shards, which begin with the first connection. `None`: all is served by hyper.
    fn threads(&self) -> Option<&ThreadShards> {
        let Inner {
            shared, threads, ..
        } = &*self.0;
        let begin = || {
            let count = shared.stream.config.shards;
            let begun = (count > 0).then(|| ThreadShards::start(shared, count));
            begun.and_then(|begun| {
                let failed = "shards cannot be started; streams cost several times as much";
                begun
                    .inspect_err(|error| tracing::error!(%error, "{failed}"))
                    .ok()
            })
        };
        threads.get_or_init(begin).as_ref()
    }
}

/// What the kernel takes for a client beyond what is on its way. It would take megabytes otherwise,
/// and a slow client would cost those.
const UNSENT_BYTES_MAX: u32 = 32 << 10;

/// Small writes go out at once, and a peer that vanished is noticed.
fn tune(socket: &std::net::TcpStream, config: &Config) {
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    // To Linux a client that reads a little at a time has vanished too, where its window never has
    // room for the next packet: measured, it is cut at this time after it first fell behind. So it
    // is longer than what a client may stall, which is measured where its progress can be seen.
    let vanished_max = Duration::from_millis(config.stall_ms_max.saturating_mul(4));
    let socket = SockRef::from(socket);
    let tuned = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX))
        .and_then(|()| socket.set_tcp_keepalive(&keepalive))
        .and_then(|()| socket.set_tcp_user_timeout(Some(vanished_max)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "could not tune a connection");
    }
}
