//! Members that are behind the window: what they need is read from the log, once for all who wait
//! for the same.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_log::{Page, ReadError};

use super::{Crowd, CrowdStep, State};
use crate::{
    control::{Gap, GapReason},
    forgotten::Forgotten,
    id::Position,
    span::{Place, SPANS_MAX, Source},
    subscription::{Asked, LogPage, LogRead},
};

/// Spans that are kept of one page; what lies behind them is read again. Of more than the cache
/// holds the first would be gone before anyone was served, again and again.
const KEPT_MAX: usize = SPANS_MAX / 2;

/// Reads that were begun so far, by all crowds: the next one must not take what was read for one that
/// ended.
static BEGUN: AtomicU64 = AtomicU64::new(0);

/// Those who wait for one read of the log.
#[derive(Default)]
pub(super) struct Waiting {
    /// Which read it is. The numbers of members and channels are given to others, so an earlier one
    /// for the same place may be of other events.
    serial: u64,
    members: Vec<u32>,
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

impl Crowd {
    /// Whether anybody still waits for what this would find.
    pub fn waits_for(&self, read: &LogRead) -> bool {
        self.is_awaited(read.asked())
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
        let LogPage {
            asked,
            changes,
            found,
        } = page;
        if !self.is_awaited(asked) {
            return Ok(());
        }
        let (source, place, _) = asked;
        let waiting = self.reads.remove(&(source, place)).unwrap_or_default();
        let waiting = waiting.members;
        let mut forgotten = Forgotten { before: 0, changes };
        let mut unreadable = None;
        let outcome = match found {
            Ok(page) => {
                forgotten.before = page.forgotten_before.unwrap_or(0);
                self.keep((source, place), page, forgotten, now_ms)
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
            self.apply(*number, place, &outcome, forgotten);
        }
        ready.extend(waiting);
        unreadable.map_or(Ok(()), Err)
    }

    /// Has the log read for a member, unless it is being read for others at the same place.
    pub(super) fn behind(&mut self, number: u32, source: Source, place: Place) -> CrowdStep {
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

    /// A member goes, which may be one that was told to end since it began to wait.
    pub(super) fn stop_waiting(&mut self, number: u32, source: Source, place: Place) {
        if let Some(waiting) = self.reads.get_mut(&(source, place)) {
            waiting.members.retain(|other| *other != number);
            if waiting.members.is_empty() {
                self.reads.remove(&(source, place));
            }
        }
    }

    fn is_awaited(&self, (source, place, serial): Asked) -> bool {
        let waiting = self.reads.get(&(source, place));
        waiting.is_some_and(|waiting| waiting.serial == serial)
    }

    /// Keeps what was read as spans for those who wait for it.
    fn keep(
        &mut self,
        (source, place): (Source, Place),
        page: Page,
        forgotten: Forgotten,
        now_ms: u64,
    ) -> Outcome {
        let mut from = place;
        let mut span = self.spans.begin(source, from);
        span.forgotten = forgotten;
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
                let mut next = self.spans.begin(source, from);
                next.forgotten = forgotten;
                let full = std::mem::replace(&mut span, next);
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

    /// Tells one of those who waited what the read came to.
    fn apply(&mut self, number: u32, place: Place, outcome: &Outcome, forgotten: Forgotten) {
        let Some(member) = self.members.get_mut(number as usize) else {
            return;
        };
        if member.state != State::Reading || member.place != place {
            return;
        }
        member.state = State::Following;
        if let Some(gap) = member.news_of(forgotten, &self.shared.epoch) {
            member.gap = Some(Box::new(gap));
            return;
        }
        let before = |sequence| Position::before(&self.shared.epoch, sequence);
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
}
