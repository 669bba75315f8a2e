//! Fills a page from the segments, by topic lists or by a scan.

use std::collections::HashMap;

use bytes::Bytes;

use crate::error::ReadError;
use crate::fetch::fetch;
use crate::header::HEADER_END;
use crate::index::{Index, List, Posting};
use crate::merge::Merge;
use crate::page::{Page, ReadLimits, Select, Stored};
use crate::record::Record;
use crate::rules::{Kept, View};
use crate::scanner::Step;
use crate::segment::Segment;

/// With more topics than this a scan is not slower than their lists.
const TOPICS_MAX: usize = 256;

/// What a scan reads at once. What was read beyond the page's end is read again for the next one,
/// and an allocator gives small buffers back to the next call without asking for pages.
const WINDOW_BYTES: usize = 64 * 1024;

/// What looking a topic up in an index counts as, so that a reader of a rare topic does not walk
/// thousands of segments in one call. Bytes.
const LOOKUP_BYTES: u64 = 16 * 1024;

/// What reading one entry of the list of all topics counts as. Bytes.
const LIST_BYTES: u64 = 40;

/// What a scan reads before it looks whether lists would be better. Bytes.
const PROBE_BYTES: u64 = 256 * 1024;

/// Of less than this part of what is read a scan is not worth it.
const PROBE_PART: u64 = 8;

/// A page that is being filled.
struct Filling {
    limits: ReadLimits,
    buffer: Vec<u8>,
    taken: Vec<Taken>,
    from: u64,
    /// Everything wanted before it is in the page.
    next: u64,
    forgotten_before: u64,
    scan_bytes: u64,
    full: bool,
}

/// A topic that is wanted, and from which sequence on.
type Wanted<'a> = (&'a str, u64);

struct Taken {
    sequence: u64,
    time_ms: u64,
    expires_ms: Option<u64>,
    frame_bytes: usize,
}

/// Reads a page from segments that hold `from`, or end before it.
pub(crate) fn collect(
    view: &View<'_>,
    select: &dyn Select,
    from: u64,
    limits: ReadLimits,
) -> Result<Page, ReadError> {
    let mut page = Filling::new(from, limits);
    let exact = select.exact().filter(|topics| topics.len() <= TOPICS_MAX);
    let exact = exact.map(|topics| page.look_up(view, topics)).transpose()?;
    let mut scan = Scan::new(view, select, from);
    if exact.is_none() {
        page.note_forgotten(view.lost_before());
    }
    let first = view
        .segments
        .partition_point(|segment| segment.end() <= from);
    for segment in view.segments.iter().skip(first) {
        if page.next < segment.first {
            // A page ends in front of what was lost, and the next call is told.
            let next = segment.first;
            return if page.next > from {
                Ok(page.finish())
            } else {
                Err(ReadError::Lost { next })
            };
        }
        let filled = match &exact {
            Some(topics) => page.take_topics(segment, topics),
            None => page.take_scan(segment, &mut scan),
        };
        match filled {
            // What was read before the fault is good; the next call meets the fault at once.
            Err(_) if page.next > from => break,
            Err(error) => return Err(error),
            Ok(()) if page.full => break,
            Ok(()) => {}
        }
    }
    Ok(page.finish())
}

/// What a scan looks for.
struct Scan<'a> {
    view: &'a View<'a>,
    select: &'a dyn Select,
    from: u64,
    plain: bool,
    /// From where on each topic is kept that was met.
    kept: HashMap<String, u64>,
}

/// How much of what is read in a scan is wanted.
#[derive(Default)]
struct Probe {
    read_bytes: u64,
    wanted_bytes: u64,
    told: bool,
}

impl Probe {
    fn note(&mut self, record: &Record<'_>, wish: Wish) -> Wish {
        let bytes = u64::from(record.head.length);
        self.read_bytes += bytes;
        if matches!(wish, Wish::Wanted) {
            self.wanted_bytes += bytes;
        }
        wish
    }

    /// Whether the topics' lists are likely to cost less; said once.
    fn is_poor(&mut self) -> bool {
        let poor = !self.told
            && self.read_bytes >= PROBE_BYTES
            && self.wanted_bytes < self.read_bytes / PROBE_PART;
        self.told |= poor;
        poor
    }
}

enum Wish {
    Wanted,
    Other,
    /// It would be wanted, but its topic's rule keeps it no more.
    Hidden,
}

impl<'a> Scan<'a> {
    fn new(view: &'a View<'a>, select: &'a dyn Select, from: u64) -> Self {
        Self {
            view,
            select,
            from,
            plain: view.is_plain(),
            kept: HashMap::new(),
        }
    }

    fn wants(&mut self, record: &Record<'_>) -> Result<Wish, ReadError> {
        let mut wish = Wish::Other;
        for topic in record.topics() {
            if !self.select.matches(topic) {
                continue;
            }
            if self.plain || record.head.sequence >= self.kept_from(topic)? {
                return Ok(Wish::Wanted);
            }
            wish = Wish::Hidden;
        }
        Ok(wish)
    }

    fn kept_from(&mut self, topic: &str) -> Result<u64, ReadError> {
        if let Some(from) = self.kept.get(topic) {
            return Ok(*from);
        }
        let from = self.view.kept(topic, self.from)?.from;
        self.kept.insert(topic.to_owned(), from);
        Ok(from)
    }
}

impl Filling {
    fn new(from: u64, limits: ReadLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            taken: Vec::new(),
            from,
            next: from,
            forgotten_before: 0,
            scan_bytes: 0,
            full: false,
        }
    }

    fn note_forgotten(&mut self, before: u64) {
        self.forgotten_before = self.forgotten_before.max(before);
    }

    /// What is kept of each topic.
    fn look_up<'t>(
        &mut self,
        view: &View<'_>,
        topics: &[&'t str],
    ) -> Result<Vec<Wanted<'t>>, ReadError> {
        let plain = view.is_plain();
        let mut wanted = Vec::with_capacity(topics.len());
        for topic in topics {
            let kept = if plain {
                Kept::default()
            } else {
                view.kept(topic, self.from)?
            };
            self.note_forgotten(kept.lost_before);
            wanted.push((*topic, kept.from));
        }
        Ok(wanted)
    }

    fn take_topics(&mut self, segment: &Segment, topics: &[Wanted<'_>]) -> Result<(), ReadError> {
        // Before the lists: what is committed meanwhile may be of a topic that had none.
        let end = segment.end();
        let mut lists = Vec::with_capacity(topics.len());
        for (topic, from) in topics {
            let from = segment.ordinal(self.next.max(*from));
            let list = segment.lookup(|index| index.list(topic))?;
            lists.extend(list.map(|list| (list, from)));
        }
        self.scan_bytes += LOOKUP_BYTES * topics.len() as u64;
        self.take_lists(segment, lists, end)
    }

    /// Takes the records of some lists up to `end`, which was so before they were looked up.
    fn take_lists(
        &mut self,
        segment: &Segment,
        lists: Vec<(List, u32)>,
        end: u64,
    ) -> Result<(), ReadError> {
        let records_max = self.limits.records_max.saturating_sub(self.taken.len());
        let mut merge = Merge::new(segment, lists.into_iter(), records_max)?;
        while self.has_room() {
            let plan = self.plan(&mut merge, segment.ordinal(end))?;
            if plan.is_empty() {
                self.next = end;
                self.full = self.scan_bytes >= self.limits.scan_bytes_max;
                return Ok(());
            }
            self.scan_bytes += fetch(segment, &plan, &mut |record| self.offer(record))?;
            if self.scan_bytes >= self.limits.scan_bytes_max {
                break;
            }
        }
        self.full = true;
        Ok(())
    }

    /// Whether a record may still be taken: one always is.
    fn has_room(&self) -> bool {
        let room =
            self.taken.len() < self.limits.records_max && self.buffer.len() < self.limits.bytes_max;
        !self.full && (room || self.taken.is_empty())
    }

    /// The next records to read, as many as the page is likely to have room for.
    fn plan(&self, merge: &mut Merge<'_>, end: u32) -> Result<Vec<Posting>, ReadError> {
        let mut plan: Vec<Posting> = Vec::new();
        let mut bytes = self.buffer.len();
        let mut records = self.taken.len();
        while records < self.limits.records_max.max(1) && bytes < self.limits.bytes_max.max(1) {
            let Some(posting) = merge.next()?.filter(|posting| posting.ordinal < end) else {
                break;
            };
            bytes += crate::fields::widen(posting.length());
            records += 1;
            plan.push(posting);
        }
        Ok(plan)
    }

    fn take_scan(&mut self, segment: &Segment, scan: &mut Scan<'_>) -> Result<(), ReadError> {
        let from = segment.ordinal(self.next);
        let start = segment
            .lookup(|index| index.places(&|place| place.ordinal <= from))?
            .0;
        let start = start.map(|place| u64::from(place.offset));
        if start.is_none() && !segment.sparse {
            return Ok(());
        }
        // A compacted segment may begin behind its first sequence.
        self.take_scan_from(segment, scan, start.unwrap_or(HEADER_END))
    }

    fn take_scan_from(
        &mut self,
        segment: &Segment,
        scan: &mut Scan<'_>,
        start: u64,
    ) -> Result<(), ReadError> {
        let end = segment.end();
        let fault = |error| segment.fault("read", error);
        let mut scanner = segment
            .scanner(start)
            .window(WINDOW_BYTES.min(self.limits.bytes_max));
        let mut probe = Probe::default();
        while self.next < end {
            match scanner.step().map_err(fault)? {
                Step::Record(head) if head.sequence < self.next => continue,
                Step::Record(head) if segment.follows_in(self.next, head.sequence) => {
                    self.next = head.sequence;
                    self.scan_bytes += u64::from(head.length);
                }
                Step::End if segment.sparse => {
                    self.next = end;
                    break;
                }
                _ => return Err(self.unreadable(segment, scanner.offset())),
            }
            if probe.is_poor()
                && let Some(lists) = self.lists(segment, scan)?
            {
                return self.take_lists(segment, lists, end);
            }
            let offset = scanner.offset();
            match scanner.record().map_err(fault)? {
                None => return Err(self.broken(segment, offset)),
                Some(record) => match probe.note(&record, scan.wants(&record)?) {
                    Wish::Wanted => {
                        self.offer(&record);
                    }
                    Wish::Other => self.next += 1,
                    Wish::Hidden => {
                        self.next += 1;
                        self.note_forgotten(self.next);
                    }
                },
            }
            self.full |= self.scan_bytes >= self.limits.scan_bytes_max;
            if self.full {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The lists of all wanted topics of a segment, if they are few.
    fn lists(
        &mut self,
        segment: &Segment,
        scan: &mut Scan<'_>,
    ) -> Result<Option<Vec<(List, u32)>>, ReadError> {
        let all = segment.lookup(Index::lists)?;
        self.scan_bytes += LIST_BYTES * all.len() as u64;
        let next = segment.ordinal(self.next);
        let mut wanted = Vec::new();
        for list in all {
            if !scan.select.matches(&list.topic) {
                continue;
            }
            if wanted.len() == TOPICS_MAX {
                return Ok(None);
            }
            let mut from = next;
            if !scan.plain {
                let kept = segment.ordinal(scan.kept_from(&list.topic)?);
                from = from.max(kept);
                let hidden = segment
                    .lookup(|index| Ok(index.seek(&list, next)? < index.seek(&list, from)?))?;
                if hidden {
                    self.note_forgotten(segment.first + u64::from(from));
                }
            }
            wanted.push((list, from));
        }
        Ok(Some(wanted))
    }

    /// Takes a record, or says that the page is full.
    fn offer(&mut self, record: &Record<'_>) -> bool {
        let bytes = self.buffer.len() + record.frame.len();
        let fits = self.taken.len() < self.limits.records_max && bytes <= self.limits.bytes_max;
        if !fits && !self.taken.is_empty() {
            self.next = record.head.sequence;
            self.full = true;
            return false;
        }
        self.buffer.extend_from_slice(record.frame);
        self.next = record.head.sequence + 1;
        self.taken.push(Taken {
            sequence: record.head.sequence,
            time_ms: record.head.time_ms,
            expires_ms: record.head.expires_ms,
            frame_bytes: record.frame.len(),
        });
        true
    }

    /// The record at the cursor is broken, but its length is known.
    fn broken(&self, segment: &Segment, offset: u64) -> ReadError {
        let damage = segment.damage(offset, "the record's checksum is wrong");
        ReadError::Damaged {
            damage,
            next: self.next + 1,
        }
    }

    /// There is no record's head at the offset: reading can go on where the index knows one.
    fn unreadable(&self, segment: &Segment, offset: u64) -> ReadError {
        let behind = segment.next_place(offset).map_or(segment.end(), |place| {
            segment.first + u64::from(place.ordinal)
        });
        let damage = segment.damage(offset, "there is no record where one should be");
        ReadError::Damaged {
            damage,
            next: behind.max(self.next + 1),
        }
    }

    fn finish(mut self) -> Page {
        self.buffer.shrink_to_fit();
        let forgotten_before = Some(self.forgotten_before);
        let mut rest = Bytes::from(self.buffer);
        let frames = self.taken.into_iter().map(|taken| Stored {
            sequence: taken.sequence,
            time_ms: taken.time_ms,
            expires_ms: taken.expires_ms,
            frame: rest.split_to(taken.frame_bytes),
        });
        Page {
            frames: frames.collect(),
            forgotten_before: forgotten_before.filter(|before| *before > self.from),
            next: self.next,
        }
    }
}
