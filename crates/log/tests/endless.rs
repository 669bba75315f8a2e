//! A file that is longer than any segment: what cannot be part of it costs neither memory nor time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use support::{commit, open_on, small_segments, try_open};
use tidings_log::{FaultStorage, Storage, StorageFile, inspect, repair};

/// More than any machine has memory for.
const ENDLESS_BYTES: u64 = 1 << 40;

/// What may be read at once: none of the records is as large.
const READ_BYTES_MAX: usize = 4 << 20;

/// A storage whose files have zeros behind what they hold.
struct Endless(FaultStorage);

struct EndlessFile {
    file: Arc<dyn StorageFile>,
    is_cut: AtomicBool,
}

impl Storage for Endless {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.0.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.0.open(name)?;
        let is_cut = AtomicBool::new(!name.ends_with("log"));
        Ok(Arc::new(EndlessFile { file, is_cut }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.0.sync_directory()
    }
}

impl StorageFile for EndlessFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        assert!(buffer.len() <= READ_BYTES_MAX, "takes memory by a length");
        let held = self.file.read_at(buffer, offset)?;
        if self.is_cut.load(Ordering::Relaxed) {
            return Ok(held);
        }
        buffer[held..].fill(0);
        Ok(buffer.len())
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.is_cut.store(true, Ordering::Relaxed);
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        if self.is_cut.load(Ordering::Relaxed) {
            self.file.len()
        } else {
            Ok(ENDLESS_BYTES)
        }
    }
}

/// A log of three records.
fn log() -> FaultStorage {
    let disk = FaultStorage::new(1);
    let (mut writer, ..) = try_open(&disk, &small_segments(1 << 20)).unwrap();
    for frame in [b"one", b"two", b"six"] {
        commit(&mut writer, "a", &[frame]).unwrap();
    }
    disk
}

#[test]
fn a_log_in_a_file_without_end_is_looked_at_and_opened() {
    let endless = Arc::new(Endless(log()));
    assert!(inspect::verify(&*endless, &mut |_| {}).unwrap().is_sound());
    let (_, reader) = open_on(endless, &small_segments(1 << 20));
    assert_eq!(reader.next(), 4);
}

#[test]
fn what_a_repair_would_do_to_a_file_without_end_is_told() {
    let disk = log();
    let (name, mut bytes) = disk.files().swap_remove(0);
    bytes[200] ^= 1;
    disk.put(&name, bytes);
    let mut told = Vec::new();
    let repairs = repair(&Endless(disk), true, &mut |_| {}, &mut |it| {
        told.push(it.clone());
    });
    assert_eq!(repairs.unwrap(), 2, "{told:?}");
}
