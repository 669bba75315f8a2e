//! Many subscribers that one thread serves.
//!
//! A [`Subscription`](crate::Subscription) is a subscriber with a waker of its own, for a runtime's
//! task. A [`Crowd`] is for whoever owns thousands of sockets: a commit wakes it once, it says who
//! has news, and all who stand at the same place of a topic get the same bytes, framed once.
//!
//! The members of a crowd and the channels that they follow refer to each other by number, so that
//! a quiet member costs about a hundred bytes and no allocation of its own.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc as StdArc,
        atomic::{AtomicU64, Ordering},
    },
};

use slab::Slab;
use smallvec::SmallVec;
use tidings_log::{Page, ReadError};

use crate::{
    bell::Bell,
    control::{Gap, GapReason},
    hub::{Located, Shared},
    id::Position,
    reading::{Budget, Reading},
    selection::Selection,
    signal::EndReason,
    span::{Framing, Place, SPANS_MAX, Source, Span, SpanCache, SpanLimit},
    stats::add,
    subscription::{Asked, LogPage, LogRead, SubscribeError},
    sync::Arc,
    window::Channel,
};

/// Subscribers that one thread serves: sockets by the thousand, without a task for each. Dropping it
/// ends them all.
pub struct Crowd {
    shared: Arc<Shared>,
    bell: Arc<Bell>,
    members: Slab<Member>,
    followed: Slab<Followed>,
    /// Where each channel stands in `followed`, by its address, which lasts as long as it is there.
    numbers: HashMap<usize, u32>,
    spans: SpanCache,
    limit: SpanLimit,
    /// Who waits for which read of the log.
    reads: HashMap<(Source, Place), Waiting>,
    touched: Vec<u32>,
    endings: Vec<(usize, EndReason)>,
    delivered: Delivered,
}

/// Spans that are kept of one page; what lies behind them is read again. Of more than the cache
/// holds the first would be gone before anyone was served, again and again.
const KEPT_MAX: usize = SPANS_MAX / 2;

/// Reads that were begun so far, by all crowds: the next one must not take what was read for one that
/// ended.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// A subscriber of a crowd.
struct Member {
    place: Place,
    follows: SmallVec<[Follow; 1]>,
    selection: Arc<Selection>,
    gap: Option<Box<Gap>>,
    /// That some was forgotten before this sequence needs not be told any more.
    told_before: u64,
    state: State,
}

/// Those who wait for one read of the log.
#[derive(Default)]
struct Waiting {
    /// Which read it is. The numbers of members and channels are given to others, so an earlier one
    /// for the same place may be of other events.
    serial: u64,
    members: Vec<u32>,
}

/// A channel that a member follows, and where the channel lists it.
#[derive(Clone, Copy)]
struct Follow {
    channel: u32,
    index: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Following,
    /// A read of the log was begun for it.
    Reading,
    /// It was told to end, or is to be.
    Ended(EndReason),
    /// The log cannot be read here, or an event that it was in the middle of is gone.
    Broken,
}

struct Followed {
    channel: Arc<Channel>,
    members: Vec<u32>,
    /// Those who follow only this share what they ask the log for.
    selection: Arc<Selection>,
}

/// Counted here, and told to the hub once for many steps.
#[derive(Default)]
struct Delivered {
    events: u64,
    bytes: u64,
}

/// What a member has for its subscriber.
#[derive(Debug)]
#[non_exhaustive]
pub enum CrowdStep {
    /// Framed events. Say with [`Crowd::took`] how much of it was written.
    Span(StdArc<Span>),
    /// Events that cannot be delivered. The stream goes on after them.
    Gap(Gap),
    /// The next events are on disk: run this where blocking is fine, and hand what it returns to
    /// [`Crowd::accept`].
    Behind(LogRead),
    /// They are being read already; [`Crowd::accept`] says when to ask again.
    Waiting,
    /// The stream is to end, for this reason. Nothing comes after it.
    End(EndReason),
    /// The stream cannot go on and is to be broken off; the subscriber can resume.
    Broken,
}

impl fmt::Debug for Crowd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crowd")
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

impl Crowd {
    pub(crate) fn new(shared: Arc<Shared>, framing: Framing, bell: Arc<Bell>) -> Self {
        let limit = SpanLimit {
            bytes: shared.limits.step_bytes_max,
            pieces: shared.limits.step_events_max,
            framing,
        };
        Self {
            shared,
            bell,
            members: Slab::new(),
            followed: Slab::new(),
            numbers: HashMap::new(),
            spans: SpanCache::default(),
            limit,
            reads: HashMap::new(),
            touched: Vec::new(),
            endings: Vec::new(),
            delivered: Delivered::default(),
        }
    }

    /// Adds a subscriber at its place, and gives it a number. Ask for its first step at once.
    ///
    /// # Errors
    ///
    /// The hub is closed, or has all the complex patterns that it can try.
    pub fn join(&mut self, located: Located) -> Result<u32, SubscribeError> {
        let Located {
            selection,
            cursor,
            gap,
            told_before,
        } = located;
        self.shared.register_in(&self.bell)?;
        let member = Member {
            place: Place::at(cursor),
            follows: SmallVec::new(),
            selection: Arc::new(selection),
            gap: gap.map(Box::new),
            told_before,
            state: State::Following,
        };
        let number = narrow(self.members.insert(member));
        if self.follow(number) {
            return Ok(number);
        }
        self.leave(number);
        let max = self.shared.limits.complex_patterns_max;
        Err(SubscribeError::TooManyComplexPatterns { max })
    }

    /// Removes a subscriber. Its number may be given to another.
    pub fn leave(&mut self, number: u32) {
        let Some(member) = self.members.try_remove(number as usize) else {
            return;
        };
        // Also one that was told to end since it began to wait.
        let waits_at = (member.source(number), member.place);
        if let Some(waiting) = self.reads.get_mut(&waits_at) {
            waiting.members.retain(|other| *other != number);
            if waiting.members.is_empty() {
                self.reads.remove(&waits_at);
            }
        }
        for follow in member.follows {
            self.unfollow(follow);
        }
        self.spans.forget(Source::Member(number));
        let ended = match member.state {
            State::Ended(reason) => Some(reason),
            _ => None,
        };
        self.bell.left(ended.is_some());
        self.shared.unregister_from_crowd(ended);
        if self.members.is_empty() {
            self.members.shrink_to_fit();
        }
    }

    /// Adds those who may have news since this was last asked to `news`; some more than once.
    pub fn take_news(&mut self, news: &mut Vec<u32>) {
        let (mut touched, mut endings) = (
            std::mem::take(&mut self.touched),
            std::mem::take(&mut self.endings),
        );
        self.bell.take(&mut touched, &mut endings);
        for channel in &touched {
            // One that nobody follows any more, or another with its number: no harm.
            if let Some(followed) = self.followed.get(*channel as usize) {
                news.extend_from_slice(&followed.members);
            }
        }
        for (count, reason) in endings.drain(..) {
            self.end(count, reason, news);
        }
        (self.touched, self.endings) = (touched, endings);
    }

    /// The gap that a subscriber begins with, if there is one. It is its first step otherwise.
    pub fn take_gap(&mut self, number: u32) -> Option<Gap> {
        let member = self.members.get_mut(number as usize)?;
        let gap = member.gap.take()?;
        add(&self.shared.counters.gaps, 1);
        Some(*gap)
    }

    /// What there is for a subscriber now. `None`: nothing yet.
    ///
    /// `now_ms` is Unix time in milliseconds, for events that expire.
    pub fn step(&mut self, number: u32, now_ms: u64) -> Option<CrowdStep> {
        match self.members.get(number as usize)?.state {
            State::Following => {}
            State::Reading => return Some(CrowdStep::Waiting),
            // What has to be said has no place within an event.
            State::Ended(_) if self.is_within_event(number) => return Some(CrowdStep::Broken),
            State::Ended(reason) => return Some(CrowdStep::End(reason)),
            State::Broken => return Some(CrowdStep::Broken),
        }
        if let Some(gap) = self.take_gap(number) {
            return Some(CrowdStep::Gap(gap));
        }
        let member = self.members.get(number as usize)?;
        let next = self.shared.window.next();
        if member.place.sequence >= next {
            return None;
        }
        let (source, place) = (member.source(number), member.place);
        if let Some(span) = self.spans.get(source, place, next, now_ms) {
            return Some(CrowdStep::Span(span));
        }
        match self.read(number, next, now_ms) {
            Some(span) if span.is_empty() && span.to.offset > 0 => {
                self.set(number, State::Broken);
                Some(CrowdStep::Broken)
            }
            Some(span) if span.is_empty() => {
                self.move_to(number, span.to);
                self.spans.put_back(span);
                None
            }
            Some(span) => Some(CrowdStep::Span(self.spans.put(span))),
            None => Some(self.behind(number, source, place)),
        }
    }

    /// Notes that the first `written` bytes of a span were written for a subscriber, and returns
    /// what has to be written before anything else: the rest of a piece, or nothing.
    pub fn took<'a>(&mut self, number: u32, span: &'a Span, written: usize) -> &'a [u8] {
        if written >= span.bytes.len() {
            self.delivered.events += span.events;
            self.delivered.bytes += span.frame_bytes as u64;
            self.move_to(number, span.to);
            return &[];
        }
        let reached = span.reached(written);
        self.delivered.events += reached.events;
        self.delivered.bytes += reached.frame_bytes;
        self.move_to(number, reached.place);
        reached.rest
    }

    /// Whether anybody still waits for what this would find.
    pub fn waits_for(&self, read: &LogRead) -> bool {
        self.is_awaited(read.asked())
    }

    fn is_awaited(&self, (source, place, serial): Asked) -> bool {
        let waiting = self.reads.get(&(source, place));
        waiting.is_some_and(|waiting| waiting.serial == serial)
    }

    /// Takes what a [`LogRead`] found. Adds those who waited for it to `ready`: ask each for its
    /// next step at once, while it is in memory.
    ///
    /// # Errors
    ///
    /// The log could not be read here. Those who waited are to be broken off, and can resume.
    pub fn accept(
        &mut self,
        page: LogPage,
        now_ms: u64,
        ready: &mut Vec<u32>,
    ) -> Result<(), ReadError> {
        let LogPage { asked, found } = page;
        if !self.is_awaited(asked) {
            return Ok(());
        }
        let (source, place, _) = asked;
        let waiting = self.reads.remove(&(source, place)).unwrap_or_default();
        let waiting = waiting.members;
        let (mut forgotten_before, mut unreadable) = (0, None);
        let outcome = match found {
            Ok(page) => {
                forgotten_before = page.forgotten_before.unwrap_or(0);
                self.keep(source, place, page, now_ms)
            }
            Err(error) => match GapReason::of(&error) {
                Some((reason, next)) if place.offset == 0 => Outcome::Skip(next, reason),
                // The event that they are within is gone.
                Some((GapReason::Retention | GapReason::Lost, _)) => Outcome::Broken,
                _ => {
                    unreadable = Some(error);
                    Outcome::Broken
                }
            },
        };
        for number in &waiting {
            self.apply(*number, place, &outcome, forgotten_before);
        }
        ready.extend(waiting);
        unreadable.map_or(Ok(()), Err)
    }

    /// Where a new subscription of this subscriber would go on, as
    /// [`Subscription::position`](crate::Subscription::position).
    pub fn position(&self, number: u32) -> Position {
        let member = self.members.get(number as usize);
        let next = member.map_or(0, |member| member.place.sequence);
        Position::before(&self.shared.epoch, next)
    }

    /// Whether there may be something for a subscriber that it was not given.
    pub fn is_behind(&self, number: u32) -> bool {
        let member = self.members.get(number as usize);
        member.is_some_and(|member| member.place.sequence < self.shared.window.next())
    }

    /// Whether a subscriber was given only a part of an event: nothing else may be sent in between.
    pub fn is_within_event(&self, number: u32) -> bool {
        let member = self.members.get(number as usize);
        member.is_some_and(|member| member.place.offset > 0)
    }

    /// Has a member told of all that its selection names. False: too many complex patterns.
    fn follow(&mut self, number: u32) -> bool {
        let Some(member) = self.members.get(number as usize) else {
            return false;
        };
        let selection = member.selection.clone();
        let mut follows: SmallVec<[Follow; 1]> = SmallVec::new();
        let shared = self.shared.clone();
        let max = shared.limits.complex_patterns_max;
        let joined = shared.window.join_each(&selection, max, |channel| {
            let at = self.admit(channel, &selection);
            if let Some(followed) = self.followed.get_mut(at as usize) {
                let index = narrow(followed.members.len());
                followed.members.push(number);
                follows.push(Follow { channel: at, index });
            }
        });
        let alone = match follows.as_slice() {
            [only] => self.followed.get(only.channel as usize),
            _ => None,
        };
        let same = alone.map(|followed| followed.selection.clone());
        if let Some(member) = self.members.get_mut(number as usize) {
            member.follows = follows;
            // Alike, and there already.
            member.selection = same.unwrap_or(selection);
        }
        joined
    }

    /// The number of a channel, which it gets with its first member.
    fn admit(&mut self, channel: &Arc<Channel>, selection: &Arc<Selection>) -> u32 {
        let address = Arc::as_ptr(channel) as usize;
        *self.numbers.entry(address).or_insert_with(|| {
            // Only one who follows nothing else can lend its selection.
            let selection = match selection.len() {
                1 => selection.clone(),
                _ => Arc::new(channel.selection()),
            };
            let at = narrow(self.followed.insert(Followed {
                channel: channel.clone(),
                members: Vec::new(),
                selection,
            }));
            channel.admit_crowd(&self.bell, at);
            at
        })
    }

    fn unfollow(&mut self, follow: Follow) {
        let Follow { channel, index } = follow;
        let Some(followed) = self.followed.get_mut(channel as usize) else {
            return;
        };
        if (index as usize) < followed.members.len() {
            followed.members.swap_remove(index as usize);
        }
        if followed.members.is_empty() {
            let followed = self.followed.remove(channel as usize);
            self.numbers
                .remove(&(Arc::as_ptr(&followed.channel) as usize));
            self.spans.forget(Source::Channel(channel));
            self.shared
                .window
                .leave_crowd(&followed.channel, &self.bell);
            return;
        }
        // The last of the list has taken the place that became free.
        let moved = followed.members.get(index as usize).copied();
        let moved = moved.and_then(|number| self.members.get_mut(number as usize));
        let listed = moved.and_then(|m| m.follows.iter_mut().find(|f| f.channel == channel));
        if let Some(listed) = listed {
            listed.index = index;
        }
    }

    fn end(&mut self, count: usize, reason: EndReason, news: &mut Vec<u32>) {
        let open = |member: &Member| !matches!(member.state, State::Ended(_));
        let chosen = self.members.iter_mut().filter(|(_, member)| open(member));
        let mut ended = 0;
        for (number, member) in chosen.take(count) {
            member.state = State::Ended(reason);
            news.push(narrow(number));
            ended += 1;
        }
        self.bell.gone_before_end(count - ended);
    }

    /// All that there is for a member in the window. `None`: it does not reach back so far.
    fn read(&mut self, number: u32, next: u64, now_ms: u64) -> Option<Span> {
        let member = self.members.get(number as usize)?;
        let mut span = self.spans.begin(member.source(number), member.place);
        let channels: SmallVec<[&Channel; 1]> = member
            .follows
            .iter()
            .filter_map(|follow| self.followed.get(follow.channel as usize))
            .map(|followed| &*followed.channel)
            .collect();
        let reading = Reading {
            cursor: member.place.sequence,
            until: next,
            resumed: member.place.offset > 0,
            budget: Budget {
                bytes: self.limit.bytes,
                events: self.limit.pieces,
                now_ms,
            },
        };
        let until = reading.read(&channels, |entry| {
            let begun = span.is_empty() && reading.resumed;
            if begun && entry.sequence != reading.cursor {
                return false; // gone
            }
            span.expire_with(entry.sequence, entry.expires_ms);
            span.push(entry.sequence, &entry.frame, &self.limit)
        });
        let Some(until) = until else {
            self.spans.put_back(span);
            return None;
        };
        if span.is_empty() && reading.resumed {
            return Some(span); // it stands where it stood
        }
        if !span.is_full {
            span.to = Place::at(until);
        }
        // What a channel was not asked for is there all the same.
        span.is_full |= until < next;
        Some(span)
    }

    fn behind(&mut self, number: u32, source: Source, place: Place) -> CrowdStep {
        let Some(member) = self.members.get_mut(number as usize) else {
            return CrowdStep::Broken;
        };
        member.state = State::Reading;
        let waiting = self.reads.entry((source, place)).or_default();
        waiting.members.push(number);
        if waiting.members.len() > 1 {
            return CrowdStep::Waiting;
        }
        waiting.serial = BEGUN.fetch_add(1, Ordering::Relaxed);
        let selection = member.selection.clone();
        let asked = (source, place, waiting.serial);
        CrowdStep::Behind(LogRead::new(&self.shared, selection, asked))
    }

    /// Keeps what was read as spans for those who wait for it.
    fn keep(&mut self, source: Source, place: Place, page: Page, now_ms: u64) -> Outcome {
        let mut from = place;
        let mut span = self.spans.begin(source, from);
        let mut kept = 0;
        for stored in page.frames {
            let begun = place.offset > 0 && stored.sequence == place.sequence;
            let expires_ms = stored.expires_ms.unwrap_or(u64::MAX);
            if expires_ms <= now_ms && !begun {
                continue;
            }
            if place.offset > 0 && span.is_empty() && from == place && !begun {
                self.spans.put_back(span);
                return Outcome::Broken;
            }
            loop {
                span.expire_with(stored.sequence, expires_ms);
                span.push(stored.sequence, &stored.frame, &self.limit);
                if span.to.sequence > stored.sequence {
                    break;
                }
                // The rest of the frame is for the next one.
                from = span.to;
                let full = std::mem::replace(&mut span, self.spans.begin(source, from));
                self.spans.put(full);
                kept += 1;
                if kept == KEPT_MAX {
                    return Outcome::Spans;
                }
            }
        }
        if span.is_empty() && from == place {
            self.spans.put_back(span);
            if place.offset > 0 {
                return Outcome::Broken;
            }
            return Outcome::Nothing(page.next.max(place.sequence));
        }
        span.to = Place::at(page.next.max(span.to.sequence));
        // There may be more on disk and in the window.
        span.is_full = true;
        if span.is_empty() {
            self.spans.put_back(span);
        } else {
            self.spans.put(span);
        }
        Outcome::Spans
    }

    fn apply(&mut self, number: u32, place: Place, outcome: &Outcome, forgotten_before: u64) {
        let Some(member) = self.members.get_mut(number as usize) else {
            return;
        };
        if member.state != State::Reading || member.place != place {
            return;
        }
        member.state = State::Following;
        let before = |sequence| Position::before(&self.shared.epoch, sequence);
        if member.told_before < forgotten_before && place.offset == 0 {
            // Of what was asked for some is gone, and what is left of it follows.
            member.told_before = forgotten_before;
            let gap = Gap::forgotten(before(place.sequence), before(forgotten_before));
            member.gap = Some(Box::new(gap));
            return;
        }
        match outcome {
            Outcome::Spans => {}
            Outcome::Nothing(next) => member.place = Place::at(*next),
            Outcome::Skip(to, reason) => {
                member.place = Place::at(place.sequence.max(*to));
                let from = before(place.sequence).to_string();
                let gap = Gap::skipping(from, before(member.place.sequence), *reason);
                member.gap = Some(Box::new(gap));
            }
            Outcome::Broken => member.state = State::Broken,
        }
    }

    fn move_to(&mut self, number: u32, place: Place) {
        if let Some(member) = self.members.get_mut(number as usize) {
            member.place = place;
        }
    }

    fn set(&mut self, number: u32, state: State) {
        if let Some(member) = self.members.get_mut(number as usize) {
            member.state = state;
        }
    }

    /// Adds what was delivered to what the hub counts. Call it now and then.
    pub fn tell_delivered(&mut self) {
        let Delivered { events, bytes } = std::mem::take(&mut self.delivered);
        if bytes > 0 {
            add(&self.shared.counters.delivered_events, events);
            add(&self.shared.counters.delivered_bytes, bytes);
        }
    }
}

/// What a read of the log came to, for all who waited for it.
enum Outcome {
    Spans,
    /// Nothing that matches before this sequence.
    Nothing(u64),
    Skip(u64, GapReason),
    /// The log cannot be read here, or the event that was being sent is gone from it.
    Broken,
}

impl Member {
    fn source(&self, number: u32) -> Source {
        match self.follows.as_slice() {
            [only] => Source::Channel(only.channel),
            _ => Source::Member(number),
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let numbers: Vec<u32> = self
            .members
            .iter()
            .map(|(number, _)| narrow(number))
            .collect();
        for number in numbers {
            self.leave(number);
        }
        self.tell_delivered();
    }
}

/// Numbers within a crowd: there are fewer file descriptors than that.
fn narrow(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
