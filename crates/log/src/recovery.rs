//! Opening: what a crash left is made whole, and what cannot be made whole is refused.
//!
//! Sealed segments were synced before the next one was begun, so whatever is wrong in them is
//! damage. Only the newest may end in what a crash interrupted, and of its commits only the last.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use crate::blank::written_end;
use crate::closed::{self, Closed, told_of_compacted};
use crate::compaction::COMPACTED_NAME;
use crate::error::{Damage, OpenError, StorageFault};
use crate::header::{HEADER_END, HeaderFound, SEQUENCE_MAX, SegmentHeader, VERSION};
use crate::index_file::FileIndex;
use crate::index_layout::Summary;
use crate::options::Options;
use crate::reader::{Reader, Shared};
use crate::repair::REPAIRED_NAME;
use crate::rules::Rules;
use crate::segment::{
    SEGMENT_BYTES_CAP, Scanned, Segment, SegmentList, Span, index_name, log_name, name_sequence,
    scan,
};
use crate::storage::{Storage, StorageFile};
use crate::torn::{is_unfinished, refuse_damage, rewrite};
use crate::upkeep::SPARE_NAME;
use crate::writer::{NEW_NAME, TRIAL_NAME, Writer, create, remove_durably};

/// Files that hold nothing yet, if a crash left them.
const UNFINISHED_NAMES: [&str; 5] = [
    SPARE_NAME,
    NEW_NAME,
    TRIAL_NAME,
    COMPACTED_NAME,
    REPAIRED_NAME,
];

/// What is acknowledged and not synced lies in one segment. That is shorter than 4 GiB, and no record
/// is shorter than 57 bytes.
pub(crate) const LOST_RECORDS_MAX: u64 = (1 << 32) / 57;

/// A segment that was not finished has no name beyond this. Half of all sequences are left behind it.
pub(crate) const FLOOR_MAX: u64 = SEQUENCE_MAX / 2;

/// What opening a log found and did.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Whether the log is new.
    pub created: bool,
    /// Segments held.
    pub segments: usize,
    /// Records held.
    pub records: u64,
    /// What was cut off the end, if anything was.
    pub cut: Option<Cut>,
    /// Sequences that are left out, since records with them may have been acknowledged, and lost
    /// with the power before they were synced: see
    /// [`Durability::Interval`](crate::Durability::Interval).
    pub left_out: Option<std::ops::Range<u64>>,
    /// Indexes that had to be built again by reading their segment.
    pub indexes_rebuilt: usize,
    /// Files that were removed: indexes without a segment, a segment whose creation was not
    /// finished.
    pub removed: Vec<String>,
}

/// The unfinished end of the newest segment, which was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub segment: String,
    /// Where it ends now. Bytes.
    pub offset: u64,
    /// How much was cut off. Bytes.
    pub bytes: u64,
}

/// Opens a log, or begins one where there is none.
///
/// `new_epoch` is used only for a new log; it must differ from that of every other. Takes time by
/// the number of segments, and if the log was not closed by the size of the newest.
pub fn open(
    storage: Arc<dyn Storage>,
    options: Options,
    new_epoch: &str,
    now_ms: u64,
) -> Result<(Writer, Reader, Recovery), OpenError> {
    let mut opening = Opening {
        storage: &*storage,
        lazy: options.is_lazy(),
        found: Recovery::default(),
        may_have_lost: false,
        open_ended: false,
        floor: 0,
        doomed: VecDeque::new(),
    };
    let mut firsts = opening.list()?;
    let newest = opening.newest(&mut firsts)?;
    let (header, segments) = match newest {
        None => opening.begin(new_epoch, now_ms)?,
        Some(newest) => (newest.header.clone(), opening.resume(&firsts, newest)?),
    };
    let (may_have_lost, floor) = (opening.may_have_lost, opening.floor);
    let open_ended = opening.open_ended;
    let (found, doomed) = (opening.found, opening.doomed);
    let last_time_ms = segments
        .iter()
        .map(|segment| segment.last_time_ms())
        .max()
        .unwrap_or(0);
    // There is always one: a new log begins with it. The error is never seen.
    let Some(active) = segments.last().map(Arc::clone) else {
        return Err(OpenError::Epoch);
    };
    let mut found = Recovery {
        segments: segments.len(),
        records: segments.iter().map(|segment| segment.records()).sum(),
        ..found
    };
    let rules = Rules::new(&options.retention.topics, found.cut.is_some());
    let shared = Arc::new(Shared::new(header.epoch, rules, segments));
    let reader = Reader {
        shared: Arc::clone(&shared),
    };
    let mut writer = Writer {
        storage,
        options,
        shared,
        active,
        salt: header.salt,
        last_time_ms,
        spare: Vec::new(),
        spare_frame_bytes: 0,
        poison: None,
        doomed,
        gone: Vec::new(),
        damaged: 0,
        retention_is_due: false,
        helper: None,
        unsynced: None,
        compacted_ms: 0,
        open_ended,
    };
    writer.look_at_clock(now_ms)?;
    let end = writer.active.end();
    let first = next_given(end, may_have_lost, floor);
    // One that was not finished tells what must not be given again, until another does. That takes its
    // name, or it is removed before.
    let takes_its_name = (first > end && first == floor) || writer.active.first == floor;
    if floor > 0 && !takes_its_name {
        let name = log_name(floor);
        remove_durably(&*writer.storage, &name).map_err(fault("remove", &name))?;
    }
    if first > end {
        writer.roll_to(first, now_ms).map_err(OpenError::Begin)?;
        // Also what an opening before this one left out, if nothing was stored behind.
        found.left_out = Some(writer.active.follows..first);
    }
    Ok((writer, reader, found))
}

/// The first sequence that was surely never given, behind a log that ends at `end`.
fn next_given(end: u64, may_have_lost: bool, floor: u64) -> u64 {
    let lost = if may_have_lost { LOST_RECORDS_MAX } else { 0 };
    // A file that somebody put there, with a name beyond all, is not to use up the sequences.
    let floor = if floor <= FLOOR_MAX { floor } else { 0 };
    end.saturating_add(lost).max(floor)
}

struct Opening<'a> {
    storage: &'a dyn Storage,
    /// Whether commits are not going to be synced one by one.
    lazy: bool,
    found: Recovery,
    /// Whether a crash may have taken acknowledged records, see [`Durability::Interval`].
    may_have_lost: bool,
    /// Whether the newest segment goes on behind what a process before may have left.
    open_ended: bool,
    /// The first sequence of a segment that was not finished, and is there still: those before it may have been left out
    /// when it was begun.
    floor: u64,
    /// Segments that were replaced by the next, and may still be there.
    doomed: VecDeque<Arc<Segment>>,
}

/// The newest segment's file, its header verified.
struct Newest {
    header: SegmentHeader,
    file: Arc<dyn StorageFile>,
}

/// A segment's file, and what its beginning turned out to be.
struct Found {
    first: u64,
    name: String,
    file: Arc<dyn StorageFile>,
    header: HeaderFound,
}

impl Found {
    /// Refuses a compacted segment of which not all can be read.
    fn look_for_damage(&self) -> Result<(), OpenError> {
        let HeaderFound::Good(header) = &self.header else {
            return Ok(());
        };
        let len = self.file.len();
        let len = len.map_err(fault("read the length of", &self.name))?;
        let scanned = scan_file(header, Span::of(header), &self.file, len)?;
        match scanned.bad {
            None => Ok(()),
            Some((offset, reason)) => Err(OpenError::Damaged(Damage {
                segment: self.name.clone(),
                offset,
                reason,
            })),
        }
    }
}

impl Opening<'_> {
    fn find(&self, first: u64) -> Result<Found, OpenError> {
        let name = log_name(first);
        let file = self.open_file(&name)?;
        let header = SegmentHeader::read(&*file).map_err(fault("read", &name))?;
        Ok(Found {
            first,
            name,
            file,
            header,
        })
    }

    /// The first sequences of all segments, in order. Indexes without a segment are what an
    /// interrupted retention leaves; they are removed.
    fn list(&mut self) -> Result<Vec<u64>, OpenError> {
        let fault = |error| StorageFault::new("list", "the directory", error);
        let names = self.storage.list().map_err(fault)?;
        let mut firsts: Vec<u64> = names
            .iter()
            .filter_map(|name| name_sequence(name, ".log"))
            .collect();
        firsts.sort_unstable();
        if let Some(gone) = closed::gone(self.storage, &names, &firsts)? {
            return Err(OpenError::Gone {
                segment: log_name(gone.start),
                index: index_name(gone.start),
            });
        }
        for name in names {
            let orphan = name_sequence(&name, ".idx")
                .is_some_and(|first| firsts.binary_search(&first).is_err());
            // What was prepared is not known to be finished.
            if UNFINISHED_NAMES.contains(&name.as_str()) {
                drop(self.storage.remove(&name));
            } else if orphan && self.storage.remove(&name).is_ok() {
                self.found.removed.push(name);
            }
        }
        Ok(firsts)
    }

    /// Opens the newest segment; one whose creation was not finished does not count.
    fn newest(&mut self, firsts: &mut Vec<u64>) -> Result<Option<Newest>, OpenError> {
        let Some(first) = firsts.last().copied() else {
            return Ok(None);
        };
        let Found {
            name, file, header, ..
        } = self.find(first)?;
        let was_closed = || closed::was_closed(self.storage, first);
        let bytes = file.len().map_err(fault("read the length of", &name))?;
        if header == HeaderFound::Bad && is_unfinished(bytes, firsts) && !was_closed()? {
            // First what was told of it: another one may get its name.
            closed::forget(self.storage, first)?;
            self.found.removed.push(name);
            self.floor = first;
            firsts.pop();
            return self.before_unfinished(firsts);
        }
        let header = good_header(header, first, None)?;
        Ok(Some(Newest { header, file }))
    }

    /// The newest segment before one whose creation was not finished: at most one is
    /// being created at a time, so this one was, and a bad header is damage.
    fn before_unfinished(&mut self, firsts: &[u64]) -> Result<Option<Newest>, OpenError> {
        let Some(first) = firsts.last().copied() else {
            return Ok(None);
        };
        let Found { file, header, .. } = self.find(first)?;
        let header = good_header(header, first, None)?;
        Ok(Some(Newest { header, file }))
    }

    fn begin(
        &mut self,
        epoch: &str,
        now_ms: u64,
    ) -> Result<(SegmentHeader, SegmentList), OpenError> {
        if !SegmentHeader::epoch_fits(epoch) {
            return Err(OpenError::Epoch);
        }
        let salt = self.storage.entropy();
        let header = SegmentHeader {
            version: VERSION,
            epoch: epoch.to_owned(),
            first: 1,
            created_ms: now_ms,
            salt,
            lazy: self.lazy,
            follows: 1,
            end: 0,
        };
        let segment = create(self.storage, &header).map_err(crate::writer::Creation::fault)?;
        self.found.created = true;
        Ok((header, vec![Arc::new(segment)]))
    }

    fn resume(&mut self, firsts: &[u64], newest: Newest) -> Result<SegmentList, OpenError> {
        let mut segments = SegmentList::new();
        let sealed = firsts.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let sealed = self.without_compacted(sealed)?;
        let (mut next, are_sealed) = (newest.header.follows, !sealed.is_empty());
        for found in sealed.into_iter().rev() {
            let segment = self.sealed(found, next, &newest.header)?;
            next = segment.follows;
            segments.push(Arc::new(segment));
        }
        segments.reverse();
        let segment = self.active(newest, are_sealed)?;
        segments.push(Arc::new(segment));
        self.drop_replaced(&mut segments);
        follow_each_other(&segments)?;
        Ok(segments)
    }

    /// Removes segments for which a compacted one stands, and that a crash left behind.
    fn without_compacted(&mut self, firsts: &[u64]) -> Result<Vec<Found>, OpenError> {
        let mut stand: Vec<Found> = Vec::with_capacity(firsts.len());
        let (mut end, mut settled) = (0, 0);
        for first in firsts {
            if *first < end {
                let name = log_name(*first);
                if let Some(stands) = stand.last_mut().filter(|stands| stands.first != settled) {
                    settled = stands.first;
                    // What it is a copy of is still there: not to be removed before it is whole.
                    stands.look_for_damage()?;
                    self.settle(&stands.name)?;
                    // It is another file now, of the same bytes.
                    *stands = self.find(settled)?;
                }
                remove_durably(self.storage, &name).map_err(fault("remove", &name))?;
                drop(self.storage.remove(&index_name(*first)));
                self.found.removed.push(name);
                continue;
            }
            let found = self.find(*first)?;
            if let HeaderFound::Good(header) = &found.header {
                end = header.end;
            }
            stand.push(found);
        }
        Ok(stand)
    }

    /// Gives a compacted segment its name once more, before what it stands for is removed.
    ///
    /// If the sync of the directory failed in the process before, the name may be that of the
    /// segment before on the disk, whatever is seen here.
    fn settle(&self, name: &str) -> Result<(), OpenError> {
        drop(self.storage.remove(COMPACTED_NAME));
        crate::repair::copy(self.storage, name, COMPACTED_NAME).map_err(fault("copy", name))?;
        let renamed = self.storage.rename(COMPACTED_NAME, name);
        renamed.map_err(fault("rename", name))?;
        let synced = self.storage.sync_directory();
        synced.map_err(fault("sync the directory of", name))
    }

    /// Removes segments that took no record before another was begun in their place.
    fn drop_replaced(&mut self, segments: &mut SegmentList) {
        let follows: Vec<u64> = segments.iter().map(|segment| segment.follows).collect();
        let mut next = follows.iter().skip(1);
        segments.retain(|segment| {
            let follows = next.next();
            let replaced =
                segment.records() == 0 && !segment.sparse && follows == Some(&segment.follows);
            if replaced {
                if self.storage.remove(&segment.name).is_ok() {
                    drop(self.storage.remove(&index_name(segment.first)));
                    self.found.removed.push(segment.name.clone());
                }
                self.doomed.push_back(Arc::clone(segment));
            }
            !replaced
        });
    }

    /// Opens a segment that is not the newest: by its index if that is good, else by reading it.
    ///
    /// It ends where the `next` one begins. What is behind that was never acknowledged: space that
    /// was written ahead, or a commit that failed and could not be cut off durably.
    fn sealed(
        &mut self,
        found: Found,
        next: u64,
        newest: &SegmentHeader,
    ) -> Result<Segment, OpenError> {
        let Found {
            first, name, file, ..
        } = found;
        let header = good_header(found.header, first, Some(newest))?;
        let len = file.len().map_err(fault("read the length of", &name))?;
        // A compacted segment has nothing behind its records, and bears the name of another whose
        // index could still be there.
        let ends_there = |summary: &Summary| {
            header.end_with(summary.records) == next
                && (header.end == 0 || summary.log_bytes == len)
        };
        if let Some((index, summary, bytes)) = self.index_of(&header, len, ends_there) {
            if summary.log_bytes < len {
                // It need not be cut off, it is only tidy.
                drop(file.set_len(summary.log_bytes));
            }
            let index = (crate::index::Index::File(index), bytes);
            return Ok(Segment::new(&header, file, &summary, index));
        }
        let scanned = scan_file(&header, Span::of(&header).until(next), &file, len)?;
        if let Some((offset, reason)) = scanned.bad {
            return Err(Damage {
                segment: name,
                offset,
                reason,
            }
            .into());
        }
        let told = told_of_compacted(self.storage, &header)?;
        if let Some(damage) = told.and_then(|told| told.compare(&header, &scanned)) {
            return Err(damage.into());
        }
        let segment = Segment::from_scan(&header, file, scanned);
        self.found.indexes_rebuilt += 1;
        // If it cannot be written it stays in memory, and is built again the next time.
        drop(segment.seal(self.storage));
        Ok(segment)
    }

    /// The segment's index, if it is one of this segment, and of all of it.
    fn index_of(
        &self,
        header: &SegmentHeader,
        len: u64,
        is_whole: impl Fn(&Summary) -> bool,
    ) -> Option<(FileIndex, Summary, u64)> {
        let expected = |summary: &Summary| {
            summary.first == header.first
                && summary.salt == header.salt
                && (HEADER_END..=len).contains(&summary.log_bytes)
                && is_whole(summary)
        };
        FileIndex::open(
            self.storage,
            &index_name(header.first),
            expected,
            header.salt,
        )
    }

    /// Opens the newest segment, and cuts off what a crash interrupted.
    fn active(&mut self, newest: Newest, older: bool) -> Result<Segment, OpenError> {
        let Newest { header, file } = newest;
        let name = log_name(header.first);
        let len = file.len().map_err(fault("read the length of", &name))?;
        let len = len.min(SEGMENT_BYTES_CAP);
        let closed = Closed::of(self.storage, header.first, Some(header.salt))?;
        let in_order = closed.as_ref().filter(|_| header.end == 0);
        let told = closed_in_order(in_order, &header, &file, len)?;
        self.may_have_lost = header.lazy && told.is_none();
        if let Some(scanned) = told.filter(|told| told.index.records > 0) {
            closed::forget(self.storage, header.first)?;
            return Ok(Segment::from_scan(&header, file, scanned).written_ahead(len));
        }
        let scanned = scan_file(&header, Span::of(&header), &file, len)?;
        if let Some(damage) = closed.and_then(|closed| closed.compare(&header, &scanned)) {
            return Err(damage.into());
        }
        if let Some(bad) = scanned.bad {
            refuse_damage(&header, &*file, &scanned, bad, len)?;
        }
        closed::forget(self.storage, header.first)?;
        let is_empty = scanned.index.records == 0 && scanned.bad.is_none() && header.end == 0;
        if is_empty && (older || header.first == 1) {
            return self.create_again(&header);
        }
        let mut len = len;
        if scanned.bad.is_some() {
            let written = written_end(&*file, scanned.len..len).map_err(fault("read", &name))?;
            file.set_len(scanned.len).map_err(fault("cut", &name))?;
            let bytes = written - scanned.len;
            len = scanned.len;
            self.found.cut = Some(Cut {
                segment: name.clone(),
                offset: scanned.len,
                bytes,
            });
        }
        self.open_ended = true;
        rewrite(&*file, scanned.commit_at..scanned.len).map_err(fault("write to", &name))?;
        file.sync_data().map_err(fault("sync", &name))?;
        self.storage
            .sync_directory()
            .map_err(fault("sync the directory of", &name))?;
        Ok(Segment::from_scan(&header, file, scanned).written_ahead(len))
    }

    /// Creates a segment once more in which there is nothing yet.
    ///
    /// If the sync of the directory failed in the process before, the name may be in memory only,
    /// and the operating system may think that it is on disk. Nothing can be lost by this: it
    /// holds no record, and it is not the last trace of a log that had some.
    fn create_again(&self, header: &SegmentHeader) -> Result<Segment, OpenError> {
        let header = SegmentHeader {
            version: VERSION,
            lazy: self.lazy,
            ..header.clone()
        };
        let created = create(self.storage, &header);
        Ok(created.map_err(crate::writer::Creation::fault)?)
    }

    fn open_file(&self, name: &str) -> Result<Arc<dyn StorageFile>, OpenError> {
        self.storage.open(name).map_err(fault("open", name))
    }
}

fn fault<'a>(operation: &'static str, name: &'a str) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |error| StorageFault::new(operation, name, error).into()
}

/// The newest segment as it was told of when the log was closed in good order, if no record follows: it
/// would begin right there. Of its records only the last are looked at.
fn closed_in_order(
    closed: Option<&Closed>,
    header: &SegmentHeader,
    file: &Arc<dyn StorageFile>,
    len: u64,
) -> Result<Option<Scanned>, OpenError> {
    let name = log_name(header.first);
    let Some(closed) = closed else {
        return Ok(None);
    };
    if !closed::is_end(&**file, closed.bytes(), len).map_err(fault("read", &name))? {
        return Ok(None);
    }
    match closed.damage(header, file)? {
        Some(damage) => Err(damage.into()),
        None => Ok(closed.load()),
    }
}

fn scan_file(
    header: &SegmentHeader,
    span: Span,
    file: &Arc<dyn StorageFile>,
    len: u64,
) -> Result<Scanned, OpenError> {
    let range = HEADER_END..len.min(SEGMENT_BYTES_CAP);
    scan(file, span, header.salt, range).map_err(fault("read", &log_name(header.first)))
}

/// The header, if it is the one that the file's name and the log's newest segment promise.
pub(crate) fn good_header(
    found: HeaderFound,
    first: u64,
    newest: Option<&SegmentHeader>,
) -> Result<SegmentHeader, OpenError> {
    let segment = log_name(first);
    match found {
        HeaderFound::Bad => Err(Damage {
            segment,
            offset: 0,
            reason: "its header is not readable",
        }
        .into()),
        HeaderFound::Beyond(offset) => Err(Damage {
            segment,
            offset,
            reason: "no log comes as far as the sequence there",
        }
        .into()),
        HeaderFound::Version(version) => Err(OpenError::Version {
            file: segment,
            version,
        }),
        HeaderFound::Good(header) if header.first != first => Err(Damage {
            segment,
            offset: 16,
            reason: "it is not what its name says",
        }
        .into()),
        HeaderFound::Good(header) => match newest {
            Some(newest) if newest.epoch != header.epoch || newest.salt != header.salt => {
                Err(OpenError::Foreign { segment })
            }
            _ => Ok(header),
        },
    }
}

/// A segment says which sequence it follows: another one is a segment that somebody took away.
fn follow_each_other(segments: &SegmentList) -> Result<(), OpenError> {
    for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
        if segment.end() != next.follows {
            return Err(OpenError::Missing {
                sequence: segment.end(),
                before: next.name.clone(),
            });
        }
    }
    Ok(())
}
