//! What can be read of a damaged segment: its whole records, also behind what is none.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::blank::written_end;
use crate::fields::widen;
use crate::header::{HEADER_END, SegmentHeader};
use crate::options::RECORD_BYTES_CAP;
use crate::record::{HEAD_BYTES, Record, RecordHead};
use crate::segment::SEGMENT_BYTES_CAP;
use crate::storage::StorageFile;

/// What is read at once. Bytes.
const WINDOW_BYTES: usize = 1 << 20;

/// What can be read of a damaged segment.
#[derive(Clone, Default)]
pub(crate) struct Salvaged {
    /// Where the records are.
    pub(crate) kept: Vec<Range<u64>>,
    /// What cannot be read.
    pub(crate) left_out: Vec<Range<u64>>,
    pub(crate) records: u64,
    /// One past the last sequence.
    pub(crate) end: u64,
}

/// Finds all records before `stop`, also behind what cannot be read.
pub(crate) fn salvage(
    file: &Arc<dyn StorageFile>,
    header: &SegmentHeader,
    stop: u64,
) -> io::Result<Salvaged> {
    let may_be_blank = header.end == 0;
    let mut found = Salvaged {
        end: header.first,
        ..Salvaged::default()
    };
    let len = file.len()?.min(SEGMENT_BYTES_CAP);
    // No record begins in space that was only written ahead.
    let written = written_end(&**file, 0..len)?;
    let mut window = Window::new(Arc::clone(file));
    let (mut at, mut lost_from) = (HEADER_END, HEADER_END);
    while at < written {
        let sequences = found.end..stop;
        let Some(head) = window.record(at, len - at, header.salt, &sequences)? else {
            at += 1;
            continue;
        };
        found.leave_out(&**file, lost_from..at, may_be_blank)?;
        let end = at + u64::from(head.length);
        found.kept.push(at..end);
        found.records += 1;
        found.end = head.sequence.saturating_add(1);
        (at, lost_from) = (end, end);
    }
    found.leave_out(&**file, lost_from..len, may_be_blank)?;
    Ok(found)
}

impl Salvaged {
    /// Space that was only written ahead is not left out; in a sparse segment there is none.
    fn leave_out(
        &mut self,
        file: &dyn StorageFile,
        range: Range<u64>,
        may_be_blank: bool,
    ) -> io::Result<()> {
        let is_blank = |range: Range<u64>| {
            Ok::<_, io::Error>(written_end(file, range.clone())? <= range.start)
        };
        if range.start < range.end && !(may_be_blank && is_blank(range.clone())?) {
            self.left_out.push(range);
        }
        Ok(())
    }
}

/// A part of a file in memory: one window, or one record if that is larger.
struct Window {
    file: Arc<dyn StorageFile>,
    buffer: Vec<u8>,
    start: u64,
}

impl Window {
    fn new(file: Arc<dyn StorageFile>) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            start: 0,
        }
    }

    /// The head of a whole record at the offset, in this room and with one of these sequences.
    fn record(
        &mut self,
        at: u64,
        room: u64,
        salt: u64,
        sequences: &Range<u64>,
    ) -> io::Result<Option<RecordHead>> {
        let bytes = self.bytes(at, HEAD_BYTES)?;
        let head = Some(bytes)
            .filter(|bytes| RecordHead::plausible(bytes, sequences))
            .and_then(|bytes| RecordHead::decode(bytes, salt))
            .filter(|head| u64::from(head.length) <= room && head.length <= RECORD_BYTES_CAP);
        let Some(head) = head else {
            return Ok(None);
        };
        let bytes = self.bytes(at, widen(head.length))?;
        Ok(Record::decode(head, bytes).map(|record| record.head))
    }

    /// At least `count` bytes from the offset on, or all that there are.
    fn bytes(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let skip = |start| usize::try_from(at - start).unwrap_or(usize::MAX);
        let held = self.buffer.len().saturating_sub(skip(self.start));
        if held < count {
            self.buffer.resize(count.max(WINDOW_BYTES), 0);
            let read = self.file.read_at(&mut self.buffer, at)?;
            self.buffer.truncate(read);
            self.start = at;
        }
        Ok(self.buffer.get(skip(self.start)..).unwrap_or_default())
    }
}
