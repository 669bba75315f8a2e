//! What an operator may choose, with its defaults and bounds.

use std::fmt;
use std::sync::Arc;

/// The least that a segment may be cut down to by a small [`Retention::bytes_max`].
pub(crate) const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// Offsets in the indexes are 32 bits wide; this leaves room for one batch behind a full segment.
const SEGMENT_BYTES_CAP: u64 = 1 << 30;

/// Half of the largest batch. What is read back is held to this and not to the option, so that
/// lowering the option does not make damage of records that are there.
pub(crate) const RECORD_BYTES_CAP: u32 = 1 << 29;

/// How many parts a retention limit is divided into: each segment holds at most one.
const RETENTION_PARTS: u64 = 8;

/// The limits of a log. They may change from one opening to the next.
#[derive(Clone, Debug)]
pub struct Options {
    /// A segment that would grow beyond this is sealed and the next begun. Bytes; default 64 MiB,
    /// at most 1 GiB. A batch that is larger by itself gets a segment of its own.
    pub segment_bytes_max: u64,
    /// The largest record: an event's frame with its topics and all else beside it. Bytes; default
    /// 16 MiB and 64 KiB, at most 512 MiB. What is larger is refused when it is appended; larger
    /// ones that are in the log already are read all the same.
    pub record_bytes_max: u32,
    /// When a commit is acknowledged. Default: once it is synced.
    pub durability: Durability,
    /// What the log may forget. Default: nothing.
    pub retention: Retention,
}

/// When a commit is acknowledged and shown to readers, and so what it survives from then on.
///
/// The process may crash or be killed in either mode: what was acknowledged survives. A log that
/// is to survive nothing lies on a [`MemoryStorage`](crate::MemoryStorage).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Once it is synced. It survives a crash of the kernel and the loss of power.
    #[default]
    Always,
    /// Once it is written. A crash of the kernel or the loss of power takes what was acknowledged
    /// since the last sync, newest first and never from the middle; a failed sync may take it too.
    /// Sequences that may have been lost so are not given again.
    Interval {
        /// A sync begins at most so long after the first commit that was not synced, also if none
        /// follows, if [`Writer::sync_if_due`](crate::Writer::sync_if_due) is called in time.
        /// Milliseconds.
        unsynced_ms_max: u64,
    },
}

/// What [`Writer::retain`](crate::Writer::retain) may forget: whole segments, oldest first.
///
/// The limits of the whole log do not count what is kept for single topics beyond them.
#[derive(Clone, Debug, Default)]
pub struct Retention {
    /// Segments and their indexes are forgotten while they take more than this. Bytes.
    pub bytes_max: Option<u64>,
    /// A segment is forgotten once at least this many younger records are held.
    pub events_max: Option<u64>,
    /// A segment is forgotten once its youngest record is older than this. Milliseconds.
    pub age_ms_max: Option<u64>,
    /// What is kept of some topics, in the place of the above. The first that fits a topic counts.
    pub topics: Vec<TopicRetention>,
}

/// What is kept of each of some topics.
///
/// These limits hold exactly for who reads the log. What one of several limits forgets is forgotten.
/// Without any limit everything is kept.
#[derive(Clone, Debug)]
pub struct TopicRetention {
    /// Which topics.
    pub topics: Topics,
    /// So much of each topic, as it is on disk, with the whole of the record that reaches it, and the
    /// newest in any case. Bytes.
    pub bytes_max: Option<u64>,
    /// At most so many records of each topic.
    pub events_max: Option<u64>,
    /// No records that are older. Milliseconds.
    pub age_ms_max: Option<u64>,
}

/// Some topics, and what they are called.
#[derive(Clone)]
pub struct Topics {
    name: String,
    matches: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Topics {
    /// The topics for which `matches` says so.
    ///
    /// The same topics must have the same `name` each time that the log is opened, and others
    /// another: by it the log knows when it must not rely on what was kept before.
    pub fn new(name: &str, matches: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            matches: Arc::new(matches),
        }
    }

    pub(crate) fn matches(&self, topic: &str) -> bool {
        (self.matches)(topic)
    }
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Topics").field(&self.name).finish()
    }
}

impl TopicRetention {
    /// A line that differs for rules that differ.
    pub(crate) fn describe(&self) -> String {
        let Self {
            topics,
            bytes_max,
            events_max,
            age_ms_max,
        } = self;
        let (name, limits) = (&topics.name, (bytes_max, events_max, age_ms_max));
        format!("{name:?} {limits:?}\n")
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            record_bytes_max: (16 << 20) + (64 << 10),
            durability: Durability::Always,
            retention: Retention::default(),
        }
    }
}

impl Options {
    /// Whether commits are acknowledged before they are synced.
    pub(crate) fn is_lazy(&self) -> bool {
        self.durability != Durability::Always
    }

    /// The largest record, within what a batch and an index entry can hold.
    pub(crate) fn record_bytes(&self) -> u32 {
        self.record_bytes_max.min(RECORD_BYTES_CAP)
    }

    /// Where a segment is full, with retention taken into account.
    pub(crate) fn segment_bytes(&self) -> u64 {
        let share = self.retention.bytes_max.map_or(u64::MAX, |bytes| {
            (bytes / RETENTION_PARTS).max(SEGMENT_BYTES_MIN)
        });
        self.segment_bytes_max.min(share).min(SEGMENT_BYTES_CAP)
    }

    /// How many records a segment takes before the next is begun.
    pub(crate) fn segment_records(&self) -> u64 {
        self.retention
            .events_max
            .map_or(u64::from(u32::MAX), |events| {
                (events / RETENTION_PARTS).max(1)
            })
    }

    /// How long a segment takes records before the next is begun.
    pub(crate) fn segment_age_ms(&self) -> Option<u64> {
        self.retention.age_ms_max.map(|age| age / RETENTION_PARTS)
    }
}
