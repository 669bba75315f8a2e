//! What a shard does because time went by: heartbeats, and an end to what takes too long.

use std::io;

use tidings::heartbeat_frame;

use super::{
    Shard, chunked,
    connection::{Room, State},
};
use crate::{
    counters::increment,
    shard::{link::Link, wheel::Wheel},
};

/// How long the rest of a body is waited for here. Many clients send it behind the head, in a packet
/// of its own; who takes longer is hyper's.
const BODY_MS_MAX: u64 = 200;

impl<L: Link> Shard<L> {
    /// Has the wheel look at a connection when it is due, unless it does so before that anyway.
    pub(super) fn arm(&mut self, slot: u32) {
        let config = &self.server.stream.config;
        let Some(connection) = self.connections.get_mut(slot as usize) else {
            return;
        };
        let patience_ms = match connection.state {
            _ if connection.room == Room::None => config.stall_ms_max,
            State::New | State::Head(_) => config.head_ms_max,
            State::Body(_) => BODY_MS_MAX.min(config.body_ms_max),
            State::Streaming(_) => u64::from(connection.heartbeat.ms),
            // Nothing is due: the hub is at work for it, or its answer is on the way.
            _ => config.stall_ms_max,
        };
        let tick = Wheel::tick(connection.since_ms.saturating_add(patience_ms));
        if tick < connection.armed {
            connection.armed = self.wheel.add(slot, tick);
        }
    }

    pub(super) fn look_at_due(&mut self) {
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

    pub(super) fn look_at(&mut self, slot: u32) {
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
            State::New | State::Head(_) if quiet_ms >= config.head_ms_max => {
                self.close(slot, Ok(()));
            }
            State::Body(_) => self.give_up_body(slot),
            State::Streaming(member) if quiet_ms >= u64::from(connection.heartbeat.ms) => {
                self.heartbeat(slot, member);
            }
            // The hub is at work for it.
            State::Publishing(_) | State::Locating(_) => connection.since_ms = self.now_ms,
            _ => {}
        }
    }

    /// Moves the cursor to the end, and the page's last event ID with it.
    pub(super) fn heartbeat(&mut self, slot: u32, member: u32) {
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
        let frame = heartbeat_frame(&self.crowd.position(member), connection.heartbeat.ping);
        match connection.send(&chunked(&frame), self.now_ms) {
            Ok(true) => {}
            Ok(false) => self.block(slot),
            Err(error) => self.close(slot, Err(error)),
        }
    }
}
