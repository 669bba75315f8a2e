//! How near a topic's replay comes to only reading the bytes that it lies in.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use tidings_log::Options;

use crate::disk;
use crate::figures::{count, median};
use crate::load;
use crate::log::{Log, Only, read};
use crate::stores::Kind;
use crate::table::Table;
use crate::workload::{BUSY, Event, Seen, Workload};

const ROUNDS: usize = 3;
const COMMIT_EVENTS: usize = 10_000;
const READ_BYTES: usize = 256 << 10;

pub fn run(within: &Path, events: usize) -> Result<()> {
    println!(
        "\n## A topic's replay, and reading its bytes\n\nTidings, warm, one thread, the median of \
         {ROUNDS} rounds: the busy topic of the load, and as many events of it in a log of their own. \
         Beside it what `pread` takes to copy all bytes of that log's segments from the page cache, \
         {} KiB at a time, and look at none.\n",
        READ_BYTES >> 10
    );
    let shared = load::folder(within, Kind::Tidings);
    let alone = within.join("alone");
    write_alone(&alone, events / 10)?;
    let heads = [
        "log",
        "events/s",
        "bytes read for each",
        "only read, events/s",
    ];
    let mut table = Table::new(&heads);
    for (name, folder) in [("a tenth of it", shared), ("all of it", alone)] {
        let log = Log::open(&folder, Options::default())?;
        let replayed = times(|| replay(&log))?;
        log.close()?;
        let copied = times(|| copy(&folder))?;
        let events = (events / 10) as f64;
        let mut bytes = 0;
        for path in segments(&folder)? {
            bytes += fs::metadata(path)?.len();
        }
        table.row([
            name.to_owned(),
            count(events / replayed),
            format!("{:.0}", bytes as f64 / events),
            count(events / copied),
        ]);
    }
    print!("{table}");
    Ok(())
}

fn write_alone(folder: &Path, events: usize) -> Result<()> {
    disk::empty(folder)?;
    let workload = Workload::new();
    let mut log = Log::open(folder, Options::default())?;
    for first in (0..events).step_by(COMMIT_EVENTS) {
        let count = COMMIT_EVENTS.min(events - first);
        let commit: Vec<Event> = workload
            .events(first as u64 + 1, count)
            .into_iter()
            .map(|event| Event {
                topic: BUSY,
                ..event
            })
            .collect();
        log.append(&commit, 1)?;
    }
    log.close()
}

/// Once without looking at the clock, and the median of the others. Seconds.
fn times(work: impl Fn() -> Result<()>) -> Result<f64> {
    work()?;
    let rounds = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    });
    Ok(median(rounds.collect::<Result<_>>()?))
}

fn replay(log: &Log) -> Result<()> {
    let mut seen = Seen::default();
    let mut cursor = log.reader.first();
    loop {
        let next = read(&log.reader, &Only([BUSY]), cursor, &mut seen)?;
        if next == cursor {
            return Ok(());
        }
        cursor = next;
    }
}

fn copy(folder: &Path) -> Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    for path in segments(folder)? {
        let file = File::open(path)?;
        let mut place = 0;
        loop {
            let count = file.read_at(&mut buffer, place)?;
            if count == 0 {
                break;
            }
            place += count as u64;
        }
    }
    Ok(())
}

fn segments(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|ending| ending == "log") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
