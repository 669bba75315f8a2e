//! Broken files: whatever the bytes are, the log reports or cuts; it does not panic, hang, take
//! memory by what a length field says, or return what was not written.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use proptest::collection::vec;
use proptest::prelude::*;
use support::{Everything, Only, commit, commit_at, read_from, small_segments, try_open};
use tidings_log::inspect::IndexReport;
use tidings_log::{
    FaultStorage, Head, OpenError, Options, ReadError, ReadLimits, Repair, RepairError, Select,
    inspect, repair,
};

const FIRST: &str = "00000000000000000001.log";

/// Names and bytes.
type Files = Vec<(String, Vec<u8>)>;

/// Files of a log with two sealed segments and an active one, the frames it holds, and how many
/// of them are in the last commit.
fn sample() -> (Files, Vec<Vec<u8>>, Options) {
    let disk = FaultStorage::new(1);
    let options = small_segments(700);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    for number in 0..7_u8 {
        let frames = [vec![b'a' + number; 30], vec![b'A' + number; 20]];
        commit(
            &mut writer,
            &format!("topic/{}", number % 2),
            &[&frames[0], &frames[1]],
        )
        .unwrap();
    }
    let frames = read_from(&reader, &Everything, 1).unwrap();
    assert_eq!(reader.stats().segments, 3);
    (disk.files(), frames, options)
}

fn disk_of(files: &[(String, Vec<u8>)]) -> FaultStorage {
    let disk = FaultStorage::new(2);
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

/// Opens and reads: all that is returned must be what was written, without a hole.
fn check(disk: &FaultStorage, frames: &[Vec<u8>], options: &Options) -> Option<usize> {
    inspect::verify(disk, &mut |_| {}).unwrap();
    let dumped = inspect::dump(disk).unwrap();
    let dumped: Vec<_> = dumped.take(100).filter_map(Result::ok).collect();
    for record in &dumped {
        let place = usize::try_from(record.sequence - 1).unwrap();
        assert_eq!(record.frame, frames[place]);
    }
    let Ok((_, reader, _)) = try_open(disk, options) else {
        return None;
    };
    let found = match read_from(&reader, &Everything, 1) {
        Ok(found) => found,
        Err(ReadError::Damaged { .. } | ReadError::Forgotten { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(found, frames[..found.len()]);
    assert!(dumped.iter().map(|record| &record.frame).eq(&found));
    for topic in ["topic/0", "topic/1"] {
        let found = read_from(&reader, &Only(&[topic]), 1);
        if let Ok(found) = found {
            let parity = usize::from(topic == "topic/1");
            let held = usize::try_from(reader.next() - 1).unwrap();
            let expected = frames[..held].iter().enumerate();
            let expected = expected.filter(|(place, _)| place / 2 % 2 == parity);
            assert_eq!(
                found,
                expected.map(|(_, frame)| frame.clone()).collect::<Vec<_>>()
            );
        }
    }
    Some(found.len())
}

#[test]
fn any_flipped_byte_is_reported_or_was_never_needed() {
    let (files, frames, options) = sample();
    for (place, (name, bytes)) in files.iter().enumerate() {
        for offset in 0..bytes.len() {
            let mut files = files.clone();
            files[place].1[offset] ^= 1 << (offset % 8);
            let read = check(&disk_of(&files), &frames, &options);
            let newest = name > &files[files.len() - 2].0 && name.contains(".log");
            match read {
                // The damaged end of the newest segment cannot be told from an unfinished commit.
                Some(count) if newest => {
                    assert!(count == frames.len() - 2 || count == frames.len());
                }
                Some(count) => assert_eq!(count, frames.len(), "{name} byte {offset}"),
                None => assert!(
                    std::path::Path::new(name)
                        .extension()
                        .is_some_and(|ext| ext == "log")
                ),
            }
        }
    }
}

#[test]
fn a_file_cut_anywhere_keeps_whole_groups() {
    let disk = FaultStorage::new(1);
    let options = small_segments(1 << 20);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    let mut ends = vec![disk.files()[0].1.len()];
    for number in 1..5_u8 {
        commit(&mut writer, "topic", &[&[number; 10], &[number; 700]]).unwrap();
        ends.push(disk.files()[0].1.len());
    }
    let frames = read_from(&reader, &Everything, 1).unwrap();
    let whole = disk.files()[0].1.clone();
    for length in ends[0]..whole.len() {
        let disk = disk_of(&[(FIRST.to_owned(), whole[..length].to_vec())]);
        // Before anything is opened: a dump shows what opening is going to keep.
        let dumped = inspect::dump(&disk).unwrap();
        let dumped: Vec<_> = dumped
            .map(|record| record.unwrap().frame.to_vec())
            .collect();
        let (writer, reader, found) = try_open(&disk, &options).unwrap();
        let groups = ends.iter().filter(|end| **end <= length).count() - 1;
        assert_eq!(dumped, frames[..2 * groups], "cut at {length}");
        assert_eq!(writer.next_sequence(), 2 * groups as u64 + 1);
        assert_eq!(
            read_from(&reader, &Everything, 1).unwrap(),
            frames[..2 * groups]
        );
        let cut = found.cut.map_or(0, |cut| cut.bytes);
        // Zeros at the end may as well have been written ahead.
        let torn = &whole[ends[groups]..length];
        let written = torn.iter().rposition(|byte| *byte != 0);
        assert_eq!(
            cut,
            written.map_or(0, |last| last as u64 + 1),
            "cut at {length}"
        );
    }
}

#[test]
fn a_hole_in_the_last_commit_is_cut_and_one_before_it_is_refused() {
    // A commit of many sectors may reach the disk in any order. If its first sector is missing and
    // the rest is there, that is an ordinary power cut, and must not ask for an operator.
    let disk = FaultStorage::new(1);
    let options = small_segments(1 << 20);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "topic", &[b"one"]).unwrap();
    let second_at = disk.files()[0].1.len();
    commit(&mut writer, "topic", &[&[2; 600], &[3; 600], &[4; 600]]).unwrap();
    let mut torn = disk.files()[0].1.clone();
    torn[second_at..second_at + 512].fill(0);

    let (_, reader, found) =
        try_open(&disk_of(&[(FIRST.to_owned(), torn.clone())]), &options).unwrap();
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), [b"one"]);
    assert_eq!(found.cut.unwrap().offset, second_at as u64);

    commit(&mut writer, "topic", &[b"five"]).unwrap();
    let mut damaged = disk.files()[0].1.clone();
    damaged[second_at..second_at + 512].fill(0);
    let disk = disk_of(&[(FIRST.to_owned(), damaged.clone())]);
    let Err(OpenError::Damaged(damage)) = try_open(&disk, &options) else {
        panic!("damage was not refused")
    };
    assert_eq!(
        (damage.segment.as_str(), damage.offset),
        (FIRST, second_at as u64)
    );
    assert_eq!(disk.files()[0].1, damaged, "refusing changes nothing");
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    assert!(!report.is_sound());
}

#[test]
fn no_time_is_told_of_a_group_that_is_not_whole() {
    let disk = FaultStorage::new(1);
    let options = small_segments(1 << 20);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    commit_at(&mut writer, 1000, "topic", &[b"one"]).unwrap();
    let second_at = disk.files()[0].1.len();
    commit_at(&mut writer, 2000, "topic", &[b"two", b"three"]).unwrap();
    let whole = disk.files()[0].1.clone();
    for (bytes, times) in [(second_at - 1, (0, 0)), (whole.len() - 1, (1000, 1000))] {
        let disk = disk_of(&[(FIRST.to_owned(), whole[..bytes].to_vec())]);
        let report = inspect::verify(&disk, &mut |_| {}).unwrap();
        let segment = &report.segments[0];
        assert_eq!((segment.first_time_ms, segment.last_time_ms), times);
    }
}

#[test]
fn a_frame_that_holds_a_record_is_not_taken_for_one() {
    // A publisher who has seen a log file sends a part of it as an event. When the power goes
    // while that event is written, what is inside must not count as a later commit.
    let disk = FaultStorage::new(1);
    let options = small_segments(1 << 20);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    let foreign = FaultStorage::new(99);
    let (mut other, _, _) = try_open(&foreign, &options).unwrap();
    for _ in 0..9 {
        commit(&mut other, "topic", &[b"bait"]).unwrap();
    }
    let bait = foreign.files()[0].1[128..].to_vec();
    commit(&mut writer, "topic", &[&bait]).unwrap();
    let mut bytes = disk.files()[0].1.clone();
    bytes.pop();
    let (writer, _, found) = try_open(&disk_of(&[(FIRST.to_owned(), bytes)]), &options).unwrap();
    assert_eq!(writer.next_sequence(), 1);
    assert!(found.cut.is_some());
}

#[test]
fn reading_goes_on_behind_a_damaged_record() {
    let (mut files, frames, options) = sample();
    files.sort();
    let (name, bytes) = &mut files[1];
    assert_eq!(name, FIRST);
    bytes[400] ^= 1;
    let (_, reader, _) = try_open(&disk_of(&files), &options).unwrap();
    for select in [&Everything as &dyn Select, &Only(&["topic/0", "topic/1"])] {
        let (mut cursor, mut found, mut damages) = (1, Vec::new(), 0);
        while cursor < reader.next() {
            match reader.read(select, cursor, ReadLimits::default()) {
                Ok(page) => {
                    found.extend(page.frames.iter().map(|stored| stored.frame.to_vec()));
                    cursor = page.next;
                }
                Err(ReadError::Damaged { next, .. }) => {
                    assert!(next > cursor);
                    damages += 1;
                    cursor = next;
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(damages, 1);
        assert!(found.iter().all(|frame| frames.contains(frame)));
        assert!(
            found.len() >= frames.len() - 6,
            "{} of {}",
            found.len(),
            frames.len()
        );
    }
}

#[test]
fn a_smaller_limit_for_records_does_not_make_damage_of_larger_ones() {
    let (files, frames, options) = sample();
    let options = Options {
        record_bytes_max: 70,
        ..options
    };
    let (_, reader, found) = try_open(&disk_of(&files), &options).unwrap();
    assert!(found.cut.is_none());
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), frames);
}

#[test]
fn a_missing_segment_is_refused() {
    let (mut files, _, options) = sample();
    let logs: Vec<_> = files
        .iter()
        .map(|(name, _)| name.clone())
        .filter(|name| name.ends_with("log"))
        .collect();
    files.retain(|(name, _)| name != &logs[1]);
    assert!(matches!(
        try_open(&disk_of(&files), &options),
        Err(OpenError::Missing { .. })
    ));
}

#[test]
fn a_segment_of_another_log_is_refused() {
    let (mut files, _, options) = sample();
    let foreign = FaultStorage::new(99);
    let (mut writer, _, _) = try_open(&foreign, &options).unwrap();
    commit(&mut writer, "topic", &[b"x"]).unwrap();
    files[0].1 = foreign.files()[0].1.clone();
    assert_eq!(files[1].0, FIRST);
    files[1].1 = foreign.files()[0].1.clone();
    assert!(matches!(
        try_open(&disk_of(&files), &options),
        Err(OpenError::Foreign { .. })
    ));
}

#[test]
fn a_segment_whose_creation_was_not_finished_is_removed() {
    let (files, frames, options) = sample();
    let next = format!("{:020}.log", frames.len() + 1);
    for length in [0, 1, 64, 128] {
        let mut files = files.clone();
        files.push((next.clone(), vec![0; length]));
        let (_, reader, found) = try_open(&disk_of(&files), &options).unwrap();
        assert_eq!(found.removed, std::slice::from_ref(&next));
        assert_eq!(read_from(&reader, &Everything, 1).unwrap(), frames);
    }
    let mut files = files.clone();
    files.push((next.clone(), vec![0; 129]));
    assert!(matches!(
        try_open(&disk_of(&files), &options),
        Err(OpenError::Damaged(_))
    ));
}

#[test]
fn an_index_that_is_missing_or_stale_is_built_again() {
    let (files, frames, options) = sample();
    let without: Vec<_> = files
        .iter()
        .filter(|(name, _)| !name.ends_with("idx"))
        .cloned()
        .collect();
    let disk = disk_of(&without);
    let (_, reader, found) = try_open(&disk, &options).unwrap();
    assert_eq!(found.indexes_rebuilt, 2);
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), frames);
    let mut rebuilt = disk.files();
    rebuilt.sort();
    let mut original = files.clone();
    original.sort();
    assert_eq!(rebuilt, original, "the same index, byte for byte");
}

fn index_of(files: &[(String, Vec<u8>)]) -> IndexReport {
    let report = inspect::verify(&disk_of(files), &mut |_| {}).unwrap();
    report.segments[0].index
}

#[test]
fn an_index_is_good_if_opening_takes_it() {
    let (files, _, options) = closed();
    let behind = |bytes: &[u8]| {
        let mut files = files.clone();
        files[1].1.extend_from_slice(bytes);
        index_of(&files)
    };
    assert_eq!(behind(&[]), IndexReport::Good);
    assert_eq!(behind(&[0; 100]), IndexReport::Good);
    assert_eq!(behind(&[7; 100]), IndexReport::Bad);

    let (mut files, frames, _) = sample();
    files.sort();
    assert_eq!(index_of(&files), IndexReport::Good);
    // One that was written when there was less.
    let disk = FaultStorage::new(1);
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "topic/0", &[&frames[0], &frames[1]]).unwrap();
    writer.close().unwrap();
    let stale = disk.files();
    assert_eq!(
        (index_of(&stale), &stale[0].0),
        (IndexReport::Good, &files[0].0)
    );
    assert!(files[1].1.starts_with(&stale[1].1), "it is of this segment");
    files[0].1.clone_from(&stale[0].1);
    assert_eq!(index_of(&files), IndexReport::Bad);
    let (.., found) = try_open(&disk_of(&files), &options).unwrap();
    assert_eq!(found.indexes_rebuilt, 1);
}

/// A log of one segment that was closed in good order: what it holds, and its index.
fn closed() -> (Files, Vec<Vec<u8>>, Options) {
    let disk = FaultStorage::new(1);
    let options = small_segments(1 << 20);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    for number in 1..60_u8 {
        commit(&mut writer, "topic", &[&[number; 10], &[number; 700]]).unwrap();
    }
    let frames = read_from(&reader, &Everything, 1).unwrap();
    writer.close().unwrap();
    (disk.files(), frames, options)
}

#[test]
fn what_is_missing_after_a_close_is_damage_and_no_crash() {
    // Without the index the file looks like one whose last commit a crash interrupted, or like one
    // that was never finished, and would be cut. Then sequences that were seen would be given again.
    let (files, frames, options) = closed();
    let log = files.iter().find(|(name, _)| name == FIRST).unwrap();
    for length in (0..log.1.len()).rev().step_by(97) {
        let mut files = files.clone();
        files[1].1.truncate(length);
        assert_eq!(files[1].0, FIRST);
        let disk = disk_of(&files);
        let Err(OpenError::Damaged(damage)) = try_open(&disk, &options) else {
            panic!("cut to {length} bytes, and not refused");
        };
        assert!(damage.offset <= length as u64);
        assert_eq!(disk.files(), files, "refusing changes nothing");
        assert!(!inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
        let dumped = inspect::dump(&disk).unwrap();
        let (dumped, told): (Vec<_>, Vec<_>) = dumped.partition(Result::is_ok);
        assert_eq!(told.len(), 1, "cut to {length} bytes");
        assert!(dumped.len() < frames.len());
        if length < 128 {
            // Nothing is left that says which log it was.
            continue;
        }
        assert!(repair(&disk, false, &mut |_| {}, &mut |_| {}).unwrap() > 0);
        let (writer, ..) = try_open(&disk, &options).unwrap();
        assert!(writer.next_sequence() > frames.len() as u64);
    }
}

#[test]
fn after_a_close_the_last_records_are_looked_at() {
    let (files, frames, options) = closed();
    let (mut refused, mut met) = (0, 0);
    let whole = files[1].1.clone();
    for offset in (128..whole.len()).step_by(401) {
        let mut files = files.clone();
        files[1].1[offset] ^= 0x20;
        let disk = disk_of(&files);
        assert!(!inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
        match try_open(&disk, &options) {
            Err(OpenError::Damaged(_)) => {
                assert_eq!(disk.files(), files, "refusing changes nothing");
                refused += 1;
            }
            Err(error) => panic!("{error}"),
            Ok((_, reader, found)) => {
                // It is not read, so nothing is cut off, and who reads is told.
                assert_eq!((found.cut, reader.next()), (None, frames.len() as u64 + 1));
                let read = read_from(&reader, &Everything, 1);
                assert!(matches!(read, Err(ReadError::Damaged { .. })));
                met += 1;
                assert!(
                    offset < whole.len() - 700,
                    "the last record was not looked at"
                );
            }
        }
    }
    assert!(refused > 0 && met > 0, "{refused} {met}");
    // The end of the file, as a file system leaves it that knows its length and has lost its blocks.
    let mut files = files;
    files[1].1[whole.len() - 4096..].fill(0);
    let opened = try_open(&disk_of(&files), &options);
    assert!(matches!(opened, Err(OpenError::Damaged(_))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn arbitrary_bytes_behind_a_header(
        tail in vec(any::<u8>(), 0..2000),
        keep in 0..2000_usize,
        newest: bool,
    ) {
        let (mut files, _, options) = sample();
        let place = if newest { files.len() - 1 } else { 1 };
        let bytes = &mut files[place].1;
        bytes.truncate(keep.max(128));
        bytes.extend_from_slice(&tail);
        let disk = disk_of(&files);
        let _ = inspect::verify(&disk, &mut |_| {}).unwrap();
        let _ = inspect::dump(&disk).unwrap().take(100).count();
        if let Ok((_, reader, _)) = try_open(&disk, &options) {
            let _ = read_from(&reader, &Everything, 1);
        }
    }

    #[test]
    fn arbitrary_files(log in vec(any::<u8>(), 0..600), index in vec(any::<u8>(), 0..600)) {
        let (mut files, frames, options) = sample();
        files[0].1 = index;
        prop_assert!(files[0].0.ends_with("idx"));
        prop_assert_eq!(check(&disk_of(&files), &frames, &options), Some(frames.len()));
        let disk = disk_of(&[(FIRST.to_owned(), log)]);
        let _ = try_open(&disk, &options);
    }
}

/// Opens a log that was repaired, and reads it with all that is told on the way.
fn read_repaired(disk: &FaultStorage, options: &Options) -> Vec<Vec<u8>> {
    assert!(inspect::verify(disk, &mut |_| {}).unwrap().is_sound());
    let (mut writer, reader, _) = try_open(disk, options).unwrap();
    let select = Only(&["topic/0", "topic/1", "after"]);
    commit(&mut writer, "after", &[b"after"]).unwrap();
    let (mut found, mut cursor) = (Vec::new(), 1);
    while cursor < reader.next() {
        match reader.read(&select, cursor, ReadLimits::default()) {
            Ok(page) => {
                found.extend(page.frames.iter().map(|stored| stored.frame.to_vec()));
                cursor = page.next;
            }
            Err(ReadError::Lost { next }) => cursor = next,
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(found.pop().unwrap(), b"after");
    assert_eq!(
        read_from(&reader, &Everything, reader.next() - 1).unwrap(),
        [b"after"]
    );
    found
}

#[test]
fn any_damage_is_repaired_but_for_what_it_hit_and_told() {
    let (mut files, frames, options) = sample();
    files.sort();
    for (place, (name, bytes)) in files.iter().enumerate() {
        if !name.ends_with("log") {
            continue;
        }
        for offset in (0..bytes.len()).step_by(7) {
            let mut files = files.clone();
            files[place].1[offset] ^= 0x55;
            let damaged = files[place].1.clone();
            let disk = disk_of(&files);
            let sound = inspect::verify(&disk, &mut |_| {}).unwrap().is_sound();
            let mut told = Vec::new();
            let dry = repair(&disk, true, &mut |_| {}, &mut |repair| {
                told.push(repair.clone());
            })
            .unwrap();
            assert_eq!(sound, dry == 0, "{name} byte {offset}");
            assert_eq!(disk.files().len(), files.len(), "a dry run changes nothing");
            let mut done = Vec::new();
            repair(&disk, false, &mut |_| {}, &mut |repair| {
                done.push(repair.clone());
            })
            .unwrap();
            assert_eq!(told, done);
            let kept = disk
                .files()
                .into_iter()
                .find(|(name, _)| name.ends_with("damaged"));
            assert!(sound || kept.is_some_and(|(_, kept)| kept == damaged));
            let found = read_repaired(&disk, &options);
            assert!(found.len() + 2 >= frames.len(), "{name} byte {offset}");
            assert!(found.iter().all(|frame| frames.contains(frame)));
            let again = repair(&disk, false, &mut |_| {}, &mut |_| {}).unwrap();
            assert_eq!(again, 0, "once is enough");
        }
    }
}

#[test]
fn what_a_repair_left_out_is_told_to_readers() {
    let (mut files, _, options) = sample();
    files.sort();
    let place = files.iter().position(|(name, _)| name == FIRST).unwrap();
    files[place].1[300] ^= 1;
    let disk = disk_of(&files);
    repair(&disk, false, &mut |_| {}, &mut |_| {}).unwrap();
    let (_, reader, _) = try_open(&disk, &options).unwrap();
    for select in [&Everything as &dyn Select, &Only(&["topic/0"])] {
        let page = reader.read(select, 1, ReadLimits::default()).unwrap();
        assert!(page.forgotten_before > Some(1));
    }
}

#[test]
fn zeros_at_the_end_of_a_sparse_segment_are_damage() {
    let (mut files, _, options) = sample();
    files.sort();
    let first = files.iter().position(|(name, _)| name == FIRST).unwrap();
    files[first].1[300] ^= 1;
    let disk = disk_of(&files);
    repair(&disk, false, &mut |_| {}, &mut |_| {}).unwrap();
    // Opened once it has an index.
    drop(try_open(&disk, &options).unwrap());
    let mut indexed = disk.files();
    indexed.sort();
    let segment = indexed.iter_mut().find(|(name, _)| name == FIRST).unwrap();
    let written = segment.1.len();
    let last = 56 + 2 + "topic/0".len() + 20;
    segment.1[written - last..].fill(0);
    let (disk, whole) = (disk_of(&indexed), disk);
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    let whole = inspect::verify(&whole, &mut |_| {}).unwrap();
    assert!(report.segments[0].problem.is_some());
    assert_eq!(report.segments[0].records, whole.segments[0].records - 1);
    let mut dumped = inspect::dump(&disk).unwrap();
    assert!(dumped.any(|record| record.is_err()));
    let (_, reader, found) = try_open(&disk, &options).unwrap();
    assert_eq!(found.indexes_rebuilt, 0);
    for select in [&Everything as &dyn Select, &Only(&["topic/0", "topic/1"])] {
        let read = read_from(&reader, select, 1);
        assert!(matches!(read, Err(ReadError::Damaged { .. })), "{read:?}");
    }

    indexed.retain(|(name, _)| !name.ends_with("idx"));
    let opened = try_open(&disk_of(&indexed), &options);
    assert!(matches!(opened, Err(OpenError::Damaged(_))));
    let mut told = Vec::new();
    let disk = disk_of(&indexed);
    repair(&disk, false, &mut |_| {}, &mut |it| told.push(it.clone())).unwrap();
    let zeroed = (written - last) as u64..written as u64;
    assert!(matches!(&*told, [Repair::Rewrite { left_out, .. }] if left_out[0] == zeroed));
    try_open(&disk, &options).unwrap();
}

#[test]
fn missing_segments_are_bridged() {
    let (mut files, frames, options) = sample();
    files.sort();
    let logs: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let logs: Vec<_> = logs
        .into_iter()
        .filter(|name| name.ends_with("log"))
        .collect();
    files.retain(|(name, _)| name != &logs[1]);
    let disk = disk_of(&files);
    let mut done = Vec::new();
    repair(&disk, false, &mut |_| {}, &mut |repair| {
        done.push(repair.clone());
    })
    .unwrap();
    assert!(matches!(&done[..], [Repair::Bridge { segment, .. }] if *segment == logs[1]));
    let found = read_repaired(&disk, &options);
    assert_eq!(found.len(), frames.len() - 6);
}

#[test]
fn a_sealed_segment_that_lost_its_records_is_not_sound() {
    let (mut files, ..) = sample();
    files.retain(|(name, _)| name.ends_with("log"));
    files[1].1[128..].fill(0);
    let disk = FaultStorage::new(1);
    for (name, bytes) in files {
        disk.put(&name, bytes);
    }
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    assert!(!report.is_sound(), "{report:?}");
    let refused = try_open(&disk, &small_segments(700)).map(drop);
    assert!(matches!(refused, Err(OpenError::Missing { .. })));
}

#[test]
fn a_newest_segment_that_is_gone_is_missed_where_its_index_is_left() {
    // Else its sequences would be given again to other records.
    let (mut files, frames, options) = closed_in_segments();
    let newest = files.iter().map(|(name, _)| name.clone()).max().unwrap();
    let first = newest.trim_end_matches(".log").to_owned();
    let index = format!("{first}.idx");
    files.retain(|(name, _)| *name != newest);
    let disk = disk_of(&files);
    let Err(OpenError::Gone { segment, .. }) = try_open(&disk, &options) else {
        panic!("the loss was not noticed");
    };
    assert_eq!(segment, newest);
    assert_eq!(disk.files(), files, "refusing changes nothing");
    assert!(!inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    let told = inspect::dump(&disk).unwrap().filter(Result::is_err).count();
    assert_eq!(told, 1);
    let mut done = Vec::new();
    repair(&disk, false, &mut |_| {}, &mut |it| done.push(it.clone())).unwrap();
    assert!(matches!(
        &done[..],
        [Repair::Begin { .. }, Repair::Bridge { .. }]
    ));
    assert!(!disk.files().iter().any(|(name, _)| *name == index));
    let (writer, ..) = try_open(&disk, &options).unwrap();
    assert_eq!(writer.next_sequence(), frames.len() as u64 + 1);
    drop(writer);
    assert!(read_repaired(&disk, &options).len() < frames.len());

    // The index of another log, or of the oldest that is forgotten, means nothing.
    let stranger = FaultStorage::new(99);
    let (mut writer, ..) = try_open(&stranger, &options).unwrap();
    commit(&mut writer, "topic", &[b"x"]).unwrap();
    writer.close().unwrap();
    let foreign = stranger
        .files()
        .into_iter()
        .find(|(name, _)| name.ends_with("idx"));
    files.retain(|(name, _)| *name != index);
    files.push((index, foreign.unwrap().1));
    assert!(try_open(&disk_of(&files), &options).is_ok());
}

/// A log of several segments that was closed in good order.
fn closed_in_segments() -> (Files, Vec<Vec<u8>>, Options) {
    let (files, mut frames, options) = sample();
    let disk = disk_of(&files);
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "topic", &[b"behind"]).unwrap();
    frames.push(b"behind".to_vec());
    writer.close().unwrap();
    (disk.files(), frames, options)
}

#[test]
fn what_a_log_takes_on_disk_is_told_by_its_files() {
    let (files, _, options) = sample();
    let disk = disk_of(&files);
    let bytes = |ending: &str| -> u64 {
        let files = disk.files().into_iter();
        let files = files.filter(|(name, _)| name.ends_with(ending));
        files.map(|(_, bytes)| bytes.len() as u64).sum()
    };
    let found = inspect::files(&disk).unwrap();
    assert_eq!((found.segments, found.sparse_segments), (3, 0));
    assert_eq!(found.segment_bytes, bytes(".log"));
    assert_eq!(found.index_bytes, bytes(".idx"));
    let mut damaged = files
        .iter()
        .find(|(name, _)| name == FIRST)
        .unwrap()
        .1
        .clone();
    damaged[400] ^= 1;
    let length = damaged.len() as u64;
    disk.put(FIRST, damaged);
    repair(&disk, false, &mut |_| {}, &mut |_| {}).unwrap();
    let found = inspect::files(&disk).unwrap();
    assert_eq!((found.segments, found.sparse_segments), (3, 1));
    assert_eq!((found.damaged_files, found.damaged_bytes), (1, length));
    let (_, reader, _) = try_open(&disk, &options).unwrap();
    assert_eq!(found.epoch.as_deref(), Some(reader.epoch()));
}

#[test]
fn a_segment_under_the_name_of_another_is_not_taken_for_damage() {
    // All of it can be read where it belongs: to write it anew here would leave out all.
    let (mut files, _, options) = sample();
    files.sort();
    let logs: Vec<_> = (0..files.len())
        .filter(|place| files[*place].0.ends_with("log"))
        .collect();
    let (first, second) = (logs[0], logs[1]);
    let swapped = files[second].1.clone();
    files[second].1 = std::mem::replace(&mut files[first].1, swapped);
    let disk = disk_of(&files);
    let before = disk.files();
    match repair(&disk, false, &mut |_| {}, &mut |_| {}) {
        Err(RepairError::Misnamed { segment, belongs }) => {
            assert_eq!((&segment, &belongs), (&files[first].0, &files[second].0));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(disk.files(), before);
    assert!(try_open(&disk, &options).is_err());
}

#[test]
fn a_repair_that_is_killed_leaves_no_part_of_a_copy_under_its_name() {
    let (mut files, ..) = sample();
    files.sort();
    let place = files.iter().position(|(name, _)| name == FIRST).unwrap();
    files[place].1[300] ^= 1;
    let damaged = files[place].1.clone();
    for calls in 0..40 {
        let disk = disk_of(&files);
        disk.cut_power_after(calls);
        let done = repair(&disk, false, &mut |_| {}, &mut |_| {});
        let disk = if done.is_ok() { disk } else { disk.crash() };
        repair(&disk, false, &mut |_| {}, &mut |_| {}).unwrap();
        let kept = disk.files().into_iter();
        let kept: Vec<_> = kept.filter(|(name, _)| name.contains("damaged")).collect();
        assert!(!kept.is_empty());
        assert!(kept.iter().all(|(_, bytes)| *bytes == damaged), "{calls}");
        assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    }
}

/// The head of the later commit is evidence, whatever is left of its record.
#[test]
fn damage_is_told_from_a_crash_by_a_later_record_that_ends_in_zeros_or_is_cut() {
    let options = small_segments(1 << 20);
    for (later, cut) in [(&[3, 3, 3, 0][..], 0), (&[3; 300], 7), (&[0; 300], 300)] {
        let disk = FaultStorage::new(1);
        let (mut writer, ..) = try_open(&disk, &options).unwrap();
        commit(&mut writer, "topic", &[b"one"]).unwrap();
        let second_at = disk.files()[0].1.len();
        commit(&mut writer, "topic", &[&[2; 600]]).unwrap();
        commit(&mut writer, "topic", &[later]).unwrap();
        let (name, mut bytes) = disk.files().remove(0);
        bytes[second_at + 100] ^= 1;
        bytes.truncate(bytes.len() - cut);
        let disk = disk_of(&[(name, bytes)]);
        assert!(!inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
        let opened = try_open(&disk, &options).map(drop);
        assert!(matches!(opened, Err(OpenError::Damaged(_))), "{opened:?}");
    }
}

/// Records in three segments, each with an alias, a mark, and a time that tell its sequence; with an
/// index of several blocks for each segment.
fn noted() -> (Files, Options) {
    let disk = FaultStorage::new(1);
    let options = small_segments(50_000);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    while reader.stats().segments < 3 || reader.next() <= 1100 {
        let sequence = reader.next();
        let (alias, mark) = (format!("alias-{sequence}"), sequence.to_le_bytes());
        let mut batch = writer.begin(1000 + sequence);
        let head = Head {
            topics: &["a"],
            alias: Some(&alias),
            mark: Some(&mark),
            ..Head::default()
        };
        batch.push(&head, |_, out| out.push(b'x')).unwrap();
        writer.commit(batch).unwrap();
    }
    writer.close().unwrap();
    (disk.files(), options)
}

/// Names of the log's segments, oldest first.
fn segments(files: &Files) -> Vec<String> {
    let names = files.iter().map(|(name, _)| name.clone());
    let mut names: Vec<_> = names.filter(|name| name.ends_with("log")).collect();
    names.sort();
    names
}

fn damage_file(files: &mut Files, name: &str, range: impl Iterator<Item = usize>) {
    let (_, bytes) = files.iter_mut().find(|(it, _)| it == name).unwrap();
    range.for_each(|offset| bytes[offset] ^= 1);
}

/// One damaged record in an older segment hid all marks and aliases that were looked for beyond it.
#[test]
fn marks_and_aliases_are_found_beside_a_damaged_record() {
    let (mut files, options) = noted();
    let name = segments(&files)[1].clone();
    damage_file(&mut files, &name, 20_000..20_001);
    let (_, reader, _) = try_open(&disk_of(&files), &options).unwrap();
    let found = reader.marks(0, 10_000).unwrap();
    assert_eq!(found.unread.len(), 1);
    let unread = found.unread.first().unwrap();
    assert_eq!((&unread.damage.segment, unread.marks), (&name, Some(1)));
    assert!((19_000..=20_000).contains(&unread.damage.offset));
    let all = 1..reader.next();
    let held: Vec<u64> = found.marks.iter().map(|mark| mark.sequence).collect();
    let missing: Vec<u64> = all.clone().filter(|it| !held.contains(it)).collect();
    assert_eq!((missing.len(), held.len() + 1), (1, all.clone().count()));
    for sequence in all {
        let found = reader.find_alias(&format!("alias-{sequence}")).unwrap();
        // Its hash tells where it is, but it cannot be compared.
        assert_eq!(found.sequence, Some(sequence));
        assert_eq!(found.doubt.is_some(), missing.contains(&sequence));
    }
    let none = reader.find_alias("alias-0").unwrap();
    assert_eq!((none.sequence, none.doubt), (None, None));
}

/// An index that cannot be built again hid all that is older, and times were not found at all.
#[test]
fn a_segment_that_cannot_be_looked_into_hides_nothing_else() {
    let (mut files, options) = noted();
    let names = segments(&files);
    let [first, damaged, after] = [0, 1, 2].map(|place| {
        let digits = names[place].strip_suffix(".log").unwrap();
        digits.parse::<u64>().unwrap()
    });
    damage_file(&mut files, &names[1], 20_000..20_001);
    let index = names[1].replace("log", "idx");
    let (_, bytes) = files.iter().find(|(name, _)| *name == index).unwrap();
    let range = 4096..bytes.len();
    damage_file(&mut files, &index, range);
    let (_, reader, _) = try_open(&disk_of(&files), &options).unwrap();

    let found = reader.marks(0, 10_000).unwrap();
    assert_eq!(found.unread.len(), 1);
    assert_eq!(found.unread[0].marks, None);
    assert_eq!(found.unread[0].damage.segment, names[1]);
    let held = found.marks.iter().map(|mark| mark.sequence);
    assert!(held.eq((first..damaged).chain(after..reader.next())));

    let find = |sequence: u64| reader.find_alias(&format!("alias-{sequence}")).unwrap();
    assert_eq!(
        (find(after).sequence, find(after).doubt),
        (Some(after), None)
    );
    assert_eq!(find(damaged).sequence, None);
    assert_eq!(find(damaged - 1).sequence, Some(damaged - 1));
    for sequence in [damaged, damaged - 1, 0] {
        assert_eq!(find(sequence).doubt.unwrap().segment, names[1]);
    }

    let only = Only(&["a"]);
    let newest = reader.next() - after;
    assert_eq!(reader.last(&only, newest, 0).unwrap(), after);
    assert_eq!(reader.last(&only, newest + 2, 0).unwrap(), damaged - 2);
    for (sequence, expected) in [(after, after), (damaged + 9, damaged), (2, 2)] {
        assert_eq!(reader.at_time(1000 + sequence).unwrap(), expected);
    }
    let read = reader.read(&only, damaged, ReadLimits::default());
    assert!(matches!(read, Err(ReadError::Damaged { next, .. }) if next == after));
}
