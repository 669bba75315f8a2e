//! A shard: the sockets that one thread writes to. This is the hot path.
//!
//! # How it goes
//!
//! A commit wakes the shard once. [`Crowd::take_news`] says whom it reaches; they wait in `ready`
//! for their turn. A turn asks the crowd for each one's bytes, which all who stand at the same place
//! share, and writes them to the socket with one call. Who takes all of it is done; what was
//! published meanwhile is in the next write of those who were not served yet.
//!
//! A socket that takes only a part is left alone until it has room: the cursor stands behind the
//! piece that was begun, and the rest of that piece, at most [`PIECE_BYTES_MAX`], is all that is
//! kept. Who has more to get than one write takes waits in `behind`, and who comes or goes waits
//! `at_door`; a few of them get a turn beside those who are live, so that neither a replay nor a
//! crowd that comes or goes holds up what is new.
//!
//! # What it does not have
//!
//! No clock, poller or runtime: a driver (`thread`, `task`) tells it the time and which sockets are
//! ready, runs the blocking [`Job`]s, and takes the connections that it lets go of. So the tests of
//! the contract run it under paused time.
//!
//! [`PIECE_BYTES_MAX`]: tidings::PIECE_BYTES_MAX

mod connection;
mod requests;
mod timers;

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use slab::Slab;
use tidings::{Answers, Crowd, CrowdStep, LogPage, end_frame};

use self::connection::{Connection, Heartbeat, Room, State};
use super::{
    inbox::{Job, News},
    link::{Link, Release},
    request::{LAST_CHUNK, chunk},
    wheel::Wheel,
};
use crate::{
    counters::Held,
    server::{Connections, Shared},
};

/// Those with news who are served in one turn, or as many as there were requests and receipts in
/// it, whichever is more.
///
/// Between turns the driver looks at the sockets, and others get the processor: publishers, whose
/// events then join the next write of those who wait. Measured with 8 publishers and 1,000
/// subscribers on one processor: turns of 128 cost 0.38 µs a delivery, of 16 they cost 0.12 µs. And
/// where each publish reaches one subscriber, as many have to be served as publish.
const READY_TURN: usize = 16;

/// Sockets that are read in one turn, of those that were used before: they publish.
const READ_TURN: usize = 64;

/// Those with a backlog who are served in one turn.
const BEHIND_TURN: usize = 16;

/// What of a turn those get who have no news. It is little, since the committer waits for the end of
/// a turn several times for one commit: when it was woken, for the disk's write, and for its sync.
const SHARE: Share = Share {
    door: 16,
    backlog_bytes: 256 << 10,
};

/// The same where others have news, who come first.
const SHARE_BESIDE_NEWS: Share = Share {
    door: 2,
    backlog_bytes: 0,
};

/// Turns with news after which one of those with a backlog is served all the same. It takes as long
/// as some eight of the others, so a backlog gets a tenth of the time at least.
const NEWS_TURNS_MAX: u32 = 4;

/// See [`SHARE`].
struct Share {
    /// Sockets that are read of those who come, and of those who follow, who have nothing to say but
    /// that they go. Thousands of either must not hold up those who publish.
    door: usize,
    /// How much of backlogs is written, with the last write that it takes.
    backlog_bytes: usize,
}

/// Reads of the log at once. More of them would take the disk from the committer.
const READS_MAX: usize = 4;

/// Numbers of connections. They go on where a shard begins anew: what others still have for the one
/// before must not reach a connection of this one.
static SERIAL: AtomicU32 = AtomicU32::new(0);

/// A request that does not fit is read by hyper.
const SCRATCH_BYTES: usize = 16 << 10;

/// Sockets, and the subscribers behind them. See the [module](self).
pub(crate) struct Shard<L> {
    server: Arc<Shared>,
    crowd: Crowd,
    connections: Slab<Connection<L>>,
    /// The connection of each of the crowd's members.
    by_member: Vec<u32>,
    /// Who was read before, and is within a request or sends another.
    readable: VecDeque<u32>,
    /// Who comes, and who goes.
    at_door: VecDeque<u32>,
    ready: VecDeque<u32>,
    behind: VecDeque<u32>,
    wheel: Wheel,
    /// Blocking work that waits, and how much of it is under way.
    reads: VecDeque<Job>,
    reading: usize,
    jobs: Vec<Job>,
    released: Vec<Released<L>>,
    /// Where receipts of publishes are told.
    answers: Arc<dyn Answers>,
    scratch: Vec<u8>,
    members: Vec<u32>,
    due: Vec<(u32, u64)>,
    /// Requests and receipts of this turn.
    heard: usize,
    /// Bytes of backlogs written since those behind had their turn.
    backlog_bytes: usize,
    /// Turns in which others had news, since one with a backlog was served.
    news_turns: u32,
    /// Milliseconds since the driver's beginning.
    now_ms: u64,
    /// Unix milliseconds.
    unix_ms: u64,
    drained: bool,
}

/// A connection that the driver gets back.
pub(crate) struct Released<L> {
    pub(crate) link: L,
    pub(crate) why: Release,
    pub(crate) held: Held<Connections>,
}

/// When the driver is to come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// At once, when it has looked at the sockets.
    No,
    /// When something happens.
    Event,
    /// When something happens, and at this time by its own clock.
    Until(u64),
}

enum Served {
    Idle,
    /// There is more for it than one write.
    More,
    Blocked,
    Ended,
}

impl<L: Link> Shard<L> {
    pub(crate) fn new(server: Arc<Shared>, crowd: Crowd, answers: Arc<dyn Answers>) -> Self {
        // Told before, if this is one that begins anew.
        let drained = server.is_drained();
        Self {
            server,
            crowd,
            connections: Slab::new(),
            by_member: Vec::new(),
            readable: VecDeque::new(),
            at_door: VecDeque::new(),
            ready: VecDeque::new(),
            behind: VecDeque::new(),
            wheel: Wheel::new(),
            reads: VecDeque::new(),
            reading: 0,
            jobs: Vec::new(),
            released: Vec::new(),
            answers,
            scratch: vec![0; SCRATCH_BYTES],
            members: Vec::new(),
            due: Vec::new(),
            heard: 0,
            backlog_bytes: 0,
            news_turns: 0,
            now_ms: 0,
            unix_ms: 0,
            drained,
        }
    }

    /// Takes a connection, and gives it a slot. The driver says of each slot when it is ready.
    pub(crate) fn accept(&mut self, link: L, held: Held<Connections>) -> u32 {
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let slot = self.connections.insert(Connection {
            link,
            state: State::New,
            rest: None,
            since_ms: self.now_ms,
            armed: u64::MAX,
            serial,
            heartbeat: Heartbeat::default(),
            room: Room::Some,
            queued: false,
            unread: false,
            half_closed: false,
            close: false,
            held: (held, None),
        });
        let slot = narrow(slot);
        if self.drained {
            self.close(slot, Ok(()));
        } else {
            self.arm(slot);
        }
        slot
    }

    /// The socket in a slot, for the driver to watch it.
    pub(crate) fn link(&mut self, slot: u32) -> Option<&mut L> {
        let connection = self.connections.get_mut(slot as usize);
        connection.map(|connection| &mut connection.link)
    }

    /// Connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Something happened to a socket.
    pub(crate) fn happened(&mut self, slot: u32, readable: bool, writable: bool) {
        if readable {
            self.queue_read(slot);
        }
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if writable && connection.room == Room::None {
            connection.room = Room::Again;
            self.queue_behind(slot);
        }
    }

    /// The client has closed its side. Nothing more will happen to its socket that says so: what is
    /// there is to be read to the end.
    pub(crate) fn half_closed(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            connection.half_closed = true;
        }
    }

    /// Hears what others have to say.
    pub(crate) fn hear(&mut self, news: News) {
        match news {
            News::Read(page) => self.accept_page(page),
            News::Located((slot, serial), located) => self.accept_place(slot, serial, located),
            News::Answered(token, answer) => self.accept_answer(token, answer),
            News::Drained => {
                self.drained = true;
                self.close_all(|state| matches!(state, State::New | State::Head(_)));
                self.give_up_bodies();
            }
            News::Over => {
                self.drained = true;
                self.close_all(|_| true);
            }
        }
    }

    /// Sets the time: milliseconds since the driver's beginning.
    pub(crate) fn set_time(&mut self, now_ms: u64) {
        self.now_ms = now_ms;
        self.unix_ms = (self.server.stream.environment.now_ms)();
    }

    /// Serves some of those who can be served now.
    pub(crate) fn turn(&mut self) -> Wait {
        let reads = self.readable.len().min(READ_TURN);
        let heard = std::mem::take(&mut self.heard) + reads;
        for _ in 0..reads {
            if let Some(slot) = self.readable.pop_front() {
                self.read(slot);
            }
        }
        for _ in 0..self.share().door {
            if let Some(slot) = self.at_door.pop_front() {
                self.read(slot);
            }
        }
        // Those who wait get what is new when it is their turn; who is asked for twice is served
        // once. So nobody is asked for before all who were have been served.
        let all_served = self.ready.is_empty();
        if all_served {
            self.take_news();
        }
        for _ in 0..READY_TURN.max(heard) {
            let Some(slot) = self.ready.pop_front() else {
                break;
            };
            self.serve(slot);
        }
        self.serve_behind();
        self.look_at_due();
        self.begin_reads();
        self.crowd.tell_delivered();
        let waiting = [&self.readable, &self.at_door, &self.ready, &self.behind];
        if waiting.iter().any(|queue| !queue.is_empty()) || !all_served {
            return Wait::No;
        }
        self.wheel.next_ms().map_or(Wait::Event, Wait::Until)
    }

    fn serve_behind(&mut self) {
        self.news_turns += 1;
        if self.ready.is_empty() || self.news_turns >= NEWS_TURNS_MAX {
            self.news_turns = 0;
            self.serve_one_behind();
        }
        for _ in 0..BEHIND_TURN {
            if self.has_sent_enough() {
                break;
            }
            self.serve_one_behind();
        }
        self.backlog_bytes = 0;
    }

    fn serve_one_behind(&mut self) {
        if let Some(slot) = self.behind.pop_front() {
            self.serve(slot);
        }
    }

    /// Blocking work to be done elsewhere.
    pub(crate) fn take_jobs(&mut self) -> Vec<Job> {
        std::mem::take(&mut self.jobs)
    }

    /// Connections that are the driver's from now on.
    pub(crate) fn take_released(&mut self) -> Vec<Released<L>> {
        std::mem::take(&mut self.released)
    }

    fn take_news(&mut self) {
        let mut members = std::mem::take(&mut self.members);
        self.crowd.take_news(&mut members);
        for member in members.drain(..) {
            let Some(&slot) = self.by_member.get(member as usize) else {
                continue;
            };
            let connection = self.connections.get_mut(slot as usize);
            // Who takes nothing has news when it takes again.
            if let Some(connection) = connection.filter(|c| !c.queued && c.room != Room::None) {
                connection.queued = true;
                self.ready.push_back(slot);
            }
        }
        members.shrink_to(1 << 16);
        self.members = members;
    }

    /// Whether who is far behind has to wait for another turn.
    fn has_sent_enough(&self) -> bool {
        self.backlog_bytes >= self.share().backlog_bytes
    }

    fn share(&self) -> Share {
        if self.ready.is_empty() {
            SHARE
        } else {
            SHARE_BESIDE_NEWS
        }
    }

    fn queue_read(&mut self, slot: u32) {
        let connection = self.connections.get_mut(slot as usize);
        let Some(connection) = connection.filter(|connection| !connection.unread) else {
            return;
        };
        connection.unread = true;
        match connection.state {
            State::New | State::Streaming(_) => self.at_door.push_back(slot),
            _ => self.readable.push_back(slot),
        }
    }

    fn queue_behind(&mut self, slot: u32) {
        let connection = self.connections.get_mut(slot as usize);
        if let Some(connection) = connection.filter(|connection| !connection.queued) {
            connection.queued = true;
            self.behind.push_back(slot);
        }
    }

    fn serve(&mut self, slot: u32) {
        match self.write(slot) {
            Ok(Served::Idle) => {}
            Ok(Served::More) => self.queue_behind(slot),
            Ok(Served::Blocked) => self.block(slot),
            Ok(Served::Ended) => {
                self.finish(slot);
                // What the client sent meanwhile was left where it is.
                self.queue_read(slot);
            }
            Err(error) => self.close(slot, Err(error)),
        }
    }

    /// Writes what there is for a connection, once.
    fn write(&mut self, slot: u32) -> io::Result<Served> {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return Ok(Served::Idle);
        };
        connection.queued = false;
        if !connection.flush(self.now_ms)? {
            return Ok(Served::Blocked);
        }
        let member = match connection.state {
            State::Streaming(member) => member,
            State::Ending(_) | State::Answering => return Ok(Served::Ended),
            // Nothing is written before there is an answer.
            _ => return Ok(Served::Idle),
        };
        while let Some(step) = self.crowd.step(member, self.unix_ms) {
            let bytes = match step {
                CrowdStep::Span(span) => {
                    let written = connection.write(span.bytes(), self.now_ms)?;
                    let rest = self.crowd.took(member, &span, written);
                    connection.keep(rest);
                    if span.is_full() {
                        self.backlog_bytes += written;
                    }
                    return Ok(match span.is_full() {
                        _ if written < span.bytes().len() => Served::Blocked,
                        true => Served::More,
                        false => Served::Idle,
                    });
                }
                CrowdStep::Gap(gap) => chunked(&gap.frame()),
                CrowdStep::Behind(read) => {
                    self.reads.push_back(Job::Read(read));
                    return Ok(Served::Idle);
                }
                CrowdStep::Waiting => return Ok(Served::Idle),
                CrowdStep::End(reason) => {
                    connection.state = State::Ending(member);
                    let end = end_frame(reason, self.server.stream.retry_ms());
                    let all = connection.send(&last(&end), self.now_ms)?;
                    return Ok(if all { Served::Ended } else { Served::Blocked });
                }
                // `CrowdStep` may grow; what this code does not know it cannot deliver.
                _ => return Err(io::Error::other("the stream cannot go on")),
            };
            if !connection.send(&bytes, self.now_ms)? {
                return Ok(Served::Blocked);
            }
        }
        Ok(Served::Idle)
    }

    /// The client takes nothing more for now.
    fn block(&mut self, slot: u32) {
        if let Some(connection) = self.connections.get_mut(slot as usize) {
            if connection.room == Room::Some {
                connection.since_ms = self.now_ms;
            }
            connection.room = Room::None;
            self.arm(slot);
        }
    }

    fn begin_reads(&mut self) {
        while self.reading < READS_MAX {
            let Some(job) = self.reads.pop_front() else {
                break;
            };
            // Those who wanted it may have gone.
            if matches!(&job, Job::Read(read) if !self.crowd.waits_for(read)) {
                continue;
            }
            self.reading += 1;
            self.jobs.push(job);
        }
    }

    /// Serves those who waited for a page at once, while it is in memory.
    fn accept_page(&mut self, page: LogPage) {
        self.reading = self.reading.saturating_sub(1);
        let mut members = std::mem::take(&mut self.members);
        if let Err(error) = self.crowd.accept(page, self.unix_ms, &mut members) {
            let subscribers = members.len();
            tracing::error!(%error, subscribers, "a replay failed; its subscribers are broken off");
        }
        for member in members.drain(..) {
            if let Some(&slot) = self.by_member.get(member as usize) {
                self.serve(slot);
            }
        }
        self.members = members;
    }

    /// All was sent. The connection is used again, as HTTP has it, unless it may not.
    fn finish(&mut self, slot: u32) {
        let drained = self.drained;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if connection.close || drained {
            return self.release(slot, Release::Linger);
        }
        let next = State::Head(Box::default());
        let ended = std::mem::replace(&mut connection.state, next);
        connection.held.1 = None;
        connection.since_ms = self.now_ms;
        if let State::Ending(member) = ended {
            self.crowd.leave(member);
        }
        self.arm(slot);
    }

    pub(crate) fn close(&mut self, slot: u32, outcome: io::Result<()>) {
        self.release(slot, Release::Closed(outcome));
    }

    fn close_all(&mut self, which: impl Fn(&State) -> bool) {
        let chosen = self.connections.iter().filter(|(_, c)| which(&c.state));
        let slots: Vec<u32> = chosen.map(|(slot, _)| narrow(slot)).collect();
        for slot in slots {
            self.close(slot, Ok(()));
        }
    }

    fn release(&mut self, slot: u32, why: Release) {
        let Some(connection) = self.connections.try_remove(slot as usize) else {
            return;
        };
        if let State::Streaming(member) | State::Ending(member) = connection.state {
            self.crowd.leave(member);
        }
        self.released.push(Released {
            link: connection.link,
            why,
            held: connection.held.0,
        });
        if self.connections.is_empty() {
            self.connections.shrink_to_fit();
        }
    }
}

fn chunked(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(frame.len() + 16);
    chunk(frame, &mut out);
    out
}

/// The last event of a stream, and the end of its body.
fn last(frame: &[u8]) -> Vec<u8> {
    let mut out = chunked(frame);
    out.extend_from_slice(LAST_CHUNK);
    out
}

/// Slots are bounded by file descriptors.
fn narrow(slot: usize) -> u32 {
    u32::try_from(slot).unwrap_or(u32::MAX)
}
