//! redb: a copy-on-write B-tree. Each commit has `Durability::Immediate`, its default (fdatasync);
//! all else as it comes.

use std::path::Path;

use anyhow::{Context, Result};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::{Store, key_sequence, topic_key};
use crate::workload::{Event, FRAME_BYTES, Seen};

/// Sequence -> frame, then topic.
const EVENTS: TableDefinition<u64, &[u8]> = TableDefinition::new("events");
/// Topic and sequence.
const TOPICS: TableDefinition<&[u8], ()> = TableDefinition::new("topics");

pub struct Redb {
    database: Database,
    indexed: bool,
    next: u64,
}

impl Redb {
    pub fn open(folder: &Path, indexed: bool) -> Result<Self> {
        let database = Database::create(folder.join("events.redb"))?;
        let read = database.begin_read()?;
        let last = match read.open_table(EVENTS) {
            Ok(events) => events.last()?.map(|(key, _)| key.value()),
            Err(TableError::TableDoesNotExist(_)) => {
                let creation = database.begin_write()?;
                creation.open_table(EVENTS)?;
                creation.open_table(TOPICS)?;
                creation.commit()?;
                None
            }
            Err(error) => return Err(error.into()),
        };
        Ok(Self {
            database,
            indexed,
            next: last.unwrap_or(0) + 1,
        })
    }
}

impl Store for Redb {
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let commit = self.database.begin_write()?;
        {
            let mut table = commit.open_table(EVENTS)?;
            let mut topics = commit.open_table(TOPICS)?;
            for event in events {
                let value = [event.frame, event.topic.as_bytes()].concat();
                table.insert(self.next, &*value)?;
                if self.indexed {
                    topics.insert(&*topic_key(event.topic, self.next), ())?;
                }
                self.next += 1;
            }
        }
        Ok(commit.commit()?)
    }

    fn replay(&self, seen: &mut Seen) -> Result<()> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        for entry in events.iter()? {
            seen.look(&entry?.1.value()[..FRAME_BYTES]);
        }
        Ok(())
    }

    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()> {
        let read = self.database.begin_read()?;
        let (events, topics) = (read.open_table(EVENTS)?, read.open_table(TOPICS)?);
        let (start, end) = (topic_key(topic, 0), topic_key(topic, u64::MAX));
        for entry in topics.range(&*start..&*end)? {
            let sequence = key_sequence(entry?.0.value());
            let value = events.get(sequence)?.context("a dangling entry")?;
            seen.look(&value.value()[..FRAME_BYTES]);
        }
        Ok(())
    }

    fn last(&self) -> Result<u64> {
        let events = self.database.begin_read()?.open_table(EVENTS)?;
        Ok(events.last()?.map_or(0, |(key, _)| key.value()))
    }
}
