//! The log of this repository as the tables need it that are about nothing else.

use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::Result;
use tidings_log::{DirectoryStorage, Head, Options, ReadLimits, Reader, Select, Writer, open};

use crate::workload::{Event, Seen};

/// One that is open, with what seals full segments and writes the next ahead, as in the hub.
pub struct Log {
    pub writer: Writer,
    pub reader: Reader,
    upkeep: JoinHandle<()>,
}

/// One topic.
pub struct Only<'a>(pub [&'a str; 1]);

impl Select for Only<'_> {
    fn exact(&self) -> Option<&[&str]> {
        Some(&self.0)
    }

    fn matches(&self, topic: &str) -> bool {
        self.0.contains(&topic)
    }
}

impl Log {
    pub fn open(folder: &Path, options: Options) -> Result<Self> {
        let storage = Arc::new(DirectoryStorage::open(folder)?);
        let (mut writer, reader, _) = open(storage, options, "Ecompare", 1)?;
        let upkeep = writer.upkeep();
        Ok(Self {
            writer,
            reader,
            upkeep: thread::spawn(|| upkeep.run()),
        })
    }

    pub fn append(&mut self, events: &[Event], time_ms: u64) -> Result<()> {
        let mut batch = self.writer.begin(time_ms);
        for event in events {
            let topics = &[event.topic];
            let head = Head {
                topics,
                ..Head::default()
            };
            batch.push(&head, |_, frame| frame.extend_from_slice(event.frame))?;
        }
        self.writer.commit(batch)?;
        Ok(())
    }

    pub fn close(self) -> Result<()> {
        self.writer.close()?;
        self.upkeep.join().expect("upkeep does not panic");
        Ok(())
    }
}

/// Reads a page and answers where the next one begins.
pub fn read(reader: &Reader, select: &dyn Select, cursor: u64, seen: &mut Seen) -> Result<u64> {
    let page = reader.read(select, cursor, ReadLimits::default())?;
    page.frames
        .iter()
        .for_each(|stored| seen.look(&stored.frame));
    Ok(page.next)
}
