//! An index: blocks, the header in the first, and the sections that it tells of.

use super::checksum::crc32c;
use super::fields::{length_at, part, u32_at, u64_at};

const MAGIC: &[u8] = b"TIDINGSX";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 56 + SECTIONS * 16;
const SECTIONS: usize = 7;
/// Of data, and with their checksum.
const BLOCK_DATA_BYTES: usize = 4092;
const BLOCK_BYTES: usize = 4096;

const TOPIC_BYTES: usize = 24;
const POSTING_BYTES: usize = 12;
const PLACE_BYTES: usize = 16;
const ALIAS_BYTES: usize = 20;
const EXPIRY_BYTES: usize = 12;
const EXPIRES: u32 = 1 << 31;

/// An index whose first block is right, and whose length is what its sections ask for.
#[derive(Clone, Debug)]
pub(crate) struct Index<'a> {
    file: &'a [u8],
    pub(crate) records: u32,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    /// Where the segment's records end.
    pub(crate) end: usize,
    pub(crate) first_time_ms: u64,
    pub(crate) last_time_ms: u64,
    /// Offset and length of each in the data.
    sections: Vec<(usize, usize)>,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Posting {
    pub(crate) ordinal: u32,
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) expires: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Topic {
    pub(crate) hash: u64,
    pub(crate) name_at: usize,
    pub(crate) name: Vec<u8>,
    pub(crate) posting_first: usize,
    pub(crate) postings: usize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Place {
    pub(crate) ordinal: u32,
    pub(crate) offset: usize,
    pub(crate) time_ms: u64,
}

/// The header of an index, and whether its sections are where they have to be.
pub(super) fn index(file: &[u8]) -> Option<Index<'_>> {
    // The salt is in the block that it is the salt of.
    let salt = u64_at(file, 24)?;
    let data = block(file, 0, salt)?;
    if !data.starts_with(MAGIC) || u32_at(data, 8)? != VERSION {
        return None;
    }
    let mut sections = Vec::new();
    let mut at = HEADER_BYTES;
    for section in 0..SECTIONS {
        let offset = usize::try_from(u64_at(data, 56 + 16 * section)?).ok()?;
        let length = usize::try_from(u64_at(data, 64 + 16 * section)?).ok()?;
        if offset != at {
            return None;
        }
        sections.push((offset, length));
        at = at.checked_add(length)?;
    }
    let checksums = at.div_ceil(BLOCK_DATA_BYTES).checked_mul(4)?;
    (file.len() == at.checked_add(checksums)?).then_some(Index {
        file,
        records: u32_at(data, 12)?,
        first: u64_at(data, 16)?,
        salt,
        end: usize::try_from(u64_at(data, 32)?).ok()?,
        first_time_ms: u64_at(data, 40)?,
        last_time_ms: u64_at(data, 48)?,
        sections,
    })
}

/// The data of a block, if its checksum is right.
fn block(file: &[u8], number: usize, salt: u64) -> Option<&[u8]> {
    let rest = file.get(number.checked_mul(BLOCK_BYTES)?..)?;
    let block = rest.get(..BLOCK_BYTES).unwrap_or(rest);
    let (data, checksum) = block.split_last_chunk()?;
    let number = u64::try_from(number).ok()?.to_le_bytes();
    let right = crc32c(&[&salt.to_le_bytes(), &number, data]);
    (u32::from_le_bytes(*checksum) == right).then_some(data)
}

/// What a text is looked up by.
fn hash(text: &[u8], salt: u64) -> u64 {
    let basis = 0xcbf2_9ce4_8422_2325 ^ salt;
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = text.iter().fold(basis, mix);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
}

/// Each of these is `None` if a block that it needs is wrong.
impl Index<'_> {
    /// Whether all blocks are right.
    pub(crate) fn is_whole(&self) -> bool {
        let blocks = self.file.len().div_ceil(BLOCK_BYTES);
        (0..blocks).all(|number| block(self.file, number, self.salt).is_some())
    }

    pub(crate) fn hash(&self, text: &str) -> u64 {
        hash(text.as_bytes(), self.salt)
    }

    /// The records of a topic; none if there is no such.
    pub(crate) fn postings_of(&self, topic: &str) -> Option<Vec<Posting>> {
        let hash = self.hash(topic);
        let topics = self.topics()?;
        let topic = topics
            .iter()
            .find(|it| it.hash == hash && it.name == topic.as_bytes());
        let Some(topic) = topic else {
            return Some(Vec::new());
        };
        let lists = self.postings()?;
        let list = lists.get(topic.posting_first..)?.get(..topic.postings)?;
        Some(list.to_vec())
    }

    pub(crate) fn postings(&self) -> Option<Vec<Posting>> {
        self.entries(0, POSTING_BYTES, |entry| posting(entry, 0))
    }

    pub(crate) fn names(&self) -> Option<Vec<u8>> {
        self.section(1)
    }

    pub(crate) fn topics(&self) -> Option<Vec<Topic>> {
        let names = self.names()?;
        self.entries(2, TOPIC_BYTES, |entry| {
            let name_at = length_at(entry, 8)?;
            Some(Topic {
                hash: u64_at(entry, 0)?,
                name_at,
                name: part(&names, name_at, length_at(entry, 12)?)?.to_vec(),
                posting_first: length_at(entry, 16)?,
                postings: length_at(entry, 20)?,
            })
        })
    }

    pub(crate) fn places(&self) -> Option<Vec<Place>> {
        self.entries(3, PLACE_BYTES, |entry| {
            Some(Place {
                ordinal: u32_at(entry, 0)?,
                offset: length_at(entry, 4)?,
                time_ms: u64_at(entry, 8)?,
            })
        })
    }

    /// The hash of each alias with its record.
    pub(crate) fn aliases(&self) -> Option<Vec<(u64, Posting)>> {
        self.entries(4, ALIAS_BYTES, |entry| {
            Some((u64_at(entry, 0)?, posting(entry, 8)?))
        })
    }

    pub(crate) fn marks(&self) -> Option<Vec<Posting>> {
        self.entries(5, POSTING_BYTES, |entry| posting(entry, 0))
    }

    /// Ordinals, and when they expire.
    pub(crate) fn expiries(&self) -> Option<Vec<(u32, u64)>> {
        self.entries(6, EXPIRY_BYTES, |entry| {
            Some((u32_at(entry, 0)?, u64_at(entry, 4)?))
        })
    }

    fn entries<T>(
        &self,
        section: usize,
        entry_bytes: usize,
        entry: impl Fn(&[u8]) -> Option<T>,
    ) -> Option<Vec<T>> {
        let bytes = self.section(section)?;
        let entries = bytes.chunks_exact(entry_bytes);
        let is_whole = entries.remainder().is_empty();
        is_whole.then(|| entries.map(entry).collect())?
    }

    /// A section's bytes, out of the blocks that hold them.
    fn section(&self, section: usize) -> Option<Vec<u8>> {
        let (offset, length) = *self.sections.get(section)?;
        let first = offset / BLOCK_DATA_BYTES;
        let end = (offset + length).div_ceil(BLOCK_DATA_BYTES);
        let mut bytes = Vec::new();
        for number in first..end {
            bytes.extend_from_slice(block(self.file, number, self.salt)?);
        }
        let skipped = offset - first * BLOCK_DATA_BYTES;
        part(&bytes, skipped, length).map(<[u8]>::to_vec)
    }
}

fn posting(bytes: &[u8], at: usize) -> Option<Posting> {
    let length = u32_at(bytes, at + 8)?;
    Some(Posting {
        ordinal: u32_at(bytes, at)?,
        offset: length_at(bytes, at + 4)?,
        length: usize::try_from(length & !EXPIRES).ok()?,
        expires: length & EXPIRES != 0,
    })
}
