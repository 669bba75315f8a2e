//! Looking at a log without opening it: read only, without the lock, also while a hub runs.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::blank::written_end;
use crate::closed::{Closed, LOST, was_closed};
use crate::error::{Damage, OpenError, StorageFault};
use crate::header::{HEADER_END, HeaderFound, SegmentHeader};
use crate::index_file::FileIndex;
use crate::record::Record;
use crate::recovery::{good_header, later_commit};
use crate::scanner::{Scanner, Step};
use crate::segment::{Span, index_name, log_name, name_sequence};
use crate::storage::{Storage, StorageFile};

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
    /// It belongs to another log, or to a later version of the format.
    Foreign(String),
}

/// The state of a segment's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IndexReport {
    /// All of it can be trusted.
    Good,
    /// There is none: as for the newest segment, else it is built at the next opening.
    None,
    /// It cannot be trusted. It can be removed: it is built again at the next opening.
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
            Self::Foreign(reason) => f.write_str(reason),
        }
    }
}

/// Reads every byte of a log, and calls `progress` after each segment.
pub fn verify(
    storage: &dyn Storage,
    progress: &mut dyn FnMut(&SegmentReport),
) -> Result<Report, StorageFault> {
    let Segments { firsts, unfinished } = segments(storage)?;
    let mut report = Report::default();
    let mut log: Option<SegmentHeader> = None;
    let mut end = None;
    for (place, first) in firsts.iter().enumerate() {
        let next = firsts.get(place + 1).copied();
        let next = next.map(|next| follows(storage, next)).transpose()?;
        let Some(mut segment) = verify_segment(storage, *first, next, &mut log)? else {
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
    report.epoch = log.map(|header| header.epoch);
    Ok(report)
}

/// The segments of a log.
struct Segments {
    /// The first sequences of those that opening would keep, in order.
    firsts: Vec<u64>,
    /// The first sequence and the bytes of one whose creation was not finished.
    unfinished: Option<(u64, u64)>,
}

fn segments(storage: &dyn Storage) -> Result<Segments, StorageFault> {
    let fault = |error| StorageFault::new("list", "the directory", error);
    let names = storage.list().map_err(fault)?;
    let mut firsts: Vec<_> = names
        .iter()
        .filter_map(|name| name_sequence(name, ".log"))
        .collect();
    firsts.sort_unstable();
    let mut firsts = without_compacted(storage, firsts)?;
    let unfinished = unfinished(storage, &firsts)?;
    firsts.retain(|first| unfinished.is_none_or(|(other, _)| *first != other));
    Ok(Segments { firsts, unfinished })
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
    let only = firsts.len() == 1 && first != 1;
    let unfinished = bad && bytes <= HEADER_END && !only && !was_closed(storage, first)?;
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
            let mut walk = Walk::new(&header, Arc::clone(&file), bytes, closed.as_ref());
            walk.span = walk.span.until(next.unwrap_or(u64::MAX));
            verify_records(&mut report, walk, next).map_err(fault)?;
            // One without records may have been replaced by the next.
            report.end = match (header.end, report.records) {
                (0, 0) => None,
                (0, records) => Some(first.saturating_add(records)),
                (end, _) => Some(end),
            };
            report.index = verify_index(storage, &header, bytes);
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
    let mut group_records = 0;
    let bad = loop {
        let head = match walk.step()? {
            Walked::Record(record) => record.head,
            Walked::End if group_records == 0 => return Ok(()),
            Walked::End => break (report.bytes, "the last group of records is not complete"),
            Walked::Bad(offset, reason) => break (offset, reason),
        };
        if report.records + group_records == 0 {
            report.first_time_ms = head.time_ms;
        }
        report.last_time_ms = head.time_ms;
        group_records += 1;
        // Of a group a compacted segment may hold any part.
        if !head.continues() || walk.span.end.is_some() {
            report.records += std::mem::take(&mut group_records);
            whole_bytes = walk.scanner.offset() + u64::from(head.length);
        }
    };
    let end = report.first + report.records;
    if next.is_none() && !walk.is_damage(bad.0, end)? {
        let written = written_end(&*walk.file, whole_bytes..report.bytes)?;
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

fn verify_index(storage: &dyn Storage, header: &SegmentHeader, bytes: u64) -> IndexReport {
    let name = index_name(header.first);
    if storage.open(&name).is_err() {
        return IndexReport::None;
    }
    let expected = |summary: &crate::index_layout::Summary| {
        summary.first == header.first && summary.log_bytes <= bytes
    };
    let opened = FileIndex::open(storage, &name, expected, header.salt);
    let good = opened.is_some_and(|(index, ..)| index.verify().is_ok());
    if good {
        IndexReport::Good
    } else {
        IndexReport::Bad
    }
}

/// Walks one segment, and checks that its sequences follow.
struct Walk {
    scanner: Scanner,
    file: Arc<dyn StorageFile>,
    salt: u64,
    span: Span,
    next: u64,
    bytes: u64,
    /// Of the newest segment one past the last sequence that there was when the log was closed; 0:
    /// nobody knows.
    closed_end: u64,
}

enum Walked<'a> {
    Record(Record<'a>),
    End,
    Bad(u64, &'static str),
}

impl Walk {
    fn new(
        header: &SegmentHeader,
        file: Arc<dyn StorageFile>,
        bytes: u64,
        closed: Option<&Closed>,
    ) -> Self {
        let range = HEADER_END..bytes;
        let scanner = Scanner::new(Arc::clone(&file), header.salt, range);
        Self {
            scanner,
            file,
            salt: header.salt,
            span: Span::of(header),
            next: header.first,
            bytes,
            closed_end: closed.map_or(0, |closed| closed.end_in(header)),
        }
    }

    fn step(&mut self) -> io::Result<Walked<'_>> {
        if self.next >= self.span.stop {
            return Ok(Walked::End);
        }
        let step = self.scanner.step()?;
        let offset = self.scanner.offset();
        match step {
            Step::End if self.next < self.closed_end => return Ok(Walked::Bad(offset, LOST)),
            Step::End => return Ok(Walked::End),
            Step::Bad(reason) => return Ok(Walked::Bad(offset, reason)),
            Step::Record(head) if !self.span.allows(head.sequence, self.next) => {
                return Ok(Walked::Bad(offset, "the record's sequence does not follow"));
            }
            Step::Record(_) => {}
        }
        Ok(match self.scanner.record()? {
            Some(record) => {
                self.next = record.head.sequence + 1;
                Walked::Record(record)
            }
            None => Walked::Bad(offset, "the record's checksum is wrong"),
        })
    }

    /// Whether what begins at the offset, behind the records before `end`, was once whole; else it
    /// is an end that is being written.
    fn is_damage(&self, offset: u64, end: u64) -> io::Result<bool> {
        // A compacted segment had its name only once it was whole.
        if end < self.closed_end || self.span.end.is_some() {
            return Ok(true);
        }
        let sequences = end..self.span.first.saturating_add(self.bytes);
        later_commit(&*self.file, self.salt, offset..self.bytes, &sequences)
    }
}

/// A record with all that is stored beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dumped {
    /// Its place in the log.
    pub sequence: u64,
    /// When it was committed. Unix milliseconds.
    pub time_ms: u64,
    /// In the order in which they were given.
    pub topics: Vec<String>,
    /// The publisher's own ID.
    pub alias: Option<String>,
    /// Stored and shown.
    pub key: Option<String>,
    /// When it stops to be of use. Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// The owner's note.
    pub mark: Option<Bytes>,
    /// Whether the next record belongs to the same group.
    pub continues: bool,
    /// The event's bytes.
    pub frame: Bytes,
}

/// Walks all records of a log in order: those that opening it would recover.
///
/// A group is held back until its last record was read, so an end that is being written, or was when
/// the process died, shows no part of one. Opening refuses a damaged log: of that all is shown that
/// can be read up to the damage, and then the next segment.
pub struct Dump<'a> {
    storage: &'a dyn Storage,
    firsts: VecDeque<u64>,
    walk: Option<Walk>,
    /// What is known to be whole, to be handed out next.
    ready: VecDeque<Result<Dumped, OpenError>>,
    /// The records of a group that goes on.
    group: Vec<Dumped>,
}

/// Begins to walk all records.
///
/// Beside a running hub the last records may be of a commit that is not acknowledged yet.
pub fn dump(storage: &dyn Storage) -> Result<Dump<'_>, StorageFault> {
    Ok(Dump {
        storage,
        firsts: segments(storage)?.firsts.into(),
        walk: None,
        ready: VecDeque::new(),
        group: Vec::new(),
    })
}

impl Dump<'_> {
    /// Opens the next segment that is there.
    fn open_next(&mut self) -> Result<(), OpenError> {
        while let Some(first) = self.firsts.pop_front() {
            let name = log_name(first);
            let closed = closed(self.storage, first, self.firsts.front().copied())?;
            let Some((file, bytes)) = open(self.storage, &name)? else {
                continue;
            };
            let fault = |error| StorageFault::new("read", &name, error);
            let found = SegmentHeader::read(&*file).map_err(fault)?;
            let header = good_header(found, first, None)?;
            let mut walk = Walk::new(&header, file, bytes, closed.as_ref());
            if let Some(next) = self.firsts.front() {
                walk.span = walk.span.until(follows(self.storage, *next)?);
            }
            self.walk = Some(walk);
            return Ok(());
        }
        Ok(())
    }

    /// Takes one step in a segment.
    fn advance(&mut self, mut walk: Walk) -> Result<(), OpenError> {
        let segment = log_name(walk.span.first);
        let fault = |error| StorageFault::new("read", &segment, error);
        let (offset, reason) = match walk.step().map_err(fault)? {
            Walked::Record(record) => {
                self.group.push(dumped(&record));
                // Of a group a compacted segment may hold any part.
                if !record.head.continues() || walk.span.end.is_some() {
                    self.ready.extend(self.group.drain(..).map(Ok));
                }
                self.walk = Some(walk);
                return Ok(());
            }
            Walked::End if self.group.is_empty() => return Ok(()),
            Walked::End => (walk.bytes, "the last group of records is not complete"),
            Walked::Bad(offset, reason) => (offset, reason),
        };
        if self.is_unfinished(&walk, offset)? {
            self.group.clear();
            return Ok(());
        }
        Err(Damage {
            segment,
            offset,
            reason,
        }
        .into())
    }

    /// Whether what comes behind the last whole group was never acknowledged; else it is damaged.
    fn is_unfinished(&self, walk: &Walk, offset: u64) -> Result<bool, StorageFault> {
        if !self.firsts.is_empty() {
            return Ok(false);
        }
        let end = walk.next - self.group.len() as u64;
        let damaged = walk.is_damage(offset, end);
        let fault = |error| StorageFault::new("read", &log_name(walk.span.first), error);
        Ok(!damaged.map_err(fault)?)
    }
}

impl Iterator for Dump<'_> {
    type Item = Result<Dumped, OpenError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(ready) = self.ready.pop_front() {
                return Some(ready);
            }
            let advanced = match self.walk.take() {
                Some(walk) => self.advance(walk),
                None if self.firsts.is_empty() => return None,
                None => self.open_next(),
            };
            if let Err(error) = advanced {
                self.ready.extend(self.group.drain(..).map(Ok));
                self.ready.push_back(Err(error));
            }
        }
    }
}

fn dumped(record: &Record<'_>) -> Dumped {
    Dumped {
        sequence: record.head.sequence,
        time_ms: record.head.time_ms,
        topics: record.topics().map(str::to_owned).collect(),
        alias: record.alias.map(str::to_owned),
        key: record.key.map(str::to_owned),
        expires_ms: record.head.expires_ms,
        mark: record.mark.map(Bytes::copy_from_slice),
        continues: record.head.continues(),
        frame: Bytes::copy_from_slice(record.frame),
    }
}
