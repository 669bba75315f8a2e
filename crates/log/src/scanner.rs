//! Walks the records of a segment from front to back, in bounded memory.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::blank::written_end;
use crate::fields::widen;
use crate::options::RECORD_BYTES_CAP;
use crate::record::{HEAD_BYTES, LENGTH_END, Record, RecordHead};
use crate::storage::StorageFile;

/// What is read at once. Larger reads were no faster, smaller ones cost a call each.
const WINDOW_BYTES: usize = 256 * 1024;

/// A place in a segment's file. Holds one window, or one record if that is larger.
pub(crate) struct Scanner {
    file: Arc<dyn StorageFile>,
    salt: u64,
    end: u64,
    position: u64,
    current: Option<RecordHead>,
    buffer: Vec<u8>,
    buffer_at: u64,
    window_bytes: usize,
    /// Whether zeros before the end are space that was written ahead.
    may_be_blank: bool,
}

/// What was found at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A head whose checksum is right, of a record that lies within the file.
    Record(RecordHead),
    End,
    Bad(&'static str),
}

impl Scanner {
    pub(crate) fn new(file: Arc<dyn StorageFile>, salt: u64, range: Range<u64>) -> Self {
        Self {
            file,
            salt,
            end: range.end,
            position: range.start,
            current: None,
            buffer: Vec::new(),
            buffer_at: range.start,
            window_bytes: WINDOW_BYTES,
            may_be_blank: true,
        }
    }

    /// Reads less at once: for a reader that is going to stop soon.
    pub(crate) fn window(mut self, bytes: usize) -> Self {
        self.window_bytes = bytes.clamp(4096, WINDOW_BYTES);
        self
    }

    /// Where nothing is written ahead, as in a sparse segment, zeros are not taken for the end.
    pub(crate) fn sparse(mut self, is_sparse: bool) -> Self {
        self.may_be_blank = !is_sparse;
        self
    }

    /// Where the record is that the last step found, or what is not one.
    pub(crate) fn offset(&self) -> u64 {
        self.position
    }

    /// Goes to the next record. Its body is not looked at before [`Scanner::record`].
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        if let Some(head) = self.current.take() {
            self.position += u64::from(head.length);
        }
        let room = self.end.saturating_sub(self.position);
        if room == 0 || (self.may_be_blank && self.is_blank_from_here()?) {
            return Ok(Step::End);
        }
        if room < HEAD_BYTES as u64 || !self.fill(HEAD_BYTES)? {
            return Ok(Step::Bad("the file ends within a record's head"));
        }
        let Some(head) = RecordHead::decode(self.bytes(), self.salt) else {
            return Ok(Step::Bad("no record's head has this checksum"));
        };
        if widen(head.length) < HEAD_BYTES || head.length > RECORD_BYTES_CAP {
            return Ok(Step::Bad("the record's length is out of bounds"));
        }
        if u64::from(head.length) > room {
            return Ok(Step::Bad("the file ends within a record"));
        }
        self.current = Some(head);
        Ok(Step::Record(head))
    }

    /// The record that the last step found, if its body's checksum is right.
    pub(crate) fn record(&mut self) -> io::Result<Option<Record<'_>>> {
        let Some(head) = self.current else {
            return Ok(None);
        };
        if !self.fill(widen(head.length))? {
            return Ok(None);
        }
        Ok(Record::decode(head, self.bytes()))
    }

    /// Whether nothing but zeros follows, to the end: space that was written ahead.
    ///
    /// No record begins with a length of zero, so that of whole records no more is asked than
    /// their first bytes.
    fn is_blank_from_here(&mut self) -> io::Result<bool> {
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        self.fill(room.min(HEAD_BYTES))?;
        let begins_blank = self
            .bytes()
            .get(..room.min(LENGTH_END))
            .is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0));
        Ok(begins_blank && written_end(&*self.file, self.position..self.end)? == self.position)
    }

    fn bytes(&self) -> &[u8] {
        let skip = usize::try_from(self.position - self.buffer_at).unwrap_or(usize::MAX);
        self.buffer.get(skip..).unwrap_or_default()
    }

    /// Makes `count` bytes from the position available; false if the file is shorter than it was.
    fn fill(&mut self, count: usize) -> io::Result<bool> {
        if self.bytes().len() >= count {
            return Ok(true);
        }
        let room = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let want = count.max(self.window_bytes).min(room);
        self.buffer.resize(want, 0);
        self.buffer_at = self.position;
        let read = self.file.read_at(&mut self.buffer, self.position)?;
        self.buffer.truncate(read);
        Ok(read >= count)
    }
}
