//! What was committed and is not in the index yet.
//!
//! No commit needs the index, so none waits for it: the records' heads, and what is beside their
//! frames, are kept aside until somebody asks the index, or has the time. Many records at once also
//! cost less each than a few between two syncs, which leave the caches cold.

use crate::batch::Batch;
use crate::fields::widen;
use crate::index::MemoryIndex;
use crate::record::{Record, RecordHead};

/// So many records, or bytes of them, are worth the waking of another thread.
const RECORDS_DUE: usize = 1024;
const BYTES_DUE: usize = 256 * 1024;

/// With so many the next commit waits: a reader should not have to wait for longer.
const RECORDS_MAX: usize = 16 * 1024;
const BYTES_MAX: usize = 4 << 20;

/// Records without their frames, in order.
#[derive(Default)]
pub(crate) struct Fresh {
    bytes: Vec<u8>,
    /// Where each record is in its segment, and how many of the bytes are its own.
    places: Vec<(u32, u32)>,
    /// Somebody was told.
    told: bool,
}

/// When records are to be put into the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Later,
    /// By somebody beside the commits, who was not told before.
    Soon,
    Now,
}

impl Fresh {
    /// Takes the records of a commit that was written at `base`.
    pub(crate) fn take(&mut self, batch: &Batch, base: u32) {
        for record in &batch.records {
            let start = widen(record.start);
            let beside = start..start + widen(record.beside_bytes);
            let bytes = batch.buffer.get(beside).unwrap_or_default();
            self.bytes.extend_from_slice(bytes);
            self.places.push((base + record.start, record.beside_bytes));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// To be asked after each commit.
    pub(crate) fn due(&mut self) -> Due {
        let over = |records, bytes| self.places.len() >= records || self.bytes.len() >= bytes;
        if over(RECORDS_MAX, BYTES_MAX) {
            Due::Now
        } else if !self.told && over(RECORDS_DUE, BYTES_DUE) {
            self.told = true;
            Due::Soon
        } else {
            Due::Later
        }
    }

    pub(crate) fn index(&self, index: &mut MemoryIndex, salt: u64) {
        let mut rest = self.bytes.as_slice();
        for (offset, count) in &self.places {
            let (bytes, behind) = rest.split_at(widen(*count).min(rest.len()));
            rest = behind;
            let head = RecordHead::trusted(bytes);
            if let Some(record) = head.and_then(|head| Record::without_frame(head, bytes)) {
                index.insert(*offset, salt, &record);
            }
        }
    }
}
