//! The end of the newest segment, which a crash may have torn: how it is told from damage.

use std::io;
use std::ops::Range;

use crate::blank::written_end;
use crate::error::{Damage, OpenError, StorageFault};
use crate::header::{HEADER_BYTES, HEADER_END, SegmentHeader};
use crate::record::{HEAD_BYTES, RecordHead};
use crate::segment::{Scanned, log_name};
use crate::storage::StorageFile;

/// What is searched at once for records behind a broken one.
const SEARCH_BYTES: usize = 1 << 20;

/// What is written back at once.
const REWRITE_BYTES: u64 = 1 << 20;

/// Whether a segment with a bad header never held a record. Records are written only after the
/// header is synced, so there is nothing behind it. The log's only segment is unfinished only
/// if it was its first ever: older ones are removed only when a newer one is whole.
pub(crate) fn is_unfinished(bytes: u64, firsts: &[u64]) -> bool {
    let only = firsts.len() == 1 && firsts.first() != Some(&1);
    !only && bytes <= HEADER_END
}

/// Tells damage from an interrupted commit: a record of a later commit behind the broken place
/// proves that the commit there was synced once.
pub(crate) fn refuse_damage(
    header: &SegmentHeader,
    file: &dyn StorageFile,
    scanned: &Scanned,
    (offset, reason): (u64, &'static str),
    len: u64,
) -> Result<(), OpenError> {
    let segment = log_name(header.first);
    let fault = |error| StorageFault::new("read", &log_name(header.first), error);
    let expected = header.first + u64::from(scanned.index.records);
    let len = written_end(file, offset..len).map_err(fault)?;
    let sequences = expected..header.first.saturating_add(len / HEAD_BYTES as u64);
    let later = later_commit(file, header.salt, offset..len, &sequences).map_err(fault)?;
    // A compacted segment had its name only once it was whole.
    if later || header.end > 0 {
        Err(Damage {
            segment,
            offset,
            reason,
        }
        .into())
    } else {
        Ok(())
    }
}

/// Whether the range, which begins with what is no record, holds the head of a record whose
/// commit begins behind its beginning. The rest of the record need not be there: it may be damaged too,
/// and one that ends in zeros seems to end before.
///
/// One pass: of each byte it is asked whether a head could begin there, and a checksum of 52
/// bytes is calculated only if so.
pub(crate) fn later_commit(
    file: &dyn StorageFile,
    salt: u64,
    range: Range<u64>,
    sequences: &Range<u64>,
) -> io::Result<bool> {
    let mut buffer = vec![0; SEARCH_BYTES + HEAD_BYTES];
    let mut offset = range.start;
    while offset < range.end {
        let count = file.read_at(&mut buffer, offset)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        for (at, window) in (offset..range.end)
            .zip(bytes.windows(HEAD_BYTES))
            .take(SEARCH_BYTES)
        {
            let later = RecordHead::plausible(window, sequences)
                && RecordHead::decode(window, salt).is_some_and(|head| {
                    at.checked_sub(u64::from(head.commit_offset)) > Some(range.start)
                });
            if later {
                return Ok(true);
            }
        }
        offset += SEARCH_BYTES as u64;
    }
    Ok(false)
}

/// Writes the last commit once more, as it is.
///
/// If its sync failed in the process before, the operating system may hold it in memory and think
/// that it is on disk; the sync that follows here would do nothing. Written again, it does.
pub(crate) fn rewrite(file: &dyn StorageFile, range: Range<u64>) -> io::Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let count = (range.end - offset).min(REWRITE_BYTES);
        let mut buffer = vec![0; usize::try_from(count).unwrap_or(HEADER_BYTES)];
        if file.read_at(&mut buffer, offset)? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&buffer, offset)?;
        offset += count;
    }
    Ok(())
}
