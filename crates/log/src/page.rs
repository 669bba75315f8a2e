//! What readers ask for and what they get.

use bytes::Bytes;

use crate::error::Damage;

/// Which records a reader wants.
pub trait Select {
    /// Only records of these topics are wanted: the log finds them without reading others.
    fn exact(&self) -> Option<&[&str]> {
        None
    }

    /// Whether records of this topic are wanted. Must agree with [`Select::exact`].
    fn matches(&self, topic: &str) -> bool;
}

/// What one call may take. A page holds at least one record, if there is one within
/// `scan_bytes_max`, however large it is.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Frames in a page. Bytes.
    pub bytes_max: usize,
    /// Records in a page.
    pub records_max: usize,
    /// What may be read from disk to find them. Bytes; exceeded by at most one record.
    pub scan_bytes_max: u64,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 10,
            records_max: 1024,
            scan_bytes_max: 8 << 20,
        }
    }
}

/// A record as a reader gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// Its place in the log.
    pub sequence: u64,
    /// When it was committed. Unix milliseconds.
    pub time_ms: u64,
    /// When it stops to be of use. Unix milliseconds. The log gives it back in any case.
    pub expires_ms: Option<u64>,
    /// The event's bytes.
    pub frame: Bytes,
}

/// Some records, in sequence order.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records. Their frames are slices of one buffer that holds nothing else, so a page in
    /// memory costs what its frames do.
    pub frames: Vec<Stored>,
    /// Set if some of the wanted records between the cursor and this sequence may have been
    /// forgotten, by what retention keeps of their topics. What is left of them is in this page and
    /// the next.
    pub forgotten_before: Option<u64>,
    /// Where to go on: every wanted record before it, from the cursor on, is in this page.
    pub next: u64,
}

/// A note that its owner left with a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The record's place in the log.
    pub sequence: u64,
    /// When it was committed. Unix milliseconds.
    pub time_ms: u64,
    /// The note.
    pub bytes: Bytes,
}

/// The marks that can be read, and where there are some that cannot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Oldest first.
    pub marks: Vec<Mark>,
    /// One for each segment that has some which cannot be read, oldest first.
    pub unread: Vec<Unread>,
}

/// Marks that cannot be read. How old they are is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Where the newest of them is, and what is wrong there.
    pub damage: Damage,
    /// How many they are; `None`: the segment's index cannot be read either, nor built again, so any
    /// number.
    pub marks: Option<u64>,
}

/// Where the newest record with an alias is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its sequence; `None`: there is none.
    pub sequence: Option<u64>,
    /// Damage that leaves it in doubt: the record at `sequence` cannot be read, and only its hash tells
    /// that it is the one; or there may be a newer one among what cannot be read.
    pub doubt: Option<Damage>,
}

/// The log at a glance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Segments, with the active one.
    pub segments: usize,
    /// What they take on disk with their indexes. Bytes.
    pub bytes: u64,
    /// Records held.
    pub records: u64,
    /// The oldest sequence held, or `next`.
    pub first: u64,
    /// From this sequence on nothing was left out: before it there is only what is kept for single
    /// topics.
    pub whole_from: u64,
    /// One past the last durable sequence.
    pub next: u64,
    /// The oldest record's time. Unix milliseconds; 0 if there is none.
    pub oldest_time_ms: u64,
    /// The newest record's time. Unix milliseconds; 0 if there is none.
    pub newest_time_ms: u64,
}
