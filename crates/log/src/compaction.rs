//! Keeping a little of what is forgotten: segments at the front of the log that hold records which
//! a topic's own rule still keeps are replaced by small ones that hold only these.
//!
//! Records are copied as they are, with their sequences and checksums. A compacted segment stands
//! for all sequences from its first to its end, though most of them are gone, and bears the name of
//! the oldest segment that it replaces; so one rename puts it in place.

use std::ops::Range;
use std::sync::Arc;

use crate::closed::remove_index;
use crate::error::{CommitError, ReadError, StorageFault};
use crate::fetch::fetch_beside;
use crate::fields::widen;
use crate::header::{HEADER_END, MIXED, SegmentHeader, VERSION};
use crate::index::{Index, MemoryIndex, Posting};
use crate::reader::Shared;
use crate::record::Record;
use crate::retention::FORGOTTEN_AT_ONCE;
use crate::rules::{Floors, Rules, View};
use crate::segment::{Scanned, Segment, SegmentList, log_name, narrow_within};
use crate::storage::{Storage, StorageFile};
use crate::upkeep::Helper;
use crate::writer::{Writer, refused};

/// The file that becomes a compacted segment.
pub(crate) const COMPACTED_NAME: &str = "compacted.new";

/// What is written at once. Bytes.
const WRITE_BYTES: usize = 1 << 20;

/// A compacted segment of this part of a full one is left alone while half of it is kept.
const LARGE_PART: u64 = 4;

/// Segments next to each other that become one, and what of them is kept.
struct Plan {
    sources: Range<usize>,
    kept: Vec<Vec<Posting>>,
    bytes: u64,
}

/// What is to be compacted, and all that it takes to do so beside the commits.
pub(crate) struct Compaction {
    storage: Arc<dyn Storage>,
    shared: Arc<Shared>,
    segments: Arc<SegmentList>,
    /// How many of the oldest segments it is about.
    count: usize,
    segment_bytes: u64,
    salt: u64,
}

/// What was written and has no name of its own yet.
pub(crate) struct Compacted {
    sources: Vec<Arc<Segment>>,
    /// What takes their place, if anything does.
    segment: Option<Arc<Segment>>,
    /// How many records should be in it and could not be read.
    damaged: u64,
}

impl Writer {
    /// Replaces the oldest `count` segments by what single topics keep of them, or has the first of
    /// it written by the upkeep, for the next call of [`Writer::install_compacted`].
    pub(crate) fn compact(&mut self, count: usize) -> Result<(), CommitError> {
        let compaction = self.compaction(count);
        let left = match &self.helper {
            Some(helper) => helper.compact(compaction),
            None => Some(compaction),
        };
        left.map_or(Ok(()), |compaction| self.perform(&compaction, usize::MAX))
    }

    /// Does the first thing of it itself, once the upkeep is through with what it does.
    pub(crate) fn compact_one(&mut self, count: usize) -> Result<(), CommitError> {
        if let Some(helper) = &self.helper {
            helper.finish();
        }
        if self.install_compacted()? {
            return Ok(());
        }
        self.perform(&self.compaction(count), 1)
    }

    fn compaction(&self, count: usize) -> Compaction {
        Compaction {
            storage: Arc::clone(&self.storage),
            shared: Arc::clone(&self.shared),
            segments: self.shared.segments(),
            count,
            segment_bytes: self.options.segment_bytes(),
            salt: self.salt,
        }
    }

    /// Does the first `max` things of it.
    fn perform(&mut self, compaction: &Compaction, max: usize) -> Result<(), CommitError> {
        let between = || {};
        for plan in compaction.plan(max, &between).map_err(unreadable)? {
            let at_front = plan.sources.start == self.gone(&compaction.segments);
            let compacted = compaction.perform(&plan, at_front, &between)?;
            self.install(&compacted)?;
        }
        Ok(())
    }

    /// Puts in place what the upkeep has compacted, if it has; says whether there may be more.
    pub(crate) fn install_compacted(&mut self) -> Result<bool, CommitError> {
        let done = self.helper.as_ref().and_then(Helper::compacted);
        match done.transpose()?.flatten() {
            Some(compacted) => self.install(&compacted).map(|()| true),
            None => Ok(false),
        }
    }

    /// How many of these segments are no longer part of the log.
    fn gone(&self, segments: &SegmentList) -> usize {
        let now = self.shared.segments();
        let first = now.first().map_or(0, |segment| segment.first);
        segments.partition_point(|segment| segment.first < first)
    }

    /// Puts a segment in the place of others, or nothing in the place of the oldest.
    ///
    /// The index of the segment whose name it takes must be gone for good before: it would be of
    /// another segment.
    fn install(&mut self, compacted: &Compacted) -> Result<(), CommitError> {
        let sources = &*compacted.sources;
        let Some(segment) = &compacted.segment else {
            return self.forget(sources);
        };
        let (Some((first, others)), Some(last)) = (sources.split_first(), sources.last()) else {
            return Ok(());
        };
        // What is newer has to stay: for it something older was left out.
        self.sync()?;
        first.go();
        let name = log_name(first.first);
        remove_index(&*self.storage, first.first).map_err(refused)?;
        self.sync_directory_of(&name)?;
        self.storage
            .rename(COMPACTED_NAME, &name)
            .map_err(|error| refused(StorageFault::new("rename", COMPACTED_NAME, error)))?;
        self.sync_directory_of(&name)?;
        let mut segments = (*self.shared.segments()).clone();
        segments.retain(|it| it.first < first.first || it.first > last.first);
        let place = segments.partition_point(|it| it.first < segment.first);
        segments.insert(place, Arc::clone(segment));
        self.shared.replace(segments);
        self.damaged += compacted.damaged;
        self.seal(segment);
        self.gone.push(Arc::clone(first));
        self.doomed.extend(others.iter().cloned());
        self.remove_doomed()
    }

    fn sync_directory_of(&mut self, name: &str) -> Result<(), CommitError> {
        let synced = self.storage.sync_directory();
        synced.map_err(|error| self.poison(StorageFault::new("sync the directory of", name, error)))
    }
}

impl Compaction {
    /// Does the first thing that there is to do. Calls `between` now and then, to do what should not
    /// wait for it.
    pub(crate) fn first(&self, between: &dyn Fn()) -> Result<Option<Compacted>, CommitError> {
        let plans = self.plan(1, between).map_err(unreadable)?;
        let first = plans.first();
        first
            .map(|plan| self.perform(plan, plan.sources.start == 0, between))
            .transpose()
    }

    fn perform(
        &self,
        plan: &Plan,
        at_front: bool,
        between: &dyn Fn(),
    ) -> Result<Compacted, CommitError> {
        let sources = self.segments.get(plan.sources.clone()).unwrap_or_default();
        let (segment, damaged) = if at_front && plan.bytes == 0 {
            (None, 0)
        } else {
            let (segment, damaged) = self.rewrite(sources, &plan.kept, between)?;
            (Some(segment), damaged)
        };
        Ok(Compacted {
            sources: sources.to_vec(),
            segment,
            damaged,
        })
    }

    /// The first `max` things that there are to do.
    fn plan(&self, max: usize, between: &dyn Fn()) -> Result<Vec<Plan>, ReadError> {
        let segments = &*self.segments;
        let rules = &self.shared.rules;
        let newest = self.count.checked_sub(1).and_then(|it| segments.get(it));
        let floors = View { rules, segments }.floors(newest.map_or(0, |it| it.end()), between)?;
        let segment_bytes = self.segment_bytes;
        let mut plans: Vec<Plan> = Vec::new();
        let mut joins = false;
        for (place, segment) in segments.iter().enumerate().take(self.count) {
            between();
            let kept = kept_of(segment, rules, &floors)?;
            let bytes = kept.iter().map(|posting| u64::from(posting.length())).sum();
            let large = segment.compacted.is_some()
                && segment.disk_bytes() >= segment_bytes / LARGE_PART
                && bytes >= segment.disk_bytes() / 2;
            if large {
                joins = false;
                continue;
            }
            let joined = plans.last_mut().filter(|plan| {
                joins
                    && plan.bytes + bytes <= segment_bytes
                    && plan.sources.len() < FORGOTTEN_AT_ONCE
                    && spans_little(segments, plan, place)
            });
            if let Some(plan) = joined {
                plan.sources.end = place + 1;
                plan.kept.push(kept);
                plan.bytes += bytes;
            } else {
                plans.retain(|plan| !is_done(segments, plan));
                if plans.len() >= max {
                    break;
                }
                plans.push(Plan {
                    sources: place..place + 1,
                    kept: vec![kept],
                    bytes,
                });
            }
            joins = true;
        }
        plans.retain(|plan| !is_done(segments, plan));
        Ok(plans)
    }

    /// By which rules others are compacted. Where something was left out of one already, by other
    /// rules or since it was damaged, or between two since a crash may have lost it, these do not tell
    /// what.
    fn fingerprint_of(&self, sources: &[Arc<Segment>]) -> u64 {
        let ours = self.shared.rules.fingerprint;
        let whole = |it: &Arc<Segment>| !it.sparse || it.compacted == Some(ours);
        let mut behind_first = sources.iter().skip(1);
        if sources.iter().all(whole) && behind_first.all(|it| it.follows == it.first) {
            ours
        } else {
            MIXED
        }
    }

    /// Writes a segment that holds what is kept of some others. Returns how many records could not be
    /// read, and are left out: they would keep all that comes behind them from being forgotten, and the
    /// segment tells readers that some is gone.
    fn rewrite(
        &self,
        sources: &[Arc<Segment>],
        kept: &[Vec<Posting>],
        between: &dyn Fn(),
    ) -> Result<(Arc<Segment>, u64), CommitError> {
        let mut header = SegmentHeader {
            version: VERSION,
            epoch: self.shared.epoch.clone(),
            first: sources.first().map_or(1, |source| source.first),
            created_ms: self.fingerprint_of(sources),
            salt: self.salt,
            lazy: false,
            follows: sources.first().map_or(1, |source| source.follows),
            end: sources.last().map_or(1, |source| source.end()),
        };
        drop(self.storage.remove(COMPACTED_NAME));
        let fault = |operation, error| refused(StorageFault::new(operation, COMPACTED_NAME, error));
        let file = self
            .storage
            .create(COMPACTED_NAME)
            .map_err(|error| fault("create", error))?;
        let mut copy = Copy::new(&header, Arc::clone(&file));
        let copied = sources
            .iter()
            .zip(kept)
            .try_for_each(|(source, kept)| copy.take(source, kept, between))
            .and_then(|()| copy.flush());
        let written = copied.and_then(|()| {
            if copy.damaged > 0 {
                header.created_ms = MIXED;
                copy.write_at(&header.encode(), 0)?;
            }
            file.sync_data()
                .map_err(|error| StorageFault::new("sync", COMPACTED_NAME, error).into())
        });
        if let Err(error) = written {
            drop(self.storage.remove(COMPACTED_NAME));
            return Err(unreadable(error));
        }
        let segment = Segment::from_scan(&header, file, copy.scanned);
        Ok((Arc::new(segment), copy.damaged))
    }
}

/// What can be read can be kept, and nothing is forgotten that might have to be.
fn unreadable(error: ReadError) -> CommitError {
    match error {
        ReadError::Io(fault) => refused(fault),
        other => {
            let what = std::io::Error::other(other.to_string());
            CommitError::Write(StorageFault::new("compact", "the oldest segments", what))
        }
    }
}

/// Whether a segment may be joined to a plan: ordinals are 32 bits wide.
fn spans_little(segments: &SegmentList, plan: &Plan, place: usize) -> bool {
    let first = segments.get(plan.sources.start).map_or(0, |it| it.first);
    let end = segments.get(place).map_or(0, |it| it.end());
    end.saturating_sub(first) < u64::from(u32::MAX)
}

/// Whether there is nothing to do: a compacted segment of which all is kept.
fn is_done(segments: &SegmentList, plan: &Plan) -> bool {
    let only = segments.get(plan.sources.start);
    let records: usize = plan.kept.iter().map(Vec::len).sum();
    plan.sources.len() == 1
        && only.is_some_and(|only| {
            // One that holds nothing can go only from the front.
            let stays = records > 0 || plan.sources.start > 0;
            only.compacted.is_some() && only.records() == records as u64 && stays
        })
}

/// The records that rules of single topics keep, in order.
fn kept_of(segment: &Segment, rules: &Rules, floors: &Floors) -> Result<Vec<Posting>, ReadError> {
    let mut kept = Vec::new();
    for list in segment.lookup(Index::lists)? {
        let Some(rule) = rules.of(&list.topic) else {
            continue;
        };
        let from = floors.from(rule, &list.topic);
        if from >= segment.end() {
            continue;
        }
        let position = match segment.ordinal(from) {
            0 => 0,
            ordinal => segment.lookup(|index| index.seek(&list, ordinal))?,
        };
        let count = widen(list.count.saturating_sub(position));
        kept.extend(segment.lookup(|index| index.chunk(&list, position, count))?);
    }
    kept.sort_unstable_by_key(|posting| posting.ordinal);
    kept.dedup_by_key(|posting| posting.ordinal);
    Ok(kept)
}

/// A segment that is being written from others.
struct Copy {
    file: Arc<dyn StorageFile>,
    first: u64,
    salt: u64,
    buffer: Vec<u8>,
    written: u64,
    scanned: Scanned,
    /// How many records could not be read.
    damaged: u64,
}

impl Copy {
    fn new(header: &SegmentHeader, file: Arc<dyn StorageFile>) -> Self {
        Self {
            file,
            first: header.first,
            salt: header.salt,
            buffer: header.encode(),
            written: 0,
            scanned: Scanned {
                index: MemoryIndex::default(),
                ..Scanned::empty(HEADER_END)
            },
            damaged: 0,
        }
    }

    /// Copies what is kept of a segment, without what is damaged.
    fn take(
        &mut self,
        source: &Segment,
        kept: &[Posting],
        between: &dyn Fn(),
    ) -> Result<(), ReadError> {
        let (mut written, mut damaged) = (Ok(()), 0);
        let mut take = |record: &Record<'_>, bytes: &[u8]| {
            written = self.push(record, bytes, between);
            written.is_ok()
        };
        fetch_beside(source, kept, &mut take, &mut |_, _| {
            damaged += 1;
            Ok(())
        })?;
        self.damaged += damaged;
        written
    }

    fn push(
        &mut self,
        record: &Record<'_>,
        bytes: &[u8],
        between: &dyn Fn(),
    ) -> Result<(), ReadError> {
        let offset = self.written + self.buffer.len() as u64;
        // Both were looked at when it was planned.
        let ordinal = narrow_within(record.head.sequence.saturating_sub(self.first));
        self.buffer.extend_from_slice(bytes);
        self.scanned
            .push(ordinal, narrow_within(offset), self.salt, record);
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
            between();
        }
        Ok(())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), ReadError> {
        let written = self.file.write_at(bytes, offset);
        written.map_err(|error| StorageFault::new("write to", COMPACTED_NAME, error).into())
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        self.write_at(&self.buffer, self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
