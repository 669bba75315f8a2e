//! Bytes in blocks with a checksum each: any part can be read and trusted without reading the rest.
//!
//! A block is 4,092 bytes and the crc32c of the salt, the block's number and those bytes; the last
//! block may be shorter.

use std::io;
use std::sync::Arc;

use crate::error::StorageFault;
use crate::fields::Fields;
use crate::index::IndexError;
use crate::storage::StorageFile;

const BLOCK_BYTES: u64 = 4096;
const CRC_BYTES: u64 = 4;
const DATA_BYTES: u64 = BLOCK_BYTES - CRC_BYTES;

/// A file of blocks.
pub(crate) struct Blocks {
    pub(crate) name: String,
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) salt: u64,
}

/// The bytes of a file that holds `data`.
pub(crate) fn encode(data: &[u8], salt: u64) -> Vec<u8> {
    let data_bytes = usize::try_from(DATA_BYTES).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(data.len() + data.len() / 1000 + 8);
    for (number, block) in (0..).zip(data.chunks(data_bytes)) {
        out.extend_from_slice(block);
        out.extend_from_slice(&block_crc(number, block, salt).to_le_bytes());
    }
    out
}

/// The length of a file that holds this much data.
pub(crate) fn file_bytes(data_bytes: u64) -> u64 {
    data_bytes.saturating_add(data_bytes.div_ceil(DATA_BYTES).saturating_mul(CRC_BYTES))
}

impl Blocks {
    /// Reads `count` bytes of data. Callers have checked them against the file's length.
    pub(crate) fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>, IndexError> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let first = offset / DATA_BYTES;
        let last = (offset + count as u64 - 1) / DATA_BYTES;
        let mut raw = vec![0; usize::try_from((last - first + 1) * BLOCK_BYTES).unwrap_or(0)];
        let filled = self.fill(&mut raw, first * BLOCK_BYTES)?;
        raw.truncate(filled);
        let mut data = Vec::with_capacity(raw.len());
        let block_bytes = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        for (number, block) in (first..).zip(raw.chunks(block_bytes)) {
            data.extend_from_slice(self.verify(number, block).ok_or(IndexError::Damaged)?);
        }
        let skip = usize::try_from(offset % DATA_BYTES).unwrap_or(usize::MAX);
        data.drain(..skip.min(data.len()));
        data.truncate(count);
        if data.len() < count {
            Err(IndexError::Damaged)
        } else {
            Ok(data)
        }
    }

    fn fill(&self, raw: &mut [u8], offset: u64) -> Result<usize, IndexError> {
        let failed = |error: io::Error| {
            IndexError::Storage(StorageFault::new("read the index", &self.name, error))
        };
        self.file.read_at(raw, offset).map_err(failed)
    }

    fn verify<'a>(&self, number: u64, block: &'a [u8]) -> Option<&'a [u8]> {
        let (data, crc) = block.split_at_checked(block.len().checked_sub(4)?)?;
        (Fields(crc).u32()? == block_crc(number, data, self.salt)).then_some(data)
    }
}

fn block_crc(number: u64, data: &[u8], salt: u64) -> u32 {
    let seed = crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), &number.to_le_bytes());
    crc32c::crc32c_append(seed, data)
}
