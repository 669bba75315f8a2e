//! A connection, as a shard holds it.

use std::io;

use crate::{
    counters::Held,
    origin::Origin,
    publish::Form,
    server::Connections,
    shard::{
        link::{Link, write_now},
        request::Subscribe,
    },
    stream::Streams,
};

#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing, and any of them go together"
)]
pub(super) struct Connection<L> {
    pub(super) link: L,
    pub(super) state: State,
    /// What has to be written before anything else.
    pub(super) rest: Option<Box<[u8]>>,
    /// When bytes were last taken by the client, or since when it takes none.
    pub(super) since_ms: u64,
    /// The tick at which it is looked at next. Another one in the wheel is out of date.
    pub(super) armed: u64,
    pub(super) serial: u32,
    pub(super) heartbeat: Heartbeat,
    pub(super) room: Room,
    /// It waits for its turn to be written to.
    pub(super) queued: bool,
    /// It waits for its turn to be read.
    pub(super) unread: bool,
    /// The client sends no more than what is there to be read.
    pub(super) half_closed: bool,
    /// The connection ends with this answer.
    pub(super) close: bool,
    /// It is counted as a connection, and as a stream if it is one.
    pub(super) held: (Held<Connections>, Option<Held<Streams>>),
}

/// What a subscriber is sent when nothing else is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heartbeat {
    pub(super) ms: u32,
    /// As an event.
    pub(super) ping: bool,
}

/// Whether the client takes what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Some,
    /// It has taken nothing since `since_ms`; the shard will be told when it does.
    None,
    /// It is said to have room again, and has not taken anything yet.
    Again,
}

pub(super) enum State {
    /// Its first request is waited for.
    New,
    /// A request is waited for. This much of it is there.
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
pub(super) struct Publishing {
    pub(super) form: Form,
    pub(super) origin: Origin,
    /// The socket has something to read, which has to wait.
    pub(super) is_more: bool,
}

impl<L: Link> Connection<L> {
    /// Writes what the socket takes now, and says how much that is.
    pub(super) fn write(&mut self, bytes: &[u8], now_ms: u64) -> io::Result<usize> {
        let written = write_now(&mut self.link, bytes)?;
        if written > 0 {
            self.since_ms = now_ms;
            self.room = Room::Some;
        }
        Ok(written)
    }

    /// Writes bytes that have to be written whole. False: the rest has to wait.
    pub(super) fn send(&mut self, bytes: &[u8], now_ms: u64) -> io::Result<bool> {
        let written = self.write(bytes, now_ms)?;
        self.keep(bytes.get(written..).unwrap_or_default());
        Ok(self.rest.is_none())
    }

    /// Writes what has waited. False: some of it still has to.
    pub(super) fn flush(&mut self, now_ms: u64) -> io::Result<bool> {
        match self.rest.take() {
            Some(rest) => self.send(&rest, now_ms),
            None => Ok(true),
        }
    }

    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest = (!rest.is_empty()).then(|| rest.into());
    }
}
