//! A batch: the records of one commit, encoded where they will be written from.

use bytes::Bytes;

use crate::error::AppendError;
use crate::fields::widen;
use crate::record::{self, Head, Place};

/// All offsets within a segment are 32 bits wide; this leaves room for a full segment before it.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Records that will be committed together, in one contiguous buffer.
///
/// The buffer is written to the file as it is.
#[derive(Debug)]
pub struct Batch {
    pub(crate) buffer: Vec<u8>,
    /// Where each record begins.
    pub(crate) starts: Vec<u32>,
    pub(crate) first: u64,
    pub(crate) time_ms: u64,
    /// The time that was given, which the clock may have been set back to.
    pub(crate) now_ms: u64,
    /// What is written and not synced before this commit. Bytes.
    unsynced: u32,
    salt: u64,
    record_bytes_max: u32,
    group_open: bool,
    broken: bool,
}

/// What a batch begins with.
pub(crate) struct Begin {
    pub(crate) first: u64,
    pub(crate) time_ms: u64,
    pub(crate) now_ms: u64,
    pub(crate) unsynced: u32,
    pub(crate) salt: u64,
    pub(crate) record_bytes_max: u32,
}

/// A place in a batch to come back to.
#[derive(Clone, Copy, Debug)]
pub struct Checkpoint {
    records: usize,
    bytes: usize,
    group_open: bool,
}

impl Batch {
    /// An empty batch, in the memory of one before.
    pub(crate) fn new(begin: &Begin, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            buffer,
            starts: Vec::new(),
            first: begin.first,
            time_ms: begin.time_ms,
            now_ms: begin.now_ms,
            unsynced: begin.unsynced,
            salt: begin.salt,
            record_bytes_max: begin.record_bytes_max,
            group_open: false,
            broken: false,
        }
    }

    /// Appends a record and returns its sequence.
    ///
    /// `frame` gets that sequence and the buffer, to whose end it appends the frame's bytes; it
    /// must not touch what is there. After an error the batch is as it was before, but for
    /// [`AppendError::Shrank`].
    pub fn push(
        &mut self,
        head: &Head<'_>,
        frame: impl FnOnce(u64, &mut Vec<u8>),
    ) -> Result<u64, AppendError> {
        let start = self.buffer.len();
        if start + widen(self.record_bytes_max) > BATCH_BYTES_MAX && start > 0 {
            return Err(AppendError::BatchFull);
        }
        let sequence = self.next_sequence();
        let offset = crate::fields::narrow(start);
        let place = Place {
            salt: self.salt,
            sequence,
            time_ms: self.time_ms,
            commit_offset: self.unsynced.saturating_add(offset),
        };
        let pushed = record::encode(&mut self.buffer, place, head, self.record_bytes_max, frame);
        self.broken |= pushed == Err(AppendError::Shrank);
        pushed?;
        self.starts.push(offset);
        self.group_open = head.continues;
        Ok(sequence)
    }

    /// The sequence that the next record gets.
    pub fn next_sequence(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    /// The time that all records of the batch carry. Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// What the commit will write. Bytes.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// This place, for [`Batch::rewind`].
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            records: self.starts.len(),
            bytes: self.buffer.len(),
            group_open: self.group_open,
        }
    }

    /// Takes back all that was pushed since `checkpoint`, e.g. a group that turned out too large.
    ///
    /// A checkpoint that was itself taken back does nothing.
    pub fn rewind(&mut self, checkpoint: Checkpoint) {
        if checkpoint.records <= self.starts.len() && checkpoint.bytes <= self.buffer.len() {
            self.starts.truncate(checkpoint.records);
            self.buffer.truncate(checkpoint.bytes);
            self.group_open = checkpoint.group_open;
        }
    }

    /// Says how much is written and not synced before this commit, if it is not what it was when
    /// the batch was begun.
    pub(crate) fn follow_unsynced(&mut self, unsynced: u32) {
        if self.unsynced == unsynced {
            return;
        }
        self.unsynced = unsynced;
        for start in &self.starts {
            if let Some(record) = self.buffer.get_mut(widen(*start)..) {
                record::move_within_commit(record, self.salt, unsynced.saturating_add(*start));
            }
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        !self.group_open && !self.broken
    }
}

/// What an acknowledged batch became.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The first record's sequence.
    pub first: u64,
    /// The last record's sequence; `first - 1` if the batch was empty.
    pub last: u64,
    /// The time that the records carry. Unix milliseconds.
    pub time_ms: u64,
    /// The frames in sequence order: slices of one buffer that holds nothing else, so what is kept of
    /// a commit costs what its frames do.
    pub frames: Vec<Bytes>,
}
