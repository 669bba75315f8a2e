//! `tidings log stats`: what is in a log, by topic.

use std::{
    collections::HashMap,
    io::{self, BufWriter, Write, stdout},
};

use jiff::Timestamp;
use serde::Serialize;
use tidings_log::inspect::{Dumped, Files, dump, files};

use super::{Progress, output_ended, print_json, storage, time, unreadable};
use crate::{arguments::Counted, environment, failure::Failure, notice::counted, size};

/// Topics that are told to people who do not say how many.
const TOPICS_SHOWN: usize = 20;

/// After so many events it is looked whether there is something to tell.
const LOOK_EVERY: u64 = 1024;

#[derive(Serialize)]
struct Line<'a> {
    topic: &'a str,
    events: u64,
    bytes: u64,
    first: u64,
    last: u64,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
}

/// All of it.
#[derive(Serialize)]
struct Sum<'a> {
    epoch: Option<&'a str>,
    events: u64,
    bytes: u64,
    first: u64,
    last: u64,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
    /// Events of which the time to live is over. They are kept like others, and not delivered.
    expired: u64,
    topics: usize,
    segments: usize,
    sparse_segments: usize,
    segment_bytes: u64,
    index_bytes: u64,
    damaged_files: usize,
    damaged_bytes: u64,
}

#[derive(Default)]
struct Count {
    events: u64,
    bytes: u64,
    first: (u64, u64),
    last: (u64, u64),
}

impl Count {
    fn add(&mut self, sequence: u64, time_ms: u64, bytes: u64) {
        if self.events == 0 {
            self.first = (sequence, time_ms);
        }
        self.last = (sequence, time_ms);
        self.events += 1;
        self.bytes += bytes;
    }

    fn line<'a>(&self, topic: &'a str) -> Line<'a> {
        Line {
            topic,
            events: self.events,
            bytes: self.bytes,
            first: self.first.0,
            last: self.last.0,
            first_time: time(self.first.1),
            last_time: time(self.last.1),
        }
    }
}

/// What was counted so far.
#[derive(Default)]
struct Counts {
    all: Count,
    expired: u64,
    topics: HashMap<String, Count>,
}

impl Counts {
    fn add(&mut self, record: Dumped, now_ms: u64) {
        let (sequence, time_ms, bytes) =
            (record.sequence, record.time_ms, record.frame.len() as u64);
        self.all.add(sequence, time_ms, bytes);
        let expired = record.expires_ms.is_some_and(|expires| expires <= now_ms);
        self.expired += u64::from(expired);
        for topic in record.topics {
            let count = self.topics.entry(topic).or_default();
            count.add(sequence, time_ms, bytes);
        }
    }

    /// Those with most bytes first.
    fn lines(&self) -> Vec<Line<'_>> {
        let topics = self.topics.iter();
        let mut lines: Vec<_> = topics.map(|(topic, count)| count.line(topic)).collect();
        lines.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.topic.cmp(b.topic)));
        lines
    }

    fn sum<'a>(&self, files: &'a Files) -> Sum<'a> {
        let Line {
            events,
            bytes,
            first,
            last,
            first_time,
            last_time,
            ..
        } = self.all.line("");
        Sum {
            epoch: files.epoch.as_deref(),
            events,
            bytes,
            first,
            last,
            first_time,
            last_time,
            expired: self.expired,
            topics: self.topics.len(),
            segments: files.segments,
            sparse_segments: files.sparse_segments,
            segment_bytes: files.segment_bytes,
            index_bytes: files.index_bytes,
            damaged_files: files.damaged_files,
            damaged_bytes: files.damaged_bytes,
        }
    }
}

pub(super) fn run(arguments: &Counted) -> Result<(), Failure> {
    let Counted { inspected, topics } = arguments;
    let (dir, json) = (&inspected.dir, inspected.json);
    let storage = storage(dir)?;
    let records = dump(&storage).map_err(|error| unreadable(dir, &error))?;
    let now_ms = environment::now_ms();
    let (mut counts, mut problems, mut progress) = (Counts::default(), 0_u64, Progress::new());
    for record in records {
        match record {
            Ok(record) => counts.add(record, now_ms),
            Err(error) => {
                problems += 1;
                progress.line.say(format_args!("tidings: {error}"));
            }
        }
        if counts.all.events.is_multiple_of(LOOK_EVERY) {
            progress.tell(counts.all.events, "event", counts.all.bytes);
        }
    }
    progress.line.clear();
    let files = files(&storage).map_err(|error| unreadable(dir, &error))?;
    let (lines, sum) = (counts.lines(), counts.sum(&files));
    let shown = topics.unwrap_or(if json { usize::MAX } else { TOPICS_SHOWN });
    let shown = lines.get(..shown.min(lines.len())).unwrap_or_default();
    let mut out = BufWriter::new(stdout());
    let printed = if json {
        print_objects(&mut out, shown, &sum)
    } else {
        print(&mut out, shown, &sum)
    };
    printed
        .and_then(|()| out.flush())
        .or_else(|error| output_ended(&error))?;
    match problems {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "{} of the log in {} could not be read, as told above",
            counted(count, "part"),
            dir.display()
        ))),
    }
}

fn print_objects(out: &mut impl Write, topics: &[Line<'_>], sum: &Sum<'_>) -> io::Result<()> {
    topics.iter().try_for_each(|topic| print_json(out, topic))?;
    print_json(out, sum)
}

fn print(out: &mut impl Write, topics: &[Line<'_>], sum: &Sum<'_>) -> io::Result<()> {
    print_sum(out, sum)?;
    if topics.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:>12}  {:>10}  {:>12}  {:>12}  {:<24}  TOPIC",
        "EVENTS", "BYTES", "FIRST", "LAST", "LAST TIME"
    )?;
    for line in topics {
        let Line {
            topic,
            events,
            first,
            last,
            ..
        } = line;
        let (bytes, time) = (size::show(line.bytes), text(line.last_time));
        writeln!(
            out,
            "{events:>12}  {bytes:>10}  {first:>12}  {last:>12}  {time:<24}  {topic}"
        )?;
    }
    match sum.topics.saturating_sub(topics.len()) {
        0 => Ok(()),
        more => writeln!(
            out,
            "and {} more: see --topics N or --json",
            counted(more as u64, "topic")
        ),
    }
}

fn print_sum(out: &mut impl Write, sum: &Sum<'_>) -> io::Result<()> {
    let (events, bytes) = (counted(sum.events, "event"), size::show(sum.bytes));
    let epoch = sum.epoch.unwrap_or("none");
    writeln!(out, "epoch       {epoch}")?;
    writeln!(
        out,
        "holds       {events} of {bytes}, {} expired",
        sum.expired
    )?;
    if sum.events > 0 {
        let (first, last) = (text(sum.first_time), text(sum.last_time));
        writeln!(out, "oldest      {} of {first}", sum.first)?;
        writeln!(out, "newest      {} of {last}", sum.last)?;
    }
    let segments = counted(sum.segments as u64, "segment");
    let (taken, indexes) = (size::show(sum.segment_bytes), size::show(sum.index_bytes));
    writeln!(
        out,
        "on disk     {segments} ({} sparse) of {taken}, indexes of {indexes}",
        sum.sparse_segments
    )?;
    if sum.damaged_files > 0 {
        let (files, bytes) = (sum.damaged_files as u64, size::show(sum.damaged_bytes));
        let files = counted(files, "damaged segment");
        writeln!(
            out,
            "kept        {files} of {bytes}, by repairs; not needed"
        )?;
    }
    writeln!(out, "topics      {}", sum.topics)
}

fn text(time: Option<Timestamp>) -> String {
    time.map_or("-".to_owned(), |time| time.to_string())
}
