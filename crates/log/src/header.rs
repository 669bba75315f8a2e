//! The first 128 bytes of a segment: which log it belongs to, and where in it.
//!
//! ```text
//! 0   magic          8   "TIDINGS\n"
//! 8   version        4   1 or 2
//! 12  epoch length   4   1 to 64
//! 16  first sequence 8
//! 24  created        8   unix milliseconds; of a compacted segment which rules it was made by
//! 32  salt           8   the same in all segments of a log
//! 40  epoch         64   zeros behind it
//! 104 flags          4   1: commits were not synced one by one; 2: compacted
//! 108 follows        8   one past the last sequence of the segment before
//! 116 end            8   of a compacted segment one past the last sequence, else 0
//! 124 crc32c         4   of the 124 bytes before
//! ```

use std::io;

use crate::fields::{Fields, narrow, widen};
use crate::storage::StorageFile;

/// The format that this program writes, and the latest that it reads.
///
/// In version 1 nothing but records follows the header, and flags and what follows them are zeros.
/// Since version 2 there may be zeros behind the records, which were written ahead, and sequences
/// may have been left out between two segments.
pub(crate) const VERSION: u32 = 2;

/// The oldest format that this program reads.
const VERSION_MIN: u32 = 1;

/// Where a segment's first record begins.
pub(crate) const HEADER_BYTES: usize = 128;

/// [`HEADER_BYTES`], as offsets have it.
pub(crate) const HEADER_END: u64 = 128;

/// No log comes as far: ten billion events each second take 29 years. What a header says is not
/// secret, and numbers that are not of this log are not to use up its sequences, or go beyond the last.
pub(crate) const SEQUENCE_MAX: u64 = 1 << 63;

const MAGIC: &[u8; 8] = b"TIDINGS\n";
const EPOCH_BYTES_MAX: usize = 64;
const FIRST_AT: u64 = 16;
const FLAGS_AT: usize = 104;
const END_AT: u64 = 116;
const CRC_AT: usize = HEADER_BYTES - 4;

/// Commits were not synced one by one: a crash may have lost acknowledged ones.
const LAZY: u32 = 1;

/// In the place of the rules of a compacted segment: it holds what could be read of a damaged one.
pub(crate) const REPAIRED: u64 = u64::MAX;

/// In the same place: the rules are not all that decided about what it holds.
pub(crate) const MIXED: u64 = u64::MAX - 1;

/// Only some records of what was there are left.
const COMPACTED: u32 = 2;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) version: u32,
    pub(crate) epoch: String,
    pub(crate) first: u64,
    pub(crate) created_ms: u64,
    /// Every checksum of a record begins with it. A frame that holds a copy of a record, by chance
    /// or by malice, is not taken for one: its sender cannot know the salt.
    pub(crate) salt: u64,
    /// Commits are not synced one by one.
    pub(crate) lazy: bool,
    /// One past the last sequence of the segment before. Between it and `first` are sequences that
    /// a crash may have lost, and that are not given again.
    pub(crate) follows: u64,
    /// Of a compacted segment one past the last sequence that it stands for, else 0.
    pub(crate) end: u64,
}

/// What the beginning of a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    Good(SegmentHeader),
    Version(u32),
    /// It tells of sequences beyond [`SEQUENCE_MAX`], in the field at this offset.
    Beyond(u64),
    Bad,
}

impl SegmentHeader {
    /// One past the last sequence of a segment that holds so many records.
    pub(crate) fn end_with(&self, records: u32) -> u64 {
        match self.end {
            0 => self.first.saturating_add(u64::from(records)),
            end => end,
        }
    }

    pub(crate) fn epoch_fits(epoch: &str) -> bool {
        (1..=EPOCH_BYTES_MAX).contains(&epoch.len())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&narrow(self.epoch.len()).to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(self.epoch.as_bytes());
        out.resize(FLAGS_AT, 0);
        if self.version > 1 {
            let lazy = if self.lazy { LAZY } else { 0 };
            let compacted = if self.end > 0 { COMPACTED } else { 0 };
            out.extend_from_slice(&(lazy | compacted).to_le_bytes());
            out.extend_from_slice(&self.follows.to_le_bytes());
            out.extend_from_slice(&self.end.to_le_bytes());
        }
        out.resize(CRC_AT, 0);
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads the header of a file.
    pub(crate) fn read(file: &dyn StorageFile) -> io::Result<HeaderFound> {
        let mut bytes = [0; HEADER_BYTES];
        let count = file.read_at(&mut bytes, 0)?;
        if count < HEADER_BYTES {
            return Ok(HeaderFound::Bad);
        }
        Ok(Self::decode(&bytes).unwrap_or(HeaderFound::Bad))
    }

    fn decode(bytes: &[u8]) -> Option<HeaderFound> {
        let (covered, crc) = bytes.split_at_checked(CRC_AT)?;
        let mut fields = Fields(covered);
        if fields.bytes(MAGIC.len())? != MAGIC || Fields(crc).u32()? != crc32c::crc32c(covered) {
            return None;
        }
        let version = fields.u32()?;
        if !(VERSION_MIN..=VERSION).contains(&version) {
            return Some(HeaderFound::Version(version));
        }
        let epoch_bytes = widen(fields.u32()?);
        let (first, created_ms, salt) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let epoch = fields.text(epoch_bytes)?.to_owned();
        let mut fields = Fields(covered.get(FLAGS_AT..)?);
        let (flags, follows, end) = match version {
            1 => (0, first, 0),
            _ => (fields.u32()?, fields.u64()?, fields.u64()?),
        };
        let known = flags & !(LAZY | COMPACTED) == 0;
        let ends = match flags & COMPACTED {
            0 => end == 0,
            _ => end >= first,
        };
        if !Self::epoch_fits(&epoch) || first == 0 || follows > first || !known || !ends {
            return None;
        }
        // It follows no more than its first.
        let mut told = [(first, FIRST_AT), (end, END_AT)].into_iter();
        if let Some((_, offset)) = told.find(|(sequence, _)| *sequence > SEQUENCE_MAX) {
            return Some(HeaderFound::Beyond(offset));
        }
        Some(HeaderFound::Good(Self {
            version,
            epoch,
            first,
            created_ms,
            salt,
            lazy: flags & LAZY != 0,
            follows,
            end,
        }))
    }
}
