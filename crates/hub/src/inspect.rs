//! `tidings log`: a log on disk. All but `repair` only read, also while a hub runs on it.

mod repair;
mod stats;

use std::{
    error::Error,
    io::{self, BufWriter, IsTerminal, Write, stdout},
    path::Path,
    time::Instant,
};

use jiff::Timestamp;
use serde::Serialize;
use tidings_log::{
    DirectoryStorage,
    inspect::{Dumped, IndexReport, Report, SegmentReport, dump, verify},
};
use tidings_wire::{Decoder, Item, encode_comment};

use crate::{
    arguments::{Inspected, Log},
    failure::Failure,
    notice, size,
    status_line::StatusLine,
};

/// Looks into a log.
pub(crate) fn run(log: Log) -> Result<(), Failure> {
    match log {
        Log::Verify(inspected) => run_verify(&inspected),
        Log::Dump(inspected) => run_dump(&inspected),
        Log::Stats(counted) => stats::run(&counted),
        Log::Repair(repairing) => repair::run(&repairing),
    }
}

#[derive(Serialize)]
struct Segment<'a> {
    file: &'a str,
    first: u64,
    records: u64,
    bytes: u64,
    first_time: Option<Timestamp>,
    last_time: Option<Timestamp>,
    index: &'static str,
    unfinished_bytes: u64,
    problem: Option<String>,
}

#[derive(Serialize)]
struct Verdict<'a> {
    epoch: Option<&'a str>,
    segments: usize,
    records: u64,
    bytes: u64,
    sound: bool,
}

fn run_verify(inspected: &Inspected) -> Result<(), Failure> {
    let storage = storage(&inspected.dir)?;
    let (mut out, mut printed) = (stdout(), Ok(()));
    let mut progress = Progress::new();
    // Who reads along on stdout sees each segment there.
    let is_told = out.is_terminal();
    let (mut segments, mut bytes) = (0_u64, 0_u64);
    let mut tell = |report: &SegmentReport| {
        segments += 1;
        bytes += report.bytes;
        if !is_told {
            progress.tell(segments, "segment", bytes);
        }
        if printed.is_ok() {
            printed = print_segment(&mut out, &Segment::from(report), inspected.json);
        }
    };
    let report = verify(&storage, &mut tell);
    progress.line.clear();
    let report = report.map_err(|error| unreadable(&inspected.dir, &error))?;
    let dir = inspected.dir.display();
    let verdict = Verdict::from(&report);
    printed
        .and_then(|()| print_verdict(&mut out, &verdict, inspected.json))
        .or_else(|error| output_ended(&error))?;
    if !verdict.sound {
        return Err(Failure::failed(format!(
            "the log in {dir} is damaged, as told above: restore it from a copy, or let `tidings log \
             repair` leave out what cannot be read"
        )));
    }
    Ok(())
}

/// Tells now and then how far a long reading has come.
struct Progress {
    line: StatusLine,
}

impl Progress {
    fn new() -> Self {
        let line = StatusLine::new(Instant::now());
        Self { line }
    }

    fn tell(&mut self, count: u64, what: &str, bytes: u64) {
        if self.line.is_due(Instant::now()) {
            let (read, bytes) = (notice::counted(count, what), size::show(bytes));
            self.line
                .show(format_args!("tidings: read {read}, {bytes}"));
        }
    }
}

fn print_segment(out: &mut impl Write, segment: &Segment<'_>, json: bool) -> io::Result<()> {
    if json {
        return print_json(out, segment);
    }
    let Segment {
        file,
        records,
        bytes,
        index,
        unfinished_bytes,
        problem,
        ..
    } = segment;
    let state = problem.as_deref().unwrap_or("ok");
    write!(
        out,
        "{file}\t{records} records\t{bytes} bytes\tindex {index}\t{state}"
    )?;
    if *index == "bad" {
        write!(
            out,
            "; its index cannot be trusted: the segment is read instead, and the index can be removed"
        )?;
    }
    match unfinished_bytes {
        0 => writeln!(out),
        bytes => writeln!(
            out,
            "; {bytes} bytes at its end are unfinished, which is not an error"
        ),
    }
}

fn print_verdict(out: &mut impl Write, verdict: &Verdict<'_>, json: bool) -> io::Result<()> {
    if json {
        return print_json(out, verdict);
    }
    let Verdict {
        epoch,
        segments,
        records,
        bytes,
        sound,
    } = verdict;
    let (epoch, state) = (
        epoch.unwrap_or("none"),
        if *sound { "sound" } else { "DAMAGED" },
    );
    writeln!(
        out,
        "epoch {epoch}\t{segments} segments\t{records} records\t{bytes} bytes\t{state}"
    )
}

impl<'a> From<&'a SegmentReport> for Segment<'a> {
    fn from(report: &'a SegmentReport) -> Self {
        Self {
            file: &report.name,
            first: report.first,
            records: report.records,
            bytes: report.bytes,
            first_time: time(report.first_time_ms),
            last_time: time(report.last_time_ms),
            index: match report.index {
                IndexReport::Good => "good",
                IndexReport::None => "none",
                _ => "bad",
            },
            unfinished_bytes: report.unfinished_bytes,
            problem: report.problem.as_ref().map(ToString::to_string),
        }
    }
}

impl<'a> From<&'a Report> for Verdict<'a> {
    fn from(report: &'a Report) -> Self {
        Self {
            epoch: report.epoch.as_deref(),
            segments: report.segments.len(),
            records: report.segments.iter().map(|segment| segment.records).sum(),
            bytes: report.segments.iter().map(|segment| segment.bytes).sum(),
            sound: report.is_sound(),
        }
    }
}

#[derive(Serialize)]
struct Entry<'a> {
    sequence: u64,
    time: Option<Timestamp>,
    topics: &'a [String],
    id: &'a str,
    event: &'a str,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
    /// Whether the next record was published with this one: all or none.
    continues: bool,
}

fn run_dump(inspected: &Inspected) -> Result<(), Failure> {
    let storage = storage(&inspected.dir)?;
    let records = dump(&storage).map_err(|error| unreadable(&inspected.dir, &error))?;
    let (mut out, mut problems) = (BufWriter::new(stdout()), 0_u64);
    for record in records {
        match record {
            Ok(record) => {
                if let Err(error) = print_record(&mut out, &record, inspected.json) {
                    return output_ended(&error);
                }
            }
            Err(error) => {
                problems += 1;
                notice::say(format_args!("tidings: {error}"));
            }
        }
    }
    out.flush().or_else(|error| output_ended(&error))?;
    match problems {
        0 => Ok(()),
        count => Err(Failure::failed(format!(
            "{count} parts of the log in {} could not be read, as told above",
            inspected.dir.display()
        ))),
    }
}

/// For people the dump is itself an event stream: what the log knows beside an event is a comment.
fn print_record(out: &mut impl Write, record: &Dumped, json: bool) -> io::Result<()> {
    if json {
        return print_entry(out, record);
    }
    let time = time(record.time_ms).map_or(String::new(), |time| time.to_string());
    let mut note = format!(
        "{} {time} topics: {}",
        record.sequence,
        record.topics.join(", ")
    );
    if let Some(key) = &record.key {
        note.push_str("; key: ");
        note.push_str(key);
    }
    if let Some(expires) = record.expires_ms.and_then(time_of) {
        note.push_str("; expires: ");
        note.push_str(&expires.to_string());
    }
    let mut comment = Vec::new();
    encode_comment(&note, &mut comment);
    out.write_all(&comment)?;
    out.write_all(&record.frame)
}

fn print_entry(out: &mut impl Write, record: &Dumped) -> io::Result<()> {
    let (mut decoder, mut frame, mut retry) = (Decoder::new(), &*record.frame, None);
    while let Some(item) = decoder.next(&mut frame) {
        let event = match item {
            Ok(Item::Event(event)) => event,
            Ok(Item::Retry(retry_ms)) => {
                retry = Some(retry_ms);
                continue;
            }
            _ => continue,
        };
        let entry = Entry {
            sequence: record.sequence,
            time: time(record.time_ms),
            topics: &record.topics,
            id: &event.last_event_id.to_str(),
            event: &event.event_type.to_str(),
            data: &event.data.to_str(),
            retry,
            key: record.key.as_deref(),
            expires: record.expires_ms.and_then(time_of),
            continues: record.continues,
        };
        print_json(out, &entry)?;
    }
    Ok(())
}

fn print_json(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// 0 stands for no time.
fn time(unix_ms: u64) -> Option<Timestamp> {
    Some(unix_ms).filter(|ms| *ms > 0).and_then(time_of)
}

fn time_of(unix_ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(unix_ms).ok()?).ok()
}

/// The log in this directory, for reading only.
fn storage(dir: &Path) -> Result<DirectoryStorage, Failure> {
    let shown = dir.display();
    let no_log =
        |what: String| Failure::failed(format!("{what}: give the --data directory of a hub"));
    match dir.metadata() {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(no_log(format!("{shown} is no directory"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(no_log(format!("there is no directory {shown}")));
        }
        Err(error) => return Err(unreadable(dir, &error)),
    }
    let storage = DirectoryStorage::read_only(dir);
    let mut records = dump(&storage).map_err(|error| unreadable(dir, &error))?;
    // Where a record is, or what cannot be read, is a log. Without any, segments may be there all
    // the same; then there is little to read.
    if records.next().is_none() {
        let report = verify(&storage, &mut |_| {}).map_err(|error| unreadable(dir, &error))?;
        if report.segments.is_empty() {
            return Err(no_log(format!("there is no log in {shown}")));
        }
    }
    Ok(storage)
}

fn unreadable(dir: &Path, error: &(dyn Error + 'static)) -> Failure {
    let (dir, advice) = (dir.display(), advice(error));
    Failure::failed(format!("cannot read the log in {dir}: {error}{advice}"))
}

/// What to do about it.
fn advice(error: &(dyn Error + 'static)) -> &'static str {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io: Option<&io::Error> = error.downcast_ref();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied) {
            return "; run this as the user that the hub runs as";
        }
        cause = error.source();
    }
    ""
}

/// A reader that has seen enough, like `head`, is no failure.
fn output_ended(error: &io::Error) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(Failure::failed(format!("cannot print: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_not_read_is_told_who_may() {
        let denied: io::Error = io::ErrorKind::PermissionDenied.into();
        assert!(advice(&denied).contains("as the user"));
        let data = Path::new("data");
        let locked = tidings_log::DirectoryError::Io {
            operation: "open the lock file",
            path: data.join("LOCK"),
            source: denied,
        };
        let told = unreadable(data, &locked).to_string();
        assert!(
            told.contains("LOCK") && told.ends_with("the hub runs as"),
            "{told}"
        );
        let missing: io::Error = io::ErrorKind::NotFound.into();
        assert_eq!(advice(&missing), "");
    }
}
