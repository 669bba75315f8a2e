//! How a shard takes requests and answers them.

use std::io;

use bytes::Bytes;
use tidings::{Located, PublishError, Receipt, SubscribeError, opening_frame};

use super::{
    SCRATCH_BYTES, Shard,
    connection::{Connection, Heartbeat, Publishing, State},
    narrow,
};
use crate::{
    counters::Held,
    server::Shared,
    shard::{
        inbox::Job,
        link::{Link, Release, read_now},
        request::{self, Post, Request, Subscribe, chunk},
    },
    stream::Streams,
};

/// What a client sends beside its request is read and dropped, so much of it in one turn.
const DROPS_TURN: usize = 16;

impl<L: Link> Shard<L> {
    pub(super) fn read(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        connection.unread = false;
        match &mut connection.state {
            State::New | State::Head(_) | State::Body(_) => return self.read_request(slot),
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
        self.queue_read(slot);
    }

    pub(super) fn read_request(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let before = match &connection.state {
            State::New => &[][..],
            State::Head(before) | State::Body(before) => before,
            _ => return,
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
        let request = request::parse(bytes, &self.server);
        let asks_for_stream = matches!(request, Request::Subscribe(_));
        let admitted = asks_for_stream.then(|| admit(&self.server)).flatten();
        match request {
            Request::Partial { is_head_whole } if read < SCRATCH_BYTES => {
                let bytes = bytes.into();
                let is_new = !matches!(connection.state, State::Body(_));
                connection.state = if is_head_whole {
                    State::Body(bytes)
                } else {
                    State::Head(bytes)
                };
                let half_closed = connection.half_closed;
                if is_head_whole && is_new {
                    connection.since_ms = self.now_ms;
                    self.arm(slot);
                }
                if half_closed {
                    self.queue_read(slot);
                }
            }
            Request::Subscribe(request) if admitted.is_some() => {
                connection.close = request.close || request.is_more;
                connection.held.1 = admitted;
                self.locate(slot, request);
                // It may have gone with that.
                self.read(slot);
            }
            // Behind one that takes all the room there may be more, of which nobody would tell.
            Request::Publish(post) if read < SCRATCH_BYTES => {
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
    pub(super) fn give_up_body(&mut self, slot: u32) {
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        if let State::Body(bytes) = &mut connection.state {
            let bytes = Bytes::from(std::mem::take(bytes));
            self.release(slot, Release::ToHyper(bytes));
        }
    }

    pub(super) fn give_up_bodies(&mut self) {
        let bodies = |connection: &Connection<L>| matches!(connection.state, State::Body(_));
        let waiting = self.connections.iter().filter(|(_, c)| bodies(c));
        let slots: Vec<u32> = waiting.map(|(slot, _)| narrow(slot)).collect();
        for slot in slots {
            self.give_up_body(slot);
        }
    }

    pub(super) fn publish(&mut self, slot: u32, post: Post) {
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
            is_more: connection.half_closed,
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

    pub(super) fn accept_answer(&mut self, token: u64, answer: Result<Receipt, PublishError>) {
        self.heard += 1;
        let (slot, serial) = ((token >> 32) as u32, (token & 0xffff_ffff) as u32);
        let connection = self.connections.get_mut(slot as usize);
        let Some(connection) = connection.filter(|connection| connection.serial == serial) else {
            return;
        };
        let State::Publishing(publishing) = &connection.state else {
            return;
        };
        let is_more = publishing.is_more;
        let response = request::receipt(answer, &publishing.form, self.server.hub.epoch());
        self.server
            .stream
            .counters
            .response(response.status().as_u16());
        let bytes = request::whole(response, &publishing.origin, connection.close, self.unix_ms);
        connection.state = State::Answering;
        self.answer(slot, &bytes);
        if is_more {
            self.queue_read(slot);
        }
    }

    /// Sends a whole answer.
    pub(super) fn answer(&mut self, slot: u32, bytes: &[u8]) {
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
    pub(super) fn locate(&mut self, slot: u32, request: Subscribe) {
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
        self.reads
            .push_back(Job::Locate((slot, connection.serial), locate));
        connection.state = State::Locating(Box::new(request));
    }

    pub(super) fn accept_place(
        &mut self,
        slot: u32,
        serial: u32,
        located: Result<Located, SubscribeError>,
    ) {
        self.reading = self.reading.saturating_sub(1);
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
    pub(super) fn open(
        &mut self,
        slot: u32,
        request: &Subscribe,
        located: Result<Located, SubscribeError>,
    ) {
        let member = located.and_then(|located| self.crowd.join(located));
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let member = match member {
            Ok(member) => member,
            Err(error) => {
                connection.state = State::Answering;
                connection.close = true;
                connection.held.1 = None;
                let response = request::refusal(error, &self.server);
                let status = response.status().as_u16();
                self.server.stream.counters.response(status);
                let bytes = request::whole(response, &request.origin, true, self.unix_ms);
                return self.answer(slot, &bytes);
            }
        };
        connection.state = State::Streaming(member);
        connection.heartbeat = Heartbeat {
            ms: narrow_ms(request.query.heartbeat_ms),
            ping: request.query.ping,
        };
        self.server.stream.counters.response(200);
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
                if self.has_sent_enough() && self.crowd.is_behind(member) {
                    self.queue_behind(slot);
                } else {
                    self.serve(slot);
                }
            }
            Ok(false) => self.block(slot),
            Err(error) => self.close(slot, Err(error)),
        }
    }

    /// The first bytes of a stream.
    pub(super) fn opening(&mut self, member: u32, request: &Subscribe) -> Vec<u8> {
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

    pub(super) fn send(&mut self, slot: u32, bytes: &[u8]) -> io::Result<bool> {
        match self.connections.get_mut(slot as usize) {
            Some(connection) => connection.send(bytes, self.now_ms),
            None => Ok(true),
        }
    }
}

/// Counts a stream, if there may be another.
fn admit(server: &Shared) -> Option<Held<Streams>> {
    let (held, streams) = Held::new(Streams(server.stream.counters.clone()));
    let full = streams > server.stream.config.subscribers_max;
    (!full && !server.is_draining()).then_some(held)
}

fn narrow_ms(ms: u64) -> u32 {
    u32::try_from(ms).unwrap_or(u32::MAX)
}
