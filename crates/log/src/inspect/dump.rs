//! All records of a log, in order.

use std::collections::VecDeque;

use bytes::Bytes;

use super::walk::{Walk, Walked};
use super::{Segments, closed, follows, open, segments};
use crate::closed::told_of_compacted;
use crate::error::{Damage, OpenError, StorageFault};
use crate::header::SegmentHeader;
use crate::record::Record;
use crate::recovery::good_header;
use crate::segment::{index_name, log_name};
use crate::storage::Storage;

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
    /// The newest segment, if it is not there any more.
    gone: Option<u64>,
    /// One past the last sequence of the segment that was opened last, if it was compacted.
    compacted_end: u64,
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
    let Segments { firsts, gone, .. } = segments(storage)?;
    Ok(Dump {
        storage,
        firsts: firsts.into(),
        gone: gone.map(|gone| gone.start),
        compacted_end: 0,
        walk: None,
        ready: VecDeque::new(),
        group: Vec::new(),
    })
}

impl Dump<'_> {
    /// Opens the next segment that is there.
    fn open_next(&mut self) -> Result<(), OpenError> {
        while let Some(first) = self.firsts.pop_front() {
            // A hub may have compacted it into the one before since they were listed.
            if first < self.compacted_end {
                continue;
            }
            let name = log_name(first);
            let closed = closed(self.storage, first, self.firsts.front().copied())?;
            let Some((file, bytes)) = open(self.storage, &name)? else {
                continue;
            };
            let fault = |error| StorageFault::new("read", &name, error);
            let found = SegmentHeader::read(&*file).map_err(fault)?;
            let header = good_header(found, first, None)?;
            self.compacted_end = header.end;
            let closed = closed.or(told_of_compacted(self.storage, &header)?);
            let next = self.firsts.front();
            let next = next.map(|next| follows(self.storage, *next)).transpose()?;
            self.walk = Some(Walk::new(&header, file, bytes, closed.as_ref(), next));
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
                None if !self.firsts.is_empty() => self.open_next(),
                None => match self.gone.take() {
                    Some(first) => Err(OpenError::Gone {
                        segment: log_name(first),
                        index: index_name(first),
                    }),
                    None => return None,
                },
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
