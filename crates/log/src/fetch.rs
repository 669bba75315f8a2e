//! Reads the records that an index has found, neighbors together.

use crate::error::{Damage, ReadError};
use crate::fields::widen;
use crate::index::Posting;
use crate::record::{Record, RecordHead};
use crate::segment::Segment;

/// Records this near to each other are read together: copying the bytes between them costs less
/// than another call.
const GAP_BYTES: u64 = 16 * 1024;

/// What is read together. One record may be larger.
const RUN_BYTES: u64 = 256 * 1024;

/// Reads records in order until `take` says that it has enough (false). Returns what was read
/// from disk. Bytes.
pub(crate) fn fetch(
    segment: &Segment,
    postings: &[Posting],
    take: &mut dyn FnMut(&Record<'_>) -> bool,
) -> Result<u64, ReadError> {
    let refuse = &mut |damage, next| Err(ReadError::Damaged { damage, next });
    fetch_beside(segment, postings, &mut |record, _| take(record), refuse)
}

/// The same, with the bytes of each; and of a damaged record `pass` is told, and of the nearest sequence behind it; it may
/// go on with the others.
pub(crate) fn fetch_beside(
    segment: &Segment,
    mut postings: &[Posting],
    take: &mut dyn FnMut(&Record<'_>, &[u8]) -> bool,
    pass: &mut dyn FnMut(Damage, u64) -> Result<(), ReadError>,
) -> Result<u64, ReadError> {
    let mut read_bytes = 0;
    let mut buffer = Vec::new();
    while let Some(start) = postings.first().map(|first| u64::from(first.offset)) {
        let (run, rest) = postings.split_at(run_length(postings));
        let end = run.last().map_or(start, Posting::end);
        read_bytes += end - start;
        buffer.resize(usize::try_from(end - start).unwrap_or(usize::MAX), 0);
        let filled = segment
            .file
            .read_at(&mut buffer, start)
            .map_err(|error| segment.fault("read", error))?;
        let bytes = buffer.get(..filled).unwrap_or_default();
        for posting in run {
            let Some((record, bytes)) = decode(segment, bytes, start, posting) else {
                let damage = segment.damage(
                    u64::from(posting.offset),
                    "the record is not what was written",
                );
                pass(damage, segment.first + u64::from(posting.ordinal) + 1)?;
                continue;
            };
            if !take(&record, bytes) {
                return Ok(read_bytes);
            }
        }
        postings = rest;
    }
    Ok(read_bytes)
}

/// How many of the first postings are read together: one at least.
fn run_length(postings: &[Posting]) -> usize {
    let Some(first) = postings.first() else {
        return 0;
    };
    let start = u64::from(first.offset);
    let follows = postings
        .iter()
        .zip(postings.iter().skip(1))
        .take_while(|(one, next)| {
            u64::from(next.offset) <= one.end() + GAP_BYTES && next.end() <= start + RUN_BYTES
        });
    1 + follows.count()
}

fn decode<'a>(
    segment: &Segment,
    bytes: &'a [u8],
    start: u64,
    posting: &Posting,
) -> Option<(Record<'a>, &'a [u8])> {
    let offset = u64::from(posting.offset);
    let sequence = segment.first + u64::from(posting.ordinal);
    let skip = offset
        .checked_sub(start)
        .and_then(|skip| usize::try_from(skip).ok());
    let bytes = skip.and_then(|skip| bytes.get(skip..)).unwrap_or_default();
    let head = RecordHead::decode(bytes, segment.salt)
        .filter(|head| head.sequence == sequence && head.length == posting.length());
    let bytes = bytes.get(..widen(posting.length()))?;
    head.and_then(|head| Some((Record::decode(head, bytes)?, bytes)))
}
