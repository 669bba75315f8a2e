//! Shards on threads of their own, for TCP: each with one readiness loop.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, Waker};
use tokio::runtime::Handle;

use super::{
    fanout::{Released, Shard, Wait},
    inbox::{Inbox, Message, News},
    link::{Link, Release},
    request::chunk,
};
use crate::{
    counters::Held,
    server::{Connections, Shared},
};

/// Connections that are taken in one turn. When thousands come at once, those who are here already
/// must not wait until all of them were taken.
const ADMITTED_TURN: usize = 64;

/// Sockets that are looked at in one turn.
const EVENTS_TURN: usize = 1024;

/// The waker's token: no slot of a socket.
const WAKE: Token = Token(usize::MAX);

/// The shards of a server. Dropping them closes what they hold.
pub(crate) struct ThreadShards {
    inboxes: Vec<Arc<Inbox<TcpLink>>>,
    next: AtomicUsize,
}

impl std::fmt::Debug for ThreadShards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadShards")
            .field("count", &self.inboxes.len())
            .finish_non_exhaustive()
    }
}

pub(crate) struct TcpLink(mio::net::TcpStream);

impl Link for TcpLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
}

impl ThreadShards {
    /// Starts `count` shards. What they hand on is served by the runtime that this is called in.
    pub(crate) fn start(server: &Arc<Shared>, count: usize) -> io::Result<Self> {
        // Dropped where one of them cannot be started, it ends the others.
        let mut shards = Self {
            inboxes: Vec::with_capacity(count),
            next: AtomicUsize::new(0),
        };
        for number in 0..count {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let inbox = Arc::new(Inbox::new(move || {
                // It fails only if the poller is gone, and then there is nobody to wake.
                let _ = waker.wake();
            }));
            let driver = Driver {
                server: server.clone(),
                inbox: inbox.clone(),
                runtime: Handle::current(),
            };
            thread::Builder::new()
                .name(format!("tidings-shard-{number}"))
                .spawn(move || driver.run_until_over(poll))?;
            shards.inboxes.push(inbox);
        }
        Ok(shards)
    }

    /// Gives a connection to one of the shards.
    pub(crate) fn take(&self, socket: std::net::TcpStream, held: Held<Connections>) {
        let number = self.next.fetch_add(1, Ordering::Relaxed) % self.inboxes.len().max(1);
        if let Some(inbox) = self.inboxes.get(number) {
            let link = TcpLink(mio::net::TcpStream::from_std(socket));
            inbox.accept(link, held);
        }
    }

    pub(crate) fn tell_drained(&self) {
        self.inboxes
            .iter()
            .for_each(|inbox| inbox.send(News::Drained));
    }

    pub(crate) fn tell_over(&self) {
        self.inboxes.iter().for_each(|inbox| inbox.send(News::Over));
    }
}

impl Drop for ThreadShards {
    fn drop(&mut self) {
        self.tell_over();
    }
}

struct Driver {
    server: Arc<Shared>,
    inbox: Arc<Inbox<TcpLink>>,
    runtime: Handle,
}

impl Driver {
    /// One connection's bug must not stop the hub: should a shard panic, its connections are closed,
    /// their clients resume, and it begins anew.
    fn run_until_over(&self, mut poll: Poll) {
        while let Err(panic) = catch_unwind(AssertUnwindSafe(|| self.run(&mut poll))) {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .unwrap_or("no message");
            tracing::error!(panic = message, "a shard failed and begins anew");
        }
    }

    fn run(&self, poll: &mut Poll) {
        let inbox = self.inbox.clone();
        let crowd = self.server.hub.crowd(chunk, move || inbox.wake());
        let mut shard = Shard::new(self.server.clone(), crowd, self.inbox.clone());
        let mut events = Events::with_capacity(EVENTS_TURN);
        let begun = Instant::now();
        let mut wait = Wait::No;
        let mut over = self.server.is_over();
        let mut accepted = VecDeque::new();
        let mut courtesy = Courtesy::new();
        while !over || shard.len() > 0 {
            let now_ms = elapsed_ms(begun);
            let timeout = match wait {
                Wait::No => Some(Duration::ZERO),
                Wait::Event => None,
                Wait::Until(ms) => Some(Duration::from_millis(ms.saturating_sub(now_ms))),
            };
            let asked = Instant::now();
            if let Err(error) = poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "a shard cannot watch its sockets; they are closed");
                return;
            }
            courtesy.has_waited(asked);
            shard.set_time(elapsed_ms(begun));
            for event in events.iter().filter(|event| event.token() != WAKE) {
                let slot = u32::try_from(event.token().0).unwrap_or(u32::MAX);
                if event.is_read_closed() {
                    shard.half_closed(slot);
                }
                shard.happened(slot, event.is_readable(), event.is_writable());
            }
            for message in self.inbox.take() {
                match message {
                    Message::Accepted(link, held) => accepted.push_back((link, held)),
                    Message::News(news) => {
                        over |= matches!(news, News::Over);
                        shard.hear(news);
                    }
                }
            }
            for _ in 0..ADMITTED_TURN {
                let Some((link, held)) = accepted.pop_front() else {
                    break;
                };
                watch(&mut shard, poll, link, held);
            }
            wait = shard.turn();
            if !accepted.is_empty() {
                wait = Wait::No;
            }
            for job in shard.take_jobs() {
                let inbox = self.inbox.clone();
                self.runtime.spawn_blocking(move || inbox.send(job.run()));
            }
            for released in shard.take_released() {
                self.release(poll, released);
            }
            courtesy.give_way(wait == Wait::No);
        }
    }

    fn release(&self, poll: &Poll, released: Released<TcpLink>) {
        let Released {
            link: TcpLink(mut socket),
            why,
            held,
        } = released;
        let note = |outcome: io::Result<()>| {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a connection broke");
            }
        };
        if let Release::Closed(outcome) = why {
            return note(outcome);
        }
        let server = self.server.clone();
        // Closing takes a socket out of the poller by itself; this one stays open.
        let socket = poll
            .registry()
            .deregister(&mut socket)
            .map(|()| std::net::TcpStream::from(socket));
        self.runtime.spawn(async move {
            let _held = held;
            let outcome = async {
                let socket = tokio::net::TcpStream::from_std(socket?)?;
                why.carry_out(server, socket).await
            };
            note(outcome.await);
        });
    }
}

/// How a shard with much to do lets others have the processor.
struct Courtesy {
    /// When the shard last slept, or waited for something to happen.
    rested: Instant,
}

impl Courtesy {
    /// How long a shard works without a rest.
    const WORK: Duration = Duration::from_millis(1);

    /// The kernel makes some 50 µs of it.
    const REST: Duration = Duration::from_micros(1);

    /// Who waited for so long for something to happen has rested.
    const WAITED_MIN: Duration = Duration::from_micros(50);

    fn new() -> Self {
        Self {
            rested: Instant::now(),
        }
    }

    /// Yields, if there is more to do: the committer may wait for this processor, and what it commits meanwhile is in the
    /// next writes.
    ///
    /// The kernel's own threads may wait too, for a disk's sync or a socket's packets, and a yield is
    /// not for them: it is among the threads of a control group, which keeps the processor for some
    /// five milliseconds. So a rest follows now and then, as short as can be.
    fn give_way(&mut self, is_more: bool) {
        if self.rested.elapsed() >= Self::WORK {
            thread::sleep(Self::REST);
            self.rested = Instant::now();
        } else if is_more {
            thread::yield_now();
        }
    }

    /// The shard asked at this time what happened, and knows it now.
    fn has_waited(&mut self, asked: Instant) {
        let now = Instant::now();
        if now - asked >= Self::WAITED_MIN {
            self.rested = now;
        }
    }
}

/// Takes a connection, and watches its socket.
fn watch(shard: &mut Shard<TcpLink>, poll: &Poll, link: TcpLink, held: Held<Connections>) {
    let slot = shard.accept(link, held);
    let Some(link) = shard.link(slot) else { return };
    let both = Interest::READABLE | Interest::WRITABLE;
    let watched = poll
        .registry()
        .register(&mut link.0, Token(slot as usize), both);
    if let Err(error) = watched {
        tracing::warn!(%error, "a connection cannot be watched and is closed");
        shard.close(slot, Err(error));
    }
}

fn elapsed_ms(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
