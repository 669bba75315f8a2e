//! The least that there is to do: frames end to end in a file that was written before, so that a
//! sync has no new blocks to record. Where the file is full, it begins again.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Store;
use crate::workload::{Event, FRAME_BYTES, Seen, Workload};

/// What is written before.
const AHEAD_BYTES: usize = 64 << 20;
const READ_BYTES: usize = 256 << 10;

pub struct Floor {
    file: File,
    length: PathBuf,
    place: u64,
    buffer: Vec<u8>,
    /// A reader that knows the places of a topic's events beforehand.
    places: HashMap<String, Vec<u64>>,
}

impl Floor {
    pub fn open(folder: &Path, workload: &Workload) -> Result<Self> {
        let path = folder.join("frames");
        let length = folder.join("length");
        let options = &mut OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(path)?;
        if file.metadata()?.len() == 0 {
            file.write_all_at(&vec![0; AHEAD_BYTES], 0)?;
            file.sync_all()?;
        }
        // Bulk loads say how far they came; what is measured does not pay for it.
        let place = fs::read_to_string(&length).map_or(Ok(0), |text| text.parse())?;
        let mut places: HashMap<String, Vec<u64>> = HashMap::new();
        for sequence in 1..=place / FRAME_BYTES as u64 {
            let topic = workload.event(sequence).topic;
            let of_topic = match places.get_mut(topic) {
                Some(of_topic) => of_topic,
                None => places.entry(topic.to_owned()).or_default(),
            };
            of_topic.push((sequence - 1) * FRAME_BYTES as u64);
        }
        Ok(Self {
            file,
            length,
            place,
            buffer: Vec::new(),
            places,
        })
    }

    fn append_at(&mut self, place: u64, events: &[Event]) -> Result<()> {
        self.buffer.clear();
        for event in events {
            self.buffer.extend_from_slice(event.frame);
        }
        self.file.write_all_at(&self.buffer, place)?;
        self.file.sync_data()?;
        self.place = place + self.buffer.len() as u64;
        Ok(())
    }
}

impl Store for Floor {
    fn append(&mut self, events: &[Event]) -> Result<()> {
        let fits = self.place as usize + events.len() * FRAME_BYTES <= AHEAD_BYTES;
        self.append_at(if fits { self.place } else { 0 }, events)
    }

    fn load(&mut self, events: &[Event]) -> Result<()> {
        self.append_at(self.place, events)?;
        Ok(fs::write(&self.length, self.place.to_string())?)
    }

    fn replay(&self, seen: &mut Seen) -> Result<()> {
        let mut buffer = vec![0; READ_BYTES];
        let mut place = 0;
        while place < self.place {
            let count = (self.place - place).min(READ_BYTES as u64) as usize;
            self.file.read_exact_at(&mut buffer[..count], place)?;
            buffer[..count]
                .chunks(FRAME_BYTES)
                .for_each(|frame| seen.look(frame));
            place += count as u64;
        }
        Ok(())
    }

    fn replay_topic(&self, topic: &str, seen: &mut Seen) -> Result<()> {
        let mut frame = [0; FRAME_BYTES];
        for place in self.places.get(topic).context("no such topic")? {
            self.file.read_exact_at(&mut frame, *place)?;
            seen.look(&frame);
        }
        Ok(())
    }

    fn last(&self) -> Result<u64> {
        ensure!(self.place > 0, "nothing was loaded");
        Ok(self.place / FRAME_BYTES as u64)
    }
}
