//! Where a subscriber begins.

use tidings_log::{Found, ReadError, Reader};

use crate::{
    control::{Gap, GapReason},
    id::{self, Position},
    selection::Selection,
    sync::Arc,
};

/// Where a subscriber begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Start {
    /// With what is published from now on.
    #[default]
    Latest,
    /// With the oldest event that is still held.
    Earliest,
    /// With the event of this ID.
    At(String),
    /// After the event of this ID: how a subscriber resumes.
    After(String),
    /// With the last so many events that match.
    Last(u64),
    /// With the first event that was committed at this time or later, in Unix milliseconds.
    Time(u64),
}

impl Start {
    /// Whether finding the place may read the disk.
    pub fn may_read(&self, epoch: &str) -> bool {
        match self {
            Self::Latest => false,
            Self::At(id) | Self::After(id) => id::split(id).is_none_or(|(e, _)| e != epoch),
            Self::Earliest | Self::Last(_) | Self::Time(_) => true,
        }
    }
}

/// Finds places in one log.
pub(crate) struct Resolver<'a> {
    pub(crate) log: &'a Reader,
    pub(crate) epoch: &'a Arc<str>,
    pub(crate) now_ms: u64,
}

/// A cursor, and the gap in front of it if there is one.
pub(crate) type Place = (u64, Option<Gap>);

impl Resolver<'_> {
    pub(crate) fn resolve(&self, start: &Start, selection: &Selection) -> Result<Place, ReadError> {
        match start {
            Start::Latest => Ok((self.log.next(), None)),
            Start::Earliest => Ok((self.log.first(), None)),
            Start::At(id) => self.event(id, 0),
            Start::After(id) => self.event(id, 1),
            Start::Last(n) => {
                let cursor = selection.with(|s| self.log.last(s, *n, self.now_ms))?;
                Ok((cursor, None))
            }
            Start::Time(ms) => self.time(*ms),
        }
    }

    fn event(&self, given: &str, skip: u64) -> Result<Place, ReadError> {
        let found = match id::split(given) {
            Some((epoch, sequence)) if *epoch == **self.epoch => Found {
                sequence: Some(sequence),
                doubt: None,
            },
            _ => self.log.find_alias(given)?,
        };
        let first = self.log.first();
        let Some(sequence) = found.sequence else {
            let reason = match id::split(given) {
                Some(_) => GapReason::Epoch,
                None if found.doubt.is_some() => GapReason::Damaged,
                None => GapReason::Unknown,
            };
            return Ok((first, Some(self.gap(given.to_owned(), first, reason))));
        };
        let cursor = sequence.saturating_add(skip).max(1);
        // Not where the window ends, which follows the log: a subscriber that reads the log may
        // have been ahead of it.
        let next = self.log.next();
        if cursor > next {
            let from = self.before(next).to_string();
            let mut gap = self.gap(from, next, GapReason::Future);
            gap.to = self.before(cursor);
            return Ok((next, Some(gap)));
        }
        if cursor < first {
            let from = self.before(cursor).to_string();
            return Ok((first, Some(self.gap(from, first, GapReason::Retention))));
        }
        // It is likely the place, but some may be missing in front of it.
        let in_doubt = found.doubt.is_some();
        let gap = in_doubt.then(|| self.gap(given.to_owned(), cursor, GapReason::Damaged));
        Ok((cursor, gap))
    }

    /// Events of the time asked for may be among those that are forgotten.
    fn time(&self, ms: u64) -> Result<Place, ReadError> {
        let cursor = self.log.at_time(ms)?;
        let first = self.log.first();
        let forgot = first > 1 && cursor <= first;
        let gap = forgot.then(|| {
            let from = self.before(1).to_string();
            self.gap(from, first, GapReason::Retention)
        });
        Ok((cursor.max(first), gap))
    }

    fn gap(&self, from: String, cursor: u64, reason: GapReason) -> Gap {
        Gap::skipping(from, self.before(cursor), reason)
    }

    fn before(&self, cursor: u64) -> Position {
        Position::before(self.epoch, cursor)
    }
}
