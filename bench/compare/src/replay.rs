//! Reading back: everything, one topic of very many, and one that is a tenth of all.

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};

use crate::disk;
use crate::figures::{count, median, time};
use crate::load;
use crate::stores::{Kind, Store};
use crate::table::Table;
use crate::workload::{BUSY, Seen, TOPICS, Workload};

const ROUNDS: usize = 3;
const SOME_TOPICS: usize = 9;

pub fn run(within: &Path, stores: &[Kind]) -> Result<()> {
    println!(
        "\n## Replay\n\nOf the load, in order, each frame looked at, from one thread. Warm: \
         everything was read once by the same opened store; the median of {ROUNDS} rounds. Cold: \
         the store is opened, with all its pages out of the page cache before that and again \
         after it, and reads once. One topic of {TOPICS}: the median of {SOME_TOPICS} topics. \
         The floor reads a file of nothing but frames, 256 KiB at a time, or each frame of a topic \
         at a place that it knows beforehand.\n"
    );
    let heads = [
        "store",
        "all, warm, events/s",
        "all, cold",
        "busy topic, warm, events/s",
        "busy topic, cold",
        "one of 10,000, warm",
        "one of 10,000, cold",
    ];
    let mut table = Table::new(&heads);
    let workload = Workload::new();
    let mut expected = None;
    for kind in load::indexed(stores) {
        let subject = Subject {
            kind,
            folder: load::folder(within, kind),
            workload: &workload,
        };
        let (cells, seen) = subject.measure()?;
        // Whoever is faster because it reads something else is not faster.
        ensure!(
            *expected.get_or_insert(seen) == seen,
            "{kind} read {seen:?}"
        );
        table.row(std::iter::once(kind.to_string()).chain(cells));
    }
    print!("{table}");
    Ok(())
}

struct Subject<'a> {
    kind: Kind,
    folder: std::path::PathBuf,
    workload: &'a Workload,
}

/// What was read, and how long it took.
type Timed = (Seen, f64);

impl Subject<'_> {
    fn measure(&self) -> Result<([String; 6], [Seen; 3])> {
        let topics = self.workload.some_topics(SOME_TOPICS);
        let store = self.cold()?;
        let cold_all = replay(&*store)?;
        let warm_all = warm(|| replay(&*store))?;
        let warm_busy = warm(|| replay_topic(&*store, BUSY))?;
        let mut warm_few = Vec::new();
        let mut few = Seen::default();
        for topic in &topics {
            let (seen, seconds) = warm(|| replay_topic(&*store, topic))?;
            warm_few.push(seconds);
            few.add(seen);
        }
        drop(store);
        let cold_busy = replay_topic(&*self.cold()?, BUSY)?;
        let mut cold_few = Vec::new();
        for topic in &topics {
            cold_few.push(replay_topic(&*self.cold()?, topic)?.1);
        }
        ensure!(cold_all.0 == warm_all.0 && cold_busy.0 == warm_busy.0);
        let rate = |(seen, seconds): Timed| count(seen.events as f64 / seconds);
        let cells = [
            rate(warm_all),
            rate(cold_all),
            rate(warm_busy),
            rate(cold_busy),
            time(median(warm_few)),
            time(median(cold_few)),
        ];
        Ok((cells, [warm_all.0, warm_busy.0, few]))
    }

    /// The store just opened, with nothing in memory but what opening itself takes in.
    fn cold(&self) -> Result<Box<dyn Store>> {
        disk::forget(&self.folder)?;
        let store = self.kind.open(&self.folder, self.workload)?;
        disk::forget(&self.folder)?;
        Ok(store)
    }
}

fn replay(store: &dyn Store) -> Result<Timed> {
    let mut seen = Seen::default();
    let start = Instant::now();
    store.replay(&mut seen)?;
    Ok((seen, start.elapsed().as_secs_f64()))
}

fn replay_topic(store: &dyn Store, topic: &str) -> Result<Timed> {
    let mut seen = Seen::default();
    let start = Instant::now();
    store.replay_topic(topic, &mut seen)?;
    Ok((seen, start.elapsed().as_secs_f64()))
}

fn warm(read: impl Fn() -> Result<Timed>) -> Result<Timed> {
    let (seen, _) = read()?;
    let mut seconds = Vec::new();
    for _ in 0..ROUNDS {
        seconds.push(read()?.1);
    }
    Ok((seen, median(seconds)))
}
