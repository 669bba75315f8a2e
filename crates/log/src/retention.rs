//! Forgetting: whole segments, oldest first, by taking their files away.
//!
//! Where no topic has a rule of its own nothing is ever rewritten, so forgetting costs the same
//! however much is forgotten, and gives the disk back at once. The price is that a limit holds to within one segment; segments are an
//! eighth of the limit at most (and 64 KiB at least).

use std::io;
use std::sync::Arc;

use crate::error::{CommitError, StorageFault};
use crate::reader::Reader;
use crate::segment::{Segment, SegmentList, index_name};
use crate::upkeep::Helper;
use crate::writer::{Writer, refused};

/// What [`Writer::retain`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Segments that were forgotten.
    pub segments: usize,
    /// Records that were forgotten.
    pub records: u64,
    /// What they took on disk. Bytes.
    pub bytes: u64,
    /// The oldest sequence that is held now.
    pub first: u64,
    /// Records that a topic's rule keeps, but that could not be read when their segment was forgotten.
    /// They are gone, and readers are told so.
    pub damaged: u64,
}

/// How often it is looked through what is kept for single topics. Milliseconds.
const COMPACT_EVERY_MS: u64 = 60_000;

/// How many segments that are due one call forgets: each takes a sync of the directory, for which
/// commits wait.
pub(crate) const FORGOTTEN_AT_ONCE: usize = 64;

/// With more segments that wait for the upkeep to copy what is kept of them, the writer does it itself,
/// and commits wait: else a log would outgrow its disk where more is stored than can be copied.
const WAITING_MAX: usize = 16;

impl Retained {
    fn between(before: &SegmentList, after: &SegmentList) -> Self {
        let records = |list: &SegmentList| list.iter().map(|it| it.records()).sum::<u64>();
        let bytes = |list: &SegmentList| list.iter().map(|it| it.disk_bytes()).sum::<u64>();
        Self {
            segments: before.len().saturating_sub(after.len()),
            records: records(before).saturating_sub(records(after)),
            bytes: bytes(before).saturating_sub(bytes(after)),
            first: after.first().map_or(1, |segment| segment.first),
            damaged: 0,
        }
    }
}

impl Writer {
    /// Forgets what [`Retention`](crate::Retention) allows to be forgotten.
    ///
    /// To be called now and then, and again as long as [`Writer::retention_is_due`]: nothing is forgotten
    /// otherwise, and one call forgets 64 segments at most. Holds afterwards, as far as the
    /// newest segment, which is never forgotten, allows: `bytes_max` is not exceeded; at least
    /// `events_max` records are held, and at most an eighth and one batch more; records up to
    /// `age_ms_max` are held, and none that are older by more than an eighth, if this is called
    /// about that often.
    ///
    /// Where single topics have rules, and there is an [`Upkeep`](crate::Upkeep), what they keep is
    /// copied by that, and a later call puts it in the place of what it is copied from: these limits
    /// hold then some calls later.
    pub fn retain(&mut self, now_ms: u64) -> Result<Retained, CommitError> {
        self.usable()?;
        self.retention_is_due = false;
        let retained = self.retain_by(now_ms);
        // What failed is tried again when it is time.
        self.retention_is_due &= retained.is_ok();
        let gone = std::mem::take(&mut self.gone);
        if let Some(helper) = self.helper.as_ref().filter(|_| !gone.is_empty()) {
            helper.let_go(gone);
        }
        retained
    }

    fn retain_by(&mut self, now_ms: u64) -> Result<Retained, CommitError> {
        // If there is no room for another segment, forgetting is what makes some.
        let rolled = self.roll_aged(now_ms);
        self.usable()?;
        self.look_at_clock(now_ms).map_err(refused)?;
        let before = self.shared.segments();
        // What is left of an interrupted compaction must go before what stands for it does.
        self.remove_doomed()?;
        let installed = self.install_compacted()?;
        let segments = self.shared.segments();
        let compacted = segments.iter().rposition(|it| it.compacted.is_some());
        let compacted = compacted.map_or(0, |last| last + 1);
        let count = compacted + self.forgettable(&segments, compacted, now_ms);
        // The newest stays, also if it is a compacted one: of a log that lost what came behind it.
        let count = count.min(segments.len().saturating_sub(1));
        let dense = compacted == 0 && self.shared.rules.is_empty();
        let is_time = installed || now_ms.abs_diff(self.compacted_ms) >= COMPACT_EVERY_MS;
        if dense {
            self.retention_is_due = count > FORGOTTEN_AT_ONCE;
            let count = count.min(FORGOTTEN_AT_ONCE);
            self.forget(segments.get(..count).unwrap_or_default())?;
        } else if count > compacted || (is_time && compacted > 0) {
            self.compacted_ms = now_ms;
            let waiting = self
                .helper
                .as_ref()
                .map_or(0, |_| count.saturating_sub(compacted));
            self.retention_is_due = waiting > WAITING_MAX;
            if self.retention_is_due {
                self.compact_one(count)?;
            } else {
                self.compact(count)?;
            }
        }
        rolled?;
        Ok(Retained {
            damaged: std::mem::take(&mut self.damaged),
            ..Retained::between(&before, &self.shared.segments())
        })
    }

    /// Whether [`Writer::retain`] should be called again soon, and not only when it is time: the upkeep
    /// has copied what is kept of the oldest segments, or much waits to be forgotten.
    pub fn retention_is_due(&self) -> bool {
        self.retention_is_due || self.helper.as_ref().is_some_and(Helper::has_compacted)
    }

    /// Finds out how far back the rules of single topics reach now.
    pub(crate) fn look_at_clock(&self, now_ms: u64) -> Result<(), StorageFault> {
        let reader = Reader {
            shared: Arc::clone(&self.shared),
        };
        let young_from = |ms| reader.young_from(ms);
        let rules = &self.shared.rules;
        rules.look_at_clock(now_ms, self.last_time_ms, young_from)
    }

    /// Begins a new segment when the newest is an eighth of the age limit old, so that its oldest
    /// records do not have to wait for its youngest.
    fn roll_aged(&mut self, now_ms: u64) -> Result<(), CommitError> {
        let Some(age_ms) = self.options.segment_age_ms() else {
            return Ok(());
        };
        let is_old = now_ms.saturating_sub(self.active.first_time_ms()) > age_ms;
        if is_old && self.active.records() > 0 {
            self.roll(now_ms)
        } else {
            Ok(())
        }
    }

    /// How many of the oldest segments may go, behind those that were compacted.
    fn forgettable(&self, segments: &SegmentList, compacted: usize, now_ms: u64) -> usize {
        let limits = &self.options.retention;
        let segments = segments.get(compacted..).unwrap_or_default();
        let spare_bytes = self.helper.as_ref().map_or(0, Helper::spare_bytes);
        // Asked once: the upkeep may write an index meanwhile.
        let held: Vec<u64> = segments
            .iter()
            .map(|segment| segment.disk_bytes())
            .collect();
        let mut bytes = spare_bytes + held.iter().sum::<u64>();
        let mut records: u64 = segments.iter().map(|segment| segment.records()).sum();
        let sealed = segments.iter().zip(held);
        let sealed = sealed.take(segments.len().saturating_sub(1));
        let forgettable = sealed.take_while(|(segment, held)| {
            let too_old = limits
                .age_ms_max
                .is_some_and(|age| now_ms.saturating_sub(segment.last_time_ms()) > age);
            let too_large = limits.bytes_max.is_some_and(|bytes_max| bytes > bytes_max);
            let too_many = limits
                .events_max
                .is_some_and(|max| records - segment.records() >= max);
            bytes -= held;
            records -= segment.records();
            too_old || too_large || too_many
        });
        forgettable.count()
    }

    /// Takes the oldest segments away, one after the other.
    ///
    /// Each is gone for good before readers stop seeing it: what anybody was told to be forgotten
    /// does not come back after a crash, and no crash leaves a hole. Who is reading in it goes on,
    /// since the file lasts until it is closed.
    pub(crate) fn forget(&mut self, oldest: &[Arc<Segment>]) -> Result<(), CommitError> {
        if !oldest.is_empty() {
            // What is newer has to stay: by it that is too much which goes.
            self.sync()?;
        }
        for segment in oldest {
            self.remove_segment(segment)?;
            let mut segments = (*self.shared.segments()).clone();
            segments.retain(|it| it.first != segment.first);
            self.shared.replace(segments);
        }
        Ok(())
    }

    /// Removes the files of segments for which a compacted one stands, each durably before the next.
    /// Until then the next opening would do it.
    pub(crate) fn remove_doomed(&mut self) -> Result<(), CommitError> {
        while let Some(segment) = self.doomed.front().map(Arc::clone) {
            self.remove_segment(&segment)?;
            self.doomed.pop_front();
        }
        Ok(())
    }

    /// The records go first: an index without its segment is removed at the next opening, but a
    /// segment without its index would have to be read in full.
    fn remove_segment(&mut self, segment: &Arc<Segment>) -> Result<(), CommitError> {
        let fault = |operation, error| StorageFault::new(operation, &segment.name, error);
        segment.go();
        match self.storage.remove(&segment.name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(CommitError::Write(fault("remove", error)));
            }
            _ => {}
        }
        if let Err(error) = self.storage.sync_directory() {
            return Err(self.poison(fault("sync the directory of", error)));
        }
        drop(self.storage.remove(&index_name(segment.first)));
        self.gone.push(Arc::clone(segment));
        Ok(())
    }
}
