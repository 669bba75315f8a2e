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
//! kept. Who has more to get than one write takes waits in `behind`, a few of whom get a turn
//! after each of those who are live, so that no replay holds up what is new.
//!
//! # What it does not have
//!
//! No clock, poller or runtime: a driver (`thread`, `task`) tells it the time and which sockets are
//! ready, runs the blocking [`Job`]s, and takes the connections that it lets go of. So the tests of
//! the contract run it under paused time.
//!
//! [`PIECE_BYTES_MAX`]: tidings::PIECE_BYTES_MAX

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use slab::Slab;
use tidings::{
    Answers, Crowd, CrowdStep, Located, LogPage, LogRead, PublishError, Receipt, SubscribeError,
    end_frame, heartbeat_frame, opening_frame,
};

use super::{
    inbox::{Job, Message},
    link::{Link, Release, read_now, write_now},
    request::{self, LAST_CHUNK, Post, Request, Subscribe, chunk},
    wheel::Wheel,
};
use crate::{
    counters::{Held, increment},
    origin::Origin,
    publish::Form,
    server::{Connections, Shared},
    stream::Streams,
};

/// Those with news who are served in one turn, or as many as there were requests and receipts in
/// it, whichever is more.
///
/// Between turns the driver looks at the sockets, and others get the processor: publishers, whose
/// events then join the next write of those who wait. Measured with 8 publishers and 1,000
/// subscribers on one processor: turns of 128 cost 0.38 µs a delivery, of 16 they cost 0.12 µs. And
/// where each publish reaches one subscriber, as many have to be served as publish.
const READY_TURN: usize = 16;

/// Those with a backlog who are served in one turn.
const BEHIND_TURN: usize = 16;

/// As many where others have news, who come first. A backlog goes on 64 KiB at a time, and each of
/// those takes as long as several small writes.
const BEHIND_BESIDE_READY: usize = 2;

/// Reads of the log at once. More of them would take the disk from the committer.
const READS_MAX: usize = 4;

/// What a client sends beside its request is read and dropped, so much of it in one turn.
const DROPS_TURN: usize = 16;

/// How long the rest of a body is waited for here. Many clients send it behind the head, in a packet
/// of its own; who takes longer is hyper's.
const BODY_MS_MAX: u64 = 200;

/// A request that does not fit is read by hyper.
const SCRATCH_BYTES: usize = 16 << 10;

/// Sockets, and the subscribers behind them. See the [module](self).
pub(crate) struct Shard<L> {
    server: Arc<Shared>,
    crowd: Crowd,
    connections: Slab<Connection<L>>,
    /// The connection of each of the crowd's members.
    by_member: Vec<u32>,
    readable: VecDeque<u32>,
    ready: VecDeque<u32>,
    behind: VecDeque<u32>,
    wheel: Wheel,
    reads: VecDeque<LogRead>,
    reading: usize,
    jobs: Vec<Job>,
    released: Vec<Released<L>>,
    /// Where receipts of publishes are told.
    answers: Arc<dyn Answers>,
    scratch: Vec<u8>,
    members: Vec<u32>,
    due: Vec<(u32, u64)>,
    serial: u32,
    /// Requests and receipts of this turn.
    heard: usize,
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

struct Connection<L> {
    link: L,
    state: State,
    /// What has to be written before anything else.
    rest: Option<Box<[u8]>>,
    /// When bytes were last taken by the client, or since when it takes none.
    since_ms: u64,
    /// The tick at which it is looked at next. Another one in the wheel is out of date.
    armed: u64,
    serial: u32,
    heartbeat_ms: u32,
    ping: bool,
    room: Room,
    queued: bool,
    /// The connection ends with this answer.
    close: bool,
    /// It is counted as a connection, and as a stream if it is one.
    held: (Held<Connections>, Option<Held<Streams>>),
}

/// Whether the client takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Room {
    Some,
    /// It has taken nothing since `since_ms`; the shard will be told when it does.
    None,
    /// It is said to have room again, and has not taken anything yet.
    Again,
}

enum State {
    /// Its request is waited for. This much of it is there.
    Head(Box<[u8]>),
    /// The head is there, and this much of the body.
    Body(Box<[u8]>),
    /// What it published is being committed.
    Publishing(Box<Publishing>),
    /// The disk is read for the place where it begins.
    Locating(Box<Subscribe>),
    Streaming(u32),
    /// The last bytes are on their way.
    Ending(u32),
    /// The whole answer is on its way. The next request may follow.
    Answering,
}

/// A publish that waits for its receipt.
struct Publishing {
    form: Form,
    origin: Origin,
    /// The socket has something to read, which has to wait.
    is_more: bool,
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
        Self {
            server,
            crowd,
            connections: Slab::new(),
            by_member: Vec::new(),
            readable: VecDeque::new(),
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
            serial: 0,
            heard: 0,
            now_ms: 0,
            unix_ms: 0,
            drained: false,
        }
    }

    /// Takes a connection, and gives it a slot. The driver says of each slot when it is ready.
    pub(crate) fn accept(&mut self, link: L, held: Held<Connections>) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        let slot = self.connections.insert(Connection {
            link,
            state: State::Head(Box::default()),
            rest: None,
            since_ms: self.now_ms,
            armed: u64::MAX,
            serial: self.serial,
            heartbeat_ms: 0,
            ping: false,
            room: Room::Some,
            queued: false,
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
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if readable {
            self.readable.push_back(slot);
        }
        if writable && connection.room == Room::None {
            connection.room = Room::Again;
            self.queue_behind(slot);
        }
    }

    /// Hears what others have to say, but for [`Message::Accepted`], which is the driver's.
    pub(crate) fn hear(&mut self, message: Message<L>) {
        match message {
            Message::Accepted(link, held) => drop((link, held)),
            Message::Read(page) => self.accept_page(page),
            Message::Located((slot, serial), located) => self.accept_place(slot, serial, located),
            Message::Answered(token, answer) => self.accept_answer(token, answer),
            Message::Drained => {
                self.drained = true;
                self.close_all(|state| matches!(state, State::Head(_)));
                self.give_up_bodies();
            }
            Message::Over => {
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
        let heard = std::mem::take(&mut self.heard) + self.readable.len();
        for _ in 0..self.readable.len() {
            if let Some(slot) = self.readable.pop_front() {
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
        let turn = if self.ready.is_empty() {
            BEHIND_TURN
        } else {
            BEHIND_BESIDE_READY
        };
        for _ in 0..turn {
            let Some(slot) = self.behind.pop_front() else {
                break;
            };
            self.serve(slot);
        }
        self.look_at_due();
        self.begin_reads();
        self.crowd.tell_delivered();
        let busy = !(self.ready.is_empty() && self.behind.is_empty() && self.readable.is_empty());
        match self.wheel.next_ms() {
            _ if busy || !all_served => Wait::No,
            Some(ms) => Wait::Until(ms),
            None => Wait::Event,
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
                // What the client sent meanwhile was left where it is.
                self.readable.push_back(slot);
                self.finish(slot);
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
                    return Ok(match span.is_full() {
                        _ if written < span.bytes().len() => Served::Blocked,
                        true => Served::More,
                        false => Served::Idle,
                    });
                }
                CrowdStep::Gap(gap) => chunked(&gap.frame()),
                CrowdStep::Behind(read) => {
                    self.reads.push_back(read);
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

    fn read(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        match &mut connection.state {
            State::Head(_) | State::Body(_) => return self.read_request(slot),
            // What follows a publish is the next request. It is read when this one was answered.
            State::Publishing(publishing) => return publishing.is_more = true,
            State::Answering if !connection.close => return,
            _ => {}
        }
        for _ in 0..DROPS_TURN {
            match read_now(&mut connection.link, &mut self.scratch) {
                Ok(None) => return,
                // What follows bytes that were dropped makes no sense any more.
                Ok(Some(1..)) => connection.close = true,
                Ok(Some(0)) => {
                    let gone =
                        io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone");
                    return self.close(slot, Err(gone));
                }
                Err(error) => return self.close(slot, Err(error)),
            }
        }
        self.readable.push_back(slot);
    }

    fn read_request(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let (State::Head(before) | State::Body(before)) = &connection.state else {
            return;
        };
        let held = before.len();
        if let Some(start) = self.scratch.get_mut(..held) {
            start.copy_from_slice(before);
        }
        let room = self.scratch.get_mut(held..).unwrap_or_default();
        let read = match read_now(&mut connection.link, room) {
            Ok(None) => return,
            Ok(Some(0)) => return self.close(slot, Ok(())),
            Ok(Some(read)) => held + read,
            Err(error) => return self.close(slot, Err(error)),
        };
        let bytes = self.scratch.get(..read).unwrap_or_default();
        let streams = &self.server.stream.counters.streams;
        let full = streams.load(Ordering::Relaxed) >= self.server.stream.config.subscribers_max;
        match request::parse(bytes, &self.server) {
            Request::Partial { is_head_whole } if read < SCRATCH_BYTES => {
                let bytes = bytes.into();
                let is_new = matches!(connection.state, State::Head(_));
                connection.state = if is_head_whole {
                    State::Body(bytes)
                } else {
                    State::Head(bytes)
                };
                if is_head_whole && is_new {
                    connection.since_ms = self.now_ms;
                    self.arm(slot);
                }
            }
            Request::Subscribe(request) if !full && !self.server.is_draining() => {
                connection.close = request.close || request.is_more;
                // It may have gone with that.
                self.readable.push_back(slot);
                self.locate(slot, request);
            }
            Request::Publish(post) => {
                connection.close = post.close;
                self.publish(slot, post);
            }
            _ => {
                let first = Bytes::copy_from_slice(bytes);
                self.release(slot, Release::ToHyper(first));
            }
        }
    }

    /// A body that does not come at once is hyper's.
    fn give_up_body(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if let State::Body(bytes) = &mut connection.state {
            let bytes = Bytes::from(std::mem::take(bytes));
            self.release(slot, Release::ToHyper(bytes));
        }
    }

    fn give_up_bodies(&mut self) {
        let bodies = |connection: &Connection<L>| matches!(connection.state, State::Body(_));
        let waiting = self.connections.iter().filter(|(_, c)| bodies(c));
        let slots: Vec<u32> = waiting.map(|(slot, _)| narrow(slot)).collect();
        for slot in slots {
            self.give_up_body(slot);
        }
    }

    fn publish(&mut self, slot: u32, post: Post) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let Post {
            publish,
            form,
            origin,
            ..
        } = post;
        connection.state = State::Publishing(Box::new(Publishing {
            form,
            origin,
            is_more: false,
        }));
        let token = u64::from(slot) << 32 | u64::from(connection.serial);
        let published = self
            .server
            .hub
            .publish_to(publish, self.answers.clone(), token);
        if let Err(error) = published {
            self.accept_answer(token, Err(error));
        }
    }

    fn accept_answer(&mut self, token: u64, answer: Result<Receipt, PublishError>) {
        self.heard += 1;
        let (slot, serial) = ((token >> 32) as u32, (token & 0xffff_ffff) as u32);
        let connection = self.connections.get_mut(slot as usize);
        let Some(connection) = connection.filter(|connection| connection.serial == serial) else {
            return;
        };
        let State::Publishing(publishing) = &connection.state else {
            return;
        };
        if publishing.is_more {
            self.readable.push_back(slot);
        }
        let response = request::receipt(answer, &publishing.form, self.server.hub.epoch());
        self.server
            .stream
            .counters
            .response(response.status().as_u16());
        let bytes = request::whole(response, &publishing.origin, connection.close, self.unix_ms);
        connection.state = State::Answering;
        self.answer(slot, &bytes);
    }

    /// Sends a whole answer.
    fn answer(&mut self, slot: u32, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        match connection.send(bytes, self.now_ms) {
            Ok(true) => self.finish(slot),
            Ok(false) => self.block(slot),
            Err(error) => self.close(slot, Err(error)),
        }
    }

    /// Finds where a subscriber begins. Where the disk has to be read for that, it is elsewhere.
    fn locate(&mut self, slot: u32, request: Subscribe) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let (hub, now_ms) = (&self.server.hub, self.unix_ms);
        let query = &request.query;
        if !query.start.may_read(hub.epoch()) {
            let located = hub.locate(&query.selectors, &query.start, now_ms);
            return self.open(slot, &request, located);
        }
        let (hub, selectors, start) = (hub.clone(), query.selectors.clone(), query.start.clone());
        let locate = Box::new(move || hub.locate(&selectors, &start, now_ms));
        self.jobs
            .push(Job::Locate((slot, connection.serial), locate));
        connection.state = State::Locating(Box::new(request));
    }

    fn accept_place(&mut self, slot: u32, serial: u32, located: Result<Located, SubscribeError>) {
        let connection = self.connections.get_mut(slot as usize);
        let Some(connection) = connection.filter(|connection| connection.serial == serial) else {
            return;
        };
        match std::mem::replace(&mut connection.state, State::Answering) {
            State::Locating(request) => self.open(slot, &request, located),
            other => connection.state = other,
        }
    }

    /// Answers a subscription: with the head, when to come back should the stream break, where it
    /// starts, and then what is there at once.
    ///
    /// A gap names the place where the stream goes on itself. Had the client that place before the
    /// gap, a stream that broke in between would have hidden it.
    fn open(&mut self, slot: u32, request: &Subscribe, located: Result<Located, SubscribeError>) {
        let member = located.and_then(|located| self.crowd.join(located));
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let member = match member {
            Ok(member) => member,
            Err(error) => {
                connection.state = State::Answering;
                connection.close = true;
                let response = request::refusal(error, &self.server);
                let status = response.status().as_u16();
                self.server.stream.counters.response(status);
                let bytes = request::whole(response, &request.origin, true, self.unix_ms);
                return self.answer(slot, &bytes);
            }
        };
        connection.state = State::Streaming(member);
        connection.heartbeat_ms = narrow_ms(request.query.heartbeat_ms);
        connection.ping = request.query.ping;
        let counters = &self.server.stream.counters;
        connection.held.1 = Some(Held::new(Streams(counters.clone())).0);
        counters.response(200);
        let at = member as usize;
        if self.by_member.len() <= at {
            self.by_member.resize(at + 1, u32::MAX);
        }
        if let Some(entry) = self.by_member.get_mut(at) {
            *entry = slot;
        }
        let bytes = self.opening(member, request);
        match self.send(slot, &bytes) {
            Ok(true) => {
                self.arm(slot);
                self.serve(slot);
            }
            Ok(false) => self.block(slot),
            Err(error) => self.close(slot, Err(error)),
        }
    }

    /// The first bytes of a stream.
    fn opening(&mut self, member: u32, request: &Subscribe) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        request::write_stream_head(request, self.unix_ms, &mut out);
        let retry_ms = self.server.stream.retry_ms();
        match self.crowd.take_gap(member) {
            None => {
                let frame = opening_frame(&self.crowd.position(member), retry_ms);
                chunk(&frame, &mut out);
            }
            Some(gap) => {
                let retry = format!("retry: {retry_ms}\n").into_bytes();
                chunk(&[retry.as_slice(), &gap.frame()].concat(), &mut out);
            }
        }
        out
    }

    fn send(&mut self, slot: u32, bytes: &[u8]) -> io::Result<bool> {
        match self.connections.get_mut(slot as usize) {
            Some(connection) => connection.send(bytes, self.now_ms),
            None => Ok(true),
        }
    }

    fn begin_reads(&mut self) {
        while self.reading < READS_MAX {
            let Some(read) = self.reads.pop_front() else {
                break;
            };
            self.reading += 1;
            self.jobs.push(Job::Read(read));
        }
    }

    /// Serves those who waited for a page at once, while it is in memory.
    fn accept_page(&mut self, page: LogPage) {
        self.reading = self.reading.saturating_sub(1);
        let mut members = std::mem::take(&mut self.members);
        self.crowd.accept(page, self.unix_ms, &mut members);
        for member in members.drain(..) {
            if let Some(&slot) = self.by_member.get(member as usize) {
                self.serve(slot);
            }
        }
        self.members = members;
    }

    /// Has the wheel look at a connection when it is due, unless it does so before that anyway.
    fn arm(&mut self, slot: u32) {
        let config = &self.server.stream.config;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let patience_ms = match connection.state {
            _ if connection.room == Room::None => config.stall_ms_max,
            State::Head(_) => config.head_ms_max,
            State::Body(_) => BODY_MS_MAX.min(config.body_ms_max),
            State::Streaming(_) => u64::from(connection.heartbeat_ms),
            // Nothing is due: the hub is at work for it, or its answer is on the way.
            _ => config.stall_ms_max,
        };
        let tick = Wheel::tick(connection.since_ms.saturating_add(patience_ms));
        if tick < connection.armed {
            connection.armed = self.wheel.add(slot, tick);
        }
    }

    fn look_at_due(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.wheel.advance(self.now_ms, &mut due);
        for (slot, tick) in due.drain(..) {
            let connection = self.connections.get_mut(slot as usize);
            if let Some(connection) = connection.filter(|connection| connection.armed == tick) {
                connection.armed = u64::MAX;
                self.look_at(slot);
                self.arm(slot);
            }
        }
        self.due = due;
    }

    fn look_at(&mut self, slot: u32) {
        let config = &self.server.stream.config;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let quiet_ms = self.now_ms.saturating_sub(connection.since_ms);
        match connection.state {
            _ if connection.room == Room::None && quiet_ms < config.stall_ms_max => {}
            _ if connection.room == Room::None => {
                increment(&self.server.stream.counters.stalled);
                let message = "the client took nothing for longer than `stall` allows";
                self.close(slot, Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            State::Head(_) if quiet_ms >= config.head_ms_max => self.close(slot, Ok(())),
            State::Body(_) => self.give_up_body(slot),
            State::Streaming(member) if quiet_ms >= u64::from(connection.heartbeat_ms) => {
                self.heartbeat(slot, member);
            }
            // The hub is at work for it.
            State::Publishing(_) | State::Locating(_) => connection.since_ms = self.now_ms,
            _ => {}
        }
    }

    /// Moves the cursor to the end, and the page's last event ID with it.
    fn heartbeat(&mut self, slot: u32, member: u32) {
        self.serve(slot);
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let is_quiet = matches!(connection.state, State::Streaming(m) if m == member)
            && connection.room != Room::None
            && !connection.queued
            && connection.since_ms < self.now_ms;
        if !is_quiet || self.crowd.is_within_event(member) {
            return;
        }
        increment(&self.server.stream.counters.heartbeats);
        let frame = heartbeat_frame(&self.crowd.position(member), connection.ping);
        match connection.send(&chunked(&frame), self.now_ms) {
            Ok(true) => {}
            Ok(false) => self.block(slot),
            Err(error) => self.close(slot, Err(error)),
        }
    }

    /// All was sent. The connection is used again, as HTTP has it, unless it may not.
    fn finish(&mut self, slot: u32) {
        let drained = self.drained;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if connection.close {
            return self.release(slot, Release::Linger);
        }
        let next = State::Head(Box::default());
        let ended = std::mem::replace(&mut connection.state, next);
        connection.held.1 = None;
        connection.since_ms = self.now_ms;
        if let State::Ending(member) = ended {
            self.crowd.leave(member);
        }
        if drained {
            return self.close(slot, Ok(()));
        }
        self.arm(slot);
    }

    /// The driver cannot watch this socket.
    pub(crate) fn give_up(&mut self, slot: u32, error: io::Error) {
        self.close(slot, Err(error));
    }

    fn close(&mut self, slot: u32, outcome: io::Result<()>) {
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

impl<L: Link> Connection<L> {
    /// Writes what the socket takes now, and says how much that is.
    fn write(&mut self, bytes: &[u8], now_ms: u64) -> io::Result<usize> {
        let written = write_now(&mut self.link, bytes)?;
        if written > 0 {
            self.since_ms = now_ms;
            self.room = Room::Some;
        }
        Ok(written)
    }

    /// Writes bytes that have to be written whole. False: the rest has to wait.
    fn send(&mut self, bytes: &[u8], now_ms: u64) -> io::Result<bool> {
        let written = self.write(bytes, now_ms)?;
        self.keep(bytes.get(written..).unwrap_or_default());
        Ok(self.rest.is_none())
    }

    /// Writes what has waited. False: some of it still has to.
    fn flush(&mut self, now_ms: u64) -> io::Result<bool> {
        match self.rest.take() {
            Some(rest) => self.send(&rest, now_ms),
            None => Ok(true),
        }
    }

    fn keep(&mut self, rest: &[u8]) {
        self.rest = (!rest.is_empty()).then(|| rest.into());
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

fn narrow_ms(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
