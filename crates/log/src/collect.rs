//! Fills a page from the segments, by topic lists or by a scan.

use bytes::Bytes;

use crate::error::ReadError;
use crate::fetch::fetch;
use crate::index::Posting;
use crate::merge::Merge;
use crate::page::{Page, ReadLimits, Select, Stored};
use crate::record::Record;
use crate::scanner::Step;
use crate::segment::{Segment, SegmentList};

/// With more topics than this a scan is not slower than their lists.
const TOPICS_MAX: usize = 256;

/// What a scan reads at once. What was read beyond the page's end is read again for the next one,
/// and an allocator gives small buffers back to the next call without asking for pages.
const WINDOW_BYTES: usize = 64 * 1024;

/// What looking a topic up in an index counts as, so that a reader of a rare topic does not walk
/// thousands of segments in one call. Bytes.
const LOOKUP_BYTES: u64 = 16 * 1024;

/// A page that is being filled.
struct Filling {
    limits: ReadLimits,
    buffer: Vec<u8>,
    taken: Vec<Taken>,
    /// Everything wanted before it is in the page.
    next: u64,
    scan_bytes: u64,
    full: bool,
}

struct Taken {
    sequence: u64,
    time_ms: u64,
    expires_ms: Option<u64>,
    frame_bytes: usize,
}

/// Reads a page from segments that hold `from`, or end before it.
pub(crate) fn collect(
    segments: &SegmentList,
    select: &dyn Select,
    from: u64,
    limits: ReadLimits,
) -> Result<Page, ReadError> {
    let mut page = Filling::new(from, limits);
    let exact = select.exact().filter(|topics| topics.len() <= TOPICS_MAX);
    let first = segments.partition_point(|segment| segment.end() <= from);
    for segment in segments.iter().skip(first) {
        if page.next < segment.first {
            // A page ends in front of what was lost, and the next call is told.
            let next = segment.first;
            return if page.next > from {
                Ok(page.finish())
            } else {
                Err(ReadError::Lost { next })
            };
        }
        let filled = match exact {
            Some(topics) => page.take_topics(segment, topics),
            None => page.take_scan(segment, select),
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

impl Filling {
    fn new(from: u64, limits: ReadLimits) -> Self {
        Self {
            limits,
            buffer: Vec::new(),
            taken: Vec::new(),
            next: from,
            scan_bytes: 0,
            full: false,
        }
    }

    fn take_topics(&mut self, segment: &Segment, topics: &[&str]) -> Result<(), ReadError> {
        let end = segment.end();
        let from = segment.ordinal(self.next);
        let records_max = self.limits.records_max.saturating_sub(self.taken.len());
        let mut merge = Merge::new(segment, topics, from, records_max)?;
        self.scan_bytes += LOOKUP_BYTES * topics.len() as u64;
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

    fn take_scan(&mut self, segment: &Segment, select: &dyn Select) -> Result<(), ReadError> {
        let end = segment.end();
        let from = segment.ordinal(self.next);
        let start = segment
            .lookup(|index| index.places(&|place| place.ordinal <= from))?
            .0;
        let Some(start) = start.map(|place| u64::from(place.offset)) else {
            return Ok(());
        };
        let fault = |error| segment.fault("read", error);
        let mut scanner = segment
            .scanner(start)
            .window(WINDOW_BYTES.min(self.limits.bytes_max));
        while self.next < end {
            match scanner.step().map_err(fault)? {
                Step::Record(head) if head.sequence < self.next => continue,
                Step::Record(head) if head.sequence == self.next => {
                    self.scan_bytes += u64::from(head.length);
                }
                _ => return Err(self.unreadable(segment, scanner.offset())),
            }
            let offset = scanner.offset();
            match scanner.record().map_err(fault)? {
                None => return Err(self.broken(segment, offset)),
                Some(record) if record.topics().any(|topic| select.matches(topic)) => {
                    self.offer(&record);
                }
                Some(_) => self.next += 1,
            }
            self.full |= self.scan_bytes >= self.limits.scan_bytes_max;
            if self.full {
                return Ok(());
            }
        }
        Ok(())
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
        let mut rest = Bytes::from(self.buffer);
        let frames = self.taken.into_iter().map(|taken| Stored {
            sequence: taken.sequence,
            time_ms: taken.time_ms,
            expires_ms: taken.expires_ms,
            frame: rest.split_to(taken.frame_bytes),
        });
        Page {
            frames: frames.collect(),
            next: self.next,
        }
    }
}
