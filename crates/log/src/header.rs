//! The first 128 bytes of a segment: which log it belongs to, and where in it.
//!
//! ```text
//! 0   magic          8   "TIDINGS\n"
//! 8   version        4   1
//! 12  epoch length   4   1 to 64
//! 16  first sequence 8
//! 24  created        8   unix milliseconds
//! 32  salt           8   the same in all segments of a log
//! 40  epoch         64   zeros behind it
//! 104 zeros         20
//! 124 crc32c         4   of the 124 bytes before
//! ```

use std::io;

use crate::fields::{Fields, narrow, widen};
use crate::storage::StorageFile;

/// The format that this program writes, and the latest that it reads.
pub(crate) const VERSION: u32 = 1;

/// Where a segment's first record begins.
pub(crate) const HEADER_BYTES: usize = 128;

/// [`HEADER_BYTES`], as offsets have it.
pub(crate) const HEADER_END: u64 = 128;

const MAGIC: &[u8; 8] = b"TIDINGS\n";
const EPOCH_BYTES_MAX: usize = 64;
const CRC_AT: usize = HEADER_BYTES - 4;

/// What a segment says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) epoch: String,
    pub(crate) first: u64,
    pub(crate) created_ms: u64,
    /// Every checksum of a record begins with it. A frame that holds a copy of a record, by chance
    /// or by malice, is not taken for one: its sender cannot know the salt.
    pub(crate) salt: u64,
}

/// What the beginning of a file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFound {
    Good(SegmentHeader),
    Version(u32),
    Bad,
}

impl SegmentHeader {
    pub(crate) fn epoch_fits(epoch: &str) -> bool {
        (1..=EPOCH_BYTES_MAX).contains(&epoch.len())
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&narrow(self.epoch.len()).to_le_bytes());
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.created_ms.to_le_bytes());
        out.extend_from_slice(&self.salt.to_le_bytes());
        out.extend_from_slice(self.epoch.as_bytes());
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
        if version != VERSION {
            return Some(HeaderFound::Version(version));
        }
        let epoch_bytes = widen(fields.u32()?);
        let (first, created_ms, salt) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let epoch = fields.text(epoch_bytes)?.to_owned();
        if !Self::epoch_fits(&epoch) || first == 0 {
            return None;
        }
        Some(HeaderFound::Good(Self {
            epoch,
            first,
            created_ms,
            salt,
        }))
    }
}
