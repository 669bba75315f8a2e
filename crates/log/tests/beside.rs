//! Looking at a log beside the hub that writes it. Files are listed at one moment and read at others:
//! what went on in between is no damage, and nothing is shown twice.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use support::{commit, open_on, small_segments, try_open};
use tidings_log::inspect::IndexReport;
use tidings_log::{
    Call, DirectoryStorage, FaultStorage, Options, Retention, Storage, StorageFile, TopicRetention,
    Topics, Writer, inspect, repair,
};

/// A log of many segments, with a record here and there of a topic that is kept.
fn written(disk: &FaultStorage, options: &Options) -> Writer {
    let (mut writer, ..) = try_open(disk, options).unwrap();
    for round in 0..40_u8 {
        commit(&mut writer, "kept", &[&[round; 10]]).unwrap();
        commit(&mut writer, "busy", &[&[round; 300][..]; 3]).unwrap();
    }
    writer
}

fn options(topics: Vec<TopicRetention>) -> Options {
    let retention = Retention {
        events_max: Some(40),
        topics,
        ..Retention::default()
    };
    Options {
        retention,
        ..small_segments(4000)
    }
}

/// Keeps all of one topic.
fn kept() -> Vec<TopicRetention> {
    vec![TopicRetention {
        topics: Topics::new("kept", |topic| topic == "kept"),
        bytes_max: None,
        events_max: None,
        age_ms_max: None,
    }]
}

#[test]
fn what_is_forgotten_meanwhile_is_not_missing() {
    for (topics, at) in [(vec![], 1), (kept(), 1), (vec![], 4), (kept(), 4)] {
        for is_repair in [false, true] {
            let (disk, options) = (FaultStorage::new(1), options(topics.clone()));
            let mut writer = written(&disk, &options);
            let (names, mut seen) = (disk.files().len(), 0);
            let mut retain = |_: &inspect::SegmentReport| {
                seen += 1;
                if seen == at {
                    writer.retain(1000).unwrap();
                }
            };
            if is_repair {
                let repairs = repair(&disk, true, &mut retain, &mut |it| panic!("{it:?}"));
                assert_eq!(repairs.unwrap(), 0);
            } else {
                let report = inspect::verify(&disk, &mut retain).unwrap();
                assert!(report.is_sound(), "{report:#?}");
            }
            assert!(disk.files().len() < names, "something was forgotten");
        }
    }
}

#[test]
fn what_is_compacted_meanwhile_is_dumped_once() {
    // At the moment when the compacted segment has its name, and what it stands for is there still.
    let mut met = 0;
    for removals in 0..12 {
        let (disk, options) = (FaultStorage::new(1), options(kept()));
        let mut writer = written(&disk, &options);
        let mut dump = inspect::dump(&disk).unwrap();
        disk.fail(Call::Remove, removals);
        met += usize::from(writer.retain(1000).is_err());
        let sequences: Vec<u64> = dump.by_ref().map(|it| it.unwrap().sequence).collect();
        assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
        assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    }
    assert!(met > 2);
}

/// A log whose oldest segments are compacted right before an index is opened.
struct Compacted {
    is: FaultStorage,
    writer: Mutex<Writer>,
}

impl Storage for Compacted {
    fn list(&self) -> io::Result<Vec<String>> {
        self.is.list()
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn StorageFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        if name == "00000000000000000001.idx" {
            self.writer.lock().unwrap().retain(1000).unwrap();
        }
        self.is.open(name)
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn the_index_of_what_took_the_place_of_a_segment_meanwhile_is_not_bad() {
    let (disk, options) = (FaultStorage::new(1), options(kept()));
    let writer = Mutex::new(written(&disk, &options));
    let is = disk.clone();
    let log = Compacted { is, writer };
    let report = inspect::verify(&log, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert!(!report.segments[0].compacted);
    assert_eq!(report.segments[0].index, IndexReport::None);
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    assert!(report.segments[0].compacted);
    assert_eq!(report.segments[0].index, IndexReport::Good);
}

/// Shows a file as it was at the first look at its records, and then as it is.
struct Growing {
    was: Vec<u8>,
    is: Arc<dyn StorageFile>,
    has_looked: AtomicBool,
}

impl StorageFile for Growing {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        // The header is not what grows.
        if offset < 128 || self.has_looked.swap(true, Ordering::Relaxed) {
            return self.is.read_at(buffer, offset);
        }
        let from = self
            .was
            .get(usize::try_from(offset).unwrap()..)
            .unwrap_or_default();
        let count = from.len().min(buffer.len());
        buffer[..count].copy_from_slice(&from[..count]);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn len(&self) -> io::Result<u64> {
        self.is.len()
    }
}

/// A log of one segment that grows.
struct GrowingLog {
    was: Vec<u8>,
    is: FaultStorage,
}

impl Storage for GrowingLog {
    fn list(&self) -> io::Result<Vec<String>> {
        self.is.list()
    }

    fn create(&self, _: &str) -> io::Result<Arc<dyn StorageFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(Growing {
            was: self.was.clone(),
            is: self.is.open(name)?,
            has_looked: AtomicBool::new(false),
        }))
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[test]
fn a_commit_that_is_read_while_it_is_written_is_not_damaged() {
    let (disk, options) = (FaultStorage::new(1), small_segments(1 << 20));
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "topic", &[&[1; 500]]).unwrap();
    let before = disk.files()[0].1.len();
    commit(&mut writer, "topic", &[&[2; 500]]).unwrap();
    let half = before + 300;
    let end = disk.files()[0].1.len();
    commit(&mut writer, "topic", &[&[3; 500]]).unwrap();
    let mut was = disk.files()[0].1.clone();
    was[half..].fill(0);
    let log = GrowingLog {
        was: was.clone(),
        is: disk.clone(),
    };
    let report = inspect::verify(&log, &mut |_| {}).unwrap();
    assert!(report.is_sound(), "{report:#?}");
    assert_eq!(report.segments[0].records, 1);
    assert_eq!(inspect::dump(&log).unwrap().map(Result::unwrap).count(), 1);
    let planned = repair(&log, true, &mut |_| {}, &mut |it| panic!("{it:?}"));
    assert_eq!(planned.unwrap(), 0);

    // The same where it stays so is damage.
    let mut damaged = disk.files()[0].1.clone();
    damaged[half..end].fill(0);
    let name = disk.files()[0].0.clone();
    disk.put(&name, damaged);
    let log = GrowingLog { was, is: disk };
    assert!(!inspect::verify(&log, &mut |_| {}).unwrap().is_sound());
}

#[test]
fn a_log_in_a_directory_is_sound_while_it_is_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let storage = Arc::new(DirectoryStorage::open(directory.path()).unwrap());
    let (mut writer, reader) = open_on(storage, &small_segments(4 << 20));
    let upkeep = writer.upkeep();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| upkeep.run());
        let done = &done;
        scope.spawn(move || {
            while !done.load(Ordering::Relaxed) {
                commit(&mut writer, "a", &[&[7; 1000]]).unwrap();
            }
        });
        // The first segment is not written ahead.
        while reader.stats().segments < 2 {
            std::thread::yield_now();
        }
        let beside = DirectoryStorage::read_only(directory.path());
        let look = |_| {
            let report = inspect::verify(&beside, &mut |_| {});
            report.is_ok_and(|report| report.is_sound())
                && inspect::dump(&beside).is_ok_and(|mut dump| dump.all(|record| record.is_ok()))
        };
        let unsound = (0..20).filter(|round| !look(*round)).count();
        done.store(true, Ordering::Relaxed);
        assert_eq!(unsound, 0, "of 20 looks");
    });
}
