//! A log is written through the public door, then its files are damaged in any way, or they are any
//! bytes from the beginning. Whatever there is: looking at it, opening it and reading it do not
//! panic, hang, or take memory by what a length field says; no record comes back that was not
//! written; and what is damaged is said to be so, by file and offset, unless it looks just like what
//! a crash leaves: a last commit that is not whole, or files of one end that are not there.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidings_log::{
    FaultStorage, Head, OpenError, Options, ReadError, ReadLimits, Reader, Select, Writer, inspect,
    open,
};

const TOPICS: [&str; 4] = ["a", "b", "orders/1", "ü"];
const COMMITS_MAX: usize = 16;
const FRAMES_MAX: usize = 6;
const NOW_MS: u64 = 1_700_000_000_000;
/// No walk through what is here takes as many steps.
const STEPS_MAX: usize = 10_000;

type Files = BTreeMap<String, Vec<u8>>;

#[derive(Arbitrary, Debug)]
enum Input {
    /// Files of any bytes.
    Raw(Vec<(Name, Vec<u8>)>),
    /// A log, and what happens to its files.
    Written {
        seed: u8,
        segment_bytes: u16,
        commits: Vec<Commit>,
        closed: bool,
        damage: Vec<Damage>,
    },
}

#[derive(Arbitrary, Debug)]
struct Name {
    first: u8,
    index: bool,
}

/// Frames that are one group each, or all one group.
#[derive(Arbitrary, Debug)]
struct Commit {
    frames: Vec<(u8, u8)>,
    one_group: bool,
}

#[derive(Arbitrary, Debug)]
enum Damage {
    Flip {
        file: u8,
        offset: u16,
        bit: u8,
    },
    Cut {
        file: u8,
        len: u16,
    },
    Extend {
        file: u8,
        bytes: Vec<u8>,
    },
    Zero {
        file: u8,
        offset: u16,
        len: u8,
    },
    Overwrite {
        file: u8,
        offset: u16,
        bytes: Vec<u8>,
    },
    Copy {
        from: u8,
        offset: u16,
        len: u16,
        to: u8,
        at: u16,
    },
    Replace {
        file: u8,
        bytes: Vec<u8>,
    },
    Remove {
        file: u8,
    },
    Rename {
        file: u8,
        to: Name,
    },
    Duplicate {
        file: u8,
        to: Name,
    },
    Swap {
        one: u8,
        other: u8,
    },
}

impl Name {
    fn text(&self) -> String {
        let extension = if self.index { "idx" } else { "log" };
        format!("{:020}.{extension}", self.first)
    }
}

impl Damage {
    fn apply(&self, files: &mut Files) {
        match self {
            Self::Flip { file, offset, bit } => edit(files, *file, |bytes| {
                if let Some(byte) = bytes.get_mut(usize::from(*offset)) {
                    *byte ^= 1 << (bit % 8);
                }
            }),
            Self::Cut { file, len } => edit(files, *file, |bytes| bytes.truncate((*len).into())),
            Self::Extend { file, bytes: more } => edit(files, *file, |bytes| bytes.extend(more)),
            Self::Zero { file, offset, len } => {
                overwrite(files, *file, *offset, &vec![0; usize::from(*len)]);
            }
            Self::Overwrite {
                file,
                offset,
                bytes,
            } => overwrite(files, *file, *offset, bytes),
            Self::Copy {
                from,
                offset,
                len,
                to,
                at,
            } => {
                let bytes = pick(files, *from).and_then(|name| files.get(&name).cloned());
                let bytes = bytes.unwrap_or_default().into_iter();
                let part = bytes.skip((*offset).into()).take((*len).into());
                overwrite(files, *to, *at, &part.collect::<Vec<_>>());
            }
            Self::Replace { file, bytes: new } => edit(files, *file, |bytes| bytes.clone_from(new)),
            Self::Remove { file } => {
                pick(files, *file).map(|name| files.remove(&name));
            }
            Self::Rename { file, to } => {
                let bytes = pick(files, *file).and_then(|name| files.remove(&name));
                bytes.map(|bytes| files.insert(to.text(), bytes));
            }
            Self::Duplicate { file, to } => {
                let bytes = pick(files, *file).and_then(|name| files.get(&name).cloned());
                bytes.map(|bytes| files.insert(to.text(), bytes));
            }
            Self::Swap { one, other } => {
                if let (Some(one), Some(other)) = (pick(files, *one), pick(files, *other)) {
                    let (a, b) = (files[&one].clone(), files[&other].clone());
                    files.insert(one, b);
                    files.insert(other, a);
                }
            }
        }
    }
}

fn pick(files: &Files, place: u8) -> Option<String> {
    let place = usize::from(place) % files.len().max(1);
    files.keys().nth(place).cloned()
}

fn edit(files: &mut Files, place: u8, change: impl FnOnce(&mut Vec<u8>)) {
    if let Some(bytes) = pick(files, place).and_then(|name| files.get_mut(&name)) {
        change(bytes);
    }
}

fn overwrite(files: &mut Files, place: u8, offset: u16, new: &[u8]) {
    edit(files, place, |bytes| {
        let rest = bytes.iter_mut().skip(offset.into());
        rest.zip(new).for_each(|(byte, new)| *byte = *new);
    });
}

struct Everything;

struct Only<'a>([&'a str; 1]);

impl Select for Everything {
    fn matches(&self, _: &str) -> bool {
        true
    }
}

impl Select for Only<'_> {
    fn exact(&self) -> Option<&[&str]> {
        Some(&self.0)
    }

    fn matches(&self, topic: &str) -> bool {
        self.0.contains(&topic)
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    topic: &'static str,
    frame: Vec<u8>,
    ends_group: bool,
}

/// A log that was written, and what is known of it.
struct Sample {
    options: Options,
    /// By their sequences, from 1.
    records: Vec<Record>,
    files: Files,
    /// Where each commit in the newest segment begins, and that segment.
    starts: Vec<usize>,
    newest: String,
    /// The first sequence in the newest segment.
    newest_first: u64,
}

impl Sample {
    fn write(seed: u8, segment_bytes: u16, commits: &[Commit], closed: bool) -> Self {
        let disk = FaultStorage::new(seed.into());
        let options = Options {
            segment_bytes_max: u64::from(segment_bytes % 4096) + 200,
            record_bytes_max: 64 << 10,
            ..Options::default()
        };
        let (mut writer, _) = try_open(&disk, &options).expect("an empty disk can be opened");
        let mut sample = Self {
            options,
            records: Vec::new(),
            files: files(&disk),
            starts: Vec::new(),
            newest: String::new(),
            newest_first: 1,
        };
        for commit in commits.iter().take(COMMITS_MAX) {
            sample.commit(&mut writer, commit);
            sample.look(files(&disk));
        }
        if closed {
            writer.close().expect("nothing fails here");
        }
        sample.files = files(&disk);
        sample
    }

    fn commit(&mut self, writer: &mut Writer, commit: &Commit) {
        let mut batch = writer.begin(NOW_MS);
        let count = commit.frames.len().min(FRAMES_MAX);
        for (place, (topic, len)) in commit.frames.iter().take(count).enumerate() {
            let topic = TOPICS[usize::from(*topic) % TOPICS.len()];
            let ends_group = place + 1 == count || !commit.one_group;
            let alias = format!("alias-{}", len % 8);
            let head = Head {
                topics: &[topic],
                alias: (len % 4 == 0).then_some(&*alias),
                mark: (len % 5 == 0).then_some(b"mark"),
                continues: !ends_group,
                ..Head::default()
            };
            let mut frame = Vec::new();
            let pushed = batch.push(&head, |sequence, out| {
                frame = format!("{sequence}:").into_bytes();
                frame.resize(frame.len() + usize::from(*len), b'x');
                out.extend_from_slice(&frame);
            });
            pushed.expect("small records fit");
            self.records.push(Record {
                topic,
                frame,
                ends_group,
            });
        }
        writer.commit(batch).expect("nothing fails here");
    }

    /// Notes where the commit begins, in the newest segment as it is now.
    fn look(&mut self, files: Files) {
        let newest = files.keys().rfind(|name| name.ends_with(".log"));
        let newest = newest.expect("there is a segment").clone();
        if newest != self.newest {
            self.starts.clear();
            let stem = newest.trim_end_matches(".log");
            self.newest_first = stem.parse().expect("a segment is named by its sequence");
        }
        let before = self.files.get(&newest).map_or(&[][..], Vec::as_slice);
        let after = &files[&newest];
        let same = before.iter().zip(after).take_while(|(a, b)| a == b).count();
        // Of a new segment's first commit it is not known where it begins.
        if !before.is_empty() && before != after {
            self.starts.push(same);
        }
        self.newest = newest;
        self.files = files;
    }

    /// What a record with this sequence must be.
    fn at(&self, sequence: u64) -> &Record {
        let place = usize::try_from(sequence - 1).expect("small");
        self.records
            .get(place)
            .expect("a record that was never written")
    }

    fn end(&self) -> u64 {
        self.records.len() as u64 + 1
    }

    /// The files of records that are not as they were written.
    fn changed<'a>(&'a self, now: &'a Files) -> Vec<&'a str> {
        let names = self.files.keys().chain(now.keys());
        let mut names: Vec<&str> = names
            .filter(|name| name.ends_with(".log") && self.files.get(*name) != now.get(*name))
            .map(String::as_str)
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Whether all that is damaged is in commits before the last, which is whole.
    fn is_amid_commits(&self, now: &Files) -> bool {
        let (Some(before), Some(after)) = (self.files.get(&self.newest), now.get(&self.newest))
        else {
            return false;
        };
        let differs = |(_, (before, after)): &(usize, (&u8, &u8))| before != after;
        let mut places = before.iter().zip(after).enumerate().filter(differs);
        let (Some(first), Some(last)) = (self.starts.first(), self.starts.last()) else {
            return false;
        };
        let amid = |(place, _)| (*first..*last).contains(&place);
        before.len() == after.len() && places.all(amid) && before != after
    }
}

fn files(disk: &FaultStorage) -> Files {
    disk.files().into_iter().collect()
}

fn disk_of(files: &Files) -> FaultStorage {
    let disk = FaultStorage::new(7);
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

fn try_open(disk: &FaultStorage, options: &Options) -> Result<(Writer, Reader), OpenError> {
    let opened = open(Arc::new(disk.clone()), options.clone(), "Enew", NOW_MS);
    opened.map(|(writer, reader, _)| (writer, reader))
}

/// All that can be read, with its sequences, and whether damage was met; from damage it goes on
/// where it is told to.
fn read(reader: &Reader, select: &dyn Select) -> (Vec<(u64, Vec<u8>)>, bool) {
    let (mut found, mut damaged) = (Vec::new(), false);
    let mut cursor = reader.first();
    for _ in 0..STEPS_MAX {
        let next = match reader.read(select, cursor, ReadLimits::default()) {
            Ok(page) => {
                let stored = page.frames.iter();
                found.extend(stored.map(|stored| (stored.sequence, stored.frame.to_vec())));
                page.next
            }
            Err(ReadError::Damaged { next, .. }) => {
                assert!(next > cursor, "damage that one cannot get past");
                damaged = true;
                next
            }
            Err(ReadError::Lost { next }) => {
                damaged = true;
                next
            }
            Err(error) => panic!("a disk that works cannot be read: {error}"),
        };
        if next == cursor {
            return (found, damaged);
        }
        cursor = next;
    }
    panic!("reading does not end");
}

fn look(disk: &FaultStorage) -> Vec<inspect::Dumped> {
    inspect::verify(disk, &mut |_| {}).expect("a disk that works can be looked at");
    let dump = inspect::dump(disk).expect("a disk that works can be looked at");
    let records: Vec<_> = dump.take(STEPS_MAX).collect();
    assert!(records.len() < STEPS_MAX, "dumping does not end");
    records.into_iter().filter_map(Result::ok).collect()
}

/// Any bytes: there is nothing to compare with, so it is only to come to an end.
fn play_raw(given: Vec<(Name, Vec<u8>)>) {
    let files = given.into_iter().map(|(name, bytes)| (name.text(), bytes));
    let disk = disk_of(&files.collect());
    look(&disk);
    if let Ok((_, reader)) = try_open(&disk, &Options::default()) {
        read(&reader, &Everything);
        read(&reader, &Only(["a"]));
    }
}

fn play(sample: &Sample, damage: &[Damage]) {
    let mut now = sample.files.clone();
    damage.iter().for_each(|damage| damage.apply(&mut now));
    let disk = disk_of(&now);
    let dumped = look(&disk);
    for record in &dumped {
        let expected = sample.at(record.sequence);
        assert_eq!(record.frame, expected.frame);
        assert_eq!(record.topics, [expected.topic]);
    }
    let changed = sample.changed(&now);
    match try_open(&disk, &sample.options) {
        Ok((writer, reader)) => {
            check_opened(sample, &now, &changed, &reader);
            let (found, damaged) = read(&reader, &Everything);
            let dumped = dumped.iter().map(|it| (it.sequence, it.frame.to_vec()));
            assert!(damaged || dumped.eq(found), "a dump shows something else");
            go_on(sample, &disk, writer, &reader, &changed);
        }
        Err(error) => check_refusal(&error, &now, &changed),
    }
}

fn check_opened(sample: &Sample, now: &Files, changed: &[&str], reader: &Reader) {
    let (first, next) = (reader.first(), reader.next());
    // What a segment that was not finished is called may have been left out before.
    let named = now
        .keys()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok());
    let end = named.max().unwrap_or(0).max(sample.end());
    assert!(next <= end, "sequences were left out");
    let (found, damaged) = read(reader, &Everything);
    let last = found.last().map(|(sequence, _)| *sequence);
    let whole = last.is_none_or(|last| sample.at(last).ends_group);
    assert!(whole || damaged, "a part of a group came back");
    for (sequence, frame) in &found {
        assert!((first..next).contains(sequence));
        assert_eq!(*frame, sample.at(*sequence).frame);
    }
    let all = found.iter().map(|(sequence, _)| *sequence).eq(first..next);
    assert!(
        all || damaged,
        "records between are missing, and nobody says so"
    );
    for topic in TOPICS {
        let (of_topic, met) = read(reader, &Only([topic]));
        let expected = found
            .iter()
            .filter(|(sequence, _)| sample.at(*sequence).topic == topic);
        assert!(
            of_topic.iter().eq(expected) || damaged || met,
            "topic {topic}"
        );
    }
    if changed.is_empty() {
        // Only indexes, which are built again where they are bad.
        assert_eq!((first, next), (1, sample.end()));
        assert!(!damaged, "what was never changed is said to be damaged");
    }
    if changed == [&*sample.newest] && now.contains_key(&sample.newest) {
        assert!(next >= sample.newest_first, "a sealed segment was lost");
        assert_eq!(first, 1);
        assert!(
            next == sample.end() || !sample.is_amid_commits(now),
            "damage amid commits was taken for an unfinished end"
        );
    }
    // Nothing of these may panic.
    let _ = (reader.stats(), reader.at_time(NOW_MS), reader.marks(0, 10));
    let _ = (reader.find_alias("alias-4"), reader.last(&Everything, 3, 0));
}

/// The log takes more, and holds it when it is opened again.
fn go_on(
    sample: &Sample,
    disk: &FaultStorage,
    mut writer: Writer,
    reader: &Reader,
    changed: &[&str],
) {
    let (before, damaged) = read(reader, &Everything);
    let (first, next) = (reader.first(), reader.next());
    let mut batch = writer.begin(NOW_MS);
    let head = Head {
        topics: &["after"],
        ..Head::default()
    };
    let pushed = batch.push(&head, |_, frame| frame.extend_from_slice(b"after"));
    let sequence = pushed.expect("a small record fits");
    assert_eq!(sequence, next);
    writer.commit(batch).expect("nothing fails here");
    drop(writer);
    let reader = match try_open(disk, &sample.options) {
        Ok((_, reader)) => reader,
        // After a close the newest segment is not read. It is now, and was damaged all the time.
        Err(error) if damaged => return check_refusal(&error, &files(disk), changed),
        Err(error) => panic!("what was opened does not open again: {error}"),
    };
    let (after, _) = read(&reader, &Everything);
    assert_eq!((reader.first(), reader.next()), (first, next + 1));
    if !damaged {
        let expected = before.into_iter().chain([(sequence, b"after".to_vec())]);
        assert!(
            after.into_iter().eq(expected),
            "what was there is there no more"
        );
    }
}

/// Who is refused is told why, and rightly.
fn check_refusal(error: &OpenError, now: &Files, changed: &[&str]) {
    assert!(
        !changed.is_empty(),
        "refused though nothing is wrong: {error}"
    );
    match error {
        OpenError::Damaged(damage) => {
            let file = now
                .get(&damage.segment)
                .expect("damage in a file that is there");
            assert!(damage.offset <= file.len() as u64);
            assert!(changed.contains(&&*damage.segment), "{error}");
        }
        OpenError::Foreign { segment } | OpenError::Version { file: segment, .. } => {
            assert!(now.contains_key(segment), "{error}");
        }
        OpenError::Missing { before, .. } => assert!(now.contains_key(before), "{error}"),
        OpenError::Gone { segment, index } => {
            assert!(
                !now.contains_key(segment) && now.contains_key(index),
                "{error}"
            );
        }
        error => panic!("a disk that works was blamed: {error}"),
    }
}

fuzz_target!(|input: Input| match input {
    Input::Raw(files) => play_raw(files),
    Input::Written {
        seed,
        segment_bytes,
        commits,
        closed,
        damage,
    } => play(
        &Sample::write(seed, segment_bytes, &commits, closed),
        &damage
    ),
});
