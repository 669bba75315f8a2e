//! The log on real files.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

mod support;

use std::sync::Arc;

use support::{Everything, Only, commit, open_on, read_from, small_segments};
use tidings_log::{DirectoryError, DirectoryStorage, Options, Retention, inspect};

#[test]
fn a_log_in_a_directory_is_opened_again() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("not/there/yet");
    let options = small_segments(10_000);
    let storage = Arc::new(DirectoryStorage::open(&path).unwrap());
    let (mut writer, _) = open_on(storage, &options);
    for number in 0..100_u8 {
        let topic = format!("t{}", number % 4);
        commit(&mut writer, &topic, &[&[number; 300], &[number; 3]]).unwrap();
    }
    drop(writer);
    let storage = Arc::new(DirectoryStorage::open(&path).unwrap());
    let (mut writer, reader) = open_on(storage, &options);
    assert_eq!(read_from(&reader, &Everything, 1).unwrap().len(), 200);
    assert_eq!(read_from(&reader, &Only(&["t3"]), 1).unwrap().len(), 50);
    assert_eq!(commit(&mut writer, "a", &[b"x"]).unwrap().first, 201);
}

#[test]
fn a_second_opening_is_told_who_has_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let held = DirectoryStorage::open(directory.path()).unwrap();
    let error = DirectoryStorage::open(directory.path()).unwrap_err();
    let pid = std::process::id();
    assert!(matches!(error, DirectoryError::Locked { pid: Some(found), .. } if found == pid));
    assert!(
        error.to_string().contains(&format!("process {pid}")),
        "{error}"
    );
    drop(held);
    DirectoryStorage::open(directory.path()).unwrap();
}

/// The process ID is only for the message: where the disk has no room for it the log opens, and who is
/// refused is not told by whom.
#[cfg(target_os = "linux")] // that has such a device
#[test]
fn no_room_for_the_process_id_stops_nobody() {
    let directory = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", directory.path().join("LOCK")).unwrap();
    DirectoryStorage::open(directory.path()).unwrap();
}

#[test]
fn the_process_id_takes_the_place_of_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let lock = directory.path().join("LOCK");
    // A longer one.
    std::fs::write(&lock, "18446744073709551615\n").unwrap();
    let _held = DirectoryStorage::open(directory.path()).unwrap();
    let pid = std::fs::read_to_string(&lock).unwrap();
    assert_eq!(pid, format!("{}\n", std::process::id()));
}

#[test]
fn a_log_is_inspected_while_it_is_open() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DirectoryStorage::open(directory.path()).unwrap());
    let (mut writer, _) = open_on(storage, &small_segments(1000));
    for _ in 0..10 {
        commit(&mut writer, "a", &[&[1; 200]]).unwrap();
    }
    let beside = DirectoryStorage::read_only(directory.path());
    let report = inspect::verify(&beside, &mut |_| {}).unwrap();
    assert!(report.is_sound() && report.segments.len() > 2);
    assert_eq!(inspect::dump(&beside).unwrap().count(), 10);
    let missing = DirectoryStorage::read_only(directory.path().join("none"));
    assert!(inspect::verify(&missing, &mut |_| {}).is_err());
}

#[test]
fn a_reader_goes_on_in_a_segment_that_is_forgotten_meanwhile() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DirectoryStorage::open(directory.path()).unwrap());
    let mut options = small_segments(1000);
    options.retention.events_max = Some(10);
    let (mut writer, reader) = open_on(storage, &options);
    let follower = std::thread::spawn(move || {
        let mut cursor = 1;
        let mut seen = 0_u64;
        while seen < 1000 {
            match reader.read(&Everything, cursor, tidings_log::ReadLimits::default()) {
                Ok(page) => {
                    for stored in &page.frames {
                        assert!(stored.sequence >= cursor);
                        seen = stored.sequence;
                    }
                    cursor = page.next;
                }
                Err(tidings_log::ReadError::Forgotten { first }) => {
                    assert!(first > cursor);
                    cursor = first;
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    for _ in 0..1000 {
        commit(&mut writer, "a", &[&[1; 50]]).unwrap();
        writer.retain(1000).unwrap();
    }
    follower.join().unwrap();
}

/// A file system takes its time to give the blocks of a file back, when it is closed last.
#[cfg(target_os = "linux")]
#[test]
fn forgotten_segments_are_closed_by_the_upkeep_and_not_by_commits() {
    let directory = tempfile::tempdir().unwrap();
    let nameless = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let paths = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
        let ours = paths.filter(|path| path.starts_with(directory.path()));
        ours.filter(|path| path.to_string_lossy().ends_with(".log (deleted)"))
            .count()
    };
    let options = Options {
        retention: Retention {
            events_max: Some(2),
            ..Retention::default()
        },
        ..small_segments(1000)
    };
    let storage = Arc::new(DirectoryStorage::open(directory.path()).unwrap());
    let (mut writer, _reader) = open_on(storage, &options);
    let upkeep = writer.upkeep();
    for _ in 0..40 {
        commit(&mut writer, "a", &[&[1; 200]]).unwrap();
    }
    while upkeep.step() {}
    let forgotten = writer.retain(1000).unwrap().segments;
    assert!(forgotten > 2, "{forgotten} segments were forgotten");
    assert_eq!(nameless(), forgotten, "the writer has closed some");
    while upkeep.step() {}
    assert_eq!(nameless(), 0, "somebody still holds what is forgotten");
}
