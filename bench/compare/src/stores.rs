//! One door to every store.

mod fjall;
mod floor;
mod redb;
mod sqlite;
mod tidings;

use std::fmt;
use std::path::Path;

use anyhow::Result;
use clap::ValueEnum;

use crate::workload::{Event, Seen, Workload};

/// A store that numbers events 1, 2, 3, and so on.
pub trait Store {
    /// One commit: when this returns, all events are on disk.
    fn append(&mut self, events: &[Event]) -> Result<()>;
    /// The same, where nobody looks at the clock.
    fn load(&mut self, events: &[Event]) -> Result<()> {
        self.append(events)
    }
    /// All events in order.
    fn replay(&self, seen: &mut Seen) -> Result<()>;
    /// A topic's events in order.
    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()>;
    /// The newest event's number, after its bytes were read; 0: there is none.
    fn last(&self) -> Result<u64>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    Floor,
    Tidings,
    Fjall,
    FjallPlain,
    Redb,
    RedbPlain,
    Sqlite,
    SqlitePlain,
}

impl Kind {
    pub fn open(self, folder: &Path, workload: &Workload) -> Result<Box<dyn Store>> {
        std::fs::create_dir_all(folder)?;
        Ok(match self {
            Self::Floor => Box::new(floor::Floor::open(folder, workload)?),
            Self::Tidings => Box::new(tidings::Tidings::open(folder)?),
            Self::Fjall => Box::new(fjall::Fjall::open(folder, true)?),
            Self::FjallPlain => Box::new(fjall::Fjall::open(folder, false)?),
            Self::Redb => Box::new(redb::Redb::open(folder, true)?),
            Self::RedbPlain => Box::new(redb::Redb::open(folder, false)?),
            Self::Sqlite => Box::new(sqlite::Sqlite::open(folder, true)?),
            Self::SqlitePlain => Box::new(sqlite::Sqlite::open(folder, false)?),
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Floor => "floor",
            Self::Tidings => "Tidings",
            Self::Fjall => "fjall",
            Self::FjallPlain => "fjall, no topic index",
            Self::Redb => "redb",
            Self::RedbPlain => "redb, no topic index",
            Self::Sqlite => "SQLite",
            Self::SqlitePlain => "SQLite, no topic index",
        })
    }
}

/// A topic and a sequence, as they sort; no topic is the beginning of another.
fn topic_key(topic: &str, sequence: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(topic.len() + 8);
    key.extend_from_slice(topic.as_bytes());
    key.extend_from_slice(&sequence.to_be_bytes());
    key
}

/// The sequence at the end of such a key.
fn key_sequence(key: &[u8]) -> u64 {
    key.last_chunk().copied().map_or(0, u64::from_be_bytes)
}
