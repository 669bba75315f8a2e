//! Making a damaged log whole again, as far as that can be: what can still be read stays, what
//! cannot is left out, and the files that were damaged stay beside it under another name.
//!
//! A damaged segment is written anew as one that has holes. Where a segment is missing, an empty
//! one says so. Readers that ask for what is gone are told, as they are of what retention forgot.

use std::error::Error;
use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::closed::remove_index;
use crate::error::StorageFault;
use crate::header::{HEADER_END, REPAIRED, SegmentHeader, VERSION};
use crate::inspect::{OpenProblem, SegmentReport, header, verify};
use crate::recovery::{FLOOR_MAX, LOST_RECORDS_MAX};
use crate::salvage::{Salvaged, salvage};
use crate::segment::log_name;
use crate::storage::{Storage, StorageFile};
use crate::writer::{Creation, create};

/// The file that a segment is written anew in.
pub(crate) const REPAIRED_NAME: &str = "repaired.new";

/// What is copied at once. Bytes.
const COPY_BYTES: u64 = 1 << 20;

/// One thing that has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Repair {
    /// A damaged segment is written anew, with what can be read of it.
    Rewrite {
        /// The segment.
        segment: String,
        /// What it is copied to before.
        kept_as: String,
        /// What it stands for.
        sequences: Range<u64>,
        /// Records that can be read.
        records: u64,
        /// What cannot be read, in the copy. Bytes.
        left_out: Vec<Range<u64>>,
    },
    /// An empty segment is put where others are missing.
    Bridge {
        /// The new segment.
        segment: String,
        /// The sequences that are missing.
        sequences: Range<u64>,
    },
    /// A new segment is begun for what comes next.
    Begin {
        /// The new segment.
        segment: String,
    },
    /// A segment that held nothing when the next was begun in its place gets another name.
    MoveAside {
        /// The segment.
        segment: String,
        /// Its new name.
        kept_as: String,
    },
}

/// A log could not be repaired.
#[derive(Debug)]
#[non_exhaustive]
pub enum RepairError {
    /// A call to the storage failed. What was done before is whole; try again.
    Storage(StorageFault),
    /// No segment says which log it belongs to.
    Nameless,
    /// A segment is of another log, or of a later version.
    Foreign {
        /// The segment.
        segment: String,
        /// Why it is not of this one.
        reason: String,
    },
    /// A segment has the name of another one. What it holds can be read where it belongs.
    Misnamed {
        /// The segment.
        segment: String,
        /// The name that its header promises.
        belongs: String,
    },
}

impl fmt::Display for RepairError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(fault) => fault.fmt(f),
            Self::Nameless => f.write_str(
                "no segment has a readable header, so nothing here can be told from chance; restore \
                 the directory from a copy",
            ),
            Self::Foreign { reason, .. } => write!(f, "{reason}; nothing was repaired"),
            Self::Misnamed { segment, belongs } => write!(
                f,
                "{segment} is {belongs} under another name: give it that name, or if there is one \
                 already move it out of the directory, then try again"
            ),
        }
    }
}

impl Error for RepairError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Storage(fault) => fault.source(),
            Self::Nameless | Self::Foreign { .. } | Self::Misnamed { .. } => None,
        }
    }
}

impl From<StorageFault> for RepairError {
    fn from(fault: StorageFault) -> Self {
        Self::Storage(fault)
    }
}

/// A segment, and what there is in it.
struct Part {
    header: SegmentHeader,
    /// One past the last sequence that it stands for, if it stands for any.
    end: Option<u64>,
    /// What can be read, if not all can.
    salvaged: Option<Salvaged>,
}

/// Repairs a log that nothing else has open, and says what is done before it is. Reads everything first,
/// and calls `progress` after each segment.
///
/// With `dry` it only says what would be done. That changes nothing, works on a storage that cannot be
/// written, and may be done while something else has the log open; what is true then may not be later.
pub fn repair(
    storage: &dyn Storage,
    dry: bool,
    progress: &mut dyn FnMut(&SegmentReport),
    tell: &mut dyn FnMut(&Repair),
) -> Result<usize, RepairError> {
    let report = verify(storage, progress)?;
    let Some(known) = first_header(storage, &report.segments)? else {
        return if report.segments.is_empty() {
            Ok(0)
        } else {
            Err(RepairError::Nameless)
        };
    };
    let parts = assess_all(storage, &known, &report.segments)?;
    let work = plan(storage, &known, &parts, gone(&report.segments).as_ref())?;
    for work in &work {
        tell(&work.told());
        if !dry {
            work.perform(storage)?;
        }
    }
    Ok(work.len())
}

fn fault<'a>(operation: &'static str, name: &'a str) -> impl Fn(io::Error) -> StorageFault + 'a {
    move |error| StorageFault::new(operation, name, error)
}

/// One thing that has to be done, with all that it takes.
enum Work {
    Begin(SegmentHeader),
    Bridge(SegmentHeader),
    Rewrite {
        header: SegmentHeader,
        kept_as: String,
        salvaged: Salvaged,
    },
    MoveAside {
        segment: String,
        kept_as: String,
    },
}

/// The sequences of the newest segment, if it is not there any more.
fn gone(segments: &[SegmentReport]) -> Option<Range<u64>> {
    let newest = segments.last()?;
    let gone = matches!(newest.problem, Some(OpenProblem::Gone));
    newest.end.filter(|_| gone).map(|end| newest.first..end)
}

/// What has to be done, in this order. The newest segment may be `gone`: it is not one of the parts.
fn plan(
    storage: &dyn Storage,
    known: &SegmentHeader,
    parts: &[Part],
    gone: Option<&Range<u64>>,
) -> Result<Vec<Work>, StorageFault> {
    let mut work = Vec::new();
    // What comes next must be there before the newest is closed by being written anew.
    let newest = parts.last().filter(|part| part.salvaged.is_some());
    if let Some(gone) = gone {
        work.push(Work::Begin(fresh(known, gone.end, gone.end, 0)));
    } else if let Some(newest) = newest {
        let end = newest.end_before(None);
        let first = end.saturating_add(LOST_RECORDS_MAX);
        work.push(Work::Begin(fresh(known, first, end, 0)));
    }
    let mut follows = parts.first().map_or(1, |part| part.header.follows);
    for (place, part) in parts.iter().enumerate() {
        let next = parts.get(place + 1).map(|next| next.header.follows);
        let next = next.or(gone.map(|gone| gone.start));
        let segment = log_name(part.header.first);
        if part.gives_way_to(next) {
            let kept_as = free_name(storage, &segment)?;
            work.push(Work::MoveAside { segment, kept_as });
            continue;
        }
        if part.header.follows > follows {
            let behind = behind(parts, follows);
            let bridge = fresh(known, follows, behind, part.header.follows);
            work.push(Work::Bridge(bridge));
        }
        follows = match &part.salvaged {
            None => part.end.unwrap_or(follows),
            Some(salvaged) => {
                let kept_as = free_name(storage, &segment)?;
                let end = part.end_before(next);
                let (first, follows) = (part.header.first, part.header.follows);
                work.push(Work::Rewrite {
                    header: fresh(known, first, follows, end),
                    kept_as,
                    salvaged: salvaged.clone(),
                });
                end
            }
        };
    }
    if let Some(gone) = gone {
        work.push(Work::Bridge(fresh(known, follows, follows, gone.end)));
    }
    Ok(work)
}

impl Work {
    fn told(&self) -> Repair {
        match self {
            Self::Begin(header) => Repair::Begin {
                segment: log_name(header.first),
            },
            Self::Bridge(header) => Repair::Bridge {
                segment: log_name(header.first),
                sequences: header.first..header.end,
            },
            Self::Rewrite {
                header,
                kept_as,
                salvaged,
            } => Repair::Rewrite {
                segment: log_name(header.first),
                kept_as: kept_as.clone(),
                sequences: header.first..header.end,
                records: salvaged.records,
                left_out: salvaged.left_out.clone(),
            },
            Self::MoveAside { segment, kept_as } => Repair::MoveAside {
                segment: segment.clone(),
                kept_as: kept_as.clone(),
            },
        }
    }

    fn perform(&self, storage: &dyn Storage) -> Result<(), StorageFault> {
        match self {
            Self::Begin(header) => create(storage, header).map(drop).map_err(Creation::fault),
            Self::Bridge(header) => install(storage, header, &[]),
            Self::Rewrite {
                header,
                kept_as,
                salvaged,
            } => {
                let segment = log_name(header.first);
                keep(storage, &segment, kept_as)?;
                install(storage, header, &salvaged.kept)
            }
            Self::MoveAside { segment, kept_as } => rename(storage, segment, kept_as),
        }
    }
}

impl Part {
    /// Whether it held nothing when the next was begun in its place, which follows this sequence. Its
    /// header does not say any more what it follows.
    fn gives_way_to(&self, next: Option<u64>) -> bool {
        self.salvaged.is_some() && next.is_some_and(|next| next <= self.header.first)
    }

    /// One past the last sequence that it stands for once it is written anew. The next follows `next`.
    fn end_before(&self, next: Option<u64>) -> u64 {
        let first = self.header.first;
        match (next, &self.salvaged) {
            (Some(next), _) => next.max(first),
            // It held something, even if nothing of it can be read.
            (None, Some(salvaged)) => salvaged.end.max(first.saturating_add(1)),
            (None, None) => first,
        }
    }
}

fn first_header(
    storage: &dyn Storage,
    segments: &[SegmentReport],
) -> Result<Option<SegmentHeader>, StorageFault> {
    for segment in segments.iter().rev() {
        if let Some(found) = header(storage, segment.first)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// A header of this log.
fn fresh(known: &SegmentHeader, first: u64, follows: u64, end: u64) -> SegmentHeader {
    SegmentHeader {
        version: VERSION,
        first,
        created_ms: REPAIRED,
        lazy: false,
        follows,
        end,
        ..known.clone()
    }
}

fn assess_all(
    storage: &dyn Storage,
    known: &SegmentHeader,
    segments: &[SegmentReport],
) -> Result<Vec<Part>, RepairError> {
    let nexts = segments.iter().skip(1).map(|next| next.follows);
    let stops = nexts.chain([u64::MAX]);
    let assessed = segments.iter().zip(stops);
    assessed
        .filter(|(segment, _)| is_there(storage, segment))
        .map(|(segment, stop)| assess(storage, known, segment, stop))
        .collect()
}

/// What is not there is no part: the newest may be gone, and beside a dry run a hub forgets the oldest.
fn is_there(storage: &dyn Storage, segment: &SegmentReport) -> bool {
    let opened = storage.open(&segment.name);
    !opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Looks at a segment, and reads what can be read of one that is damaged. Behind it the next one goes on
/// with `stop`.
fn assess(
    storage: &dyn Storage,
    known: &SegmentHeader,
    segment: &SegmentReport,
    stop: u64,
) -> Result<Part, RepairError> {
    let found = header(storage, segment.first)?;
    if found.is_none() && segment.first > FLOOR_MAX {
        return Err(RepairError::Foreign {
            segment: segment.name.clone(),
            reason: format!(
                "no log comes as far as the name of segment {}; move it out of the directory, then try \
                 again",
                segment.name
            ),
        });
    }
    match &segment.problem {
        None | Some(OpenProblem::Missing(_) | OpenProblem::Gone) => {
            // A hub may have compacted it since, and others with it.
            let compacted = found.as_ref().map(|it| it.end).filter(|end| *end > 0);
            Ok(Part {
                header: found.unwrap_or_else(|| fresh(known, segment.first, segment.first, 0)),
                end: compacted.or(segment.end),
                salvaged: None,
            })
        }
        Some(OpenProblem::Foreign(reason)) => Err(RepairError::Foreign {
            segment: segment.name.clone(),
            reason: reason.clone(),
        }),
        Some(OpenProblem::Damaged(_)) => {
            if let Some(other) = found.as_ref().filter(|it| it.first != segment.first) {
                return Err(RepairError::Misnamed {
                    segment: segment.name.clone(),
                    belongs: log_name(other.first),
                });
            }
            let header = found.unwrap_or_else(|| fresh(known, segment.first, segment.first, 0));
            let salvaged = storage
                .open(&segment.name)
                .and_then(|file| salvage(&file, &header, stop))
                .map_err(fault("read", &segment.name))?;
            Ok(Part {
                header,
                end: None,
                salvaged: Some(salvaged),
            })
        }
    }
}

/// What an empty segment follows that is put where `first` is missing. One that is there, and stands for
/// nothing, gives way to it.
fn behind(parts: &[Part], first: u64) -> u64 {
    let mut headers = parts.iter().map(|part| &part.header);
    headers
        .find(|it| it.first == first)
        .map_or(first, |it| it.follows)
}

/// A name beside a segment's that no file has.
fn free_name(storage: &dyn Storage, segment: &str) -> Result<String, StorageFault> {
    let names = storage.list();
    let names = names.map_err(fault("list", "the directory"))?;
    let plain = format!("{segment}.damaged");
    let numbered = (2..).map(|number| format!("{plain}-{number}"));
    let mut free = std::iter::once(plain.clone())
        .chain(numbered)
        .filter(|name| !names.contains(name));
    Ok(free.next().unwrap_or(plain))
}

/// Copies a file, and syncs the copy.
pub(crate) fn copy(storage: &dyn Storage, from: &str, to: &str) -> io::Result<()> {
    let source = storage.open(from)?;
    let target: Arc<dyn StorageFile> = storage.create(to)?;
    copy_part(&*source, 0..source.len()?, &*target, 0)?;
    target.sync_data()?;
    storage.sync_directory()
}

/// Copies a segment as it is. The copy gets its name once it is whole.
fn keep(storage: &dyn Storage, segment: &str, kept_as: &str) -> Result<(), StorageFault> {
    drop(storage.remove(REPAIRED_NAME));
    copy(storage, segment, REPAIRED_NAME).map_err(fault("copy", segment))?;
    rename(storage, REPAIRED_NAME, kept_as)
}

/// Puts a segment in its place, with these parts of the one that is there. Its old index goes first, for it
/// would be of other bytes.
fn install(
    storage: &dyn Storage,
    header: &SegmentHeader,
    kept: &[Range<u64>],
) -> Result<(), StorageFault> {
    let name = log_name(header.first);
    drop(storage.remove(REPAIRED_NAME));
    write(storage, header, kept).map_err(fault("write anew", &name))?;
    rename(storage, REPAIRED_NAME, &name)?;
    // Until then it may be all that tells of what is missing.
    remove_index(storage, header.first)?;
    sync_directory_of(storage, &name)
}

fn write(storage: &dyn Storage, header: &SegmentHeader, kept: &[Range<u64>]) -> io::Result<()> {
    let file = storage.create(REPAIRED_NAME)?;
    file.write_at(&header.encode(), 0)?;
    if !kept.is_empty() {
        let source = storage.open(&log_name(header.first))?;
        let mut end = HEADER_END;
        // Records that stand together are copied together.
        for joined in kept.chunk_by(|one, next| one.end == next.start) {
            let start = joined.first().map_or(0, |first| first.start);
            let stop = joined.last().map_or(start, |last| last.end);
            copy_part(&*source, start..stop, &*file, end)?;
            end += stop - start;
        }
    }
    file.sync_data()
}

/// Copies a part of a file to a place in another, but for what is zeros in a new file anyway.
fn copy_part(
    source: &dyn StorageFile,
    range: Range<u64>,
    target: &dyn StorageFile,
    at: u64,
) -> io::Result<()> {
    let mut offset = range.start;
    let mut part = Vec::new();
    while offset < range.end {
        let count = (range.end - offset).min(COPY_BYTES);
        part.resize(usize::try_from(count).map_err(io::Error::other)?, 0);
        let filled = source.read_at(&mut part, offset)?;
        part.truncate(filled);
        let is_last = offset + count == range.end;
        if is_last || part.iter().any(|byte| *byte != 0) {
            target.write_at(&part, at + (offset - range.start))?;
        }
        offset += count;
    }
    Ok(())
}

/// For good.
fn rename(storage: &dyn Storage, from: &str, to: &str) -> Result<(), StorageFault> {
    let renamed = storage.rename(from, to);
    renamed.map_err(fault("rename", from))?;
    sync_directory_of(storage, to)
}

fn sync_directory_of(storage: &dyn Storage, name: &str) -> Result<(), StorageFault> {
    let synced = storage.sync_directory();
    synced.map_err(fault("sync the directory of", name))
}
