//! Looking at a log without opening it: read only, without the lock, also while a hub runs.

mod dump;
mod files;
mod walk;

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::blank::written_end;
use crate::closed::{Closed, gone, is_end, told_of_compacted, was_closed};
use crate::error::{Damage, OpenError, StorageFault};
use crate::header::{HEADER_END, HeaderFound, SegmentHeader};
use crate::index_file::FileIndex;
use crate::index_layout::Summary;
use crate::recovery::good_header;
use crate::segment::{index_name, log_name, name_sequence};
use crate::storage::{Storage, StorageFile};
use crate::torn::is_unfinished;

pub use dump::{Dump, Dumped, dump};
pub use files::{Files, files};
use walk::{Walk, Walked};

/// What there is in a directory.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// The identity of the log, if there is one.
    pub epoch: Option<String>,
    /// Oldest first.
    pub segments: Vec<SegmentReport>,
}

/// What there is in one segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SegmentReport {
    /// The file.
    pub name: String,
    /// The sequence that it begins with.
    pub first: u64,
    /// One past the last sequence of the segment before it.
    pub follows: u64,
    /// One past the last sequence that it stands for, if it stands for any.
    pub end: Option<u64>,
    /// Whether it holds what is kept for single topics beyond what the log keeps.
    pub compacted: bool,
    /// Whole records.
    pub records: u64,
    /// The file's length. Bytes.
    pub bytes: u64,
    /// The oldest record's time. Unix milliseconds; 0 if there is none.
    pub first_time_ms: u64,
    /// The newest record's time. Unix milliseconds; 0 if there is none.
    pub last_time_ms: u64,
    /// The state of the file beside it.
    pub index: IndexReport,
    /// An end that is being written, or was when the process died: of the newest segment only.
    /// Bytes.
    pub unfinished_bytes: u64,
    /// What is wrong. Opening the log would refuse, or reading would.
    pub problem: Option<OpenProblem>,
}

/// Something that is wrong with a segment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenProblem {
    /// Bytes are not what was written.
    Damaged(Damage),
    /// Records between this segment and the one before are not there, from this sequence on.
    Missing(u64),
    /// It is not there, though its index tells that it was the newest, and held records.
    Gone,
    /// It belongs to another log, or to a later version of the format.
    Foreign(String),
}

/// The state of a segment's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexReport {
    /// It is of all that there is in the segment, and all of it can be trusted.
    Good,
    /// There is none: as for the newest segment, else it is built at the next opening.
    None,
    /// It is of something else, or cannot be trusted. It can be removed: opening does not take it, but
    /// builds it again where there has to be one.
    Bad,
}

impl Report {
    /// Whether nothing is wrong. An unfinished end is not wrong.
    pub fn is_sound(&self) -> bool {
        self.segments
            .iter()
            .all(|segment| segment.problem.is_none())
    }
}

impl SegmentReport {
    /// One of which nothing is known yet.
    fn of(first: u64, bytes: u64) -> Self {
        Self {
            name: log_name(first),
            first,
            follows: first,
            end: None,
            compacted: false,
            records: 0,
            bytes,
            first_time_ms: 0,
            last_time_ms: 0,
            index: IndexReport::None,
            unfinished_bytes: 0,
            problem: None,
        }
    }
}

impl std::fmt::Display for OpenProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Damaged(damage) => damage.fmt(f),
            Self::Missing(sequence) => {
                write!(
                    f,
                    "records from sequence {sequence} on are missing before it"
                )
            }
            Self::Gone => f.write_str("it is missing, and its index tells that it held records"),
            Self::Foreign(reason) => f.write_str(reason),
        }
    }
}

/// Reads every byte of a log, and calls `progress` after each segment.
pub fn verify(
    storage: &dyn Storage,
    progress: &mut dyn FnMut(&SegmentReport),
) -> Result<Report, StorageFault> {
    let Segments {
        firsts,
        unfinished,
        gone,
    } = segments(storage)?;
    let mut report = Report::default();
    let mut log: Option<SegmentHeader> = None;
    let mut end = None;
    for (place, first) in firsts.iter().enumerate() {
        // A hub may have compacted it into the one before since they were listed.
        if end.is_some_and(|end| *first < end) {
            continue;
        }
        let next = firsts.get(place + 1).copied();
        let next = next.map(|next| follows(storage, next)).transpose()?;
        let Some(mut segment) = verify_segment(storage, *first, next, &mut log)? else {
            // It was forgotten since, and so is what was before it.
            end = None;
            continue;
        };
        let hole = end.filter(|end| *end != segment.follows && segment.problem.is_none());
        if let Some(end) = hole {
            segment.problem = Some(OpenProblem::Missing(end));
        }
        end = segment.problem.is_none().then_some(segment.end).flatten();
        progress(&segment);
        report.segments.push(segment);
    }
    if let Some((first, bytes)) = unfinished {
        let mut segment = SegmentReport::of(first, bytes);
        segment.unfinished_bytes = bytes;
        progress(&segment);
        report.segments.push(segment);
    }
    if let Some(gone) = gone {
        let mut segment = SegmentReport::of(gone.start, 0);
        segment.end = Some(gone.end);
        segment.problem = Some(OpenProblem::Gone);
        progress(&segment);
        report.segments.push(segment);
    }
    report.epoch = log.map(|header| header.epoch);
    Ok(report)
}

/// The segments of a log.
struct Segments {
    /// The first sequences of those that opening would keep, in order.
    firsts: Vec<u64>,
    /// The first sequence and the bytes of one whose creation was not finished.
    unfinished: Option<(u64, u64)>,
    /// The sequences of the newest, if it is not there any more.
    gone: Option<Range<u64>>,
}

fn segments(storage: &dyn Storage) -> Result<Segments, StorageFault> {
    let fault = |error| StorageFault::new("list", "the directory", error);
    let names = storage.list().map_err(fault)?;
    let mut firsts: Vec<_> = names
        .iter()
        .filter_map(|name| name_sequence(name, ".log"))
        .collect();
    firsts.sort_unstable();
    let gone = gone(storage, &names, &firsts)?;
    let mut firsts = without_compacted(storage, firsts)?;
    let unfinished = unfinished(storage, &firsts)?;
    firsts.retain(|first| unfinished.is_none_or(|(other, _)| *first != other));
    Ok(Segments {
        firsts,
        unfinished,
        gone,
    })
}

/// The newest segment, if its creation was not finished: it has no good header, and holds nothing. A
/// log's only one can be so only if it was its first ever.
fn unfinished(storage: &dyn Storage, firsts: &[u64]) -> Result<Option<(u64, u64)>, StorageFault> {
    let Some(first) = firsts.last().copied() else {
        return Ok(None);
    };
    let name = log_name(first);
    let Some((file, bytes)) = open(storage, &name)? else {
        return Ok(None);
    };
    let fault = |error| StorageFault::new("read", &name, error);
    let bad = SegmentHeader::read(&*file).map_err(fault)? == HeaderFound::Bad;
    let unfinished = bad && is_unfinished(bytes, firsts) && !was_closed(storage, first)?;
    Ok(unfinished.then_some((first, bytes)))
}

/// The same without those for which a compacted segment stands, and that a crash left behind.
fn without_compacted(storage: &dyn Storage, firsts: Vec<u64>) -> Result<Vec<u64>, StorageFault> {
    let mut stand = Vec::with_capacity(firsts.len());
    let mut end = 0;
    for first in firsts {
        if first < end {
            continue;
        }
        end = header(storage, first)?.map_or(0, |header| header.end);
        stand.push(first);
    }
    Ok(stand)
}

/// The header of a segment, if it is there and good.
pub(crate) fn header(
    storage: &dyn Storage,
    first: u64,
) -> Result<Option<SegmentHeader>, StorageFault> {
    let name = log_name(first);
    let Some((file, _)) = open(storage, &name)? else {
        return Ok(None);
    };
    let fault = |error| StorageFault::new("read", &name, error);
    Ok(match SegmentHeader::read(&*file).map_err(fault)? {
        HeaderFound::Good(header) => Some(header),
        _ => None,
    })
}

/// The sequence that a segment follows: where the one before ends.
fn follows(storage: &dyn Storage, first: u64) -> Result<u64, StorageFault> {
    Ok(header(storage, first)?.map_or(first, |header| header.follows))
}

/// A file and its length.
type Opened = (Arc<dyn StorageFile>, u64);

/// Opens a segment; `None` if retention has removed it in the meantime.
fn open(storage: &dyn Storage, name: &str) -> Result<Option<Opened>, StorageFault> {
    let opened = storage
        .open(name)
        .and_then(|file| Ok((Arc::clone(&file), file.len()?)));
    match opened {
        Ok(opened) => Ok(Some(opened)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageFault::new("open", name, error)),
    }
}

fn verify_segment(
    storage: &dyn Storage,
    first: u64,
    next: Option<u64>,
    log: &mut Option<SegmentHeader>,
) -> Result<Option<SegmentReport>, StorageFault> {
    let name = log_name(first);
    let closed = closed(storage, first, next)?;
    let Some((file, bytes)) = open(storage, &name)? else {
        return Ok(None);
    };
    let mut report = SegmentReport::of(first, bytes);
    let fault = |error| StorageFault::new("read", &log_name(first), error);
    let found = SegmentHeader::read(&*file).map_err(fault)?;
    match good_header(found, first, log.as_ref()) {
        Err(OpenError::Damaged(damage)) => report.problem = Some(OpenProblem::Damaged(damage)),
        Err(error) => report.problem = Some(OpenProblem::Foreign(error.to_string())),
        Ok(header) => {
            report.follows = header.follows;
            report.compacted = header.end > 0;
            let closed = closed.or(told_of_compacted(storage, &header)?);
            let walk = Walk::new(&header, Arc::clone(&file), bytes, closed.as_ref(), next);
            verify_records(&mut report, walk, next).map_err(fault)?;
            // One without records may have been replaced by the next, which then follows no more.
            report.end = match (header.end, report.records) {
                (0, 0) => next.filter(|next| *next > first).map(|_| first),
                (0, records) => Some(first.saturating_add(records)),
                (end, _) => Some(end),
            };
            report.index = verify_index(storage, &header, &(file, bytes), next)?;
            log.get_or_insert(header);
        }
    }
    Ok(Some(report))
}

/// What was told of the newest segment when the log was closed, if it was. To be asked before the file
/// is opened: a hub may be writing to it, and close.
fn closed(
    storage: &dyn Storage,
    first: u64,
    next: Option<u64>,
) -> Result<Option<Closed>, StorageFault> {
    match next {
        Some(_) => Ok(None),
        None => Closed::of(storage, first, None),
    }
}

fn verify_records(report: &mut SegmentReport, mut walk: Walk, next: Option<u64>) -> io::Result<()> {
    let mut whole_bytes = HEADER_END;
    let (mut group_records, mut group_time_ms) = (0, 0);
    let bad = loop {
        let head = match walk.step()? {
            Walked::Record(record) => record.head,
            Walked::End if group_records == 0 => return Ok(()),
            Walked::End => break (walk.bytes, "the last group of records is not complete"),
            Walked::Bad(offset, reason) => break (offset, reason),
        };
        if group_records == 0 {
            group_time_ms = head.time_ms;
        }
        group_records += 1;
        // Of a group a compacted segment may hold any part.
        if !head.continues() || walk.span.end.is_some() {
            if report.records == 0 {
                report.first_time_ms = group_time_ms;
            }
            report.last_time_ms = head.time_ms;
            report.records += std::mem::take(&mut group_records);
            whole_bytes = walk.scanner.offset() + u64::from(head.length);
        }
    };
    let end = report.first + report.records;
    if next.is_none() && !walk.is_damage(bad.0, end)? {
        let written = written_end(&*walk.file, whole_bytes..walk.bytes)?;
        report.unfinished_bytes = written - whole_bytes;
    } else {
        let damage = Damage {
            segment: report.name.clone(),
            offset: bad.0,
            reason: bad.1,
        };
        report.problem = Some(OpenProblem::Damaged(damage));
    }
    Ok(())
}

/// The index beside a segment, which the `next` one follows.
fn verify_index(
    storage: &dyn Storage,
    header: &SegmentHeader,
    segment: &Opened,
    next: Option<u64>,
) -> Result<IndexReport, StorageFault> {
    let name = index_name(header.first);
    let expected = |summary: &Summary| summary.first == header.first && summary.salt == header.salt;
    let opened = FileIndex::open(storage, &name, expected, header.salt);
    let whole = opened.filter(|(index, ..)| index.verify().is_ok());
    let fits = whole.map(|(_, summary, _)| fits(header, &summary, segment, next));
    Ok(if fits.transpose()?.unwrap_or(false) {
        IndexReport::Good
    } else if storage.open(&name).is_err() || has_changed(storage, header, segment)? {
        IndexReport::None
    } else {
        IndexReport::Bad
    })
}

/// Whether an index is of all that there is in a segment: what opening asks of it.
fn fits(
    header: &SegmentHeader,
    summary: &Summary,
    (file, bytes): &Opened,
    next: Option<u64>,
) -> Result<bool, StorageFault> {
    let end = summary.log_bytes;
    if header.end > 0 {
        return Ok(end == *bytes);
    }
    let fault = |error| StorageFault::new("read", &log_name(header.first), error);
    Ok((HEADER_END..=*bytes).contains(&end)
        && match next {
            Some(next) => header.end_with(summary.records) == next,
            None => is_end(&**file, end, *bytes).map_err(fault)?,
        })
}

/// Whether a hub has gone on in a segment since it was opened here, or replaced it: its index is of
/// what there is now.
fn has_changed(
    storage: &dyn Storage,
    header: &SegmentHeader,
    (_, bytes): &Opened,
) -> Result<bool, StorageFault> {
    let name = log_name(header.first);
    let Some((file, bytes_now)) = open(storage, &name)? else {
        return Ok(true);
    };
    let fault = |error| StorageFault::new("read", &name, error);
    let now = SegmentHeader::read(&*file).map_err(fault)?;
    Ok(bytes_now != *bytes || now != HeaderFound::Good(header.clone()))
}
