//! Many subscribers that one thread serves.
//!
//! A [`Subscription`](crate::Subscription) is a subscriber with a waker of its own, for a runtime's
//! task. A [`Crowd`] is for whoever owns thousands of sockets: a commit wakes it once, it says who
//! has news, and all who stand at the same place of a topic get the same bytes, framed once.
//!
//! The members of a crowd and the channels that they follow refer to each other by number, so that
//! a quiet member costs about a hundred bytes and no allocation of its own.
//!
//! | module | what it does |
//! | --- | --- |
//! | `crowd` | members, and what there is for each: start here |
//! | `crowd::following` | which members a channel's news reaches |
//! | `crowd::replay` | reads of the log, one for all who stand at the same place |

mod following;
mod replay;

use std::{collections::HashMap, fmt, sync::Arc as StdArc};

use slab::Slab;
use smallvec::SmallVec;

use self::{
    following::{Follow, Followed},
    replay::Waiting,
};

use crate::{
    bell::Bell,
    control::Gap,
    forgotten::{Forgotten, Told},
    hub::{Located, Shared},
    id::Position,
    reading::{Budget, Reading},
    selection::Selection,
    signal::EndReason,
    span::{Framing, Place, Source, Span, SpanCache, SpanLimit},
    stats::add,
    subscription::{LogRead, SubscribeError},
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

/// A subscriber of a crowd.
struct Member {
    place: Place,
    follows: SmallVec<[Follow; 1]>,
    selection: Arc<Selection>,
    gap: Option<Box<Gap>>,
    told: Told,
    state: State,
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

/// Counted here, and told to the hub once for many steps.
#[derive(Default)]
struct Delivered {
    events: u64,
    bytes: u64,
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
            told,
        } = located;
        self.shared.register_in(&self.bell)?;
        let member = Member {
            place: Place::at(cursor),
            follows: SmallVec::new(),
            selection: Arc::new(selection),
            gap: gap.map(Box::new),
            told,
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
        self.stop_waiting(number, member.source(number), member.place);
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
            let gap = self.gap_in_front(number, &span);
            return Some(gap.map_or(CrowdStep::Span(span), CrowdStep::Gap));
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

    /// Adds what was delivered to what the hub counts. Call it now and then.
    pub fn tell_delivered(&mut self) {
        let Delivered { events, bytes } = std::mem::take(&mut self.delivered);
        if bytes > 0 {
            add(&self.shared.counters.delivered_events, events);
            add(&self.shared.counters.delivered_bytes, bytes);
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

    /// What is gone of what a member asked for, if the span was read for another one, who was told.
    fn gap_in_front(&mut self, number: u32, span: &Span) -> Option<Gap> {
        let member = self.members.get_mut(number as usize)?;
        let gap = member.news_of(span.forgotten, &self.shared.epoch)?;
        add(&self.shared.counters.gaps, 1);
        Some(gap)
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
}

impl Member {
    fn source(&self, number: u32) -> Source {
        match self.follows.as_slice() {
            [only] => Source::Channel(only.channel),
            _ => Source::Member(number),
        }
    }

    /// Of what was asked for some is gone, and what is left of it follows. `None`: it was told that,
    /// or nothing is gone; within an event nothing can be said.
    fn news_of(&mut self, forgotten: Forgotten, epoch: &Arc<str>) -> Option<Gap> {
        let Place { sequence, offset } = self.place;
        let is_news = offset == 0 && self.told.is_news(forgotten, sequence);
        let before = |sequence| Position::before(epoch, sequence);
        is_news.then(|| Gap::forgotten(before(sequence), before(forgotten.before)))
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
