//! What retention says of single topics.
//!
//! A topic with a rule of its own is kept by that rule and by no other. What the rule still keeps is
//! found in the indexes, from the newest segment back. In memory there is only, for compaction, how far
//! back counts and bytes reached for each topic that had used them up: its name and a number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{ReadError, StorageFault};
use crate::fields::{narrow, widen};
use crate::index::{Index, List, hash};
use crate::options::TopicRetention;
use crate::segment::{Segment, SegmentList};

/// How many entries of a topic's list are taken at once while adding up its bytes.
const ADDED_AT_ONCE: u32 = 1024;

/// The rules of a log, and how far back their ages reach.
#[derive(Default)]
pub(crate) struct Rules {
    all: Vec<Rule>,
    /// Tells these rules from others.
    pub(crate) fingerprint: u64,
    /// The end of the log was cut off when it was opened: what was there may have counted.
    end_was_cut: bool,
    floors: Mutex<Arc<Floors>>,
}

/// How far back counts and bytes reached for each topic, at some time before. They never reach further
/// back later, so that nobody needs what is before it.
#[derive(Default)]
pub(crate) struct Floors {
    /// One past the last record that was there then.
    end: u64,
    from: HashMap<Arc<str>, u64>,
}

pub(crate) struct Rule {
    limits: TopicRetention,
    /// The first sequence that is not too old, as of the last call of [`Rules::look_at_clock`].
    young_from: AtomicU64,
    /// The same at a later time that is known to have been: before it some may be gone.
    lost_before: AtomicU64,
}

/// How much of a topic is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// From this sequence on.
    pub(crate) from: u64,
    /// Before this sequence some of the topic may have been forgotten.
    pub(crate) lost_before: u64,
}

/// The rules, and what they apply to.
pub(crate) struct View<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) segments: &'a SegmentList,
}

impl Rules {
    pub(crate) fn new(rules: &[TopicRetention], end_was_cut: bool) -> Self {
        let text: String = rules.iter().map(TopicRetention::describe).collect();
        let rules = rules.iter().map(|limits| Rule {
            limits: limits.clone(),
            young_from: AtomicU64::new(0),
            lost_before: AtomicU64::new(0),
        });
        Self {
            all: rules.collect(),
            fingerprint: hash(&text, 0),
            end_was_cut,
            ..Self::default()
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The first rule that a topic falls under.
    pub(crate) fn of(&self, topic: &str) -> Option<&Rule> {
        self.all
            .iter()
            .find(|rule| rule.limits.topics.matches(topic))
    }

    /// Finds out how far back each age reaches now; not further than before, by a clock that was set
    /// back, for what is gone is gone. Where damage is in the way it stays as it is.
    ///
    /// A clock may have been set back while the log was closed. The newest record, of `newest_ms`,
    /// tells that it was later once, and that more may have been forgotten then.
    pub(crate) fn look_at_clock(
        &self,
        now_ms: u64,
        newest_ms: u64,
        young_from: impl Fn(u64) -> Result<u64, ReadError>,
    ) -> Result<(), StorageFault> {
        for rule in &self.all {
            rule.look_at(now_ms, &rule.young_from, &young_from)?;
            if newest_ms > now_ms {
                rule.look_at(newest_ms, &rule.lost_before, &young_from)?;
            }
        }
        Ok(())
    }
}

impl View<'_> {
    /// Where the part of the log begins in which nothing was left out.
    ///
    /// Not where the first compacted segments end: if the sync of a directory failed, one can be whole
    /// again after the power went, before others that were compacted since.
    fn whole_from(&self) -> u64 {
        self.end_of_last(|segment| segment.compacted.is_some())
    }

    /// Where the part ends that was compacted under other rules: of what those left out nothing is
    /// known.
    fn foreign_before(&self) -> u64 {
        self.end_of_last(|segment| {
            let rules = segment.compacted;
            rules.is_some_and(|rules| rules != self.rules.fingerprint)
        })
    }

    /// Where the last part ends of which something was damaged, and is left out.
    fn damaged_before(&self) -> u64 {
        self.end_of_last(|segment| segment.sparse && segment.compacted.is_none())
    }

    fn end_of_last(&self, is_meant: impl Fn(&Segment) -> bool) -> u64 {
        let mut newest_first = self.segments.iter().rev();
        let last = newest_first.find(|segment| is_meant(segment));
        last.map_or(0, |last| last.end())
    }

    /// Whether nothing is hidden and nothing was left out: then nobody needs to ask by topic.
    pub(crate) fn is_plain(&self) -> bool {
        self.rules.is_empty() && self.lost_before() == 0
    }

    /// What is lost of all topics, as far as is known without looking at them.
    pub(crate) fn lost_before(&self) -> u64 {
        self.whole_from().max(self.damaged_before())
    }

    /// What is kept of a topic from a sequence on; of what is before it nothing is said. Takes time by
    /// the number of segments behind that.
    pub(crate) fn kept(&self, topic: &str, since: u64) -> Result<Kept, ReadError> {
        let Some(rule) = self.rules.of(topic) else {
            // What is there of it before that is kept for other topics of the same records.
            return Ok(Kept {
                from: self.whole_from(),
                lost_before: self.lost_before(),
            });
        };
        let mut kept = rule.kept(self, topic, since)?;
        let unknown = self.foreign_before().max(self.damaged_before());
        kept.lost_before = kept.lost_before.max(unknown);
        Ok(kept)
    }

    /// What reaches no further back than counts and bytes did for the topics of all segments that end
    /// before `end`. Looks at the lists of all segments if what is known is older than that.
    pub(crate) fn floors(&self, end: u64, between: &dyn Fn()) -> Result<Arc<Floors>, ReadError> {
        let known = || {
            self.rules
                .floors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let before = Arc::clone(&known());
        if before.end >= end {
            return Ok(before);
        }
        let floors = Arc::new(self.look_for_floors(between)?);
        *known() = Arc::clone(&floors);
        Ok(floors)
    }

    fn look_for_floors(&self, between: &dyn Fn()) -> Result<Floors, ReadError> {
        let mut floors = Floors {
            end: self.segments.last().map_or(0, |newest| newest.end()),
            ..Floors::default()
        };
        let mut rooms: HashMap<Arc<str>, Room> = HashMap::new();
        for segment in self.segments.iter().rev() {
            between();
            for list in segment.lookup(Index::lists)? {
                if floors.from.contains_key(&list.topic) {
                    continue;
                }
                let room = match rooms.get_mut(&list.topic) {
                    Some(room) => room,
                    None => match self.rules.of(&list.topic).map(Rule::room) {
                        Some(room) if !room.is_endless() => {
                            rooms.entry(Arc::clone(&list.topic)).or_insert(room)
                        }
                        _ => continue,
                    },
                };
                let first = room.take(segment, &list)?;
                if first > 0 {
                    let from = sequence_at(segment, &list, first)?;
                    rooms.remove(&list.topic);
                    floors.from.insert(list.topic, from);
                }
            }
        }
        Ok(floors)
    }
}

impl Floors {
    /// From which sequence on a rule keeps a topic, or a part of it.
    pub(crate) fn from(&self, rule: &Rule, topic: &str) -> u64 {
        let counted = self.from.get(topic).copied().unwrap_or(0);
        counted.max(rule.young_from.load(Ordering::Relaxed))
    }
}

impl Rule {
    /// Moves a place to where what is not too old begins.
    fn look_at(
        &self,
        now_ms: u64,
        place: &AtomicU64,
        young_from: &impl Fn(u64) -> Result<u64, ReadError>,
    ) -> Result<(), StorageFault> {
        let age_ms_max = self.limits.age_ms_max;
        let Some(since_ms) = age_ms_max.and_then(|age| now_ms.checked_sub(age)) else {
            return Ok(());
        };
        match young_from(since_ms) {
            Ok(young_from) => {
                place.fetch_max(young_from, Ordering::Relaxed);
                Ok(())
            }
            Err(ReadError::Io(fault)) => Err(fault),
            Err(_) => Ok(()),
        }
    }

    fn room(&self) -> Room {
        Room {
            events: self.limits.events_max,
            bytes: self.limits.bytes_max,
            any: false,
        }
    }

    fn kept(&self, view: &View<'_>, topic: &str, since: u64) -> Result<Kept, ReadError> {
        let young_from = self.young_from.load(Ordering::Relaxed);
        let mut kept = Kept {
            from: young_from,
            lost_before: self.lost_before.load(Ordering::Relaxed).max(young_from),
        };
        let mut room = self.room();
        if room.is_endless() {
            return Ok(kept);
        }
        let mut oldest = None;
        for segment in view.segments.iter().rev() {
            if segment.end() <= young_from.max(since) {
                break;
            }
            let Some(list) = segment.lookup(|index| index.list(topic))? else {
                continue;
            };
            let first = room.take(segment, &list)?;
            let from = sequence_at(segment, &list, first)?;
            if from < segment.end() {
                oldest = Some(from);
            }
            if first > 0 {
                kept.from = kept.from.max(from);
                kept.lost_before = kept.lost_before.max(from);
                break;
            }
        }
        // More may have been there, up to the oldest that is kept, and be left out of a compacted
        // segment since. Not while there is room: what was left out had none behind what is kept, or
        // behind what was cut off.
        if room.is_used_up() || view.rules.end_was_cut {
            let whole_from = view.whole_from();
            let reaches = oldest.map_or(whole_from, |oldest| oldest.min(whole_from));
            kept.lost_before = kept.lost_before.max(reaches);
        }
        Ok(kept)
    }
}

/// The sequence of a list's record at a position; behind the last one the segment's end.
fn sequence_at(segment: &Segment, list: &List, position: u32) -> Result<u64, ReadError> {
    let chunk = segment.lookup(|index| index.chunk(list, position, 1))?;
    Ok(chunk.first().map_or(segment.end(), |posting| {
        segment.first + u64::from(posting.ordinal)
    }))
}

/// What a rule still has room for, from the newest record back.
struct Room {
    events: Option<u64>,
    bytes: Option<u64>,
    /// Whether a record was taken: the newest always is.
    any: bool,
}

impl Room {
    fn is_endless(&self) -> bool {
        self.events.is_none() && self.bytes.is_none()
    }

    fn is_used_up(&self) -> bool {
        self.events == Some(0) || self.bytes == Some(0)
    }

    /// Takes a segment's records of a topic, newest first, as far as there is room. Returns the position
    /// of the first that has; if it is not 0, some were left.
    fn take(&mut self, segment: &Segment, list: &List) -> Result<u32, ReadError> {
        let by_events = self.events.map_or(0, |events| {
            list.count
                .saturating_sub(u32::try_from(events).unwrap_or(u32::MAX))
        });
        let first = match self.bytes {
            None => by_events,
            Some(_) => self.take_bytes(segment, list, by_events)?,
        };
        let taken = u64::from(list.count - first);
        if let Some(events) = &mut self.events {
            *events = events.saturating_sub(taken);
        }
        self.any |= taken > 0;
        Ok(first)
    }

    /// The first record of the list, not before `least`, from which on all have room.
    ///
    /// The last one that has may reach beyond it. Were it left out, a shorter one before it could come
    /// back later, when nothing tells any more that there was another between.
    fn take_bytes(&mut self, segment: &Segment, list: &List, least: u32) -> Result<u32, ReadError> {
        let mut end = list.count;
        while end > least {
            let start = end.saturating_sub(ADDED_AT_ONCE).max(least);
            let count = widen(end - start);
            let part = segment.lookup(|index| index.chunk(list, start, count))?;
            for (place, posting) in part.iter().enumerate().rev() {
                let room = self.bytes.unwrap_or(u64::MAX);
                if room == 0 && self.any {
                    return Ok(start + narrow(place) + 1);
                }
                self.bytes = Some(room.saturating_sub(u64::from(posting.length())));
                self.any = true;
            }
            end = start;
        }
        Ok(least)
    }
}
