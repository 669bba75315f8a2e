//! Many cursors in the same old part of the log, beside the committer.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tidings_log::{Options, Reader};

use crate::disk;
use crate::figures::{count, median, percentile, time};
use crate::load;
use crate::log::{Log, Only, read};
use crate::stores::Kind;
use crate::table::Table;
use crate::workload::{BUSY, Seen, Workload};

const CURSORS: usize = 200;
const BATCH: usize = 32;
/// Which part of the load they read, from the front.
const PART: u64 = 4;

pub fn run(within: &Path, seconds: f64) -> Result<()> {
    let threads = thread::available_parallelism()?.get();
    println!(
        "\n## Many readers of the same\n\nTidings: one thread commits {BATCH} events at a time, each \
         commit synced, for {seconds} s, alone; then beside {CURSORS} cursors of the busy topic in \
         the oldest {} % of the load, of which nothing is in memory when they begin. They take \
         turns, a page each, on {threads} threads, and begin again at the end.\n",
        100 / PART
    );
    let folder = load::folder(within, Kind::Tidings);
    disk::forget(&folder)?;
    let mut log = Log::open(&folder, Options::default())?;
    disk::forget(&folder)?;
    let workload = Workload::new();
    let heads = [
        "beside the committer",
        "commits/s",
        "median commit",
        "99.9 % of commits within",
        "events read/s",
        "read, MB",
        "from disk, MB",
    ];
    let mut table = Table::new(&heads);
    for cursors in [0, CURSORS] {
        let before = disk::read_bytes()?;
        let (commits, read) = measure(&mut log, &workload, cursors / threads, threads, seconds)?;
        let rate = commits.len() as f64 / seconds;
        let from_disk = disk::read_bytes()?.saturating_sub(before);
        table.row([
            format!("{cursors} cursors"),
            count(rate),
            time(median(commits.clone())),
            time(percentile(commits, 0.999)),
            count(read.events as f64 / seconds),
            format!("{:.0}", read.bytes as f64 / 1e6),
            format!("{:.0}", from_disk as f64 / 1e6),
        ]);
    }
    print!("{table}");
    log.close()
}

#[derive(Default)]
struct Read {
    events: u64,
    /// Of the segments, what the events lie in.
    bytes: u64,
}

/// How long each commit took, and what was read beside them.
fn measure(
    log: &mut Log,
    workload: &Workload,
    cursors: usize,
    threads: usize,
    seconds: f64,
) -> Result<(Vec<f64>, Read)> {
    let (stop, events, sequences) = Default::default();
    let reader = log.reader.clone();
    let commits = thread::scope(|scope| {
        let crowd = Crowd {
            reader: &reader,
            stop: &stop,
            events: &events,
            sequences: &sequences,
        };
        let readers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(move || crowd.follow(cursors)))
            .collect();
        let commits = commit(log, workload, Duration::from_secs_f64(seconds));
        stop.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().ok().context("a reader panicked")??;
        }
        commits
    })?;
    let stats = log.reader.stats();
    let (events, sequences) = (events.into_inner(), sequences.into_inner());
    let bytes = sequences as u128 * u128::from(stats.bytes) / u128::from(stats.records.max(1));
    Ok((
        commits,
        Read {
            events,
            bytes: bytes as u64,
        },
    ))
}

fn commit(log: &mut Log, workload: &Workload, during: Duration) -> Result<Vec<f64>> {
    let (begun, mut commits) = (Instant::now(), Vec::new());
    while begun.elapsed() < during {
        let events = workload.events(log.writer.next_sequence(), BATCH);
        let start = Instant::now();
        log.append(&events, 1)?;
        commits.push(start.elapsed().as_secs_f64());
    }
    Ok(commits)
}

#[derive(Clone, Copy)]
struct Crowd<'a> {
    reader: &'a Reader,
    stop: &'a AtomicBool,
    events: &'a AtomicU64,
    sequences: &'a AtomicU64,
}

impl Crowd<'_> {
    /// Moves so many cursors a page each, round after round.
    fn follow(self, cursors: usize) -> Result<()> {
        let first = self.reader.first();
        let end = first + (self.reader.next() - first) / PART;
        let mut places = vec![first; cursors];
        while !self.stop.load(Ordering::Relaxed) && cursors > 0 {
            for place in &mut places {
                let mut seen = Seen::default();
                let next = read(self.reader, &Only([BUSY]), *place, &mut seen)?;
                self.events.fetch_add(seen.events, Ordering::Relaxed);
                self.sequences.fetch_add(next - *place, Ordering::Relaxed);
                *place = if next < end { next } else { first };
                if self.stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        Ok(())
    }
}
