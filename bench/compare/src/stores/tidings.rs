//! The log of this repository, with its defaults.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tidings_log::{DirectoryStorage, Head, Options, ReadLimits, Reader, Select, Writer, open};

use super::Store;
use crate::workload::{Event, Seen};

const TIME_MS: u64 = 1_700_000_000_000;

pub struct Tidings {
    /// Taken when it is closed.
    writer: Option<Writer>,
    reader: Reader,
    /// What seals full segments and writes the next one ahead, as in the hub.
    upkeep: Option<JoinHandle<()>>,
}

struct Everything;

struct Only<'a>([&'a str; 1]);

impl Select for Everything {
    fn matches(&self, _: &str) -> bool {
        true
    }
}

impl Select for Only<'_> {
    fn exact(&self) -> Option<&[&str]> {
        Some(&self.0)
    }

    fn matches(&self, topic: &str) -> bool {
        self.0.contains(&topic)
    }
}

impl Tidings {
    pub fn open(folder: &Path) -> Result<Self> {
        let storage = Arc::new(DirectoryStorage::open(folder)?);
        let (mut writer, reader, _) = open(storage, Options::default(), "Ecompare", TIME_MS)?;
        let upkeep = writer.upkeep();
        Ok(Self {
            writer: Some(writer),
            reader,
            upkeep: Some(thread::spawn(|| upkeep.run())),
        })
    }

    fn read(&self, select: &dyn Select, mut cursor: u64, seen: &mut Seen) -> Result<()> {
        loop {
            let page = self.reader.read(select, cursor, ReadLimits::default())?;
            page.frames
                .iter()
                .for_each(|stored| seen.look(&stored.frame));
            if page.next == cursor {
                return Ok(());
            }
            cursor = page.next;
        }
    }
}

impl Store for Tidings {
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let writer = self.writer.as_mut().context("closed")?;
        let mut batch = writer.begin(TIME_MS);
        for event in events {
            let topics = &[event.topic];
            let head = Head {
                topics,
                ..Head::default()
            };
            batch.push(&head, |_, frame| frame.extend_from_slice(event.frame))?;
        }
        writer.commit(batch)?;
        Ok(())
    }

    fn replay(&self, seen: &mut Seen) -> Result<()> {
        self.read(&Everything, self.reader.first(), seen)
    }

    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()> {
        self.read(&Only([topic]), self.reader.first(), seen)
    }

    fn last(&self) -> Result<u64> {
        let last = self.reader.next() - 1;
        let mut seen = Seen::default();
        self.read(&Everything, last.max(1), &mut seen)?;
        assert_eq!(seen.events, last.min(1));
        Ok(last)
    }
}

impl Drop for Tidings {
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.close().expect("a disk that works");
        }
        if let Some(upkeep) = self.upkeep.take() {
            upkeep.join().expect("upkeep does not panic");
        }
    }
}
