//! The index of one segment: in memory while it is written, in a file once it is sealed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use crate::error::StorageFault;
use crate::fields::{narrow, widen};
use crate::index_file::FileIndex;
use crate::record::Record;

/// A place to start from lies this near before any record. Bytes.
const SPARSE_BYTES: u32 = 16 * 1024;

const EXPIRES: u32 = 1 << 31;

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Posting {
    /// Its sequence, counted from the segment's first.
    pub(crate) ordinal: u32,
    pub(crate) offset: u32,
    /// The length, and in the highest bit whether the record expires.
    pub(crate) length_and_expires: u32,
}

/// One of the places to start a scan from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sparse {
    pub(crate) ordinal: u32,
    pub(crate) offset: u32,
    pub(crate) time_ms: u64,
}

/// The records of one topic in one segment, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct List {
    pub(crate) topic: Arc<str>,
    /// Where a file has it. `None`: it is from memory, which goes by the topic; by now the segment may
    /// be sealed, and a file in its place.
    pub(crate) start: Option<u32>,
    pub(crate) count: u32,
}

/// An index could not answer.
pub(crate) enum IndexError {
    /// It is not what was written. It can be built again from its segment.
    Damaged,
    Storage(StorageFault),
}

/// The index of a segment that is being written: by the records of this segment only.
#[derive(Debug, Default)]
pub(crate) struct MemoryIndex {
    pub(crate) topics: HashMap<Arc<str>, Vec<Posting>>,
    pub(crate) aliases: Vec<Alias>,
    /// The newest alias of each hash.
    alias_heads: HashMap<u64, u32>,
    pub(crate) marks: Vec<Posting>,
    pub(crate) expiries: Vec<(u32, u64)>,
    pub(crate) sparse: Vec<Sparse>,
    pub(crate) records: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Alias {
    pub(crate) hash: u64,
    pub(crate) posting: Posting,
    /// The next older one of the same hash.
    older: Option<u32>,
}

/// Either kind.
pub(crate) enum Index {
    Memory(RwLock<MemoryIndex>),
    File(FileIndex),
}

impl Posting {
    pub(crate) fn length(&self) -> u32 {
        self.length_and_expires & !EXPIRES
    }

    pub(crate) fn expires(&self) -> bool {
        self.length_and_expires & EXPIRES != 0
    }

    pub(crate) fn end(&self) -> u64 {
        u64::from(self.offset) + u64::from(self.length())
    }
}

impl MemoryIndex {
    /// Adds the next record, which begins at `offset`, and follows the one before by one.
    pub(crate) fn insert(&mut self, offset: u32, salt: u64, record: &Record<'_>) {
        self.insert_as(self.records, offset, salt, record);
    }

    /// Adds the next record.
    pub(crate) fn insert_as(&mut self, ordinal: u32, offset: u32, salt: u64, record: &Record<'_>) {
        self.records += 1;
        let expires = record.head.expires_ms;
        let flag = if expires.is_some() { EXPIRES } else { 0 };
        let posting = Posting {
            ordinal,
            offset,
            length_and_expires: record.head.length | flag,
        };
        for topic in record.topics() {
            self.insert_topic(topic, posting);
        }
        if let Some(alias) = record.alias {
            self.insert_alias(hash(alias, salt), posting);
        }
        if record.head.has_mark() {
            self.marks.push(posting);
        }
        self.expiries
            .extend(expires.map(|expires_ms| (ordinal, expires_ms)));
        if self
            .sparse
            .last()
            .is_none_or(|last| offset - last.offset >= SPARSE_BYTES)
        {
            self.sparse.push(Sparse {
                ordinal,
                offset,
                time_ms: record.head.time_ms,
            });
        }
    }

    fn insert_topic(&mut self, topic: &str, posting: Posting) {
        if let Some(list) = self.topics.get_mut(topic) {
            // A record that names a topic twice is there once.
            if list.last() != Some(&posting) {
                list.push(posting);
            }
        } else {
            self.topics.insert(topic.into(), vec![posting]);
        }
    }

    pub(crate) fn insert_alias(&mut self, hash: u64, posting: Posting) {
        let place = narrow(self.aliases.len());
        let older = self.alias_heads.insert(hash, place);
        self.aliases.push(Alias {
            hash,
            posting,
            older,
        });
    }

    fn alias(&self, hash: u64, skip: usize, max: usize) -> Vec<Posting> {
        let at = |place: Option<u32>| place.and_then(|place| self.aliases.get(widen(place)));
        let newest = at(self.alias_heads.get(&hash).copied());
        let found = std::iter::successors(newest, |alias| at(alias.older));
        found
            .skip(skip)
            .take(max)
            .map(|alias| alias.posting)
            .collect()
    }

    fn expires_ms(&self, ordinal: u32) -> Option<u64> {
        let place = self
            .expiries
            .binary_search_by_key(&ordinal, |(ordinal, _)| *ordinal)
            .ok()?;
        self.expiries.get(place).map(|(_, expires_ms)| *expires_ms)
    }
}

impl Index {
    pub(crate) fn memory(index: MemoryIndex) -> Self {
        Self::Memory(RwLock::new(index))
    }

    /// The records of a topic, if there are any.
    pub(crate) fn list(&self, topic: &str) -> Result<Option<List>, IndexError> {
        match self {
            Self::Memory(index) => Ok(shared(index).topics.get_key_value(topic).map(memory_list)),
            Self::File(index) => index.list(topic),
        }
    }

    /// The lists of all topics.
    pub(crate) fn lists(&self) -> Result<Vec<List>, IndexError> {
        match self {
            Self::Memory(index) => Ok(shared(index).topics.iter().map(memory_list).collect()),
            Self::File(index) => index.lists(),
        }
    }

    /// Where in a list the first record is that has at least this ordinal.
    pub(crate) fn seek(&self, list: &List, ordinal: u32) -> Result<u32, IndexError> {
        match self {
            Self::Memory(index) => {
                let index = shared(index);
                let postings = index
                    .topics
                    .get(&*list.topic)
                    .map_or(&[][..], Vec::as_slice);
                let before = postings.partition_point(|posting| posting.ordinal < ordinal);
                Ok(narrow(before))
            }
            Self::File(index) => index.seek(list, ordinal),
        }
    }

    /// Up to `max` records of a list.
    pub(crate) fn chunk(
        &self,
        list: &List,
        position: u32,
        max: usize,
    ) -> Result<Vec<Posting>, IndexError> {
        match self {
            Self::Memory(index) => {
                let index = shared(index);
                let postings = index
                    .topics
                    .get(&*list.topic)
                    .map_or(&[][..], Vec::as_slice);
                let rest = postings.get(widen(position)..).unwrap_or_default();
                Ok(rest.iter().take(max).copied().collect())
            }
            Self::File(index) => index.chunk(list, position, max),
        }
    }

    /// The two places to start a scan from between which `before` stops to hold.
    pub(crate) fn places(
        &self,
        before: &dyn Fn(&Sparse) -> bool,
    ) -> Result<(Option<Sparse>, Option<Sparse>), IndexError> {
        match self {
            Self::Memory(index) => {
                let index = shared(index);
                let count = index.sparse.partition_point(before);
                let last = count.checked_sub(1).and_then(|last| index.sparse.get(last));
                Ok((last.copied(), index.sparse.get(count).copied()))
            }
            Self::File(index) => index.places(before),
        }
    }

    /// The records whose alias has this hash, newest first, in parts.
    pub(crate) fn alias(
        &self,
        hash: u64,
        skip: usize,
        max: usize,
    ) -> Result<Vec<Posting>, IndexError> {
        match self {
            Self::Memory(index) => Ok(shared(index).alias(hash, skip, max)),
            Self::File(index) => index.alias(hash, skip, max),
        }
    }

    /// The newest `max` records with a mark, oldest first.
    pub(crate) fn marks(&self, max: usize) -> Result<Vec<Posting>, IndexError> {
        match self {
            Self::Memory(index) => {
                let index = shared(index);
                let skip = index.marks.len().saturating_sub(max);
                Ok(index.marks.iter().skip(skip).copied().collect())
            }
            Self::File(index) => index.marks(max),
        }
    }

    /// When a record expires.
    pub(crate) fn expires_ms(&self, ordinal: u32) -> Result<Option<u64>, IndexError> {
        match self {
            Self::Memory(index) => Ok(shared(index).expires_ms(ordinal)),
            Self::File(index) => index.expires_ms(ordinal),
        }
    }
}

fn memory_list((topic, postings): (&Arc<str>, &Vec<Posting>)) -> List {
    List {
        topic: Arc::clone(topic),
        start: None,
        count: narrow(postings.len()),
    }
}

fn shared(index: &RwLock<MemoryIndex>) -> RwLockReadGuard<'_, MemoryIndex> {
    index.read().unwrap_or_else(PoisonError::into_inner)
}

/// The hash that topics and aliases are sorted by in an index file: FNV-1a with the log's salt in
/// its basis, its bits mixed at the end. What it finds is compared in full, so that a collision
/// costs a read and no more.
pub(crate) fn hash(text: &str, salt: u64) -> u64 {
    let mixed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325 ^ salt, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}
