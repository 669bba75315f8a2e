//! What commits wait for while the log forgets.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use tidings_log::{Options, Retention, TopicRetention, Topics};

use crate::disk;
use crate::figures::{count, percentile, time};
use crate::log::Log;
use crate::table::Table;
use crate::workload::{BUSY, Workload};

const BATCH: usize = 32;
/// Segments are an eighth of it: as large as they come.
const BYTES_MAX: u64 = 512 << 20;
/// How often the hub applies it.
const EVERY: Duration = Duration::from_secs(1);
/// What is kept of a topic that has a rule.
const EVENTS_MAX: u64 = 20_000;

pub fn run(within: &Path, seconds: f64) -> Result<()> {
    println!(
        "\n## Commits while the log forgets\n\nTidings: one thread commits {BATCH} events at a time, \
         each commit synced, for {seconds} s in each row, and applies retention once a second, as \
         the hub's committer does. The log is full: {} MiB in segments of 64 MiB. A rule keeps \
         {EVENTS_MAX} events of the busy topic, or of each topic; what it keeps of a segment that is \
         forgotten is copied.\n",
        BYTES_MAX >> 20
    );
    let busy = || rule("busy", |topic| topic == BUSY);
    let each = || rule("each", |_| true);
    let cases = [
        ("nothing is forgotten", None, Vec::new()),
        ("whole segments", Some(BYTES_MAX), Vec::new()),
        (
            "with a rule for the busy topic",
            Some(BYTES_MAX),
            vec![busy()],
        ),
        ("with a rule for each topic", Some(BYTES_MAX), vec![each()]),
    ];
    let heads = [
        "retention",
        "commits/s",
        "99.9 % of commits within",
        "longest commit",
        "times applied",
        "longest time",
    ];
    let mut table = Table::new(&heads);
    for (name, bytes_max, topics) in cases {
        let retention = Retention {
            bytes_max,
            topics,
            ..Retention::default()
        };
        let options = Options {
            retention,
            ..Options::default()
        };
        table.row(measure(&within.join("retention"), options, name, seconds)?);
    }
    print!("{table}");
    Ok(())
}

fn rule(name: &str, matches: fn(&str) -> bool) -> TopicRetention {
    TopicRetention {
        topics: Topics::new(name, matches),
        bytes_max: None,
        events_max: Some(EVENTS_MAX),
        age_ms_max: None,
    }
}

fn measure(folder: &Path, options: Options, name: &str, seconds: f64) -> Result<[String; 6]> {
    disk::empty(folder)?;
    let mut log = Log::open(folder, options)?;
    let workload = Workload::new();
    while log.reader.stats().bytes < BYTES_MAX {
        let events = workload.events(log.writer.next_sequence(), 10_000);
        log.append(&events, 1)?;
    }
    let begun = Instant::now();
    let (mut commits, mut retained, mut due) = (Vec::new(), Vec::new(), begun + EVERY);
    while begun.elapsed().as_secs_f64() < seconds {
        let events = workload.events(log.writer.next_sequence(), BATCH);
        let start = Instant::now();
        log.append(&events, 1)?;
        commits.push(start.elapsed().as_secs_f64());
        if start >= due {
            due = start + EVERY;
            let start = Instant::now();
            // What is kept for single topics is looked through once a minute; so each time is one.
            log.writer.retain(60_000 * (retained.len() as u64 + 1))?;
            retained.push(start.elapsed().as_secs_f64());
        }
    }
    let (rate, applied) = (commits.len() as f64 / seconds, retained.len());
    log.close()?;
    Ok([
        name.to_owned(),
        count(rate),
        time(percentile(commits.clone(), 0.999)),
        time(percentile(commits, 1.0)),
        applied.to_string(),
        time(percentile(retained, 1.0)),
    ])
}
