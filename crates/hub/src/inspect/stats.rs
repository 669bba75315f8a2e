//! `tidings log stats`: what is in a log, by topic.

use std::{
    collections::HashMap,
    io::{Write, stdout},
};

use jiff::Timestamp;
use serde::Serialize;
use tidings_log::inspect::dump;

use super::{Progress, output_ended, print_json, storage, time, unreadable};
use crate::{arguments::Inspected, failure::Failure};

/// Topics that are told to people.
const TOPICS_SHOWN_MAX: usize = 20;

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
}

pub(super) fn run(inspected: &Inspected) -> Result<(), Failure> {
    let storage = storage(&inspected.dir)?;
    let records = dump(&storage).map_err(|error| unreadable(&inspected.dir, &error))?;
    let mut topics: HashMap<String, Count> = HashMap::new();
    let (mut all, mut problems, mut progress) = (Count::default(), 0_u64, Progress::new());
    for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                problems += 1;
                progress.line.say(format_args!("tidings: {error}"));
                continue;
            }
        };
        let bytes = record.frame.len() as u64;
        all.add(record.sequence, record.time_ms, bytes);
        if all.events.is_multiple_of(LOOK_EVERY) {
            progress.tell(all.events, "event", all.bytes);
        }
        for topic in record.topics {
            let count = topics.entry(topic).or_default();
            count.add(record.sequence, record.time_ms, bytes);
        }
    }
    progress.line.clear();
    let mut topics: Vec<_> = topics
        .iter()
        .map(|(topic, count)| shown(topic, count))
        .collect();
    topics.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.topic.cmp(b.topic)));
    print(&topics, &shown("", &all), inspected.json).or_else(|error| output_ended(&error))?;
    match problems {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "{count} parts of the log in {} could not be read, as told above",
            inspected.dir.display()
        ))),
    }
}

fn shown<'a>(topic: &'a str, count: &Count) -> Line<'a> {
    Line {
        topic,
        events: count.events,
        bytes: count.bytes,
        first: count.first.0,
        last: count.last.0,
        first_time: time(count.first.1),
        last_time: time(count.last.1),
    }
}

fn print(topics: &[Line<'_>], all: &Line<'_>, json: bool) -> std::io::Result<()> {
    let mut out = stdout();
    if json {
        return topics
            .iter()
            .try_for_each(|topic| print_json(&mut out, topic));
    }
    let (events, bytes, count) = (all.events, all.bytes, topics.len());
    writeln!(out, "{events} events\t{bytes} bytes\t{count} topics")?;
    for Line {
        topic,
        events,
        bytes,
        first,
        last,
        ..
    } in topics.iter().take(TOPICS_SHOWN_MAX)
    {
        writeln!(
            out,
            "{topic}\t{events} events\t{bytes} bytes\t{first} to {last}"
        )?;
    }
    match topics.len().saturating_sub(TOPICS_SHOWN_MAX) {
        0 => Ok(()),
        more => writeln!(out, "and {more} topics more: see --json"),
    }
}
