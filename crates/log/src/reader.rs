//! The reading side: any number of threads, none of which the writer waits for.

use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use crate::collect::collect;
use crate::error::ReadError;
use crate::fetch::{fetch, fetch_beside};
use crate::index::{Index, IndexError, List, hash};
use crate::ordinals::Ordinals;
use crate::page::{Found, Mark, Marks, Page, ReadLimits, Select, Stats, Unread};
use crate::rules::{Rules, View};
use crate::scanner::Step;
use crate::segment::{Segment, SegmentList};

/// How many aliases of one hash are compared at once; more than one is rare.
const ALIASES_AT_ONCE: usize = 16;

/// How many entries of a topic's list are taken at once while counting.
const COUNTED_AT_ONCE: usize = 4096;

/// What is read to find a place between two of the index, 16 KiB apart.
const TURN_WINDOW_BYTES: usize = 16 << 10;

/// What the writer and all readers of a log share.
pub(crate) struct Shared {
    pub(crate) epoch: String,
    pub(crate) rules: Rules,
    /// Locked to copy or replace the pointer, never while a file is read.
    segments: RwLock<Arc<SegmentList>>,
}

/// Reads a log. Cheap to clone, and to share between threads.
///
/// All that it returns is committed: as durable as [`Durability`](crate::Durability) says. A cursor is
/// a sequence, nothing is kept for it here.
#[derive(Clone)]
pub struct Reader {
    pub(crate) shared: Arc<Shared>,
}

impl Shared {
    pub(crate) fn new(epoch: String, rules: Rules, segments: SegmentList) -> Self {
        Self {
            epoch,
            rules,
            segments: RwLock::new(Arc::new(segments)),
        }
    }

    pub(crate) fn segments(&self) -> Arc<SegmentList> {
        Arc::clone(&self.segments.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn replace(&self, segments: SegmentList) {
        *self
            .segments
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(segments);
    }
}

impl Reader {
    /// The identity of the log.
    pub fn epoch(&self) -> &str {
        &self.shared.epoch
    }

    /// The oldest sequence that is held; equal to [`Reader::next`] if there is none.
    pub fn first(&self) -> u64 {
        first(&self.shared.segments())
    }

    /// One past the last durable sequence.
    pub fn next(&self) -> u64 {
        next(&self.shared.segments())
    }

    /// Reads some of the wanted records from the cursor `from` on.
    ///
    /// At the end of the log, and beyond it, the page is empty and its `next` is `from`. A page
    /// may be empty before the end, when `scan_bytes_max` was read and nothing was wanted; its
    /// `next` is further on then.
    pub fn read(
        &self,
        select: &dyn Select,
        from: u64,
        limits: ReadLimits,
    ) -> Result<Page, ReadError> {
        let segments = self.shared.segments();
        let first = first(&segments);
        if from < first {
            return Err(ReadError::Forgotten { first });
        }
        let view = View {
            rules: &self.shared.rules,
            segments: &segments,
        };
        collect(&view, select, from, limits)
    }

    /// Before this sequence some of the wanted records may have been forgotten, though the log is
    /// older; 0 if there is no such.
    pub fn forgotten_before(&self, select: &dyn Select) -> Result<u64, ReadError> {
        let segments = self.shared.segments();
        let view = View {
            rules: &self.shared.rules,
            segments: &segments,
        };
        let Some(topics) = select.exact().filter(|_| !view.is_plain()) else {
            return Ok(view.lost_before());
        };
        topics.iter().try_fold(0, |before, topic| {
            let kept = view.kept(topic, 0)?;
            Ok(before.max(kept.lost_before))
        })
    }

    /// The cursor from which exactly `n` wanted records remain that are not expired at `now_ms`;
    /// the oldest held if there are fewer. What cannot be counted because of damage is not: who reads
    /// from there gets as many at least, and meets the damage.
    ///
    /// Costs the lists of the wanted topics in as many segments as it takes to count to `n`.
    pub fn last(&self, select: &dyn Select, n: u64, now_ms: u64) -> Result<u64, ReadError> {
        let segments = self.shared.segments();
        let mut missing = n;
        if missing == 0 {
            return Ok(next(&segments));
        }
        let view = View {
            rules: &self.shared.rules,
            segments: &segments,
        };
        for segment in segments.iter().rev() {
            let wanted = match wanted(segment, select, &view, now_ms) {
                Err(ReadError::Damaged { .. }) => continue,
                wanted => wanted?,
            };
            let count = wanted.count();
            if let Some(skip) = count.checked_sub(missing) {
                let ordinal = wanted.nth(skip).unwrap_or(0);
                return Ok(segment.first + ordinal);
            }
            missing -= count;
        }
        Ok(first(&segments))
    }

    /// The first sequence whose record is not older than `ms`, or [`Reader::next`]. Where records are gone
    /// that may not be older either, the first of those, so that who reads from there is told.
    ///
    /// Where damage hides it, the first of its segment, so that who reads from there gets all that can be
    /// read, if also older ones, and meets the damage.
    pub fn at_time(&self, ms: u64) -> Result<u64, ReadError> {
        let damage = match self.turn(ms) {
            Err(ReadError::Damaged { damage, .. }) => damage,
            turned => return Ok(turned?.start),
        };
        let segments = self.shared.segments();
        let damaged = segments.iter().find(|it| it.name == damage.segment);
        Ok(damaged.map_or_else(|| first(&segments), |segment| segment.first))
    }

    /// Where what is not older than this begins: all that was older is before it, also what a
    /// compacted segment no longer holds.
    pub(crate) fn young_from(&self, ms: u64) -> Result<u64, ReadError> {
        Ok(self.turn(ms)?.end)
    }

    /// From behind the last record that is older to the first that is not. What was between them is
    /// gone, and nobody knows how old it was.
    fn turn(&self, ms: u64) -> Result<Range<u64>, ReadError> {
        let segments = self.shared.segments();
        let holds = |segment: &Arc<Segment>| segment.records() > 0 && segment.last_time_ms() >= ms;
        let mut place = segments.iter().position(holds).unwrap_or(segments.len());
        let next = next(&segments);
        let turned = segments.get(place).map(|it| turn(it, ms));
        let mut turned = turned.unwrap_or(Ok(next..next))?;
        while let Some(before) = place.checked_sub(1).and_then(|before| segments.get(before)) {
            let all_young = segments
                .get(place)
                .is_none_or(|it| turned.start == it.first);
            let holds_all = !before.sparse && before.records() > 0;
            if !all_young || holds_all {
                break;
            }
            turned.start = turn(before, ms)?.start;
            place -= 1;
        }
        // What a crash may have lost in front of it may not be older either.
        let behind_hole = segments
            .get(place)
            .filter(|it| place > 0 && turned.start == it.first);
        turned.start = behind_hole.map_or(turned.start, |it| it.follows);
        Ok(turned)
    }

    /// The newest record with this alias, beside what is damaged.
    pub fn find_alias(&self, alias: &str) -> Result<Found, ReadError> {
        let mut doubt = None;
        for segment in self.shared.segments().iter().rev() {
            let found = match find_alias(segment, alias) {
                Err(ReadError::Damaged { damage, .. }) => {
                    doubt.get_or_insert(damage);
                    continue;
                }
                found => found?,
            };
            if found.sequence.is_some() {
                let doubt = doubt.or(found.doubt);
                return Ok(Found { doubt, ..found });
            }
        }
        let sequence = None;
        Ok(Found { sequence, doubt })
    }

    /// The newest `max` marks that can be read and are not older than `since_ms`.
    pub fn marks(&self, since_ms: u64, max: usize) -> Result<Marks, ReadError> {
        let mut parts: Vec<Vec<Mark>> = Vec::new();
        let mut unread = Vec::new();
        let mut room = max;
        for segment in self.shared.segments().iter().rev() {
            if room == 0 || (segment.records() > 0 && segment.last_time_ms() < since_ms) {
                break;
            }
            let (part, damaged) = match marks(segment, since_ms, room) {
                Err(ReadError::Damaged { damage, .. }) => {
                    let marks = None;
                    (Vec::new(), Some(Unread { damage, marks }))
                }
                found => found?,
            };
            room -= part.len();
            parts.push(part);
            unread.extend(damaged);
        }
        unread.reverse();
        let marks = parts.into_iter().rev().flatten().collect();
        Ok(Marks { marks, unread })
    }

    /// The log at a glance.
    pub fn stats(&self) -> Stats {
        let segments = self.shared.segments();
        let mut held = segments.iter().filter(|segment| segment.records() > 0);
        Stats {
            segments: segments.len(),
            bytes: segments.iter().map(|segment| segment.disk_bytes()).sum(),
            records: segments.iter().map(|segment| segment.records()).sum(),
            first: first(&segments),
            whole_from: View {
                rules: &self.shared.rules,
                segments: &segments,
            }
            .lost_before()
            .max(first(&segments)),
            next: next(&segments),
            oldest_time_ms: held
                .clone()
                .next()
                .map_or(0, |segment| segment.first_time_ms()),
            newest_time_ms: held.next_back().map_or(0, |segment| segment.last_time_ms()),
        }
    }
}

fn first(segments: &SegmentList) -> u64 {
    segments.first().map_or(1, |segment| segment.first)
}

fn next(segments: &SegmentList) -> u64 {
    segments.last().map_or(1, |segment| segment.end())
}

/// The wanted records of a segment that are not expired.
fn wanted(
    segment: &Segment,
    select: &dyn Select,
    view: &View<'_>,
    now_ms: u64,
) -> Result<Ordinals, ReadError> {
    let mut wanted = if segment.sparse {
        Ordinals::few()
    } else {
        Ordinals::many(segment.records())
    };
    let lists = match select.exact() {
        Some(topics) => segment.lookup(|index| {
            topics
                .iter()
                .filter_map(|topic| index.list(topic).transpose())
                .collect()
        })?,
        None => segment.lookup(Index::lists)?,
    };
    for list in lists.iter().filter(|list| select.matches(&list.topic)) {
        let from = segment.ordinal(view.kept(&list.topic, segment.first)?.from);
        let mut position = match from {
            0 => 0,
            from => segment.lookup(|index| index.seek(list, from))?,
        };
        loop {
            let live = segment.lookup(|index| live_part(index, list, position, now_ms))?;
            let Some(part) = live else { break };
            position += crate::fields::narrow(COUNTED_AT_ONCE);
            for ordinal in part {
                wanted.set(ordinal);
            }
        }
    }
    wanted.settle();
    Ok(wanted)
}

/// The ordinals in one part of a list that are not expired; `None` behind its end.
fn live_part(
    index: &Index,
    list: &List,
    position: u32,
    now_ms: u64,
) -> Result<Option<Vec<u32>>, IndexError> {
    let chunk = index.chunk(list, position, COUNTED_AT_ONCE)?;
    let mut live = Vec::with_capacity(chunk.len());
    for posting in &chunk {
        let expired = posting.expires()
            && index
                .expires_ms(posting.ordinal)?
                .is_some_and(|expires_ms| expires_ms <= now_ms);
        if !expired {
            live.push(posting.ordinal);
        }
    }
    Ok((!chunk.is_empty()).then_some(live))
}

/// As [`Reader::turn`], within a segment.
fn turn(segment: &Segment, ms: u64) -> Result<Range<u64>, ReadError> {
    let end = segment.end();
    let (place, behind) = segment.lookup(|index| index.places(&|place| place.time_ms < ms))?;
    let Some(place) = place else {
        let oldest = behind.map_or(end, |it| segment.first + u64::from(it.ordinal));
        return Ok(segment.first..oldest);
    };
    let mut scanner = segment
        .scanner(u64::from(place.offset))
        .window(TURN_WINDOW_BYTES);
    let mut sequence = segment.first + u64::from(place.ordinal);
    while sequence < end {
        match scanner
            .step()
            .map_err(|error| segment.fault("read", error))?
        {
            Step::Record(head) if head.time_ms >= ms => return Ok(sequence..head.sequence),
            Step::Record(head) => sequence = head.sequence + 1,
            Step::End if segment.sparse => return Ok(sequence..end),
            Step::End | Step::Bad(_) => {
                let damage = segment.damage(scanner.offset(), "the record's head is broken");
                return Err(ReadError::Damaged {
                    damage,
                    next: sequence + 1,
                });
            }
        }
    }
    Ok(end..end)
}

fn find_alias(segment: &Segment, alias: &str) -> Result<Found, ReadError> {
    let end = segment.end();
    let hash = hash(alias, segment.salt);
    let mut skip = 0;
    loop {
        let found = segment.lookup(|index| index.alias(hash, skip, ALIASES_AT_ONCE))?;
        if found.is_empty() {
            return Ok(Found::default());
        }
        for posting in &found {
            let sequence = segment.first + u64::from(posting.ordinal);
            if sequence >= end {
                continue;
            }
            let mut same = false;
            let mut compare = |record: &crate::record::Record<'_>| {
                same = record.alias == Some(alias);
                true
            };
            let doubt = match fetch(segment, std::slice::from_ref(posting), &mut compare) {
                // Of 64 bits, salted, it is the one's hash: another's is less likely than any fault.
                Err(ReadError::Damaged { damage, .. }) => Some(damage),
                read => read.map(|_| None)?,
            };
            if same || doubt.is_some() {
                let sequence = Some(sequence);
                return Ok(Found { sequence, doubt });
            }
        }
        skip += found.len();
    }
}

fn marks(
    segment: &Segment,
    since_ms: u64,
    max: usize,
) -> Result<(Vec<Mark>, Option<Unread>), ReadError> {
    let end = segment.ordinal(segment.end());
    let mut postings = segment.lookup(|index| index.marks(max))?;
    postings.retain(|posting| posting.ordinal < end);
    let mut marks = Vec::new();
    let mut unread: Option<Unread> = None;
    let mut take = |record: &crate::record::Record<'_>, _: &[u8]| {
        if let Some(mark) = record.mark.filter(|_| record.head.time_ms >= since_ms) {
            marks.push(Mark {
                sequence: record.head.sequence,
                time_ms: record.head.time_ms,
                bytes: Bytes::copy_from_slice(mark),
            });
        }
        true
    };
    fetch_beside(segment, &postings, &mut take, &mut |damage, _| {
        let before = unread.take().and_then(|unread| unread.marks);
        let marks = Some(before.unwrap_or(0) + 1);
        unread = Some(Unread { damage, marks });
        Ok(())
    })?;
    Ok((marks, unread))
}
