//! A batch: the records of one commit, encoded where they will be written from.

use bytes::Bytes;

use crate::error::AppendError;
use crate::fields::{narrow, widen};
use crate::record::{self, Head, Place};

/// All offsets within a segment are 32 bits wide; this leaves room for a full segment before it.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// Records that will be committed together, in one contiguous buffer.
///
/// The buffer is written to the file as it is.
#[derive(Debug)]
pub struct Batch {
    pub(crate) buffer: Vec<u8>,
    pub(crate) records: Vec<Pushed>,
    /// The frames once more, for who follows: copied while they are in the nearest cache, and not
    /// between a sync and the answer to it.
    pub(crate) frames: Vec<u8>,
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

/// A record of a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pushed {
    /// Where it begins in the buffer.
    pub(crate) start: u32,
    /// How much of it comes before the frame. Bytes.
    pub(crate) beside_bytes: u32,
    pub(crate) frame_bytes: u32,
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
    frame_bytes: usize,
    group_open: bool,
}

impl Batch {
    /// An empty batch, in the memory of one before, with room for frames as there were.
    pub(crate) fn new(begin: &Begin, mut buffer: Vec<u8>, frame_bytes: usize) -> Self {
        buffer.clear();
        Self {
            buffer,
            records: Vec::new(),
            frames: Vec::with_capacity(frame_bytes),
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
        let offset = narrow(start);
        let place = Place {
            salt: self.salt,
            sequence,
            time_ms: self.time_ms,
            commit_offset: self.unsynced.saturating_add(offset),
        };
        let pushed = record::encode(&mut self.buffer, place, head, self.record_bytes_max, frame);
        self.broken |= pushed == Err(AppendError::Shrank);
        let beside_bytes = pushed?;
        let frame = self.buffer.get(start + widen(beside_bytes)..);
        let frame = frame.unwrap_or_default();
        self.frames.extend_from_slice(frame);
        self.records.push(Pushed {
            start: offset,
            beside_bytes,
            frame_bytes: narrow(frame.len()),
        });
        self.group_open = head.continues;
        Ok(sequence)
    }

    /// The sequence that the next record gets.
    pub fn next_sequence(&self) -> u64 {
        self.first + self.records.len() as u64
    }

    /// The time that all records of the batch carry. Unix milliseconds.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What the commit will write. Bytes.
    pub fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// This place, for [`Batch::rewind`].
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            records: self.records.len(),
            bytes: self.buffer.len(),
            frame_bytes: self.frames.len(),
            group_open: self.group_open,
        }
    }

    /// Takes back all that was pushed since `checkpoint`, e.g. a group that turned out too large.
    ///
    /// A checkpoint that was itself taken back does nothing.
    pub fn rewind(&mut self, checkpoint: Checkpoint) {
        if checkpoint.records <= self.records.len() && checkpoint.bytes <= self.buffer.len() {
            self.records.truncate(checkpoint.records);
            self.buffer.truncate(checkpoint.bytes);
            self.frames.truncate(checkpoint.frame_bytes);
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
        for Pushed { start, .. } in &self.records {
            if let Some(record) = self.buffer.get_mut(widen(*start)..) {
                record::move_within_commit(record, self.salt, unsynced.saturating_add(*start));
            }
        }
    }

    /// Each record's frame, in order.
    pub(crate) fn take_frames(&mut self) -> Vec<Bytes> {
        let mut joined = std::mem::take(&mut self.frames);
        joined.shrink_to_fit();
        let mut rest = Bytes::from(joined);
        let frames = self.records.iter();
        frames
            .map(|record| rest.split_to(widen(record.frame_bytes).min(rest.len())))
            .collect()
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
