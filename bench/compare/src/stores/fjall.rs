//! fjall: an LSM tree. Each commit is a write batch with `PersistMode::SyncData` (fdatasync of its
//! journal); all else as it comes.

use std::path::Path;

use anyhow::{Context, Result};
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Store, key_sequence, topic_key};
use crate::workload::{Event, FRAME_BYTES, Seen};

pub struct Fjall {
    database: Database,
    /// Sequence -> frame, then topic.
    events: Keyspace,
    /// Topic and sequence -> nothing.
    topics: Option<Keyspace>,
    next: u64,
}

impl Fjall {
    pub fn open(folder: &Path, indexed: bool) -> Result<Self> {
        let database = Database::builder(folder).open()?;
        let events = database.keyspace("events", KeyspaceCreateOptions::default)?;
        let topics = indexed
            .then(|| database.keyspace("topics", KeyspaceCreateOptions::default))
            .transpose()?;
        let last = events.last_key_value().map(fjall::Guard::key).transpose()?;
        Ok(Self {
            next: last.map_or(1, |key| key_sequence(&key) + 1),
            database,
            events,
            topics,
        })
    }
}

impl Store for Fjall {
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let mut batch = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for event in events {
            let value = [event.frame, event.topic.as_bytes()].concat();
            batch.insert(&self.events, self.next.to_be_bytes(), value);
            if let Some(topics) = &self.topics {
                batch.insert(topics, topic_key(event.topic, self.next), []);
            }
            self.next += 1;
        }
        Ok(batch.commit()?)
    }

    fn replay(&self, seen: &mut Seen) -> Result<()> {
        for entry in self.events.iter() {
            seen.look(&entry.value()?[..FRAME_BYTES]);
        }
        Ok(())
    }

    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()> {
        let topics = self.topics.as_ref().context("there is no topic index")?;
        for entry in topics.prefix(topic) {
            let sequence = key_sequence(&entry.key()?).to_be_bytes();
            let value = self.events.get(sequence)?.context("a dangling entry")?;
            seen.look(&value[..FRAME_BYTES]);
        }
        Ok(())
    }

    fn last(&self) -> Result<u64> {
        let last = self.events.last_key_value();
        let last = last.map(fjall::Guard::into_inner).transpose()?;
        Ok(last.map_or(0, |(key, _)| key_sequence(&key)))
    }
}
