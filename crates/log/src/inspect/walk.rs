//! Walking one segment, and checking that its sequences follow.

use std::io;
use std::sync::Arc;

use crate::closed::{Closed, LOST, SHORTENED};
use crate::header::{HEADER_END, SegmentHeader};
use crate::record::Record;
use crate::scanner::{Scanner, Step};
use crate::segment::{SEGMENT_BYTES_CAP, Span};
use crate::storage::StorageFile;
use crate::torn::later_commit;

/// Walks one segment, and checks that its sequences follow.
pub(super) struct Walk {
    pub(super) scanner: Scanner,
    pub(super) file: Arc<dyn StorageFile>,
    salt: u64,
    pub(super) span: Span,
    pub(super) next: u64,
    pub(super) bytes: u64,
    /// Of the newest segment one past the last sequence that there was when the log was closed; 0:
    /// nobody knows.
    closed_end: u64,
    /// Of a compacted segment how many more records its index tells of.
    told: u64,
}

pub(super) enum Walked<'a> {
    Record(Record<'a>),
    End,
    Bad(u64, &'static str),
}

impl Walk {
    /// A segment in a file of so many bytes, behind which the `next` one goes on, if there is one.
    pub(super) fn new(
        header: &SegmentHeader,
        file: Arc<dyn StorageFile>,
        bytes: u64,
        closed: Option<&Closed>,
        next: Option<u64>,
    ) -> Self {
        let bytes = bytes.min(SEGMENT_BYTES_CAP);
        let range = HEADER_END..bytes;
        let scanner = Scanner::new(Arc::clone(&file), header.salt, range).sparse(header.end > 0);
        Self {
            scanner,
            file,
            salt: header.salt,
            span: Span::of(header).until(next.unwrap_or(u64::MAX)),
            next: header.first,
            bytes,
            closed_end: closed.map_or(0, |closed| closed.end_in(header)),
            told: closed.map_or(0, |closed| closed.records_in(header)),
        }
    }

    pub(super) fn step(&mut self) -> io::Result<Walked<'_>> {
        if self.next >= self.span.stop {
            return Ok(Walked::End);
        }
        let step = self.scanner.step()?;
        let offset = self.scanner.offset();
        match step {
            Step::End if self.next < self.closed_end => return Ok(Walked::Bad(offset, LOST)),
            Step::End if self.told > 0 => return Ok(Walked::Bad(offset, SHORTENED)),
            Step::End => return Ok(Walked::End),
            Step::Bad(reason) => return Ok(Walked::Bad(offset, reason)),
            Step::Record(head) if !self.span.allows(head.sequence, self.next) => {
                return Ok(Walked::Bad(offset, "the record's sequence does not follow"));
            }
            Step::Record(_) => {}
        }
        Ok(match self.scanner.record()? {
            Some(record) => {
                self.next = record.head.sequence + 1;
                self.told = self.told.saturating_sub(1);
                Walked::Record(record)
            }
            None => Walked::Bad(offset, "the record's checksum is wrong"),
        })
    }

    /// Whether what begins at the offset, behind the records before `end`, was once whole; else it
    /// is an end that is being written.
    pub(super) fn is_damage(&self, offset: u64, end: u64) -> io::Result<bool> {
        // A compacted segment had its name only once it was whole.
        if end < self.closed_end || self.span.end.is_some() {
            return Ok(true);
        }
        let sequences = end..self.span.first.saturating_add(self.bytes);
        let range = offset..self.bytes;
        let later = later_commit(&*self.file, self.salt, range, &sequences)?;
        Ok(later && !self.is_whole_by_now(offset)?)
    }

    /// Whether there is a record at the offset, where none was before: a hub was writing it. Before it
    /// wrote what comes later it had written all of this.
    fn is_whole_by_now(&self, offset: u64) -> io::Result<bool> {
        let mut scanner = Scanner::new(Arc::clone(&self.file), self.salt, offset..self.bytes);
        let follows = match scanner.step()? {
            Step::Record(head) => self.span.allows(head.sequence, self.next),
            Step::End | Step::Bad(_) => false,
        };
        Ok(follows && scanner.record()?.is_some())
    }
}
