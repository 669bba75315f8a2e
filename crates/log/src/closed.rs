//! What the process before told of the newest segment when it closed the log in good order: its
//! index.
//!
//! That was written after all was synced, and is removed before anything else is written. So what it
//! tells of and is not there was lost at rest. No crash explains that: it is damage, also where the
//! file alone looks like one that was never finished.
//!
//! Of a compacted segment the same is so: the index that had its name before is gone when it gets it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::blank::written_end;
use crate::error::{Damage, StorageFault};
use crate::header::{HEADER_END, SEQUENCE_MAX, SegmentHeader};
use crate::index::IndexError;
use crate::index_file::{self, FileIndex};
use crate::index_layout::Summary;
use crate::inspect::header;
use crate::scanner::{Scanner, Step};
use crate::segment::{Scanned, index_name, log_name, name_sequence};
use crate::storage::{Storage, StorageFile};

/// What is wrong where nothing is.
pub(crate) const LOST: &str = "there was more when the log was closed";

/// The same of a compacted segment.
pub(crate) const SHORTENED: &str = "its index tells that there was more";

/// So much behind the end of a log that was closed must be zeros. More than a record's head.
const BEHIND_CLOSED_BYTES: u64 = 4096;

/// What an index tells of its segment.
pub(crate) struct Closed {
    index: FileIndex,
    summary: Summary,
}

impl Closed {
    /// What is told of the newest segment, if anything is; without a salt it is taken for one of this
    /// log.
    pub(crate) fn of(
        storage: &dyn Storage,
        first: u64,
        salt: Option<u64>,
    ) -> Result<Option<Self>, StorageFault> {
        let name = index_name(first);
        let fault = |error| StorageFault::new("read the index", &name, error);
        let salt = match salt {
            Some(salt) => Some(salt),
            None => index_file::salt(storage, &name).map_err(fault)?,
        };
        let Some(salt) = salt else {
            return Ok(None);
        };
        let expected = |summary: &Summary| {
            let fits = summary.first == first && summary.salt == salt;
            fits && summary.log_bytes >= HEADER_END
        };
        let opened = FileIndex::try_open(storage, &name, expected, salt)?;
        Ok(opened.map(|(index, summary, _)| Self { index, summary }))
    }

    /// One past the last sequence that it tells of, in the segment with this header; 0 if that is
    /// another.
    pub(crate) fn end_in(&self, header: &SegmentHeader) -> u64 {
        let fits = self.summary.salt == header.salt && header.end == 0;
        if fits { self.end() } else { 0 }
    }

    /// How many records it tells of, in the compacted segment with this header; 0 if that is another.
    pub(crate) fn records_in(&self, header: &SegmentHeader) -> u64 {
        let fits = self.summary.salt == header.salt && header.end > 0;
        if fits {
            u64::from(self.summary.records)
        } else {
            0
        }
    }

    fn end(&self) -> u64 {
        let records = u64::from(self.summary.records);
        self.summary.first.saturating_add(records)
    }

    /// Where its records end in the file. Bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.summary.log_bytes
    }

    /// Finds what is wrong with the last records, which are read: some 16 KiB. A file system that
    /// lost something of a file lost its end; and behind it more is going to be written.
    pub(crate) fn damage(
        &self,
        header: &SegmentHeader,
        file: &Arc<dyn StorageFile>,
    ) -> Result<Option<Damage>, StorageFault> {
        let damage = |offset, reason| {
            let segment = log_name(header.first);
            Ok(Some(Damage {
                segment,
                offset,
                reason,
            }))
        };
        let (bytes, end) = (self.bytes(), self.end());
        // Without a place the index is what is broken, or there is no record: the segment is going to
        // be read in full.
        let place = match self.index.places(&|_| true) {
            Ok((Some(place), _)) => place,
            Err(IndexError::Storage(fault)) => return Err(fault),
            Ok((None, _)) | Err(IndexError::Damaged) => return Ok(None),
        };
        let fault = |error| StorageFault::new("read", &log_name(header.first), error);
        let range = u64::from(place.offset)..bytes;
        let mut scanner = Scanner::new(Arc::clone(file), header.salt, range);
        let mut next = header.first + u64::from(place.ordinal);
        loop {
            let step = scanner.step().map_err(fault)?;
            let offset = scanner.offset();
            match step {
                Step::End if offset == bytes && next == end => return Ok(None),
                Step::End => return damage(offset, LOST),
                Step::Bad(reason) => return damage(offset, reason),
                Step::Record(head) if head.sequence != next => {
                    return damage(offset, "the record's sequence does not follow");
                }
                Step::Record(_) if scanner.record().map_err(fault)?.is_none() => {
                    return damage(offset, "the record's checksum is wrong");
                }
                Step::Record(_) => next += 1,
            }
        }
    }

    /// What was found by reading the segment in full must be all that was told of.
    pub(crate) fn compare(&self, header: &SegmentHeader, scanned: &Scanned) -> Option<Damage> {
        let records = u64::from(scanned.index.records);
        let (is_less, lost) = match header.end {
            0 => (header.first + records < self.end(), LOST),
            _ => (records < self.records_in(header), SHORTENED),
        };
        let (offset, reason) = scanned.bad.unwrap_or((scanned.len, lost));
        is_less.then(|| Damage {
            segment: log_name(header.first),
            offset,
            reason,
        })
    }

    /// The segment as it is told of, so that it need not be read.
    pub(crate) fn load(&self) -> Option<Scanned> {
        Some(Scanned {
            index: self.index.load(&self.summary)?,
            len: self.bytes(),
            commit_at: self.bytes(),
            first_time_ms: self.summary.first_time_ms,
            last_time_ms: self.summary.last_time_ms,
            bad: None,
        })
    }
}

/// Whether the newest segment, a file of so many bytes, may end there: a record that follows would begin
/// right there.
pub(crate) fn is_end(file: &dyn StorageFile, end: u64, len: u64) -> io::Result<bool> {
    let behind = end..len.min(end.saturating_add(BEHIND_CLOSED_BYTES));
    Ok(end <= len && written_end(file, behind)? <= end)
}

/// What is told of a compacted segment whose file is open already, if it is still that one: a hub may have
/// compacted it again, with others. The index of the segment whose name it got was gone for good before.
/// So the index is of this file, or of one with the same end that was made of it since, which has no more.
pub(crate) fn told_of_compacted(
    storage: &dyn Storage,
    open: &SegmentHeader,
) -> Result<Option<Closed>, StorageFault> {
    if open.end == 0 {
        return Ok(None);
    }
    // One that cannot be read tells nothing, and can be had again.
    let told = Closed::of(storage, open.first, Some(open.salt))
        .ok()
        .flatten();
    let is_same = header(storage, open.first)?.as_ref() == Some(open);
    Ok(told.filter(|_| is_same))
}

/// Whether a segment that cannot say itself which it is held records when the log was closed.
pub(crate) fn was_closed(storage: &dyn Storage, first: u64) -> Result<bool, StorageFault> {
    let closed = Closed::of(storage, first, None)?;
    Ok(closed.is_some_and(|closed| closed.summary.records > 0))
}

/// The sequences of a newest segment that is gone, if its index is there and tells of any. Retention takes
/// segments from the front, and their indexes at once, so nobody but a stranger leaves it so.
pub(crate) fn gone(
    storage: &dyn Storage,
    names: &[String],
    firsts: &[u64],
) -> Result<Option<Range<u64>>, StorageFault> {
    let indexes = names.iter().filter_map(|name| name_sequence(name, ".idx"));
    let indexes = indexes.filter(|first| *first <= SEQUENCE_MAX);
    let (Some(newest), Some(first)) = (firsts.last().copied(), indexes.max()) else {
        return Ok(None);
    };
    // A hub may have begun it while the names were read.
    if first <= newest || storage.open(&log_name(first)).is_ok() {
        return Ok(None);
    }
    let (closed, header) = (Closed::of(storage, first, None)?, header(storage, newest)?);
    let ours = closed.zip(header).filter(|(closed, header)| {
        closed.summary.salt == header.salt && closed.summary.records > 0
    });
    Ok(ours.map(|(closed, _)| first..closed.end()))
}

/// Removes the newest segment's index before anything is written that it does not know of.
pub(crate) fn forget(storage: &dyn Storage, first: u64) -> Result<(), StorageFault> {
    if !remove_index(storage, first)? {
        return Ok(());
    }
    let name = index_name(first);
    storage
        .sync_directory()
        .map_err(|error| StorageFault::new("sync the directory of", &name, error))
}

/// Removes a segment's index, for good once the directory is synced; says whether there was one.
pub(crate) fn remove_index(storage: &dyn Storage, first: u64) -> Result<bool, StorageFault> {
    let name = index_name(first);
    match storage.remove(&name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageFault::new("remove", &name, error)),
        Ok(()) => Ok(true),
    }
}
