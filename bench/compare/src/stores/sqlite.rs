//! SQLite: `journal_mode = WAL`, `synchronous = FULL`, so that each commit syncs the WAL
//! (fdatasync, see `.cargo/config.toml`); all else as it comes, its checkpoints among them.

use std::path::Path;

use anyhow::Result;
use rusqlite::{Connection, OptionalExtension};

use super::Store;
use crate::workload::{Event, Seen};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    CREATE TABLE IF NOT EXISTS events (
        sequence INTEGER PRIMARY KEY, topic TEXT NOT NULL, frame BLOB NOT NULL
    );";
const INDEX: &str = "CREATE INDEX IF NOT EXISTS by_topic ON events (topic)";
const INSERT: &str = "INSERT INTO events (topic, frame) VALUES (?, ?)";
const REPLAY: &str = "SELECT frame FROM events ORDER BY sequence";
const REPLAY_TOPIC: &str = "SELECT frame FROM events WHERE topic = ? ORDER BY sequence";
const LAST: &str = "SELECT sequence, frame FROM events ORDER BY sequence DESC LIMIT 1";

pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    pub fn open(folder: &Path, indexed: bool) -> Result<Self> {
        let connection = Connection::open(folder.join("events.sqlite"))?;
        connection.execute_batch(SCHEMA)?;
        if indexed {
            connection.execute_batch(INDEX)?;
        }
        Ok(Self { connection })
    }

    fn read(&self, query: &str, given: &[&str], seen: &mut Seen) -> Result<()> {
        let mut statement = self.connection.prepare_cached(query)?;
        let mut rows = statement.query(rusqlite::params_from_iter(given))?;
        while let Some(row) = rows.next()? {
            seen.look(row.get_ref(0)?.as_blob()?);
        }
        Ok(())
    }
}

impl Store for Sqlite {
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let commit = self.connection.transaction()?;
        {
            let mut insert = commit.prepare_cached(INSERT)?;
            for event in events {
                insert.execute((event.topic, event.frame))?;
            }
        }
        Ok(commit.commit()?)
    }

    fn replay(&self, seen: &mut Seen) -> Result<()> {
        self.read(REPLAY, &[], seen)
    }

    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()> {
        self.read(REPLAY_TOPIC, &[topic], seen)
    }

    fn last(&self) -> Result<u64> {
        let last = |row: &rusqlite::Row| {
            row.get_ref(1)?.as_blob()?;
            row.get::<_, i64>(0)
        };
        let row = self.connection.query_row(LAST, [], last);
        Ok(row.optional()?.unwrap_or(0).try_into()?)
    }
}
