//! A segment: where its records end, and what is behind them.

use super::fields::are_zeros;
use super::header::{HEADER_BYTES, Header};
use super::index::{Index, index};
use super::record::{Record, head, record};
use super::{Fault, Files};

/// How far behind the end that an index tells there must be nothing.
const UNUSED_BYTES: usize = 4096;

/// A segment and the records that are found in it.
#[derive(Clone, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) name: String,
    pub(crate) header: Header,
    pub(crate) records: Vec<Record<'a>>,
    /// One past the last sequence that it stands for.
    pub(crate) next: u64,
    /// Where its records end.
    pub(crate) end: usize,
    /// Where reading ends, though there should be more: what opening did not look at.
    pub(crate) fault: Option<Fault>,
    /// If it fits.
    pub(crate) index: Option<Index<'a>>,
}

/// The file of a segment, and what it says of itself.
#[derive(Clone)]
pub(super) struct File<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) header: Header,
}

/// Records without anything between them.
struct Chain<'a> {
    records: Vec<Record<'a>>,
    /// The sequence that is due next, and where.
    next: u64,
    end: usize,
    /// Why that is no record.
    broken: Option<&'static str>,
}

impl<'a> File<'a> {
    fn fault(&self, offset: usize, what: &'static str) -> Fault {
        Fault::new(self.name, offset, what)
    }

    /// The index beside it, if it is one of this segment.
    fn index(&self, files: &Files<'a>) -> Option<Index<'a>> {
        let name = self.name.strip_suffix(".log")?;
        let found = index(files.get(format!("{name}.idx").as_str())?)?;
        let is_own = found.first == self.header.first && found.salt == self.header.salt;
        is_own.then_some(found)
    }

    /// All records up to this sequence, from that one on, which is at `offset`.
    fn chain(&self, offset: usize, sequence: u64, until: u64) -> Chain<'a> {
        let sparse = self.header.sparse_end.is_some();
        let mut chain = Chain {
            records: Vec::new(),
            next: sequence,
            end: offset,
            broken: None,
        };
        // A sparse one ends where its file does, whatever its last sequence is.
        let goes_on = |chain: &Chain| {
            if sparse {
                chain.end < self.bytes.len()
            } else {
                chain.next < until
            }
        };
        while chain.broken.is_none() && goes_on(&chain) {
            let found = record(self.bytes, chain.end, self.header.salt);
            let due = |found: &Record| match self.header.sparse_end {
                Some(end) => (chain.next..end).contains(&found.sequence),
                None => found.sequence == chain.next,
            };
            match found {
                Ok(found) if due(&found) => {
                    chain.next = found.sequence.saturating_add(1);
                    chain.end += found.length;
                    chain.records.push(found);
                }
                Ok(_) => chain.broken = Some("a sequence that is not due"),
                Err(what) => chain.broken = Some(what),
            }
        }
        chain
    }

    fn segment(self, chain: Chain<'a>, index: Option<Index<'a>>) -> Segment<'a> {
        let fault = chain.broken.map(|what| self.fault(chain.end, what));
        Segment {
            name: self.name.to_owned(),
            next: self.header.sparse_end.unwrap_or(chain.next),
            header: self.header,
            records: chain.records,
            end: chain.end,
            fault,
            index,
        }
    }

    /// A sealed segment, whose successor follows `until`.
    pub(super) fn sealed(self, files: &Files<'a>, until: u64) -> Result<Segment<'a>, Fault> {
        let index = self.index(files).filter(|it| self.knows_all(it, until));
        let mut chain = self.chain(HEADER_BYTES, self.header.first, until);
        if chain.broken.is_none() && self.header.sparse_end.is_none() {
            let open = chain.records.last().is_some_and(|last| last.continues);
            chain.broken = open.then_some("it ends within a group");
        }
        let told = self.index(files).map_or(0, |it| it.records);
        let is_short = self.header.sparse_end.is_some() && chain.records.len() < told as usize;
        if chain.broken.is_none() && is_short {
            chain.broken = Some("fewer records than its index tells of");
        }
        let mut segment = self.segment(chain, index);
        segment.next = until;
        match segment.fault {
            Some(fault) if segment.index.is_none() => Err(fault),
            _ => Ok(segment),
        }
    }

    fn knows_all(&self, index: &Index, until: u64) -> bool {
        let ends_at = self.bytes.len();
        if self.header.sparse_end.is_some() {
            return index.end == ends_at;
        }
        let next = self.header.first.checked_add(index.records.into());
        next == Some(until) && (HEADER_BYTES..=ends_at).contains(&index.end)
    }

    /// The greatest segment: the active one, unless what came behind a sparse one is not there.
    pub(super) fn newest(self, files: &Files<'a>) -> Result<Segment<'a>, Fault> {
        let Some(end) = self.header.sparse_end else {
            return self.active(files);
        };
        let segment = self.sealed(files, end)?;
        // All of it is read.
        segment.fault.clone().map_or(Ok(segment), Err)
    }

    fn active(self, files: &Files<'a>) -> Result<Segment<'a>, Fault> {
        let Some(index) = self.index(files) else {
            return self.after_a_crash(0);
        };
        if !index.is_whole() || !self.ends_with(&index) {
            return self.after_a_crash(index.records.into());
        }
        let (first, places) = (self.header.first, index.places().unwrap_or_default());
        let start = places.last().map_or((HEADER_BYTES, first), |place| {
            (place.offset, first.saturating_add(place.ordinal.into()))
        });
        let until = first.saturating_add(index.records.into());
        let last = self.chain(start.0, start.1, until);
        if let Some(what) = last.broken {
            return Err(self.fault(last.end, what));
        }
        if last.end != index.end {
            return Err(self.fault(last.end, "not all that there was when it was closed"));
        }
        let all = self.chain(HEADER_BYTES, first, until);
        let mut segment = self.segment(all, Some(index));
        segment.next = until;
        Ok(segment)
    }

    /// Whether nothing is behind the end of which an index tells.
    fn ends_with(&self, index: &Index) -> bool {
        let behind = self.bytes.get(index.end..);
        behind.is_some_and(|behind| are_zeros(behind.get(..UNUSED_BYTES).unwrap_or(behind)))
    }

    /// The active segment of a log that was not closed, which must hold so many records.
    fn after_a_crash(self, records_min: u64) -> Result<Segment<'a>, Fault> {
        let mut chain = self.chain(HEADER_BYTES, self.header.first, u64::MAX);
        let broken_at = chain.end;
        if self.was_synced_behind(broken_at, chain.next) {
            return Err(self.fault(broken_at, "a broken unit before another"));
        }
        while let Some(last) = chain.records.pop_if(|last| last.continues) {
            (chain.end, chain.next) = (last.offset, last.sequence);
        }
        if (chain.records.len() as u64) < records_min {
            return Err(self.fault(broken_at, "fewer records than when it was closed"));
        }
        chain.broken = None;
        Ok(self.segment(chain, None))
    }

    /// Whether there is a later unit, which was only written once the broken one was synced.
    fn was_synced_behind(&self, broken_at: usize, next: u64) -> bool {
        let behind = self.bytes.get(broken_at..).unwrap_or_default();
        !are_zeros(behind)
            && (broken_at..self.bytes.len()).any(|offset| {
                let head = head(self.bytes, offset, self.header.salt);
                head.is_some_and(|head| {
                    let unit = head.unit(offset);
                    head.sequence >= next && unit.is_some_and(|unit| unit > broken_at)
                })
            })
    }
}
