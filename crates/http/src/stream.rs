//! A subscription as a response body.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, atomic::AtomicUsize},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tidings::{LogPage, LogRead, Step, Subscription, end_frame, heartbeat_frame, opening_frame};
use tokio::{
    task::JoinHandle,
    time::{Instant, Sleep},
};

use crate::{
    config::{Config, Environment},
    counters::{Counters, Held, increment},
};

/// One subscriber: its cursor, its heartbeat, and nothing that was not written yet.
///
/// Hyper asks for the next bytes when the client can take them. So a slow client is one that does
/// not ask: its cursor stays where it is.
pub(crate) struct EventStream {
    subscription: Subscription,
    state: State,
    heartbeat: Pin<Box<Sleep>>,
    heartbeat_every: Duration,
    ping: bool,
    /// When bytes were last handed to the connection.
    written: Instant,
    shared: Arc<Shared>,
    _held: Held<Streams>,
}

/// What all streams of a server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) environment: Environment,
    pub(crate) counters: Arc<Counters>,
}

impl Shared {
    /// When a client is to come back: another time for each.
    pub(crate) fn retry_ms(&self) -> u64 {
        self.environment
            .between(self.config.retry_ms_min, self.config.retry_ms_max)
    }
}

/// The gauge of open streams.
#[derive(Debug)]
pub(crate) struct Streams(pub(crate) Arc<Counters>);

impl AsRef<AtomicUsize> for Streams {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.streams
    }
}

enum State {
    /// The first bytes are still to be sent.
    Opening,
    Following,
    /// The disk is being read for a cursor behind the window.
    Reading(JoinHandle<LogPage>),
    Ended,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}

type Next = Poll<Option<io::Result<Bytes>>>;

impl EventStream {
    pub(crate) fn new(
        subscription: Subscription,
        shared: Arc<Shared>,
        held: Held<Streams>,
        heartbeat_ms: u64,
        ping: bool,
    ) -> Self {
        let heartbeat_every = Duration::from_millis(heartbeat_ms);
        Self {
            subscription,
            state: State::Opening,
            heartbeat: Box::pin(tokio::time::sleep(heartbeat_every)),
            heartbeat_every,
            ping,
            written: Instant::now(),
            shared,
            _held: held,
        }
    }

    /// The next bytes for the client.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Next {
        loop {
            let now_ms = (self.shared.environment.now_ms)();
            let step = match &mut self.state {
                State::Opening => return self.open(now_ms),
                State::Ended => return Poll::Ready(None),
                State::Following => match self.subscription.poll_step(cx, now_ms) {
                    Poll::Ready(step) => step,
                    Poll::Pending => return self.poll_heartbeat(cx),
                },
                State::Reading(read) => {
                    let Poll::Ready(page) = Pin::new(read).poll(cx) else {
                        return self.poll_heartbeat(cx);
                    };
                    self.state = State::Following;
                    match self.accept(page, now_ms)? {
                        Some(step) => step,
                        None => continue,
                    }
                }
            };
            if let Some(bytes) = self.take(step) {
                return self.write(bytes);
            }
        }
    }

    /// The first bytes: when to come back should the stream break, where it starts, and what is
    /// there at once.
    ///
    /// A gap names the place where the stream goes on itself. Had the client that place before the
    /// gap, a stream that broke in between would have hidden it.
    fn open(&mut self, now_ms: u64) -> Next {
        self.state = State::Following;
        let retry_ms = self.shared.retry_ms();
        let mut first = vec![opening_frame(&self.subscription.position(), retry_ms)];
        if let Some(step) = self.subscription.step(now_ms) {
            if let Step::Gap(_) = step {
                first = vec![Bytes::from(format!("retry: {retry_ms}\n"))];
            }
            first.extend(self.take(step));
        }
        self.write(joined(first))
    }

    /// What a step has for the client. `None`: nothing yet.
    fn take(&mut self, step: Step) -> Option<Bytes> {
        match step {
            Step::Frames(frames) => return Some(joined(frames)),
            Step::Gap(gap) => return Some(gap.frame()),
            Step::Behind(read) => self.read(read),
            Step::End(reason) => {
                self.state = State::Ended;
                return Some(end_frame(reason, self.shared.retry_ms()));
            }
            // `Step` may grow; what this code does not know it cannot deliver.
            _ => self.state = State::Ended,
        }
        None
    }

    fn read(&mut self, read: LogRead) {
        self.state = State::Reading(tokio::task::spawn_blocking(|| read.run()));
    }

    /// # Errors
    ///
    /// The log cannot be read here. The client will come back and resume; what is readable then is
    /// delivered, and an operator has a line in the log.
    fn accept(
        &mut self,
        page: Result<LogPage, tokio::task::JoinError>,
        now_ms: u64,
    ) -> io::Result<Option<Step>> {
        let page = page.map_err(io::Error::other)?;
        self.subscription.accept(page, now_ms).map_err(|error| {
            tracing::error!(%error, at = %self.subscription.position(), "a subscriber's replay failed");
            io::Error::other(error)
        })
    }

    /// Nothing to send: whether it has been quiet for long enough to say so.
    ///
    /// The timer is not moved at every write, which would cost more than the write; it looks, when
    /// it fires, at when that was.
    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Next {
        while self.heartbeat.as_mut().poll(cx).is_ready() {
            let due = self.written + self.heartbeat_every;
            let now = Instant::now();
            if due <= now {
                self.heartbeat.as_mut().reset(now + self.heartbeat_every);
                increment(&self.shared.counters.heartbeats);
                let frame = heartbeat_frame(&self.subscription.position(), self.ping);
                return self.write(frame);
            }
            self.heartbeat.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn write(&mut self, bytes: Bytes) -> Next {
        self.written = Instant::now();
        Poll::Ready(Some(Ok(bytes)))
    }
}

/// All that is ready as one write. A single frame is shared with everyone who gets it.
fn joined(mut frames: Vec<Bytes>) -> Bytes {
    if let [_] = frames.as_slice() {
        return frames.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(frames.iter().map(Bytes::len).sum());
    for frame in frames {
        all.extend_from_slice(&frame);
    }
    all.freeze()
}
