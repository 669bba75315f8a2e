//! The newest part of the log, in memory, shared by all subscribers.
//!
//! # The data model
//!
//! A [`Channel`] is what is followed: a topic, or a pattern that somebody subscribed to. It holds
//! its events as `(sequence, frame)` in order, and whom to tell of more. Frames are slices
//! of one buffer for each commit, so an event is in memory once, however many channels and
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
    bell::Bell,
    pattern::Pattern,
    pattern_index::PatternIndex,
    reading::{Budget, Reading},
    selection::{Selection, Selector},
    signal::Signal,
    sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering, lock},
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
    /// Subscribers that follow it alone.
    signals: Slab<Arc<Signal>>,
    /// Crowds that have subscribers of it, each with its own number for this channel.
    crowds: SmallVec<[(Arc<Bell>, u32); 1]>,
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
        let (mut wakers, mut bells): (Vec<Waker>, Vec<Arc<Bell>>) = Default::default();
        for channel in touched {
            let mut inner = lock(&channel.inner);
            inner.touched = false;
            wakers.extend(inner.signals.iter().filter_map(|(_, signal)| signal.ring()));
            let asleep = inner.crowds.iter().filter(|(bell, at)| bell.touch(*at));
            bells.extend(asleep.map(|(bell, _)| bell.clone()));
            drop(inner);
            wakers.drain(..).for_each(Waker::wake);
        }
        for bell in bells {
            bell.wake();
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
        let mut membership = Membership::default();
        self.join_each(selection, complex_max, |channel| {
            membership.add(channel, signal);
        })
        .then_some(membership)
    }

    /// Gives `add` each channel that `selection` names, so that it can have itself told of what
    /// comes there from now on. False: too many complex patterns, as for [`Window::join`].
    pub(crate) fn join_each(
        &self,
        selection: &Selection,
        complex_max: usize,
        mut add: impl FnMut(&Arc<Channel>),
    ) -> bool {
        let mut state = lock(&self.state);
        if state.patterns.complex_with(selection.patterns()) > complex_max {
            return false;
        }
        let next = self.next();
        for topic in selection.topics() {
            add(state.topic(topic));
        }
        for pattern in selection.patterns() {
            add(state.patterns.get_or_insert_with(pattern, || {
                Channel::new(Name::Pattern(pattern.clone()), next)
            }));
        }
        true
    }

    pub(crate) fn leave(&self, membership: &mut Membership) {
        if membership.channels.is_empty() {
            return;
        }
        let mut state = lock(&self.state);
        for (channel, place) in membership.channels.drain(..) {
            let mut inner = lock(&channel.inner);
            inner.signals.try_remove(place);
            if inner.signals.is_empty() {
                inner.signals.shrink_to_fit();
            }
            state.forget_if_unused(&channel, inner);
        }
    }

    /// The crowd of `bell` has no subscriber of `channel` any more.
    pub(crate) fn leave_crowd(&self, channel: &Arc<Channel>, bell: &Arc<Bell>) {
        let mut state = lock(&self.state);
        let mut inner = lock(&channel.inner);
        inner.crowds.retain(|(other, _)| !Arc::ptr_eq(other, bell));
        state.forget_if_unused(channel, inner);
    }

    /// The events from `cursor` on that the membership's channels hold, merged and in order.
    pub(crate) fn read(&self, membership: &Membership, cursor: u64, mut budget: Budget) -> Found {
        let next = self.next();
        if cursor >= next {
            return Found::Frames {
                frames: Vec::new(),
                next: cursor,
            };
        }
        let mut frames = Vec::new();
        let reading = Reading {
            cursor,
            until: next,
            resumed: false,
            budget,
        };
        let channels: SmallVec<[&Channel; 1]> =
            membership.channels.iter().map(|(c, _)| &**c).collect();
        let read = reading.read(&channels, |entry| {
            let room = budget.allows(entry.frame.len(), frames.is_empty());
            if room {
                frames.push(entry.frame.clone());
            }
            room
        });
        match read {
            Some(next) => Found::Frames { frames, next },
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
            // A pattern went with its last subscriber. Another may have come since, and the pattern
            // that is there is its own.
            if let Name::Topic(_) = channel.name {
                self.forget_if_unused(&channel, inner);
            }
        }
    }

    /// A topic is forgotten with its last event and its last subscriber, a pattern with the latter.
    fn forget_if_unused(&mut self, channel: &Channel, inner: MutexGuard<'_, Inner>) {
        let followed = !inner.signals.is_empty() || !inner.crowds.is_empty();
        let empty = inner.entries.is_empty();
        drop(inner);
        match &channel.name {
            _ if followed => {}
            Name::Topic(topic) if empty => drop(self.topics.remove(topic)),
            Name::Topic(_) => {}
            Name::Pattern(pattern) => self.patterns.remove(pattern),
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

    /// What follows just this channel.
    pub(crate) fn selection(&self) -> Selection {
        Selection::new(&[match &self.name {
            Name::Topic(topic) => Selector::Topic(topic.clone()),
            Name::Pattern(pattern) => Selector::Pattern(pattern.clone()),
        }])
    }

    /// Has the crowd of `bell` told of this channel by the number `at`.
    pub(crate) fn admit_crowd(&self, bell: &Arc<Bell>, at: u32) {
        lock(&self.inner).crowds.push((bell.clone(), at));
    }

    /// Shows `give` the events from `cursor` on, while it wants more. Returns the sequence that it
    /// did not want, or `until` if there is none. `None`: the channel does not reach back so far.
    pub(crate) fn scan(
        &self,
        cursor: u64,
        until: u64,
        mut give: impl FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        let inner = lock(&self.inner);
        if cursor < inner.floor {
            return None;
        }
        let start = inner
            .entries
            .partition_point(|entry| entry.sequence < cursor);
        let mut entries = inner.entries.range(start..);
        let stopped = entries.find(|entry| entry.sequence >= until || !give(entry));
        Some(stopped.map_or(until, |entry| entry.sequence.min(until)))
    }
}

impl Inner {
    fn newest(&self) -> Option<u64> {
        self.entries.back().map(|entry| entry.sequence)
    }
}

impl Membership {
    fn add(&mut self, channel: &Arc<Channel>, signal: &Arc<Signal>) {
        let place = lock(&channel.inner).signals.insert(signal.clone());
        self.channels.push((channel.clone(), place));
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

    /// An event outlived the subscriber that it was for. When it went too, it took the pattern with
    /// it, and whoever had come to follow that in the meantime heard nothing any more.
    #[test]
    fn an_old_event_does_not_take_a_pattern_from_a_new_subscriber() {
        let window = Window::new(1, 1000);
        let selector = || Selector::Pattern("qu:rest".parse().unwrap());
        let mut old = join(&window, selector());
        append(&window, "quiet", window.next());
        window.leave(&mut old);
        let new = join(&window, selector());
        let cursor = window.next();
        for _ in 0..100 {
            append(&window, "busy", window.next());
        }
        append(&window, "quiet", window.next());
        let found = window.read(&new, cursor, BUDGET);
        assert!(matches!(found, Found::Frames { frames, .. } if frames.len() == 1));
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
