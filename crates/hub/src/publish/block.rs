//! The events of one request, kept until all of them are acknowledged.

use bytes::Bytes;

use super::lines::{BATCH_LINES_MAX, Batch};

/// Events in a block: what is sent again, at the most, when a connection breaks.
const LINES_MAX: usize = 10_000;

/// Bytes in a block; its last batch may exceed it.
const BYTES_MAX: usize = 8 << 20;

/// A block is filled while it is sent, and sealed when it is full or the input pauses. Each attempt
/// sends it from its beginning under the same key, so the hub knows what it has of it.
#[derive(Debug)]
pub(crate) struct Block {
    key: String,
    batches: Vec<Bytes>,
    lines: usize,
    bytes: usize,
    sealed: bool,
    /// Batches that the current attempt has sent.
    sent: usize,
}

impl Block {
    pub(crate) fn new(key: String, first: Batch) -> Self {
        let mut block = Self {
            key,
            batches: Vec::new(),
            lines: 0,
            bytes: 0,
            sealed: false,
            sent: 0,
        };
        block.push(first);
        block
    }

    /// The idempotency key of all its attempts.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// How many events it has.
    pub(crate) fn lines(&self) -> usize {
        self.lines
    }

    /// Adds events, and seals the block if it is full.
    pub(crate) fn push(&mut self, batch: Batch) {
        self.lines += batch.lines;
        self.bytes += batch.ndjson.len();
        self.batches.push(batch.ndjson);
        self.sealed |= self.lines + BATCH_LINES_MAX > LINES_MAX || self.bytes >= BYTES_MAX;
    }

    /// Nothing is added any more.
    pub(crate) fn seal(&mut self) {
        self.sealed = true;
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed
    }

    /// Begins an attempt.
    pub(crate) fn rewind(&mut self) {
        self.sent = 0;
    }

    /// What the current attempt is to send next.
    pub(crate) fn next_unsent(&mut self) -> Option<Bytes> {
        let next = self.batches.get(self.sent).cloned();
        self.sent += usize::from(next.is_some());
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(lines: usize, bytes: usize) -> Batch {
        let ndjson = vec![b'x'; bytes].into();
        Batch { ndjson, lines }
    }

    #[test]
    fn it_is_sealed_when_it_is_full() {
        let mut block = Block::new("k".into(), batch(512, 1));
        while !block.is_sealed() {
            block.push(batch(512, 1));
        }
        assert!(block.lines() <= LINES_MAX);
        assert!(!Block::new("k".into(), batch(1, BYTES_MAX - 1)).is_sealed());
        assert!(Block::new("k".into(), batch(1, BYTES_MAX)).is_sealed());
    }

    #[test]
    fn each_attempt_sends_all() {
        let mut block = Block::new("k".into(), batch(1, 1));
        block.push(batch(1, 2));
        let sizes = |block: &mut Block| {
            std::iter::from_fn(|| block.next_unsent())
                .map(|b| b.len())
                .collect::<Vec<_>>()
        };
        assert_eq!(sizes(&mut block), [1, 2]);
        assert_eq!(sizes(&mut block), [0; 0]);
        block.push(batch(1, 3));
        assert_eq!(sizes(&mut block), [3]);
        block.rewind();
        assert_eq!(sizes(&mut block), [1, 2, 3]);
    }
}
