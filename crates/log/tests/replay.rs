//! Replay: bounded memory, and readers beside a writer.

#![allow(clippy::unwrap_used, reason = "a panic in a test is a failed test")]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use support::{Everything, Only, open_on, small_segments};
use tidings_log::{
    Head, MemoryStorage, Options, ReadLimits, Retention, Select, Storage, StorageFile,
};

fn head<'a>(topics: &'a [&'a str]) -> Head<'a> {
    Head {
        topics,
        ..Head::default()
    }
}

/// Counts what is read at once.
struct Metered {
    inner: MemoryStorage,
    largest: Arc<AtomicUsize>,
}

struct MeteredFile {
    inner: Arc<dyn StorageFile>,
    largest: Arc<AtomicUsize>,
}

impl Storage for Metered {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let largest = Arc::clone(&self.largest);
        Ok(Arc::new(MeteredFile {
            inner: self.inner.create(name)?,
            largest,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let largest = Arc::clone(&self.largest);
        Ok(Arc::new(MeteredFile {
            inner: self.inner.open(name)?,
            largest,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }
}

impl StorageFile for MeteredFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.largest.fetch_max(buffer.len(), Ordering::Relaxed);
        self.inner.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.inner.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

#[test]
fn a_replay_of_any_size_goes_through_bounded_memory() {
    let largest = Arc::new(AtomicUsize::new(0));
    let storage = Metered {
        inner: MemoryStorage::new(),
        largest: Arc::clone(&largest),
    };
    let (mut writer, reader) = open_on(Arc::new(storage), &small_segments(4 << 20));
    for number in 0..200_u64 {
        let mut batch = writer.begin(number);
        for place in 0..500 {
            let topic = format!("t{}", place % 50);
            batch
                .push(&head(&[&topic]), |_, out| out.resize(out.len() + 100, 7))
                .unwrap();
        }
        writer.commit(batch).unwrap();
    }
    for select in [
        &Everything as &dyn Select,
        &Only(&["t7"]),
        &Only(&["t1", "t2", "t3"]),
    ] {
        largest.store(0, Ordering::Relaxed);
        let limits = ReadLimits {
            bytes_max: 64 << 10,
            records_max: 10_000,
            scan_bytes_max: 1 << 20,
        };
        let (mut cursor, mut count, mut frame_bytes_max) = (1, 0, 0);
        while cursor < reader.next() {
            let page = reader.read(select, cursor, limits).unwrap();
            assert!(page.next > cursor);
            count += page.frames.len();
            frame_bytes_max =
                frame_bytes_max.max(page.frames.iter().map(|stored| stored.frame.len()).sum());
            cursor = page.next;
        }
        assert!(count >= 2000 && frame_bytes_max <= 64 << 10);
        assert!(largest.load(Ordering::Relaxed) <= 257 << 10, "{largest:?}");
    }
}

#[test]
fn readers_beside_a_writer_see_every_record_once_and_in_order() {
    let retention = Retention {
        events_max: Some(100_000),
        ..Retention::default()
    };
    let options = Options {
        retention,
        ..small_segments(20_000)
    };
    let (mut writer, reader) = open_on(Arc::new(MemoryStorage::new()), &options);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for exact in [true, false] {
            let (reader, done) = (reader.clone(), &done);
            scope.spawn(move || {
                let topics = ["a"];
                let only = Only(&topics);
                let select: &dyn Select = if exact { &only } else { &Everything };
                let mut cursor = 1;
                let mut expected = 1;
                while !done.load(Ordering::Acquire) || cursor < reader.next() {
                    let page = reader.read(select, cursor, ReadLimits::default()).unwrap();
                    for stored in &page.frames {
                        assert_eq!(stored.sequence, expected);
                        assert_eq!(stored.frame, expected.to_le_bytes()[..]);
                        expected += 1;
                    }
                    assert!(page.next <= reader.next());
                    cursor = page.next;
                }
                assert_eq!(expected, 20_001);
            });
        }
        for _ in 0..2000 {
            let mut batch = writer.begin(1);
            for _ in 0..10 {
                batch
                    .push(&head(&["a"]), |sequence, out| {
                        out.extend(sequence.to_le_bytes());
                    })
                    .unwrap();
            }
            writer.commit(batch).unwrap();
        }
        done.store(true, Ordering::Release);
    });
}
