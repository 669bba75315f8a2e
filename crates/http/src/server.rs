//! Accepting, counting and draining connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
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
    stream,
};

/// A hub over HTTP. Cheap to clone; all clones are the same server.
#[derive(Debug, Clone)]
pub struct Server(Arc<Shared>);

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

    async fn reached(&self, phase: Phase) {
        // The sender lives in `self`, so this ends only by the phase.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    fn connections(&self) -> usize {
        self.stream.counters.connections.load(Ordering::Relaxed)
    }
}

/// The gauge of open connections.
struct Connections(Arc<Counters>);

impl AsRef<AtomicUsize> for Connections {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.connections
    }
}

/// Connections beyond the limit that are kept long enough to tell the client to come back.
const SHEDDING_MAX: usize = 64;

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
        Self(Arc::new(Shared {
            hub,
            stream,
            phase: watch::Sender::new(Phase::Serving),
        }))
    }

    /// Accepts connections until the server has drained. Several may run, one for each listener.
    ///
    /// Cancel safe: connections that were accepted go on.
    pub async fn serve(&self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.0.drained() => return,
            };
            match accepted {
                Ok((socket, peer)) => self.spawn(socket, peer),
                Err(error) => {
                    increment(&self.0.stream.counters.accept_errors);
                    tracing::warn!(%error, "could not accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Serves one connection that somebody else accepted: a Unix socket, a pipe, a test's.
    ///
    /// # Errors
    ///
    /// The connection broke. That is its client's business more than the caller's.
    pub async fn serve_connection<I>(&self, io: I) -> std::io::Result<()>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (_held, connections) = self.count();
        let max = self.0.stream.config.connections_max;
        connection::serve(self.0.clone(), io, connections > max).await
    }

    fn count(&self) -> (Held<Connections>, usize) {
        let counters = &self.0.stream.counters;
        increment(&counters.connections_accepted);
        Held::new(Connections(counters.clone()))
    }

    /// Stops in order: new subscribers are told to come back, those that are there are ended
    /// spread over the time of a drain, then connections finish what they are at, then what is
    /// still open is closed.
    pub async fn drain(&self) {
        let config = &self.0.stream.config;
        self.0.phase.send_replace(Phase::Draining);
        self.0.hub.close_to_subscribers();
        self.end_streams(Duration::from_millis(config.drain_ms))
            .await;
        self.0.phase.send_replace(Phase::Drained);
        let grace = Duration::from_millis(config.grace_ms);
        let _ = timeout(grace, self.all_closed()).await;
        self.0.phase.send_replace(Phase::Over);
        let _ = timeout(DRAIN_TICK * 10, self.all_closed()).await;
    }

    async fn end_streams(&self, over: Duration) {
        let begun = Instant::now();
        let all = self.0.hub.subscribers();
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
            let now_ended = self.0.hub.end(due.saturating_sub(ended), EndReason::Drain);
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
        while self.0.connections() > 0 {
            sleep(DRAIN_TICK / 5).await;
        }
    }

    fn spawn(&self, socket: TcpStream, peer: SocketAddr) {
        let shared = self.0.clone();
        let (held, connections) = self.count();
        let max = shared.stream.config.connections_max;
        if connections > max + SHEDDING_MAX {
            return; // closed at once: there is no room even to say why
        }
        tune(&socket, &shared.stream.config);
        tokio::spawn(async move {
            let outcome = connection::serve(shared, socket, connections > max).await;
            if let Err(error) = outcome {
                tracing::debug!(%peer, %error, "a connection broke");
            }
            drop(held);
        });
    }
}

/// What the kernel takes for a client beyond what is on its way. It would take megabytes otherwise,
/// and a slow client would cost those.
const UNSENT_BYTES_MAX: u32 = 128 << 10;

/// Small writes go out at once, and a peer that vanished is noticed.
fn tune(socket: &TcpStream, config: &Config) {
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
