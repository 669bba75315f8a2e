//! Who is refused is told what to do, and nothing that would take away what is whole.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use support::{commit, small_segments, try_open};
use tidings_log::{DirectoryStorage, FaultStorage, inspect, open, repair};

/// A log of so many segments, and their names.
fn segments(count: usize) -> (FaultStorage, Vec<String>) {
    let disk = FaultStorage::new(1);
    let (mut writer, reader, _) = try_open(&disk, &small_segments(700)).unwrap();
    while reader.stats().segments < count {
        commit(&mut writer, "a", &[&[7; 100]]).unwrap();
    }
    for frame in [b"one", b"two", b"six"] {
        commit(&mut writer, "a", &[frame]).unwrap();
    }
    assert_eq!(reader.stats().segments, count);
    let names = disk.files().into_iter().map(|(name, _)| name);
    let mut logs: Vec<_> = names.filter(|name| name.ends_with("log")).collect();
    logs.sort();
    (disk, logs)
}

fn refusal(disk: &FaultStorage) -> String {
    let opened = try_open(disk, &small_segments(700));
    opened.err().unwrap().to_string()
}

fn put_changed(disk: &FaultStorage, name: &str, change: impl Fn(&mut Vec<u8>)) -> FaultStorage {
    let changed = FaultStorage::new(2);
    for (other, mut bytes) in disk.files() {
        // An index would speak for its segment.
        if other.ends_with("idx") {
            continue;
        }
        if other == name {
            change(&mut bytes);
        }
        changed.put(&other, bytes);
    }
    changed
}

#[test]
fn a_damaged_segment_is_named_with_what_repairs_it_wherever_it_is() {
    for count in [1, 4] {
        let (disk, names) = segments(count);
        for name in &names {
            let damaged = put_changed(&disk, name, |bytes| bytes[140] ^= 1);
            let told = refusal(&damaged);
            assert!(told.contains(name) && told.contains("byte 128"), "{told}");
            assert!(told.contains("tidings log verify"), "{told}");
            assert!(told.contains("tidings log repair"), "{told}");
            assert!(!told.contains("move"), "{told}");
            repair(&damaged, false, &mut |_| {}, &mut |_| {}).unwrap();
            try_open(&damaged, &small_segments(700)).unwrap();
        }
    }
}

#[test]
fn a_missing_segment_is_told_with_what_repairs_it() {
    let (disk, names) = segments(4);
    let missing = FaultStorage::new(2);
    for (name, bytes) in disk.files() {
        if name != names[1] {
            missing.put(&name, bytes);
        }
    }
    let told = refusal(&missing);
    assert!(told.contains(&names[2]), "{told}");
    assert!(told.contains("tidings log repair"), "{told}");
    assert!(!told.contains("move"), "{told}");
}

#[test]
fn a_directory_with_a_segments_name_is_named_by_all() {
    let directory = tempfile::tempdir().unwrap();
    let name = format!("{:020}.log", 9);
    std::fs::create_dir(directory.path().join(&name)).unwrap();
    let storage = DirectoryStorage::open(directory.path()).unwrap();
    let beside = DirectoryStorage::read_only(directory.path());
    let opened = open(std::sync::Arc::new(storage), small_segments(700), "E", 1000);
    let told = [
        opened.err().unwrap().to_string(),
        inspect::verify(&beside, &mut |_| {})
            .unwrap_err()
            .to_string(),
        inspect::dump(&beside).err().unwrap().to_string(),
        inspect::files(&beside).unwrap_err().to_string(),
        repair(&beside, true, &mut |_| {}, &mut |_| {})
            .unwrap_err()
            .to_string(),
    ];
    for told in told {
        assert!(told.contains(&name), "{told}");
        assert!(told.contains("move it out"), "{told}");
    }
}
