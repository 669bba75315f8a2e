//! Measures a log on a directory beside what the same disk does without one.
//!
//! `cargo run --release -p tidings-log --example append -- DIR [SECONDS]`
//!
//! For each batch size the log and the floor take turns, round by round, in one process: disks
//! are not the same from one minute to the next. The floor appends the same bytes to a file with
//! one write and one fdatasync; a second floor does so into a file that was written before, whose
//! length does not change; a third does that while another thread writes as many zeros to a new file,
//! which is what writing before takes. `DIR` is left empty.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use tidings_log::{DirectoryStorage, Head, Options, ReadLimits, Reader, Select, Writer, open};

const EVENT_BYTES: usize = 256;
const BATCHES: [usize; 3] = [1, 32, 512];
const ROUNDS: u32 = 6;
const TOPICS: usize = 10_000;
const REPLAY_EVENTS: usize = 3_300_000;
const PRE_WRITTEN_BYTES: u64 = 64 << 20;
/// What is written ahead, and synced, at once.
const AHEAD_BYTES: u64 = 2 << 20;

type Outcome<T> = Result<T, Box<dyn Error>>;

struct Everything;

impl Select for Everything {
    fn matches(&self, _: &str) -> bool {
        true
    }
}

struct Only<'a>(&'a [&'a str]);

impl Select for Only<'_> {
    fn exact(&self) -> Option<&[&str]> {
        Some(self.0)
    }

    fn matches(&self, topic: &str) -> bool {
        self.0.contains(&topic)
    }
}

/// A count of events and the time that they took.
#[derive(Default)]
struct Rate {
    events: u64,
    elapsed: Duration,
    cpu: Duration,
}

impl Rate {
    fn per_second(&self) -> f64 {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate is shown with three digits"
        )]
        let events = self.events as f64;
        events / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn cpu_ns(&self) -> f64 {
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate is shown with three digits"
        )]
        let events = self.events.max(1) as f64;
        self.cpu.as_secs_f64() * 1e9 / events
    }

    fn run(&mut self, time: Duration, mut commit: impl FnMut() -> Outcome<usize>) -> Outcome<()> {
        let (start, cpu_start) = (Instant::now(), cpu());
        while start.elapsed() < time {
            self.events += commit()? as u64;
        }
        self.elapsed += start.elapsed();
        self.cpu += cpu().saturating_sub(cpu_start);
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: append DIR [SECONDS]")?);
    let seconds: u32 = arguments.next().map_or(Ok(3), |text| text.parse())?;
    let topics: Vec<String> = (0..TOPICS)
        .map(|number| format!("topic/{number:05}"))
        .collect();
    println!("{EVENT_BYTES}-byte events, {TOPICS} topics, every commit synced, one thread;");
    println!("{seconds} s for each figure, in {ROUNDS} rounds that take turns");
    println!();
    println!("in each column: events/s, and CPU nanoseconds an event (kernel included)");
    println!();
    println!(
        "batch | log                 | append, fdatasync   | pre-written         | and zeros written ahead"
    );
    for batch in BATCHES {
        measure_batch(
            &directory,
            &topics,
            batch,
            Duration::from_secs(seconds.into()) / ROUNDS,
        )?;
    }
    println!();
    measure_replay(&directory, &topics)
}

fn measure_batch(directory: &Path, topics: &[String], size: usize, time: Duration) -> Outcome<()> {
    let path = directory.join("log");
    let (mut writer, _) = open_log(&path)?;
    let upkeep = writer.upkeep();
    let upkeep = thread::spawn(move || upkeep.run());
    let record_bytes = one_batch(&mut writer, topics, size)?.1;
    let mut growing = Floor::new(&directory.join("floor"), 0)?;
    let mut written = Floor::new(&directory.join("floor-written"), PRE_WRITTEN_BYTES)?;
    let payload = vec![b'x'; record_bytes];
    let (ahead, zeros) = write_ahead(directory.join("floor-ahead"));
    let mut due = 0;
    let mut rates: [Rate; 4] = Default::default();
    for _ in 0..ROUNDS {
        let [log, append, pre_written, both] = &mut rates;
        log.run(time, || Ok(one_batch(&mut writer, topics, size)?.0))?;
        append.run(time, || growing.write(&payload).map(|()| size))?;
        pre_written.run(time, || written.write(&payload).map(|()| size))?;
        both.run(time, || {
            due += payload.len() as u64;
            while due >= AHEAD_BYTES {
                due -= AHEAD_BYTES;
                ahead.send(())?;
            }
            written.write(&payload).map(|()| size)
        })?;
    }
    let columns = rates
        .iter()
        .map(|rate| format!("{:>9.0} {:>9.0}", rate.per_second(), rate.cpu_ns()));
    println!("{size:>5} | {}", columns.collect::<Vec<_>>().join(" | "));
    drop(ahead);
    zeros.join().map_err(|_| "the zeros' thread panicked")??;
    drop(writer);
    upkeep.join().map_err(|_| "the upkeep panicked")?;
    fs::remove_dir_all(path)?;
    fs::remove_file(directory.join("floor"))?;
    fs::remove_file(directory.join("floor-written"))?;
    fs::remove_file(directory.join("floor-ahead"))?;
    Ok(())
}

/// Writes zeros to a file, and syncs them, each time that it is told to; at 64 MiB it begins a new one.
fn write_ahead(path: PathBuf) -> (Sender<()>, thread::JoinHandle<std::io::Result<()>>) {
    let (sender, told) = channel();
    let work = move || {
        let zeros = vec![0; 1 << 20];
        let mut offset = 0;
        let mut file = File::create(&path)?;
        while told.recv().is_ok() {
            if offset == PRE_WRITTEN_BYTES {
                fs::remove_file(&path)?;
                file = File::create(&path)?;
                offset = 0;
            }
            for part in 0..AHEAD_BYTES >> 20 {
                file.write_all_at(&zeros, offset + (part << 20))?;
            }
            file.sync_data()?;
            offset += AHEAD_BYTES;
        }
        Ok(())
    };
    (sender, thread::spawn(work))
}

fn open_log(path: &Path) -> Outcome<(Writer, Reader)> {
    let storage = Arc::new(DirectoryStorage::open(path)?);
    let (writer, reader, _) = open(storage, Options::default(), "Ebench", 1)?;
    Ok((writer, reader))
}

/// Commits a batch; returns how many events and bytes it had.
fn one_batch(writer: &mut Writer, topics: &[String], size: usize) -> Outcome<(usize, usize)> {
    let frame = [b'x'; EVENT_BYTES];
    let mut batch = writer.begin(1);
    for _ in 0..size {
        let place = usize::try_from(batch.next_sequence())? % TOPICS;
        let topic: &[&str] = &[topics.get(place).ok_or("no topic")?];
        let head = Head {
            topics: topic,
            ..Head::default()
        };
        batch.push(&head, |_, out| out.extend_from_slice(&frame))?;
    }
    let bytes = batch.bytes();
    writer.commit(batch)?;
    Ok((size, bytes))
}

/// A file that is written to from front to back.
struct Floor {
    file: File,
    offset: u64,
    wrap: u64,
}

impl Floor {
    fn new(path: &Path, bytes: u64) -> Outcome<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)?;
        let zeros = vec![0; 1 << 20];
        for part in 0..bytes >> 20 {
            file.write_all_at(&zeros, part << 20)?;
        }
        file.sync_all()?;
        let wrap = if bytes == 0 { u64::MAX } else { bytes };
        Ok(Self {
            file,
            offset: 0,
            wrap,
        })
    }

    fn write(&mut self, payload: &[u8]) -> Outcome<()> {
        let bytes = payload.len() as u64;
        if self.offset + bytes > self.wrap {
            self.offset = 0;
        }
        self.file.write_all_at(payload, self.offset)?;
        self.file.sync_data()?;
        self.offset += bytes;
        Ok(())
    }
}

fn measure_replay(directory: &Path, topics: &[String]) -> Outcome<()> {
    let path = directory.join("log");
    let (mut writer, _) = open_log(&path)?;
    for _ in 0..REPLAY_EVENTS / 512 {
        one_batch(&mut writer, topics, 512)?;
    }
    drop(writer);
    measure_open(&path, "as a crash left it")?.close()?;
    measure_open(&path, "closed in order")?.close()?;
    let (_, reader) = open_log(&path)?;
    for _ in 0..2 {
        report("all topics", &reader, &Everything)?;
    }
    report("1 topic of 10,000", &reader, &Only(&["topic/00042"]))?;
    let ten: Vec<&str> = topics.iter().take(10).map(String::as_str).collect();
    report("10 topics of 10,000", &reader, &Only(&ten))?;
    let start = Instant::now();
    let cursor = reader.last(&Only(&["topic/00042"]), 10, 1)?;
    println!(
        "last 10 of a topic: cursor {cursor} in {:?}",
        start.elapsed()
    );
    drop(reader);
    fs::remove_dir_all(path)?;
    Ok(())
}

fn measure_open(path: &Path, how: &str) -> Outcome<Writer> {
    let start = Instant::now();
    let (writer, reader) = open_log(path)?;
    let opened = start.elapsed().as_secs_f64() * 1000.0;
    let stats = reader.stats();
    println!(
        "{} records, {} MB, {} segments, {how}: opened in {opened:.1} ms",
        stats.records,
        stats.bytes / 1_000_000,
        stats.segments,
    );
    Ok(writer)
}

/// The time that this thread ran: what counts on a machine that is doing other things. Zero where
/// there is no `/proc`.
fn cpu() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|field| field.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or(0))
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate is shown with three digits"
)]
fn report(what: &str, reader: &Reader, select: &dyn Select) -> Outcome<()> {
    let limits = ReadLimits {
        scan_bytes_max: u64::MAX,
        ..ReadLimits::default()
    };
    let (start, cpu_start) = (Instant::now(), cpu());
    let (mut cursor, mut events) = (reader.first(), 0);
    while cursor < reader.next() {
        let page = reader.read(select, cursor, limits)?;
        events += page.frames.len() as u64;
        cursor = page.next;
    }
    let cpu = cpu().saturating_sub(cpu_start);
    let rate = Rate {
        events,
        elapsed: start.elapsed(),
        cpu,
    };
    let (elapsed, per_second, cpu_ns) = (rate.elapsed, rate.per_second(), rate.cpu_ns());
    println!(
        "replay of {what}: {events} events in {elapsed:.1?}, {per_second:.0} events/s; \
         CPU {cpu_ns:.0} ns an event"
    );
    Ok(())
}
