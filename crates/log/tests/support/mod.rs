//! What the tests of the log share.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

use std::sync::Arc;

use tidings_log::{
    CommitError, Committed, FaultStorage, Head, OpenError, Options, ReadError, ReadLimits, Reader,
    Recovery, Select, Storage, Writer, open,
};

/// Everything.
pub(crate) struct Everything;

/// Some topics.
pub(crate) struct Only<'a>(pub(crate) &'a [&'a str]);

impl Select for Everything {
    fn matches(&self, _: &str) -> bool {
        true
    }
}

impl Select for Only<'_> {
    fn exact(&self) -> Option<&[&str]> {
        Some(self.0)
    }

    fn matches(&self, topic: &str) -> bool {
        self.0.contains(&topic)
    }
}

pub(crate) fn small_segments(segment_bytes_max: u64) -> Options {
    Options {
        segment_bytes_max,
        record_bytes_max: 1 << 20,
        ..Options::default()
    }
}

pub(crate) fn try_open(
    disk: &FaultStorage,
    options: &Options,
) -> Result<(Writer, Reader, Recovery), OpenError> {
    open(Arc::new(disk.clone()), options.clone(), "Etest", 1000)
}

pub(crate) fn open_on(storage: Arc<dyn Storage>, options: &Options) -> (Writer, Reader) {
    let (writer, reader, _) = open(storage, options.clone(), "Etest", 1000).unwrap();
    (writer, reader)
}

/// Commits one group of frames under a topic.
pub(crate) fn commit(
    writer: &mut Writer,
    topic: &str,
    frames: &[&[u8]],
) -> Result<Committed, CommitError> {
    commit_at(writer, 1000, topic, frames)
}

pub(crate) fn commit_at(
    writer: &mut Writer,
    now_ms: u64,
    topic: &str,
    frames: &[&[u8]],
) -> Result<Committed, CommitError> {
    let mut batch = writer.begin(now_ms);
    for (place, frame) in frames.iter().enumerate() {
        let continues = place + 1 < frames.len();
        let head = Head {
            topics: &[topic],
            continues,
            ..Head::default()
        };
        batch
            .push(&head, |_, out| out.extend_from_slice(frame))
            .unwrap();
    }
    writer.commit(batch)
}

/// All frames from a cursor on, a page at a time.
pub(crate) fn read_from(
    reader: &Reader,
    select: &dyn Select,
    mut cursor: u64,
) -> Result<Vec<Vec<u8>>, ReadError> {
    let mut frames = Vec::new();
    loop {
        let page = reader.read(select, cursor, ReadLimits::default())?;
        frames.extend(page.frames.iter().map(|stored| stored.frame.to_vec()));
        if page.next == cursor {
            return Ok(frames);
        }
        cursor = page.next;
    }
}
