//! An index file that is open: what it holds is in `index_layout`.
//!
//! Only the place of its sections is kept in memory; all else is read when it is asked for, and
//! trusted as far as the blocks' checksums go. Every bound is checked all the same.

use std::io;
use std::ops::Range;

use crate::blocks::{self, Blocks};
use crate::error::StorageFault;
use crate::fields::{Fields, narrow, widen};
use crate::index::{Index, IndexError, List, MemoryIndex, Posting, Sparse, hash};
use crate::index_layout::{
    ALIAS_BYTES, ALIASES, EXPIRIES, EXPIRY_BYTES, HEADER_BYTES, MARKS, NAMES, PLACE_BYTES, PLACES,
    POSTING_BYTES, POSTINGS, SALT_AT, SECTIONS, Section, Summary, TOPIC_BYTES, TOPICS,
    decode_header, decode_place, decode_posting, decode_postings, decode_topic, encode,
    is_laid_out,
};
use crate::storage::Storage;

/// An open index file. Holds no more than where its sections are.
pub(crate) struct FileIndex {
    blocks: Blocks,
    sections: [Section; SECTIONS],
    records: u32,
}

/// How far from where a record should be in its list it is looked for first.
const NEAR_POSTINGS: usize = 64;

impl FileIndex {
    /// Opens an index; `None` if it is not one of this segment, or not whole.
    pub(crate) fn open(
        storage: &dyn Storage,
        name: &str,
        expected: impl FnOnce(&Summary) -> bool,
        salt: u64,
    ) -> Option<(Self, Summary, u64)> {
        let opened = Self::try_open(storage, name, expected, salt);
        opened.ok().flatten()
    }

    /// The same, with what the storage refused told from what is not there.
    pub(crate) fn try_open(
        storage: &dyn Storage,
        name: &str,
        expected: impl FnOnce(&Summary) -> bool,
        salt: u64,
    ) -> Result<Option<(Self, Summary, u64)>, StorageFault> {
        let fault = |error| StorageFault::new("open the index", name, error);
        let file = match storage.open(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(fault)?,
        };
        let file_bytes = file.len().map_err(fault)?;
        let blocks = Blocks {
            name: name.to_owned(),
            file,
            salt,
        };
        let header = match blocks.read(0, HEADER_BYTES) {
            Err(IndexError::Storage(fault)) => return Err(fault),
            header => header.ok(),
        };
        let decoded = header.and_then(|header| decode_header(&header));
        Ok(decoded.and_then(|decoded| Self::of(blocks, file_bytes, decoded, expected)))
    }

    /// The index in a file whose header says so, if it is the one that is expected.
    fn of(
        blocks: Blocks,
        file_bytes: u64,
        (summary, sections): (Summary, [Section; SECTIONS]),
        expected: impl FnOnce(&Summary) -> bool,
    ) -> Option<(Self, Summary, u64)> {
        let data_bytes = sections
            .last()
            .map(|last| last.offset.saturating_add(last.bytes))?;
        let fits = blocks::file_bytes(data_bytes) == file_bytes && is_laid_out(&sections);
        let records = summary.records;
        let index = Self {
            blocks,
            sections,
            records,
        };
        (fits && expected(&summary)).then_some((index, summary, file_bytes))
    }

    pub(crate) fn list(&self, topic: &str) -> Result<Option<List>, IndexError> {
        let wanted = hash(topic, self.blocks.salt);
        let count = self.count(TOPICS, TOPIC_BYTES);
        let near = near_hash(wanted, count);
        let before = self.search_near(TOPICS, TOPIC_BYTES, near, |entry| {
            Fields(entry).u64().is_some_and(|hash| hash < wanted)
        })?;
        for place in before..self.count(TOPICS, TOPIC_BYTES) {
            let entry = self.entry(TOPICS, TOPIC_BYTES, place)?;
            if Fields(&entry).u64() != Some(wanted) {
                break;
            }
            let list = self.topic(&entry)?;
            if &*list.topic == topic {
                return Ok(Some(list));
            }
        }
        Ok(None)
    }

    pub(crate) fn lists(&self) -> Result<Vec<List>, IndexError> {
        let entries = self.section(TOPICS)?;
        let names = self.section(NAMES)?;
        let lists = entries.chunks(TOPIC_BYTES).map(|entry| {
            decode_topic(entry, |at, count| {
                names.get(at..at.checked_add(count)?).map(<[u8]>::to_vec)
            })
        });
        lists.collect::<Option<_>>().ok_or(IndexError::Damaged)
    }

    pub(crate) fn seek(&self, list: &List, ordinal: u32) -> Result<u32, IndexError> {
        let (start, count) = self.extent(list)?;
        let within = start..start + widen(count);
        let near = near_ordinal(ordinal, self.records, count, start);
        let found = self.search_within(POSTINGS, POSTING_BYTES, within, near, |entry| {
            Fields(entry).u32().is_some_and(|found| found < ordinal)
        })?;
        Ok(narrow(found - start))
    }

    pub(crate) fn chunk(
        &self,
        list: &List,
        position: u32,
        max: usize,
    ) -> Result<Vec<Posting>, IndexError> {
        let (start, count) = self.extent(list)?;
        let count = widen(count.saturating_sub(position)).min(max);
        let start = start + widen(position);
        let bytes = self.entries(POSTINGS, POSTING_BYTES, start, count)?;
        decode_postings(&bytes)
    }

    /// Where a list is, and how long. One that was looked up in memory has grown until its segment
    /// was sealed, and is found again by its topic.
    fn extent(&self, list: &List) -> Result<(usize, u32), IndexError> {
        match list.start {
            Some(start) => Ok((widen(start), list.count)),
            None => match self.list(&list.topic)? {
                Some(List {
                    start: Some(start),
                    count,
                    ..
                }) => Ok((widen(start), count)),
                _ => Err(IndexError::Damaged),
            },
        }
    }

    pub(crate) fn places(
        &self,
        before: &dyn Fn(&Sparse) -> bool,
    ) -> Result<(Option<Sparse>, Option<Sparse>), IndexError> {
        let count = self.search(PLACES, PLACE_BYTES, |entry| {
            decode_place(entry).is_some_and(|place| before(&place))
        })?;
        let last = count
            .checked_sub(1)
            .map(|last| self.place_at(last))
            .transpose()?;
        let exists = count < self.count(PLACES, PLACE_BYTES);
        let next = exists.then(|| self.place_at(count)).transpose()?;
        Ok((last, next))
    }

    fn place_at(&self, place: usize) -> Result<Sparse, IndexError> {
        let entry = self.entry(PLACES, PLACE_BYTES, place)?;
        decode_place(&entry).ok_or(IndexError::Damaged)
    }

    pub(crate) fn alias(
        &self,
        wanted: u64,
        skip: usize,
        max: usize,
    ) -> Result<Vec<Posting>, IndexError> {
        let hash = |entry: &[u8]| Fields(entry).u64();
        let start = self.search(ALIASES, ALIAS_BYTES, |entry| {
            hash(entry).is_some_and(|hash| hash < wanted)
        })?;
        let end = self.search(ALIASES, ALIAS_BYTES, |entry| {
            hash(entry).is_some_and(|hash| hash <= wanted)
        })?;
        let end = end.saturating_sub(skip);
        let start = start.max(end.saturating_sub(max));
        let bytes = self.entries(ALIASES, ALIAS_BYTES, start, end.saturating_sub(start))?;
        let postings = bytes.chunks(ALIAS_BYTES).rev().map(|entry| {
            let mut fields = Fields(entry);
            fields.u64()?;
            decode_posting(&mut fields)
        });
        postings.collect::<Option<_>>().ok_or(IndexError::Damaged)
    }

    pub(crate) fn marks(&self, max: usize) -> Result<Vec<Posting>, IndexError> {
        let count = self.count(MARKS, POSTING_BYTES);
        let start = count.saturating_sub(max);
        decode_postings(&self.entries(MARKS, POSTING_BYTES, start, count - start)?)
    }

    pub(crate) fn expires_ms(&self, ordinal: u32) -> Result<Option<u64>, IndexError> {
        let place = self.search(EXPIRIES, EXPIRY_BYTES, |entry| {
            Fields(entry).u32().is_some_and(|found| found < ordinal)
        })?;
        if place >= self.count(EXPIRIES, EXPIRY_BYTES) {
            return Ok(None);
        }
        let entry = self.entry(EXPIRIES, EXPIRY_BYTES, place)?;
        let mut fields = Fields(&entry);
        Ok(if fields.u32() == Some(ordinal) {
            fields.u64()
        } else {
            None
        })
    }

    /// Brings all of it into memory, for a segment that is to be appended to.
    pub(crate) fn load(&self, summary: &Summary) -> Option<MemoryIndex> {
        let mut loaded = MemoryIndex::default();
        loaded.records = summary.records;
        let postings = decode_postings(&self.section(POSTINGS).ok()?).ok()?;
        for list in self.lists().ok()? {
            let start = widen(list.start?);
            let own = postings.get(start..start.checked_add(widen(list.count))?)?;
            loaded.topics.insert(list.topic, own.to_vec());
        }
        let mut aliases = Vec::new();
        for entry in self.section(ALIASES).ok()?.chunks(ALIAS_BYTES) {
            let mut fields = Fields(entry);
            aliases.push((fields.u64()?, decode_posting(&mut fields)?));
        }
        aliases.sort_unstable_by_key(|(_, posting)| posting.ordinal);
        for (hash, posting) in aliases {
            loaded.insert_alias(hash, posting);
        }
        loaded.marks = decode_postings(&self.section(MARKS).ok()?).ok()?;
        for entry in self.section(EXPIRIES).ok()?.chunks(EXPIRY_BYTES) {
            let mut fields = Fields(entry);
            loaded.expiries.push((fields.u32()?, fields.u64()?));
        }
        for entry in self.section(PLACES).ok()?.chunks(PLACE_BYTES) {
            loaded.sparse.push(decode_place(entry)?);
        }
        Some(loaded)
    }

    /// Reads all blocks: for verification.
    pub(crate) fn verify(&self) -> Result<(), IndexError> {
        (0..SECTIONS).try_for_each(|section| self.section(section).map(drop))
    }

    fn topic(&self, entry: &[u8]) -> Result<List, IndexError> {
        let names = self.place(NAMES);
        let mut failed = None;
        let list = decode_topic(entry, |at, count| {
            if at.checked_add(count)? as u64 > names.bytes {
                return None;
            }
            let read = self.blocks.read(names.offset + at as u64, count);
            read.map_err(|error| failed = Some(error)).ok()
        });
        match (list, failed) {
            (Some(list), _) => Ok(list),
            (None, Some(error)) => Err(error),
            (None, None) => Err(IndexError::Damaged),
        }
    }

    fn place(&self, section: usize) -> Section {
        self.sections.get(section).copied().unwrap_or_default()
    }

    fn count(&self, section: usize, entry_bytes: usize) -> usize {
        usize::try_from(self.place(section).bytes).unwrap_or(usize::MAX) / entry_bytes
    }

    fn section(&self, section: usize) -> Result<Vec<u8>, IndexError> {
        let Section { offset, bytes } = self.place(section);
        self.blocks.read(
            offset,
            usize::try_from(bytes).map_err(|_| IndexError::Damaged)?,
        )
    }

    fn entry(&self, section: usize, size: usize, place: usize) -> Result<Vec<u8>, IndexError> {
        self.entries(section, size, place, 1)
    }

    fn entries(
        &self,
        section: usize,
        size: usize,
        start: usize,
        count: usize,
    ) -> Result<Vec<u8>, IndexError> {
        if start.saturating_add(count) > self.count(section, size) {
            return Err(IndexError::Damaged);
        }
        self.blocks.read(
            self.place(section).offset + (start * size) as u64,
            count * size,
        )
    }

    /// How many entries of a sorted section come before what is looked for.
    fn search(
        &self,
        section: usize,
        size: usize,
        before: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, IndexError> {
        let within = 0..self.count(section, size);
        self.search_within(section, size, within, 0..0, before)
    }

    /// The same, with an idea of where it is likely to be.
    fn search_near(
        &self,
        section: usize,
        size: usize,
        near: Range<usize>,
        before: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, IndexError> {
        let within = 0..self.count(section, size);
        self.search_within(section, size, within, near, before)
    }

    /// The first entry of a sorted range that does not come before what is looked for.
    ///
    /// What is spread evenly, as hashes are and mostly the records of a topic, is found by reading
    /// once where it should be; a search by halves would read a block for each half.
    fn search_within(
        &self,
        section: usize,
        size: usize,
        within: Range<usize>,
        near: Range<usize>,
        before: impl Fn(&[u8]) -> bool,
    ) -> Result<usize, IndexError> {
        let (mut low, mut high) = (within.start, within.end);
        let near = near.start.clamp(low, high)..near.end.clamp(low, high);
        if !near.is_empty() {
            let entries = self.entries(section, size, near.start, near.len())?;
            let first = entries
                .chunks(size)
                .take_while(|entry| before(entry))
                .count();
            if first == 0 {
                high = near.start;
            } else {
                low = near.start + first;
            }
            if (0 < first || near.start == within.start) && first < near.len() {
                return Ok(near.start + first);
            }
        }
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.entry(section, size, middle)?) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok(low)
    }
}

/// Where a hash should be among so many in order: as far off as even ones seldom are.
fn near_hash(hash: u64, count: usize) -> Range<usize> {
    let place = (u128::from(hash) * count as u128) >> 64;
    let place = usize::try_from(place).unwrap_or(0);
    let reach = count.isqrt() + 16;
    place.saturating_sub(reach)..place.saturating_add(reach)
}

/// Where a record should be in a list, if those of its topic come evenly.
fn near_ordinal(ordinal: u32, records: u32, count: u32, start: usize) -> Range<usize> {
    let place = u64::from(ordinal) * u64::from(count) / u64::from(records.max(1));
    let place = start + usize::try_from(place).unwrap_or(0);
    place.saturating_sub(NEAR_POSTINGS)..place.saturating_add(NEAR_POSTINGS)
}

/// The salt that an index says that it has.
pub(crate) fn salt(storage: &dyn Storage, name: &str) -> io::Result<Option<u64>> {
    let file = match storage.open(name) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let mut salt = [0; 8];
    let filled = file.read_at(&mut salt, SALT_AT)?;
    Ok((filled == salt.len()).then(|| u64::from_le_bytes(salt)))
}

/// Writes an index beside its segment and opens it.
pub(crate) fn write(
    storage: &dyn Storage,
    name: &str,
    index: &MemoryIndex,
    summary: &Summary,
) -> Result<(Index, u64), StorageFault> {
    let bytes = blocks::encode(&encode(index, summary), summary.salt);
    let failed = |error| StorageFault::new("write the index", name, error);
    // What is there is of an earlier state of the segment, or was not finished.
    drop(storage.remove(name));
    let file = storage.create(name).map_err(failed)?;
    file.write_at(&bytes, 0).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    let (index, _, file_bytes) =
        FileIndex::open(storage, name, |found| found == summary, summary.salt)
            .ok_or_else(|| failed(std::io::ErrorKind::InvalidData.into()))?;
    Ok((Index::File(index), file_bytes))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::index_layout::{MAGIC, VERSION, encode_header};
    use crate::memory::MemoryStorage;

    /// Asks everything that can be asked.
    fn ask(index: &FileIndex) {
        let _ = index.verify();
        let _ = index.list("topic");
        for list in index.lists().unwrap_or_default() {
            let _ = index.seek(&list, 3);
            let _ = index.chunk(&list, 1, 100);
            let _ = index.list(&list.topic);
        }
        let _ = index.places(&|place| place.ordinal < 5);
        let _ = index.alias(7, 0, 10);
        let _ = index.marks(10);
        let _ = index.expires_ms(3);
    }

    fn store(data: &[u8]) -> MemoryStorage {
        let storage = MemoryStorage::new();
        let file = storage.create("x.idx").unwrap();
        file.write_at(&blocks::encode(data, 9), 0).unwrap();
        storage
    }

    proptest! {
        /// Also an index whose checksums are right may say anything: only its bounds are trusted.
        #[test]
        fn arbitrary_data_in_good_blocks(lengths: [u8; SECTIONS], tail in vec(any::<u8>(), 0..9000)) {
            let summary = Summary {
                records: 5,
                first: 1,
                salt: 9,
                log_bytes: 10,
                first_time_ms: 1,
                last_time_ms: 2,
            };
            let mut ends = vec![HEADER_BYTES];
            for length in lengths {
                let last = ends.last().copied().unwrap_or(0);
                ends.push((last + usize::from(length) * 8).min(HEADER_BYTES + tail.len()));
            }
            if let Some(last) = ends.last_mut() {
                *last = HEADER_BYTES + tail.len();
            }
            let data = [encode_header(&summary, &ends), tail].concat();
            let opened = FileIndex::open(&store(&data), "x.idx", |found| *found == summary, 9);
            ask(&opened.unwrap().0);
        }

        #[test]
        fn arbitrary_headers(data in vec(any::<u8>(), 0..400)) {
            let data = [&MAGIC[..], &VERSION.to_le_bytes(), &data].concat();
            if let Some((index, ..)) = FileIndex::open(&store(&data), "x.idx", |_| true, 9) {
                ask(&index);
            }
        }
    }
}
