//! A segment: one file of records, shared by the writer and all readers.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use crate::batch::Batch;
use crate::error::{Damage, ReadError, StorageFault};
use crate::fresh::{Due, Fresh};
use crate::header::{HEADER_END, REPAIRED, SegmentHeader};
use crate::index::{Index, IndexError, MemoryIndex, Sparse};
use crate::index_file;
use crate::index_layout::Summary;
use crate::record::{Record, RecordHead};
use crate::scanner::{Scanner, Step};
use crate::storage::{Storage, StorageFile};

/// No segment is longer, since an index has 32 bits for where a record is. What a file holds behind it was not
/// written there by a log, and is not looked at: else a file without end would take time without end.
pub(crate) const SEGMENT_BYTES_CAP: u64 = 1 << 32;

/// A segment that is open. Only the newest of a log grows.
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    /// Of the format. Nothing is appended to a segment of an older one.
    pub(crate) version: u32,
    /// Whether its commits are not synced one by one.
    pub(crate) lazy: bool,
    /// One past the last sequence of the segment before: between it and `first` a crash may have
    /// lost records.
    pub(crate) follows: u64,
    pub(crate) file: Arc<dyn StorageFile>,
    /// Whether only some of the sequences that it stands for have a record.
    pub(crate) sparse: bool,
    /// Of a segment that holds what is kept for single topics, which rules it was made by.
    pub(crate) compacted: Option<u64>,
    /// How many records a sparse segment has.
    held: u64,
    /// One past the last record that is committed. Set last, with `Release`: whoever has read it
    /// finds all before it in the file, the length and the index.
    end: AtomicU64,
    len: AtomicU64,
    /// The file's length where it was written ahead; else 0.
    allocated: AtomicU64,
    first_time_ms: AtomicU64,
    last_time_ms: AtomicU64,
    index: RwLock<Arc<Index>>,
    /// What the index does not know of yet.
    fresh: Mutex<Fresh>,
    index_bytes: AtomicU64,
    /// Its name is gone, or another's: an index of it would stay behind, or be taken for that of the
    /// other. Locked while one is written.
    gone: Mutex<bool>,
}

/// All segments of a log, oldest first; there is always one at least.
pub(crate) type SegmentList = Vec<Arc<Segment>>;

/// Which sequences a segment's records may have.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) first: u64,
    /// Of a compacted segment one past the last; in others each follows the one before by one.
    pub(crate) end: Option<u64>,
    /// One past the last before the next segment: what is behind it was never acknowledged.
    pub(crate) stop: u64,
}

impl Span {
    pub(crate) fn of(header: &SegmentHeader) -> Self {
        Self {
            first: header.first,
            end: (header.end > 0).then_some(header.end),
            stop: u64::MAX,
        }
    }

    /// The same of a segment behind which another one goes on with this sequence.
    pub(crate) fn until(self, stop: u64) -> Self {
        let stop = if self.end.is_some() { u64::MAX } else { stop };
        Self { stop, ..self }
    }

    /// Whether a record may come after others, of which the next sequence would be `next`.
    pub(crate) fn allows(&self, sequence: u64, next: u64) -> bool {
        match self.end {
            Some(end) => (next..end).contains(&sequence),
            None => sequence == next,
        }
    }
}

/// What was found in a segment's file from front to back.
pub(crate) struct Scanned {
    pub(crate) index: MemoryIndex,
    /// Where the last whole group ends.
    pub(crate) len: u64,
    /// Where the last commit that has a whole group begins.
    pub(crate) commit_at: u64,
    pub(crate) first_time_ms: u64,
    pub(crate) last_time_ms: u64,
    /// What is no record.
    pub(crate) bad: Option<(u64, &'static str)>,
}

pub(crate) fn log_name(first: u64) -> String {
    format!("{first:020}.log")
}

pub(crate) fn index_name(first: u64) -> String {
    format!("{first:020}.idx")
}

/// The sequence in a file's name, if it is a name of ours that ends so.
pub(crate) fn name_sequence(name: &str, ending: &str) -> Option<u64> {
    let digits = name.strip_suffix(ending)?;
    let sequence = digits.parse().ok()?;
    (digits == format!("{sequence:020}")).then_some(sequence)
}

impl Segment {
    /// A segment that was scanned, or has just been created.
    pub(crate) fn from_scan(
        header: &SegmentHeader,
        file: Arc<dyn StorageFile>,
        scanned: Scanned,
    ) -> Self {
        let summary = Summary {
            records: scanned.index.records,
            first: header.first,
            salt: header.salt,
            log_bytes: scanned.len,
            first_time_ms: scanned.first_time_ms,
            last_time_ms: scanned.last_time_ms,
        };
        Self::new(header, file, &summary, (Index::memory(scanned.index), 0))
    }

    pub(crate) fn new(
        header: &SegmentHeader,
        file: Arc<dyn StorageFile>,
        summary: &Summary,
        (index, index_bytes): (Index, u64),
    ) -> Self {
        Self {
            name: log_name(header.first),
            first: header.first,
            salt: header.salt,
            version: header.version,
            lazy: header.lazy,
            follows: header.follows,
            sparse: header.end > 0,
            compacted: (header.end > 0 && header.created_ms != REPAIRED)
                .then_some(header.created_ms),
            held: u64::from(summary.records),
            file,
            end: AtomicU64::new(header.end_with(summary.records)),
            len: AtomicU64::new(summary.log_bytes),
            allocated: AtomicU64::new(0),
            first_time_ms: AtomicU64::new(summary.first_time_ms),
            last_time_ms: AtomicU64::new(summary.last_time_ms),
            index: RwLock::new(Arc::new(index)),
            fresh: Mutex::default(),
            index_bytes: AtomicU64::new(index_bytes),
            gone: Mutex::new(false),
        }
    }

    /// Says that the file was written ahead, with zeros, up to this length.
    pub(crate) fn written_ahead(self, bytes: u64) -> Self {
        self.allocated.store(bytes, Ordering::Relaxed);
        self
    }

    /// Whether a commit of so many bytes would make the file longer.
    pub(crate) fn grows_by(&self, bytes: u64) -> bool {
        self.len().saturating_add(bytes) > self.allocated.load(Ordering::Relaxed)
    }

    /// One past the last sequence that is committed.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The file's length as far as it is committed.
    pub(crate) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(crate) fn records(&self) -> u64 {
        if self.sparse {
            self.held
        } else {
            self.end() - self.first
        }
    }

    /// Whether a record may be the next that a reader meets behind those before `next`.
    pub(crate) fn follows_in(&self, next: u64, sequence: u64) -> bool {
        self.span().allows(sequence, next)
    }

    /// Which sequences its records may have.
    fn span(&self) -> Span {
        Span {
            first: self.first,
            end: self.sparse.then(|| self.end()),
            stop: u64::MAX,
        }
    }

    /// What the segment takes on disk. Bytes.
    pub(crate) fn disk_bytes(&self) -> u64 {
        let file_bytes = self.len().max(self.allocated.load(Ordering::Relaxed));
        file_bytes + self.index_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn first_time_ms(&self) -> u64 {
        self.first_time_ms.load(Ordering::Acquire)
    }

    pub(crate) fn last_time_ms(&self) -> u64 {
        self.last_time_ms.load(Ordering::Acquire)
    }

    /// A sequence counted from the first. Segments hold fewer than 2^32 records.
    pub(crate) fn ordinal(&self, sequence: u64) -> u32 {
        narrow_within(sequence.saturating_sub(self.first))
    }

    pub(crate) fn fault(&self, operation: &'static str, error: io::Error) -> StorageFault {
        StorageFault::new(operation, &self.name, error)
    }

    pub(crate) fn damage(&self, offset: u64, reason: &'static str) -> Damage {
        Damage {
            segment: self.name.clone(),
            offset,
            reason,
        }
    }

    pub(crate) fn scanner(&self, from: u64) -> Scanner {
        let range = from..self.len();
        Scanner::new(Arc::clone(&self.file), self.salt, range).sparse(self.sparse)
    }

    /// Asks the index. A damaged one is built again in memory and asked once more.
    pub(crate) fn lookup<T>(
        &self,
        ask: impl Fn(&Index) -> Result<T, IndexError>,
    ) -> Result<T, ReadError> {
        let index = self.index();
        self.settle(&index);
        match ask(&index) {
            Ok(answer) => return Ok(answer),
            Err(IndexError::Storage(fault)) => return Err(fault.into()),
            Err(IndexError::Damaged) => {}
        }
        let index = Arc::new(Index::memory(self.rebuild()?));
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&index);
        ask(&index).map_err(|error| match error {
            IndexError::Storage(fault) => fault.into(),
            // Memory is not damaged: this cannot be reached.
            IndexError::Damaged => self.unreadable(HEADER_END, "its index cannot be built"),
        })
    }

    fn index(&self) -> Arc<Index> {
        Arc::clone(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn fresh(&self) -> MutexGuard<'_, Fresh> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts what was committed into the index.
    pub(crate) fn index_fresh(&self) {
        self.settle(&self.index());
    }

    /// Whoever asks the index afterwards finds all that was published before.
    fn settle(&self, index: &Index) {
        let Index::Memory(index) = index else { return };
        if self.fresh().is_empty() {
            return;
        }
        // In this order: what is taken from the one must be in the other before the next is.
        let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = std::mem::take(&mut *self.fresh());
        fresh.index(&mut index, self.salt);
    }

    /// The nearest known place behind an offset.
    pub(crate) fn next_place(&self, offset: u64) -> Option<Sparse> {
        let before = |place: &Sparse| u64::from(place.offset) <= offset;
        self.lookup(|index| index.places(&before)).ok()?.1
    }

    fn rebuild(&self) -> Result<MemoryIndex, ReadError> {
        let range = HEADER_END..self.len();
        let scanned = scan(&self.file, self.span(), self.salt, range)
            .map_err(|error| self.fault("read", error))?;
        match scanned.bad {
            Some((offset, reason)) => Err(self.unreadable(offset, reason)),
            None => Ok(scanned.index),
        }
    }

    /// Damage that makes the rest of the segment unreadable.
    fn unreadable(&self, offset: u64, reason: &'static str) -> ReadError {
        ReadError::Damaged {
            damage: self.damage(offset, reason),
            next: self.end(),
        }
    }

    /// Makes the records of a synced commit visible, and says when the index is to learn of them.
    pub(crate) fn publish(&self, batch: &Batch) -> Due {
        let base = self.len();
        let mut fresh = self.fresh();
        fresh.take(batch, narrow_within(base));
        let due = fresh.due();
        drop(fresh);
        if self.records() == 0 {
            self.first_time_ms.store(batch.time_ms, Ordering::Release);
        }
        self.last_time_ms.store(batch.time_ms, Ordering::Release);
        self.len
            .store(base + batch.bytes() as u64, Ordering::Release);
        self.end.fetch_add(batch.len() as u64, Ordering::Release);
        due
    }

    /// Writes the index to its file, lets go of the memory, and cuts off what was written ahead.
    ///
    /// If the index cannot be written it stays in memory: nothing is lost but the memory, and the
    /// time to build it again at the next opening. The cut need not survive a crash.
    pub(crate) fn seal(&self, storage: &dyn Storage) -> Result<(), StorageFault> {
        let gone = self.gone();
        if *gone {
            return Ok(());
        }
        let written = self.write_index(storage)?;
        drop(gone);
        if let Some((index, bytes)) = written {
            self.index_bytes.store(bytes, Ordering::Relaxed);
            *self.index.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(index);
        }
        self.trim().map_err(|error| self.fault("cut", error))
    }

    /// Says that its name goes: no index of it is written from now on.
    pub(crate) fn go(&self) {
        *self.gone() = true;
    }

    fn gone(&self) -> MutexGuard<'_, bool> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn trim(&self) -> io::Result<()> {
        if self.allocated.load(Ordering::Relaxed) > self.len() {
            self.cut_back()
        } else {
            self.allocated.store(0, Ordering::Relaxed);
            Ok(())
        }
    }

    /// Cuts off all that is not part of the log; nothing is written ahead any more.
    pub(crate) fn cut_back(&self) -> io::Result<()> {
        self.file.set_len(self.len())?;
        self.allocated.store(0, Ordering::Relaxed);
        Ok(())
    }

    /// Writes the index to its file; `None` if it is there already.
    pub(crate) fn write_index(
        &self,
        storage: &dyn Storage,
    ) -> Result<Option<(Index, u64)>, StorageFault> {
        let name = index_name(self.first);
        let current = self.index();
        self.settle(&current);
        let Index::Memory(memory) = &*current else {
            return Ok(None);
        };
        let summary = Summary {
            records: u32::try_from(self.records()).unwrap_or(u32::MAX),
            first: self.first,
            salt: self.salt,
            log_bytes: self.len(),
            first_time_ms: self.first_time_ms(),
            last_time_ms: self.last_time_ms(),
        };
        let memory = memory.read().unwrap_or_else(PoisonError::into_inner);
        let written = index_file::write(storage, &name, &memory, &summary);
        written
            .inspect_err(|_| drop(storage.remove(&name)))
            .map(Some)
    }
}

/// An offset within a segment, which is never 4 GiB long, or a sequence counted from its first.
pub(crate) fn narrow_within(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Reads all records of a segment's file, up to the last whole group.
pub(crate) fn scan(
    file: &Arc<dyn StorageFile>,
    span: Span,
    salt: u64,
    range: Range<u64>,
) -> io::Result<Scanned> {
    let mut found = Scanned::empty(range.start);
    let mut next = span.first;
    let scanner = Scanner::new(Arc::clone(file), salt, range.clone());
    let mut scanner = scanner.sparse(span.end.is_some());
    let mut group_at = None;
    while next < span.stop {
        let step = scanner.step()?;
        let offset = scanner.offset();
        let reason = match step {
            Step::End => break,
            Step::Bad(reason) => reason,
            Step::Record(head) if !span.allows(head.sequence, next) => {
                "the record's sequence does not follow"
            }
            Step::Record(head) => match found.take(span, salt, offset, head, &mut scanner)? {
                Ok(()) => {
                    next = head.sequence.saturating_add(1);
                    // Of a group a compacted segment may hold any part.
                    let open = head.continues() && span.end.is_none();
                    group_at = open.then(|| group_at.unwrap_or(offset));
                    continue;
                }
                Err(reason) => reason,
            },
        };
        found.bad = Some((offset, reason));
        break;
    }
    let Some(group_at) = group_at else {
        return Ok(found);
    };
    // The last group is not whole. Reading the file again without it is simpler than taking its
    // records out of the index, and happens after a crash only.
    let bad = found
        .bad
        .unwrap_or((range.end, "the last group of records is not complete"));
    let again = scan(file, span, salt, range.start..group_at)?;
    Ok(Scanned {
        bad: Some(bad),
        ..again
    })
}

impl Scanned {
    /// Nothing, in a file that holds this much.
    pub(crate) fn empty(len: u64) -> Self {
        Self {
            index: MemoryIndex::default(),
            len,
            commit_at: len,
            first_time_ms: 0,
            last_time_ms: 0,
            bad: None,
        }
    }

    /// Takes the record that the scanner is at, or says what is wrong with it.
    fn take(
        &mut self,
        span: Span,
        salt: u64,
        offset: u64,
        head: RecordHead,
        scanner: &mut Scanner,
    ) -> io::Result<Result<(), &'static str>> {
        let Ok(offset_narrow) = u32::try_from(offset) else {
            return Ok(Err("a segment cannot be this long"));
        };
        let Ok(ordinal) = u32::try_from(head.sequence - span.first) else {
            return Ok(Err("a segment cannot have this many sequences"));
        };
        let Some(record) = scanner.record()? else {
            return Ok(Err("the record's checksum is wrong"));
        };
        // What was copied from elsewhere says where it was there.
        let commit_offset = span.end.map_or(u64::from(head.commit_offset), |_| 0);
        let Some(commit_at) = offset.checked_sub(commit_offset) else {
            return Ok(Err("the record's commit begins before the file"));
        };
        self.push(ordinal, offset_narrow, salt, &record);
        self.commit_at = commit_at;
        Ok(Ok(()))
    }

    /// Adds the next record.
    pub(crate) fn push(&mut self, ordinal: u32, offset: u32, salt: u64, record: &Record<'_>) {
        let head = &record.head;
        if self.index.records == 0 {
            self.first_time_ms = head.time_ms;
        }
        self.last_time_ms = head.time_ms;
        self.len = u64::from(offset) + u64::from(head.length);
        self.index.insert_as(ordinal, offset, salt, record);
    }
}
