//! The writing side: one owner, one write and one sync for each commit.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::{Batch, Committed};
use crate::error::{CommitError, StorageFault};
use crate::header::{HEADER_END, SegmentHeader};
use crate::options::Options;
use crate::reader::Shared;
use crate::segment::{Scanned, Segment, log_name};
use crate::storage::{Storage, StorageFile};

/// The most that is set aside for a batch before anything is pushed. Bytes.
const BATCH_BYTES_LIKELY_MAX: usize = 1 << 20;

/// Appends to a log. There is one for each log; it is not shared, so nothing in it is locked.
pub struct Writer {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Arc<Segment>,
    pub(crate) salt: u64,
    pub(crate) last_time_ms: u64,
    /// What the batch before took: the next will be alike, and need not grow step by step.
    pub(crate) batch_bytes: usize,
    /// Why nothing is taken any more.
    pub(crate) poison: Option<StorageFault>,
    /// Segments that readers no longer see but whose files may still be there, oldest first.
    pub(crate) doomed: std::collections::VecDeque<Arc<Segment>>,
}

impl Writer {
    /// The identity of the log.
    pub fn epoch(&self) -> &str {
        &self.shared.epoch
    }

    /// The sequence that the next record gets. A new log begins with 1.
    pub fn next_sequence(&self) -> u64 {
        self.active.end()
    }

    /// Why the log takes nothing any more, if so. Only opening it again mends that.
    pub fn poisoned(&self) -> Option<&StorageFault> {
        self.poison.as_ref()
    }

    /// Begins a batch. Its records carry this time, or the last record's if that is later: a
    /// clock that was set back does not make the log go back.
    pub fn begin(&mut self, time_ms: u64) -> Batch {
        let time_ms = time_ms.max(self.last_time_ms);
        Batch::new(
            self.next_sequence(),
            time_ms,
            self.salt,
            self.options.record_bytes(),
            self.batch_bytes,
        )
    }

    /// Writes a batch, syncs, and then shows it to readers.
    ///
    /// `Ok` means durable. After an error nothing of the batch was shown to anyone; see
    /// [`CommitError`] for what became of it.
    pub fn commit(&mut self, batch: Batch) -> Result<Committed, CommitError> {
        self.check(&batch)?;
        let (first, time_ms) = (batch.first, batch.time_ms);
        let last = batch.next_sequence() - 1;
        if batch.is_empty() {
            return Ok(Committed {
                first,
                last,
                time_ms,
                frames: Vec::new(),
            });
        }
        if self.is_full_for(&batch) {
            self.roll(time_ms)?;
        }
        self.append(&batch.buffer)?;
        let Batch {
            mut buffer, starts, ..
        } = batch;
        self.batch_bytes = buffer.len().min(BATCH_BYTES_LIKELY_MAX);
        // Readers may keep the buffer for long; a little to spare is not worth moving it.
        if buffer.capacity() > buffer.len() + buffer.len() / 8 {
            buffer.shrink_to_fit();
        }
        let frames = self.active.publish(&Bytes::from(buffer), &starts, time_ms);
        self.last_time_ms = time_ms;
        Ok(Committed {
            first,
            last,
            time_ms,
            frames,
        })
    }

    /// Closes the log. All that was acknowledged is durable already; this is for symmetry, and to
    /// learn that the log had stopped.
    pub fn close(self) -> Result<(), CommitError> {
        self.usable()
    }

    pub(crate) fn usable(&self) -> Result<(), CommitError> {
        self.poison
            .clone()
            .map_or(Ok(()), |fault| Err(CommitError::Poisoned(fault)))
    }

    fn check(&self, batch: &Batch) -> Result<(), CommitError> {
        self.usable()?;
        if batch.first != self.next_sequence() || batch.time_ms < self.last_time_ms {
            return Err(CommitError::Stale);
        }
        if !batch.is_whole() {
            return Err(CommitError::GroupOpen);
        }
        Ok(())
    }

    fn is_full_for(&self, batch: &Batch) -> bool {
        let records = self.active.records();
        let bytes = self.active.len() + batch.bytes() as u64;
        let full =
            bytes > self.options.segment_bytes() || records >= self.options.segment_records();
        full && records > 0
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), CommitError> {
        let file = Arc::clone(&self.active.file);
        let end = self.active.len();
        if let Err(error) = file.write_at(bytes, end) {
            let fault = self.active.fault("write to", error);
            return Err(self.take_back(&*file, end, fault));
        }
        file.sync_data()
            .map_err(|error| self.poison(self.active.fault("sync", error)))
    }

    /// Cuts off what a failed write left, so that a batch that was refused does not come back
    /// after a crash. That takes a sync: the next commit's would come too late.
    fn take_back(&mut self, file: &dyn StorageFile, end: u64, fault: StorageFault) -> CommitError {
        match file.set_len(end).and_then(|()| file.sync_data()) {
            Ok(()) => refused(fault),
            Err(error) => self.poison(self.active.fault("cut back", error)),
        }
    }

    /// Stops the log for good: what is on disk is not known any more.
    ///
    /// After a failed sync the operating system may have marked the pages clean. A second sync
    /// would succeed and prove nothing, and so would reading them back.
    pub(crate) fn poison(&mut self, fault: StorageFault) -> CommitError {
        self.poison = Some(fault.clone());
        CommitError::Poisoned(fault)
    }

    /// Begins the next segment, and seals the one before.
    pub(crate) fn roll(&mut self, now_ms: u64) -> Result<(), CommitError> {
        let header = SegmentHeader {
            epoch: self.shared.epoch.clone(),
            first: self.active.end(),
            created_ms: now_ms,
            salt: self.salt,
        };
        let segment = match create(&*self.storage, &header) {
            Ok(segment) => Arc::new(segment),
            Err(Creation::Failed(fault)) => return Err(refused(fault)),
            Err(Creation::Uncertain(fault)) => return Err(self.poison(fault)),
        };
        let mut segments = (*self.shared.segments()).clone();
        segments.push(Arc::clone(&segment));
        self.shared.replace(segments);
        let sealed = std::mem::replace(&mut self.active, segment);
        // An index that cannot be written stays in memory, and nothing is lost.
        drop(sealed.seal(&*self.storage));
        Ok(())
    }
}

/// Nothing was stored, and the log goes on.
fn refused(fault: StorageFault) -> CommitError {
    if fault.is_full() {
        CommitError::Full(fault)
    } else {
        CommitError::Write(fault)
    }
}

/// Why there is no new segment.
pub(crate) enum Creation {
    /// Nothing is left of it.
    Failed(StorageFault),
    /// Its file may be there after a crash.
    Uncertain(StorageFault),
}

impl Creation {
    pub(crate) fn fault(self) -> StorageFault {
        match self {
            Self::Failed(fault) | Self::Uncertain(fault) => fault,
        }
    }
}

/// Creates a segment and makes it durable, before anything is written to it.
pub(crate) fn create(storage: &dyn Storage, header: &SegmentHeader) -> Result<Segment, Creation> {
    let name = log_name(header.first);
    let fault = |operation, error| StorageFault::new(operation, &name, error);
    let file = storage
        .create(&name)
        .map_err(|error| Creation::Failed(fault("create", error)))?;
    if let Err(error) = file.write_at(&header.encode(), 0) {
        let removed = remove_durably(storage, &name);
        return Err(match removed {
            Ok(()) => Creation::Failed(fault("write to", error)),
            Err(error) => Creation::Uncertain(fault("remove", error)),
        });
    }
    file.sync_data()
        .map_err(|error| Creation::Uncertain(fault("sync", error)))?;
    storage
        .sync_directory()
        .map_err(|error| Creation::Uncertain(fault("sync the directory of", error)))?;
    Ok(Segment::from_scan(header, file, Scanned::empty(HEADER_END)))
}

/// Removes a file so that it does not come back after a crash.
pub(crate) fn remove_durably(storage: &dyn Storage, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    storage.sync_directory()
}
