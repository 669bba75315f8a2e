//! The log as a second reader finds it, which was written from the document of the format alone.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod judge;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use judge::second::{Log, Record};
use judge::{judge, judge_opening, storage};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{Only, commit};
use tidings_log::{
    DirectoryStorage, Durability, FaultStorage, Head, Options, ReadError, ReadLimits, Reader,
    Retention, Select, TopicRetention, Topics, Upkeep, Writer, open, repair,
};

type Files = Vec<(String, Vec<u8>)>;

fn directory(path: &Path) -> Files {
    let read = fs::read_dir(path).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    read.collect()
}

#[test]
fn version_1_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    let files = directory(&path);
    let log = judge(&files).unwrap();
    let frames: Vec<_> = log.records().map(|record| record.frame.to_vec()).collect();
    let expected = (1..=24).map(|sequence| {
        let commit = (sequence - 1) / 2;
        format!("id: Efixture:{sequence}\ndata: {commit}\n\n").into_bytes()
    });
    assert_eq!(frames, expected.collect::<Vec<_>>());
    assert!(log.segments.iter().all(|it| it.header.version == 1));
    assert!(log.segments[0].index.is_some());
    assert!(judge_opening(&files, &Options::default()).is_none());
}

/// What was given to the writer.
#[derive(Default)]
struct Appended {
    sequence: u64,
    time_ms: u64,
    topics: Vec<String>,
    alias: Option<String>,
    key: Option<String>,
    expires_ms: Option<u64>,
    mark: Option<Vec<u8>>,
    continues: bool,
    frame: Vec<u8>,
}

impl PartialEq<Record<'_>> for Appended {
    fn eq(&self, other: &Record) -> bool {
        self.sequence == other.sequence
            && self.time_ms == other.time_ms
            && self.topics == other.topics
            && self.alias.as_deref() == other.alias
            && self.key.as_deref() == other.key
            && self.expires_ms == other.expires_ms
            && self.mark.as_deref() == other.mark
            && self.continues == other.continues
            && self.frame == other.frame
    }
}

/// Numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % end
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn bytes(&mut self, count: u64) -> Vec<u8> {
        (0..count)
            .map(|_| self.below(256).to_le_bytes()[0])
            .collect()
    }

    fn record(&mut self, sequence: u64, time_ms: u64, continues: bool) -> Appended {
        let some = self.below(30);
        let mut topics = vec![format!("topic/{}", self.below(300))];
        if self.one_in(3) {
            topics.push("every/ünïcode".to_owned());
        }
        if self.one_in(40) {
            topics.push("kept".to_owned());
        }
        let frame_bytes = if self.one_in(60) {
            20_000
        } else {
            self.below(200)
        };
        Appended {
            sequence,
            time_ms,
            topics,
            alias: self.one_in(3).then(|| format!("alias-{some}")),
            key: self.one_in(3).then(|| format!("key-{some}")),
            expires_ms: self.one_in(5).then_some(time_ms + some),
            mark: self.one_in(20).then(|| self.bytes(some)),
            continues,
            frame: self.bytes(frame_bytes),
        }
    }
}

/// A log that is written to, and all that it was given.
struct Story {
    numbers: Numbers,
    now_ms: u64,
    appended: BTreeMap<u64, Appended>,
}

impl Story {
    fn new(seed: u64) -> Self {
        Self {
            numbers: Numbers(seed),
            now_ms: 1000,
            appended: BTreeMap::new(),
        }
    }

    /// One commit of some groups.
    fn commit(&mut self, writer: &mut Writer) {
        self.now_ms += self.numbers.below(50);
        let mut batch = writer.begin(self.now_ms);
        for _ in 0..=self.numbers.below(4) {
            for left in (0..=self.numbers.below(3)).rev() {
                let (sequence, time_ms) = (batch.next_sequence(), batch.time_ms());
                let record = self.numbers.record(sequence, time_ms, left > 0);
                let topics: Vec<_> = record.topics.iter().map(String::as_str).collect();
                let head = Head {
                    topics: &topics,
                    alias: record.alias.as_deref(),
                    key: record.key.as_deref(),
                    expires_ms: record.expires_ms,
                    mark: record.mark.as_deref(),
                    continues: record.continues,
                };
                let pushed = batch.push(&head, |_, out| out.extend_from_slice(&record.frame));
                assert_eq!(pushed, Ok(sequence));
                self.appended.insert(sequence, record);
            }
        }
        writer.commit(batch).unwrap();
    }

    /// All that is found was appended, and all that must be there is found.
    fn compare(&self, log: &Log, reader: &Reader) {
        let stats = reader.stats();
        let mut found = 0;
        for record in log.records() {
            assert!(self.appended[&record.sequence] == *record, "{record:?}");
            let is_due = record.sequence >= stats.whole_from;
            found += usize::from(is_due);
        }
        assert_eq!(found, self.appended.range(stats.whole_from..).count());
        assert_eq!(log.records().count() as u64, stats.records);
        assert_eq!(
            (log.next, log.epoch.as_deref()),
            (reader.next(), Some("Etest"))
        );
    }

    /// The crate's reader gives what the second finds in the index.
    fn compare_topics(log: &Log, reader: &Reader) {
        for topic in ["kept", "topic/7"] {
            let from = match topic {
                "kept" => reader.first(),
                _ => reader.stats().whole_from,
            };
            let read = read_all(reader, &Only(&[topic]), from);
            let mut found = Vec::new();
            for segment in &log.segments {
                let topical = segment
                    .records
                    .iter()
                    .filter(|it| it.topics.contains(&topic));
                let sequences: Vec<_> = topical.map(|it| it.sequence).collect();
                if let Some(index) = &segment.index {
                    let postings = index.postings_of(topic).unwrap();
                    let first = segment.header.first;
                    let told = postings.iter().map(|it| first + u64::from(it.ordinal));
                    assert_eq!(told.collect::<Vec<_>>(), sequences);
                }
                found.extend(sequences.into_iter().filter(|it| *it >= from));
            }
            assert_eq!(read, found, "of {topic}");
        }
    }
}

/// The sequences of all that is selected, over what was left out.
fn read_all(reader: &Reader, select: &dyn Select, mut cursor: u64) -> Vec<u64> {
    let mut found = Vec::new();
    while cursor < reader.next() {
        match reader.read(select, cursor, ReadLimits::default()) {
            Ok(page) => {
                found.extend(page.frames.iter().map(|stored| stored.sequence));
                cursor = page.next;
            }
            Err(ReadError::Lost { next }) => cursor = next,
            Err(error) => panic!("{error}"),
        }
    }
    found
}

fn options(durability: Durability, events_max: Option<u64>) -> Options {
    let kept = TopicRetention {
        topics: Topics::new("kept", |topic| topic == "kept"),
        bytes_max: None,
        events_max: None,
        age_ms_max: None,
    };
    Options {
        segment_bytes_max: 60_000,
        durability,
        retention: Retention {
            events_max,
            topics: events_max.map(|_| kept).into_iter().collect(),
            ..Retention::default()
        },
        ..Options::default()
    }
}

/// What there was to see.
#[derive(Default)]
struct Seen {
    sparse: usize,
    left_out: usize,
    unsynced: usize,
    indexes_of_blocks: usize,
    places: usize,
    closed: usize,
}

impl Seen {
    fn look(&mut self, log: &Log) {
        for segment in &log.segments {
            self.sparse += usize::from(segment.header.sparse_end.is_some());
            self.left_out += usize::from(segment.header.follows < segment.header.first);
            self.unsynced += usize::from(segment.header.unsynced);
            let Some(index) = &segment.index else {
                continue;
            };
            self.indexes_of_blocks += usize::from(index.topics().unwrap().len() > 100);
            self.places += index.places().unwrap().len().saturating_sub(1);
        }
        let newest = log.segments.last();
        self.closed += usize::from(newest.is_some_and(|it| it.index.is_some()));
    }
}

/// Writes, is copied while it is open, and is closed or killed, again and again.
fn live(seed: u64, options: &Options, met: &mut Seen) {
    let parent = tempfile::tempdir().unwrap();
    let mut story = Story::new(seed);
    for life in 0..4 {
        let opened = Arc::new(DirectoryStorage::open(parent.path()).unwrap());
        let (mut writer, reader, _) = open(opened, options.clone(), "Etest", story.now_ms).unwrap();
        let upkeep = (life % 2 == 0).then(|| writer.upkeep());
        let keep_up = || while upkeep.as_ref().is_some_and(Upkeep::step) {};
        for number in 0..150 {
            story.commit(&mut writer);
            if number % 10 == 0 {
                keep_up();
                writer.retain(story.now_ms).unwrap();
            }
            if number % 50 == 49 {
                keep_up();
                let copied = directory(parent.path());
                let log = judge(&copied).unwrap();
                story.compare(&log, &reader);
                Story::compare_topics(&log, &reader);
                let (_, sealed) = log.segments.split_last().unwrap();
                assert!(sealed.iter().all(|it| it.index.is_some()));
                assert!(judge_opening(&copied, options).is_none());
                met.look(&log);
            }
        }
        if life < 2 {
            writer.close().unwrap();
            keep_up();
        } else {
            drop(writer);
        }
        let left = directory(parent.path());
        let log = judge(&left).unwrap();
        story.compare(&log, &reader);
        assert_eq!(log.segments.last().unwrap().index.is_some(), life < 2);
        assert!(judge_opening(&left, options).is_none());
        met.look(&log);
    }
}

#[test]
fn what_was_appended_is_what_both_readers_find() {
    let mut met = Seen::default();
    let lazily = Durability::Interval {
        unsynced_ms_max: 40,
    };
    for (seed, durability) in [(1, Durability::Always), (2, lazily)] {
        live(seed, &options(durability, None), &mut met);
        live(seed, &options(durability, Some(400)), &mut met);
    }
    let Seen {
        sparse,
        left_out,
        unsynced,
        indexes_of_blocks,
        places,
        closed,
    } = met;
    let all = [
        sparse,
        left_out,
        unsynced,
        indexes_of_blocks,
        places,
        closed,
    ];
    assert!(all.iter().all(|count| *count > 0), "{all:?}");
}

/// A log of several segments of all kinds, as it is after a close or after a crash.
fn sample(closed: bool, unsynced: bool) -> (Files, Options) {
    static SAMPLES: LazyLock<[(Files, Options); 4]> = LazyLock::new(|| {
        [(false, false), (false, true), (true, false), (true, true)].map(sample_of)
    });
    SAMPLES[2 * usize::from(closed) + usize::from(unsynced)].clone()
}

fn sample_of((closed, unsynced): (bool, bool)) -> (Files, Options) {
    let disk = FaultStorage::new(7);
    let lazily = Durability::Interval { unsynced_ms_max: 1 };
    let durability = if unsynced { lazily } else { Durability::Always };
    let options = Options {
        segment_bytes_max: 4000,
        ..options(durability, Some(64))
    };
    let (mut writer, _, _) = support::try_open(&disk, &options).unwrap();
    let upkeep = writer.upkeep();
    for number in 0..64_u8 {
        let topic = ["kept", "other", "another"][usize::from(number % 3)];
        let frames = [[number + 1; 90], [number + 1; 90]];
        commit(&mut writer, topic, &[&frames[0], &frames[1]]).unwrap();
        while upkeep.step() {}
        writer.retain(1000).unwrap();
    }
    if closed {
        writer.close().unwrap();
        while upkeep.step() {}
    }
    let mut files = disk.files();
    files.sort();
    (files, options)
}

#[test]
fn samples_are_of_all_kinds() {
    for (closed, unsynced) in [(false, false), (false, true), (true, false), (true, true)] {
        let (files, _) = sample(closed, unsynced);
        let log = judge(&files).unwrap();
        assert!(log.segments.len() >= 4 && log.segments[0].header.sparse_end.is_some());
        let newest = log.segments.last().unwrap();
        assert_eq!(
            (newest.header.unsynced, newest.index.is_some()),
            (unsynced, closed)
        );
        assert!(
            newest.records.len() >= 6,
            "{} are in the newest",
            newest.records.len()
        );
    }
}

/// What happens to a file at rest.
#[derive(Clone, Debug)]
enum Harm {
    Flip { place: usize, bit: u8 },
    Cut { place: usize },
    Blank { place: usize, bytes: usize },
    Extend(Vec<u8>),
    Remove,
}

fn harm() -> impl Strategy<Value = Harm> {
    let place = || 0..10_000_usize;
    prop_oneof![
        6 => (place(), 0..8_u8).prop_map(|(place, bit)| Harm::Flip { place, bit }),
        4 => place().prop_map(|place| Harm::Cut { place }),
        2 => (place(), 1..600_usize).prop_map(|(place, bytes)| Harm::Blank { place, bytes }),
        1 => vec(any::<u8>(), 1..200).prop_map(Harm::Extend),
        1 => Just(Harm::Remove),
    ]
}

fn apply(harm: &Harm, files: &mut Files, file: usize) {
    let bytes = &mut files[file].1;
    let at = |place: &usize| bytes.len() * place / 10_000;
    match harm {
        Harm::Flip { place, bit } if !bytes.is_empty() => {
            let at = at(place);
            bytes[at] ^= 1 << bit;
        }
        Harm::Flip { .. } => {}
        Harm::Cut { place } => bytes.truncate(at(place)),
        Harm::Blank {
            place,
            bytes: count,
        } => {
            let (at, end) = (at(place), bytes.len());
            bytes[at..end.min(at + count)].fill(0);
        }
        Harm::Extend(more) => bytes.extend_from_slice(more),
        Harm::Remove => drop(files.remove(file)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// The two refuse the same, and find the same in what they do not.
    #[test]
    fn damage_is_met_by_both(
        closed: bool,
        unsynced: bool,
        harms in vec((harm(), any::<usize>()), 1..4),
    ) {
        let (mut files, options) = sample(closed, unsynced);
        for (harm, file) in &harms {
            let file = file % files.len();
            apply(harm, &mut files, file);
        }
        judge_opening(&files, &options);
    }

    /// What was repaired is a log as any other.
    #[test]
    fn what_was_repaired_is_read(
        closed: bool,
        unsynced: bool,
        harms in vec((harm(), any::<usize>()), 1..4),
    ) {
        let (mut files, options) = sample(closed, unsynced);
        for (harm, file) in &harms {
            let file = file % files.len();
            apply(harm, &mut files, file);
        }
        let disk = storage(&files);
        if repair(&disk, false, &mut |_| {}, &mut |_| {}).is_ok() {
            let repaired = disk.files();
            prop_assert!(judge_opening(&repaired, &options).is_none());
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(
        log in vec(any::<u8>(), 0..400),
        index in vec(any::<u8>(), 0..400),
        name in 0..3_u64,
    ) {
        let (log_name, index_name) = (format!("{name:020}.log"), format!("{name:020}.idx"));
        let files = vec![(index_name, index), (log_name, log)];
        let _ = judge::second::open(&judge::files(&files));
    }
}
