//! The log of this repository, with its defaults.

use std::path::Path;

use anyhow::{Context, Result};
use tidings_log::{Options, Select};

use super::Store;
use crate::log::{Log, Only, read};
use crate::workload::{Event, Seen};

const TIME_MS: u64 = 1_700_000_000_000;

/// Taken when it is closed.
pub struct Tidings(Option<Log>);

struct Everything;

impl Select for Everything {
    fn matches(&self, _: &str) -> bool {
        true
    }
}

impl Tidings {
    pub fn open(folder: &Path) -> Result<Self> {
        Ok(Self(Some(Log::open(folder, Options::default())?)))
    }

    fn log(&self) -> Result<&Log> {
        self.0.as_ref().context("closed")
    }

    fn read(&self, select: &dyn Select, from: Option<u64>, seen: &mut Seen) -> Result<()> {
        let reader = &self.log()?.reader;
        let mut cursor = from.unwrap_or(reader.first());
        loop {
            let next = read(reader, select, cursor, seen)?;
            if next == cursor {
                return Ok(());
            }
            cursor = next;
        }
    }
}

impl Store for Tidings {
    fn append(&mut self, events: &[Event]) -> Result<()> {
        self.0.as_mut().context("closed")?.append(events, TIME_MS)
    }

    fn replay(&self, seen: &mut Seen) -> Result<()> {
        self.read(&Everything, None, seen)
    }

    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()> {
        self.read(&Only([topic]), None, seen)
    }

    fn last(&self) -> Result<u64> {
        let last = self.log()?.reader.next() - 1;
        let mut seen = Seen::default();
        self.read(&Everything, Some(last.max(1)), &mut seen)?;
        assert_eq!(seen.events, last.min(1));
        Ok(last)
    }
}

impl Drop for Tidings {
    fn drop(&mut self) {
        if let Some(log) = self.0.take() {
            log.close().expect("a disk that works");
        }
    }
}
