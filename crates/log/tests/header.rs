//! What a header says is not secret: whoever can put a file there can have it tell anything. None uses
//! up the sequences, has a counter overflow, or takes away what others hold.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

mod support;

use support::{commit, small_segments, try_open};
use tidings_log::{Damage, FaultStorage, OpenError, RepairError, inspect, repair};

const SEQUENCE_MAX: u64 = 1 << 63;

/// A header of an own log, or one that is sparse and stands for sequences to its `end`.
fn header(first: u64, end: u64) -> Vec<u8> {
    let mut bytes = b"TIDINGS\n".to_vec();
    bytes.extend(2_u32.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    for field in [first, 1000, 7] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend(b"E");
    bytes.resize(104, 0);
    bytes.extend(if end > 0 { 2_u32 } else { 0 }.to_le_bytes());
    bytes.extend(first.to_le_bytes());
    bytes.extend(end.to_le_bytes());
    bytes.extend(crc32c::crc32c(&bytes).to_le_bytes());
    bytes
}

fn disk_of(segments: &[(u64, Vec<u8>)]) -> FaultStorage {
    let disk = FaultStorage::new(1);
    for (first, bytes) in segments {
        disk.put(&format!("{first:020}.log"), bytes.clone());
    }
    disk
}

fn damage_told(error: &OpenError) -> &Damage {
    match error {
        OpenError::Damaged(damage) => damage,
        other => panic!("{other}"),
    }
}

#[test]
fn a_log_goes_on_from_the_last_first_sequence_that_a_header_may_have() {
    let disk = disk_of(&[(SEQUENCE_MAX, header(SEQUENCE_MAX, 0))]);
    let (mut writer, reader, _) = try_open(&disk, &small_segments(1000)).unwrap();
    for _ in 0..3 {
        let before = writer.next_sequence();
        let committed = commit(&mut writer, "a", &[b"x", b"y"]).unwrap();
        assert_eq!((committed.first, committed.last), (before, before + 1));
        assert_eq!(reader.next(), before + 2);
    }
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
}

#[test]
fn a_first_sequence_beyond_all_is_damage() {
    for first in [SEQUENCE_MAX + 1, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
        let disk = disk_of(&[(first, header(first, 0))]);
        let before = disk.files();
        let error = try_open(&disk, &small_segments(1000)).err().unwrap();
        assert_eq!(damage_told(&error).offset, 16);
        assert!(!inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
        assert!(inspect::dump(&disk).unwrap().any(|record| record.is_err()));
        let repaired = repair(&disk, false, &mut |_| {}, &mut |it| panic!("{it:?}"));
        assert!(matches!(repaired, Err(RepairError::Nameless)));
        assert_eq!(disk.files(), before);
    }
}

#[test]
fn one_beside_a_log_is_not_repaired_but_named() {
    for bytes in [header(u64::MAX - 5, 0), vec![7; 500]] {
        let disk = disk_of(&[(1, header(1, 0)), (u64::MAX - 5, bytes)]);
        let before = disk.files();
        let repaired = repair(&disk, false, &mut |_| {}, &mut |it| panic!("{it:?}"));
        let told = repaired.unwrap_err().to_string();
        assert!(told.contains("18446744073709551610.log"), "{told}");
        assert_eq!(disk.files(), before);
    }
}

#[test]
fn an_end_beyond_all_takes_no_other_segment_away() {
    let others = [1, 10, 20, 30].map(|first| (first, header(first, 0)));
    let disk = disk_of(&others);
    disk.put("00000000000000000001.log", header(1, u64::MAX));
    let logs = || {
        let files = disk.files().into_iter();
        files.filter(|(name, _)| name.ends_with("log"))
    };
    let before: Vec<_> = logs().collect();
    let error = try_open(&disk, &small_segments(1000)).err().unwrap();
    assert_eq!(damage_told(&error).offset, 116);
    assert!(logs().eq(before));
}

#[test]
fn an_index_beyond_all_is_none_of_a_segment_that_is_gone() {
    let disk = FaultStorage::new(1);
    let (mut writer, ..) = try_open(&disk, &small_segments(1 << 20)).unwrap();
    commit(&mut writer, "a", &[b"x"]).unwrap();
    writer.close().unwrap();
    let name = format!("{:020}.idx", u64::MAX);
    let files = disk.files();
    let index = files.iter().find(|(name, _)| name.ends_with("idx"));
    disk.put(&name, index.unwrap().1.clone());
    let (_, reader, found) = try_open(&disk, &small_segments(1 << 20)).unwrap();
    assert_eq!((reader.next(), found.removed), (2, vec![name]));
}
