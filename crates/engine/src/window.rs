//! The newest part of the log, in memory, shared by all subscribers.
//!
//! # The data model
//!
//! A [`Channel`] is what is followed: a topic, or a pattern that somebody subscribed to. It holds
//! its events as `(sequence, frame)` in order, and the bells of its subscribers. Frames are slices
//! of the buffer that the commit wrote, so an event is in memory once, however many channels and
//! subscribers it reaches.
//!
//! A topic has a channel while it has events in the window or subscribers; a pattern while it has
//! subscribers. So a commit touches just the channels that it reaches, and memory is bounded by
//! the window and the subscribers, not by how many topics there ever were.
//!
//! # What a reader may rely on
//!
//! - `next` is one past the newest sequence. It moves after all channels of a commit were written,
//!   so a reader that stays below it sees every channel complete.
//! - A channel has all its events from its own `floor` on. It moves only when an event of this very
//!   channel is dropped, so the subscriber of a quiet topic is not behind because others are busy.
//!   A pattern's channel begins at the sequence that is next when it is made.
//!
//! A cursor below the floor of one of its channels reads the log instead, where everything is.

use std::{
    collections::{HashMap, VecDeque},
    task::Waker,
};

use bytes::Bytes;
use slab::Slab;
use smallvec::SmallVec;
use tidings_wire::Topic;

use crate::{
    pattern::Pattern,
    pattern_index::PatternIndex,
    selection::Selection,
    signal::Signal,
    sync::{Arc, AtomicU64, Mutex, Ordering, lock},
};

#[derive(Debug)]
pub(crate) struct Window {
    next: AtomicU64,
    state: Mutex<State>,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct State {
    topics: HashMap<Topic, Arc<Channel>>,
    patterns: PatternIndex<Arc<Channel>>,
    /// Every event in the window, oldest first, with the channels that hold it.
    events: VecDeque<Held>,
    /// All events from here on are in the window, so a topic without a channel has none of them.
    floor: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    sequence: u64,
    cost: usize,
    channels: SmallVec<[Arc<Channel>; 1]>,
}

#[derive(Debug)]
pub(crate) struct Channel {
    name: Name,
    inner: Mutex<Inner>,
}

#[derive(Debug, Clone)]
enum Name {
    Topic(Topic),
    Pattern(Pattern),
}

#[derive(Debug, Default)]
struct Inner {
    /// `entries` has all from this sequence on.
    floor: u64,
    entries: VecDeque<Entry>,
    bells: Slab<Arc<Signal>>,
    /// Whether the commit that is being written has reached this channel already.
    touched: bool,
}

/// An event in a channel.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) sequence: u64,
    /// Unix milliseconds; `u64::MAX` for never.
    pub(crate) expires_ms: u64,
    pub(crate) frame: Bytes,
}

/// What a commit gives to the window, one for each event.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) topics: &'a [Topic],
    pub(crate) entry: Entry,
}

/// A subscriber's places in the channels that it follows.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    channels: SmallVec<[(Arc<Channel>, usize); 1]>,
}

/// How much a reader takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) bytes: usize,
    pub(crate) events: usize,
    pub(crate) now_ms: u64,
}

/// What a cursor finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// All matching events from the cursor up to `next`; there may be none.
    Frames { frames: Vec<Bytes>, next: u64 },
    /// The window does not reach back so far: read the log.
    Behind,
}

impl Window {
    /// An empty window at the end of a log whose next sequence is `next`.
    pub(crate) fn new(next: u64, bytes_max: usize) -> Self {
        let state = State {
            floor: next,
            ..State::default()
        };
        Self {
            next: AtomicU64::new(next),
            state: Mutex::new(state),
            bytes_max,
        }
    }

    pub(crate) fn next(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// Adds a commit's events and rings the bells of all whom they reach, each once.
    pub(crate) fn append<'a>(&self, arrivals: impl Iterator<Item = Arrival<'a>>, next: u64) {
        let mut touched = Vec::new();
        {
            let mut state = lock(&self.state);
            for arrival in arrivals {
                state.add(&arrival, &mut touched);
            }
            while state.bytes > self.bytes_max {
                state.drop_oldest();
            }
            self.next.store(next, Ordering::Release);
        }
        // Waking runs code of others, which may come back in here: it holds no lock.
        let mut wakers: Vec<Waker> = Vec::new();
        for channel in touched {
            let mut inner = lock(&channel.inner);
            inner.touched = false;
            wakers.extend(inner.bells.iter().filter_map(|(_, bell)| bell.ring()));
            drop(inner);
            wakers.drain(..).for_each(Waker::wake);
        }
    }

    /// Makes `signal` ring for all that `selection` matches from now on. `None`: there would be
    /// more complex patterns than `complex_max`, and every publisher would wait for them.
    pub(crate) fn join(
        &self,
        selection: &Selection,
        signal: &Arc<Signal>,
        complex_max: usize,
    ) -> Option<Membership> {
        let mut state = lock(&self.state);
        if state.patterns.complex_with(selection.patterns()) > complex_max {
            return None;
        }
        let next = self.next();
        let mut membership = Membership::default();
        for topic in selection.topics() {
            membership.add(state.topic(topic), signal);
        }
        for pattern in selection.patterns() {
            let channel = state.patterns.get_or_insert_with(pattern, || {
                Channel::new(Name::Pattern(pattern.clone()), next)
            });
            membership.add(channel, signal);
        }
        Some(membership)
    }

    pub(crate) fn leave(&self, membership: &mut Membership) {
        if membership.channels.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for (channel, place) in membership.channels.drain(..) {
            let mut inner = lock(&channel.inner);
            inner.bells.try_remove(place);
            let unused = inner.bells.is_empty();
            if unused {
                inner.bells.shrink_to_fit();
            }
            let empty = inner.entries.is_empty();
            drop(inner);
            match &channel.name {
                Name::Topic(topic) if unused && empty => drop(state.topics.remove(topic)),
                Name::Pattern(pattern) if unused => state.patterns.remove(pattern),
                _ => {}
            }
        }
    }

    /// The events from `cursor` on that the membership's channels hold, merged and in order.
    pub(crate) fn read(&self, membership: &Membership, cursor: u64, budget: Budget) -> Found {
        let next = self.next();
        if cursor >= next {
            return Found::Frames {
                frames: Vec::new(),
                next: cursor,
            };
        }
        let reader = Reading {
            cursor,
            until: next,
            budget,
        };
        let found = match membership.channels.as_slice() {
            [(channel, _)] => reader.one(channel),
            channels => reader.several(channels),
        };
        match found {
            Some((frames, next)) => Found::Frames { frames, next },
            None => Found::Behind,
        }
    }

    /// Events and bytes held, and the channels of topics.
    pub(crate) fn size(&self) -> (usize, usize, usize) {
        let state = lock(&self.state);
        (state.events.len(), state.bytes, state.topics.len())
    }
}

impl State {
    fn topic(&mut self, topic: &Topic) -> &Arc<Channel> {
        let floor = self.floor;
        self.topics
            .entry(topic.clone())
            .or_insert_with(|| Channel::new(Name::Topic(topic.clone()), floor))
    }

    fn add(&mut self, arrival: &Arrival<'_>, touched: &mut Vec<Arc<Channel>>) {
        let mut channels: SmallVec<[Arc<Channel>; 1]> = SmallVec::new();
        let mut reach = |channel: &Arc<Channel>| {
            let mut inner = lock(&channel.inner);
            // An event of several topics may match one pattern by each of them.
            if inner.newest() == Some(arrival.entry.sequence) {
                return;
            }
            inner.entries.push_back(arrival.entry.clone());
            channels.push(channel.clone());
            if !inner.touched {
                inner.touched = true;
                touched.push(channel.clone());
            }
        };
        for topic in arrival.topics {
            reach(self.topic(topic));
            self.patterns.for_each_match(topic.as_str(), &mut reach);
        }
        let cost = arrival.entry.frame.len()
            + size_of::<Held>()
            + channels.len() * (size_of::<Entry>() + size_of::<Arc<Channel>>());
        self.bytes += cost;
        self.events.push_back(Held {
            sequence: arrival.entry.sequence,
            cost,
            channels,
        });
    }

    fn drop_oldest(&mut self) {
        let Some(held) = self.events.pop_front() else {
            return;
        };
        self.bytes -= held.cost;
        self.floor = held.sequence + 1;
        for channel in held.channels {
            let mut inner = lock(&channel.inner);
            inner.floor = held.sequence + 1;
            inner
                .entries
                .pop_front_if(|entry| entry.sequence == held.sequence);
            // A burst must not leave its capacity behind in every channel.
            if inner.entries.capacity() > 4 * inner.entries.len() + 16 {
                let keep = 2 * inner.entries.len();
                inner.entries.shrink_to(keep);
            }
            let unused = inner.entries.is_empty() && inner.bells.is_empty();
            drop(inner);
            if let (true, Name::Topic(topic)) = (unused, &channel.name) {
                self.topics.remove(topic);
            }
        }
    }
}

impl Channel {
    fn new(name: Name, floor: u64) -> Arc<Self> {
        let inner = Inner {
            floor,
            ..Inner::default()
        };
        Arc::new(Self {
            name,
            inner: Mutex::new(inner),
        })
    }
}

impl Inner {
    fn newest(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.sequence)
    }
}

impl Membership {
    fn add(&mut self, channel: &Arc<Channel>, signal: &Arc<Signal>) {
        let place = lock(&channel.inner).bells.insert(signal.clone());
        self.channels.push((channel.clone(), place));
    }
}

/// One pass of a reader over its channels.
struct Reading {
    cursor: u64,
    until: u64,
    budget: Budget,
}

impl Reading {
    fn one(&self, channel: &Channel) -> Option<(Vec<Bytes>, u64)> {
        let mut frames = Vec::new();
        let until = self.scan(channel, |entry| frames.push(entry.frame.clone()))?;
        Some((frames, until))
    }

    /// Each channel gives what it has within the budget; what lies beyond the first channel that
    /// ran out of budget waits for the next pass.
    fn several(&self, channels: &[(Arc<Channel>, usize)]) -> Option<(Vec<Bytes>, u64)> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut until = self.until;
        for (channel, _) in channels {
            let reading = Self { until, ..*self };
            until = reading.scan(channel, |entry| entries.push(entry.clone()))?;
        }
        entries.sort_by_key(|entry| entry.sequence);
        entries.dedup_by_key(|entry| entry.sequence);
        let merged = entries
            .into_iter()
            .take_while(|entry| entry.sequence < until);
        let mut frames = Vec::new();
        let mut left = self.budget;
        for entry in merged {
            if !left.allows(&entry, frames.is_empty()) {
                return Some((frames, entry.sequence));
            }
            frames.push(entry.frame);
        }
        Some((frames, until))
    }

    /// Gives the channel's entries from the cursor on, within the budget; returns where it stopped.
    /// `None`: the channel does not reach back to the cursor.
    fn scan(&self, channel: &Channel, mut give: impl FnMut(&Entry)) -> Option<u64> {
        let inner = lock(&channel.inner);
        if self.cursor < inner.floor {
            return None;
        }
        let start = inner
            .entries
            .partition_point(|entry| entry.sequence < self.cursor);
        let mut left = self.budget;
        let mut first = true;
        for entry in inner.entries.range(start..) {
            if entry.sequence >= self.until {
                break;
            }
            if entry.expires_ms <= self.budget.now_ms {
                continue;
            }
            if !left.allows(entry, first) {
                return Some(entry.sequence);
            }
            first = false;
            give(entry);
        }
        Some(self.until)
    }
}

impl Budget {
    /// Whether there is room for `entry`; the first always has.
    pub(crate) fn allows(&mut self, entry: &Entry, first: bool) -> bool {
        if !first && (self.events == 0 || self.bytes < entry.frame.len()) {
            return false;
        }
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.frame.len());
        true
    }
}

#[cfg(test)]
#[cfg(not(feature = "shuttle"))]
mod tests {
    use super::*;
    use crate::selection::Selector;

    fn append(window: &Window, topic: &str, sequence: u64) {
        let topics = [topic.parse().unwrap()];
        let entry = Entry {
            sequence,
            expires_ms: u64::MAX,
            frame: Bytes::from_static(b"frame"),
        };
        let arrival = Arrival {
            topics: &topics,
            entry,
        };
        window.append(std::iter::once(arrival), sequence + 1);
    }

    fn join(window: &Window, selector: Selector) -> Membership {
        let signal = Arc::new(Signal::default());
        window
            .join(&Selection::new(&[selector]), &signal, 10)
            .unwrap()
    }

    const BUDGET: Budget = Budget {
        bytes: 1 << 20,
        events: 100,
        now_ms: 0,
    };

    /// A subscriber that has not looked since long ago, because nothing came for it, must not read
    /// the disk for the first event that does: ten thousand of them would at once.
    #[test]
    fn a_busy_topic_does_not_put_the_subscriber_of_a_quiet_one_behind() {
        let window = Window::new(1, 1000);
        for selector in [
            Selector::Topic("quiet".parse().unwrap()),
            Selector::Pattern("qu:rest".parse().unwrap()),
        ] {
            let cursor = window.next();
            let quiet = join(&window, selector);
            let busy = join(&window, Selector::Topic("busy".parse().unwrap()));
            for _ in 0..100 {
                append(&window, "busy", window.next());
            }
            append(&window, "quiet", window.next());
            let found = window.read(&quiet, cursor, BUDGET);
            assert!(matches!(found, Found::Frames { frames, .. } if frames.len() == 1));
            assert!(matches!(window.read(&busy, cursor, BUDGET), Found::Behind));
        }
    }

    /// What has no channel has no events in the window, so its floor is the window's and not 0.
    #[test]
    fn a_new_channel_reaches_back_as_far_as_the_window() {
        let window = Window::new(1, 1000);
        for _ in 0..100 {
            append(&window, "busy", window.next());
        }
        let events = window.size().0 as u64;
        let quiet = join(&window, Selector::Topic("quiet".parse().unwrap()));
        let oldest = window.next() - events;
        let found = window.read(&quiet, oldest, BUDGET);
        assert!(matches!(found, Found::Frames { next: 101, .. }));
        let found = window.read(&quiet, oldest - 1, BUDGET);
        assert!(matches!(found, Found::Behind));
    }
}
