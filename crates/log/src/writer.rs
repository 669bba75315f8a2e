//! The writing side: one owner, one write and one sync for each commit.

use std::io;
use std::sync::Arc;

use crate::batch::{Batch, Begin, Committed};
use crate::error::{CommitError, StorageFault};
use crate::fresh::Due;
use crate::header::{HEADER_END, SegmentHeader, VERSION};
use crate::options::{Durability, Options};
use crate::reader::Shared;
use crate::segment::{Scanned, Segment, log_name};
use crate::storage::Storage;
use crate::upkeep::{self, Helper, Prepared, SPARE_NAME, Upkeep};

/// The most that is kept for the next batch of what one has used. Bytes.
const SPARE_BYTES_MAX: usize = 1 << 20;

/// What is written to find out whether there is room.
pub(crate) const TRIAL_NAME: &str = "trial.new";

/// What is written for that at once.
const TRIAL_BYTES_MAX: usize = 1 << 20;

/// What a segment is called that is being created and was not written ahead.
pub(crate) const NEW_NAME: &str = "next.new";

/// The next segment's file is begun when this part of the active one is used: late enough for a log
/// that takes little to hold one segment and not two. It is whole when the same part is left.
const PREPARE_PARTS: u64 = 8;

/// Appends to a log. There is one for each log; it is not shared, so nothing in it is locked.
pub struct Writer {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) options: Options,
    pub(crate) shared: Arc<Shared>,
    pub(crate) active: Arc<Segment>,
    pub(crate) salt: u64,
    pub(crate) last_time_ms: u64,
    /// What the batch before took: the next will be alike, and need not grow step by step.
    pub(crate) spare: Vec<u8>,
    /// How much of that were frames.
    pub(crate) spare_frame_bytes: usize,
    /// Why nothing is taken any more.
    pub(crate) poison: Option<StorageFault>,
    /// Behind the end of the newest segment something may come back that is not seen: a commit that
    /// failed in the process before, and whose cut is not on disk. So nothing is written there.
    pub(crate) open_ended: bool,
    /// Segments that another stands for but whose files may still be there, oldest first. They go
    /// before any other does, for the next opening tells by that other what they are.
    pub(crate) doomed: std::collections::VecDeque<Arc<Segment>>,
    /// Segments whose files have no name any more, until the upkeep closes them.
    pub(crate) gone: Vec<Arc<Segment>>,
    /// Who does what no commit has to wait for.
    pub(crate) helper: Option<Helper>,
    /// What was acknowledged and is not synced.
    pub(crate) unsynced: Option<Unsynced>,
    /// When what is kept for single topics was last looked through.
    pub(crate) compacted_ms: u64,
    /// How many records of these could not be read and were left out, until it is told.
    pub(crate) damaged: u64,
    /// The last call of [`Writer::retain`] left something that should not wait.
    pub(crate) retention_is_due: bool,
}

/// The end of the active segment that a loss of power would take.
#[derive(Clone, Copy)]
pub(crate) struct Unsynced {
    /// Where it begins in the file. Bytes.
    from: u64,
    since_ms: u64,
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

    /// What to run beside the writer, so that commits wait for nothing but their own bytes.
    ///
    /// Without it full segments are sealed by the commit that finds them full, and a segment grows
    /// as it is written to, which costs most file systems a second write for each sync.
    pub fn upkeep(&mut self) -> Upkeep {
        let (helper, upkeep) = upkeep::pair(Arc::clone(&self.storage));
        self.helper = Some(helper);
        self.prepare_next(0);
        upkeep
    }

    /// Begins a batch. Its records carry this time, or the last record's if that is later: a
    /// clock that was set back does not make the log go back.
    pub fn begin(&mut self, time_ms: u64) -> Batch {
        let begin = Begin {
            first: self.next_sequence(),
            time_ms: time_ms.max(self.last_time_ms),
            now_ms: time_ms,
            unsynced: self.unsynced_bytes(),
            salt: self.salt,
            record_bytes_max: self.options.record_bytes(),
        };
        let frame_bytes = self.spare_frame_bytes.min(SPARE_BYTES_MAX);
        Batch::new(&begin, std::mem::take(&mut self.spare), frame_bytes)
    }

    /// Writes a batch, syncs if [`Durability`] asks for it, and then shows it to readers.
    ///
    /// `Ok` means durable, in the mode that was chosen. After an error nothing of the batch was shown to anyone; see
    /// [`CommitError`] for what became of it.
    pub fn commit(&mut self, mut batch: Batch) -> Result<Committed, CommitError> {
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
        if self.is_full_for(&batch) || self.grows_needlessly_by(&batch) {
            self.roll(time_ms)?;
        }
        batch.follow_unsynced(self.unsynced_bytes());
        self.append(&batch.buffer, batch.now_ms)?;
        let due = self.active.publish(&batch);
        self.index(due);
        let bytes = batch.bytes() as u64;
        self.spare_frame_bytes = batch.frames.len();
        let frames = batch.take_frames();
        // Readers get a copy of the frames, and the next batch the buffer. Were it theirs, as large as
        // the commit before, 100,000 events in small commits would hold 160 MB in holes.
        if batch.buffer.capacity() <= SPARE_BYTES_MAX {
            self.spare = batch.buffer;
        }
        self.last_time_ms = time_ms;
        self.prepare_next(bytes);
        Ok(Committed {
            first,
            last,
            time_ms,
            frames,
        })
    }

    /// Finds out whether so many bytes can be written, after a commit that could not, without
    /// leaving anything behind.
    pub fn try_room(&mut self, bytes: usize) -> Result<(), CommitError> {
        self.usable()?;
        let fault = |error| refused(StorageFault::new("write to", TRIAL_NAME, error));
        drop(self.storage.remove(TRIAL_NAME));
        let file = self.storage.create(TRIAL_NAME).map_err(fault)?;
        let zeros = vec![0; bytes.clamp(1, TRIAL_BYTES_MAX)];
        let written = (0..bytes.max(1))
            .step_by(zeros.len())
            .try_for_each(|offset| file.write_at(&zeros, offset as u64));
        let removed = self.storage.remove(TRIAL_NAME);
        written.and(removed).map_err(fault)
    }

    /// Closes the log, or says that it had stopped. All that was acknowledged is durable already.
    ///
    /// Writes the index of the active segment, so that the next opening does not have to read it.
    pub fn close(mut self) -> Result<(), CommitError> {
        self.sync()?;
        self.helper = None;
        if self.open_ended && !self.begin_anew()? {
            return Ok(());
        }
        let written = self.active.write_index(&*self.storage);
        if matches!(written, Ok(Some(_))) {
            // Without its name the index is not found, and built again.
            drop(self.storage.sync_directory());
        }
        Ok(())
    }

    /// Begins a segment behind the end of what another process left, as the first commit does. An index
    /// alone would tell the next process that it may write there. False: it cannot be had.
    fn begin_anew(&mut self) -> Result<bool, CommitError> {
        match self.roll(self.last_time_ms) {
            Ok(()) => Ok(true),
            Err(error @ CommitError::Poisoned(_)) => Err(error),
            Err(_) => Ok(false),
        }
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
        // Also if it holds nothing, as after a crash that took all of it.
        let other = self.active.version != VERSION || self.active.lazy != self.options.is_lazy();
        (full && records > 0) || other || self.open_ended || self.active.sparse
    }

    /// Has what was committed put into the index, if it is time.
    fn index(&self, due: Due) {
        let told = |helper: &Helper| helper.index(&self.active);
        match due {
            Due::Later => {}
            Due::Soon if self.helper.as_ref().is_some_and(told) => {}
            Due::Soon | Due::Now => self.active.index_fresh(),
        }
    }

    /// Whether a segment that was written ahead is there, and the batch would not go into one.
    fn grows_needlessly_by(&self, batch: &Batch) -> bool {
        let whole = |helper: &Helper| helper.spare_bytes() >= self.options.segment_bytes();
        self.active.grows_by(batch.bytes() as u64) && self.helper.as_ref().is_some_and(whole)
    }

    /// Asks for as much of the next segment's file as it is time for, if the next commit is like
    /// the last.
    fn prepare_next(&mut self, last_bytes: u64) {
        let Some(helper) = &mut self.helper else {
            return;
        };
        let bytes = self.options.segment_bytes();
        let due = if self.active.grows_by(1) {
            bytes
        } else {
            let soon = self.active.len().saturating_add(last_bytes);
            let behind = soon.saturating_sub(bytes / PREPARE_PARTS);
            behind.saturating_mul(PREPARE_PARTS) / (PREPARE_PARTS - 2)
        };
        helper.prepare(due.min(bytes), bytes);
    }

    /// Makes durable what is acknowledged and not synced, if there is anything.
    ///
    /// If that fails, [`Durability::Interval`] says what may be lost.
    pub fn sync(&mut self) -> Result<(), CommitError> {
        self.usable()?;
        if self.unsynced.is_none() {
            return Ok(());
        }
        let synced = self.active.file.sync_data();
        synced.map_err(|error| self.poison(self.active.fault("sync", error)))?;
        self.unsynced = None;
        Ok(())
    }

    /// The same if it is time, by [`Durability::Interval`].
    pub fn sync_if_due(&mut self, now_ms: u64) -> Result<(), CommitError> {
        match self.sync_due_in_ms(now_ms) {
            Some(0) => self.sync(),
            _ => Ok(()),
        }
    }

    /// How long a sync may still be put off; `None` if there is nothing to sync, or nothing can be
    /// synced any more. Milliseconds.
    ///
    /// A clock that was set back by more than the interval makes it due at once.
    pub fn sync_due_in_ms(&self, now_ms: u64) -> Option<u64> {
        let Durability::Interval { unsynced_ms_max } = self.options.durability else {
            return None;
        };
        // What is not synced when the log stops stays so: who waits for it to be due would not wait.
        let unsynced = self.unsynced.filter(|_| self.poison.is_none())?;
        Some(unsynced_ms_max.saturating_sub(now_ms.abs_diff(unsynced.since_ms)))
    }

    fn unsynced_bytes(&self) -> u32 {
        let from = |unsynced: Unsynced| self.active.len().saturating_sub(unsynced.from);
        let bytes = self.unsynced.map_or(0, from);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn append(&mut self, bytes: &[u8], now_ms: u64) -> Result<(), CommitError> {
        let file = Arc::clone(&self.active.file);
        let end = self.active.len();
        if let Err(error) = file.write_at(bytes, end) {
            let fault = self.active.fault("write to", error);
            return Err(self.take_back(fault));
        }
        self.unsynced.get_or_insert(Unsynced {
            from: end,
            since_ms: now_ms,
        });
        if self.options.is_lazy() {
            self.sync_if_due(now_ms)
        } else {
            self.sync()
        }
    }

    /// Cuts off what a failed write left, so that a batch that was refused does not come back
    /// after a crash. That takes a sync: the next commit's would come too late.
    fn take_back(&mut self, fault: StorageFault) -> CommitError {
        let cut = self.active.cut_back();
        match cut.and_then(|()| self.active.file.sync_data()) {
            Ok(()) => {
                self.unsynced = None;
                refused(fault)
            }
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
        self.roll_to(self.active.end(), now_ms)
    }

    /// The same, with the sequences before `first` left out.
    pub(crate) fn roll_to(&mut self, first: u64, now_ms: u64) -> Result<(), CommitError> {
        // Of all segments only the newest may hold what is not synced.
        self.sync()?;
        let replaced = self.active.records() == 0 && !self.active.sparse;
        let header = SegmentHeader {
            version: VERSION,
            epoch: self.shared.epoch.clone(),
            first,
            created_ms: now_ms,
            salt: self.salt,
            lazy: self.options.is_lazy(),
            follows: if replaced {
                // It is not kept, so that hubs that only start and crash leave no trail.
                self.active.follows
            } else {
                self.active.end()
            },
            end: 0,
        };
        let created = match self.helper.as_mut().and_then(Helper::take) {
            Some(prepared) => adopt(&*self.storage, &header, prepared, SPARE_NAME),
            None => create(&*self.storage, &header),
        };
        let segment = match created {
            Ok(segment) => Arc::new(segment),
            Err(Creation::Failed(fault)) => return Err(refused(fault)),
            Err(Creation::Uncertain(fault)) => return Err(self.poison(fault)),
        };
        let mut segments = (*self.shared.segments()).clone();
        if replaced {
            segments.pop();
        }
        segments.push(Arc::clone(&segment));
        self.shared.replace(segments);
        let full = std::mem::replace(&mut self.active, segment);
        self.open_ended = false;
        if !replaced {
            self.seal(&full);
        } else if full.first != first {
            drop(self.storage.remove(&full.name));
            self.doomed.push_back(full);
        }
        Ok(())
    }

    /// An index that cannot be written stays in memory, and nothing is lost.
    pub(crate) fn seal(&self, full: &Arc<Segment>) {
        let left_to_helper = self.helper.as_ref().is_some_and(|helper| helper.seal(full));
        if !left_to_helper {
            drop(full.seal(&*self.storage));
        }
    }
}

/// Nothing was stored, and the log goes on.
pub(crate) fn refused(fault: StorageFault) -> CommitError {
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
    // One that a crash left was not finished.
    drop(storage.remove(NEW_NAME));
    let file = storage.create(NEW_NAME).map_err(|error| {
        Creation::Failed(StorageFault::new("create", &log_name(header.first), error))
    })?;
    let prepared = Prepared { file, bytes: 0 };
    adopt(storage, header, prepared, NEW_NAME)
}

/// Makes a segment of a file of zeros, or of an empty one.
///
/// Until it has its name it is nothing, so that failures before that leave nothing uncertain.
fn adopt(
    storage: &dyn Storage,
    header: &SegmentHeader,
    prepared: Prepared,
    from: &str,
) -> Result<Segment, Creation> {
    let name = log_name(header.first);
    let Prepared { file, bytes } = prepared;
    let named = file
        .write_at(&header.encode(), 0)
        .map_err(|error| ("write to", error))
        .and_then(|()| file.sync_data().map_err(|error| ("sync", error)))
        .and_then(|()| {
            storage
                .rename(from, &name)
                .map_err(|error| ("rename", error))
        });
    if let Err((operation, error)) = named {
        drop(storage.remove(from));
        let fault = StorageFault::new(operation, &name, error);
        return Err(Creation::Failed(fault));
    }
    storage.sync_directory().map_err(|error| {
        Creation::Uncertain(StorageFault::new("sync the directory of", &name, error))
    })?;
    let segment = Segment::from_scan(header, file, Scanned::empty(HEADER_END));
    Ok(segment.written_ahead(bytes))
}

/// Removes a file so that it does not come back after a crash.
pub(crate) fn remove_durably(storage: &dyn Storage, name: &str) -> io::Result<()> {
    match storage.remove(name) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    storage.sync_directory()
}
