//! The index of a sealed segment, in a file beside it. It can always be built again by reading
//! the segment, so it is never trusted: each block has a checksum.
//!
//! The data within the blocks (see `blocks`), little-endian:
//!
//! ```text
//! 0   magic     8   "TIDINGSX"
//! 8   version   4   1
//! 12  records   4
//! 16  first     8   sequence
//! 24  salt      8   the log's
//! 32  log bytes 8   the length of the segment's file
//! 40  time      8   of the first record, unix milliseconds
//! 48  time      8   of the last record
//! 56  sections  7 x 16: offset 8, length 8
//! ```
//!
//! | section | entries | sorted by |
//! | --- | --- | --- |
//! | 0 postings | ordinal 4, offset 4, length 4 (highest bit: expires) | list, ordinal |
//! | 1 names | the topics' bytes | |
//! | 2 topics | hash 8, name's place in names 4, name's length 4, first posting 4, postings 4 | hash, name |
//! | 3 places | ordinal 4, offset 4, time 8: a record in about every 16 KiB | ordinal |
//! | 4 aliases | hash 8, posting 12 | hash, ordinal |
//! | 5 marks | posting 12 | ordinal |
//! | 6 expiries | ordinal 4, expires 8 | ordinal |

use std::sync::Arc;

use crate::fields::{Fields, narrow, widen};
use crate::index::{IndexError, List, MemoryIndex, Posting, Sparse, hash};

pub(crate) const MAGIC: &[u8; 8] = b"TIDINGSX";
pub(crate) const VERSION: u32 = 1;
pub(crate) const SECTIONS: usize = 7;
pub(crate) const HEADER_BYTES: usize = 56 + 16 * SECTIONS;
pub(crate) const SALT_AT: u64 = 24;

pub(crate) const POSTINGS: usize = 0;
pub(crate) const NAMES: usize = 1;
pub(crate) const TOPICS: usize = 2;
pub(crate) const PLACES: usize = 3;
pub(crate) const ALIASES: usize = 4;
pub(crate) const MARKS: usize = 5;
pub(crate) const EXPIRIES: usize = 6;

pub(crate) const POSTING_BYTES: usize = 12;
pub(crate) const TOPIC_BYTES: usize = 24;
pub(crate) const PLACE_BYTES: usize = 16;
pub(crate) const ALIAS_BYTES: usize = 8 + POSTING_BYTES;
pub(crate) const EXPIRY_BYTES: usize = 12;

/// What an index says of its segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) records: u32,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    pub(crate) log_bytes: u64,
    pub(crate) first_time_ms: u64,
    pub(crate) last_time_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Section {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

pub(crate) fn encode(index: &MemoryIndex, summary: &Summary) -> Vec<u8> {
    let mut topics: Vec<_> = index
        .topics
        .iter()
        .map(|(topic, postings)| (hash(topic, summary.salt), topic, postings))
        .collect();
    topics.sort_unstable_by_key(|(hash, topic, _)| (*hash, Arc::clone(topic)));
    let mut data = vec![0; HEADER_BYTES];
    let mut ends = vec![data.len()];
    for (_, _, postings) in &topics {
        postings
            .iter()
            .for_each(|posting| encode_posting(&mut data, *posting));
    }
    ends.push(data.len());
    for (_, topic, _) in &topics {
        data.extend_from_slice(topic.as_bytes());
    }
    ends.push(data.len());
    encode_topics(&mut data, &topics);
    ends.push(data.len());
    for place in &index.sparse {
        data.extend_from_slice(&place.ordinal.to_le_bytes());
        data.extend_from_slice(&place.offset.to_le_bytes());
        data.extend_from_slice(&place.time_ms.to_le_bytes());
    }
    ends.push(data.len());
    encode_aliases(&mut data, index);
    ends.push(data.len());
    index
        .marks
        .iter()
        .for_each(|posting| encode_posting(&mut data, *posting));
    ends.push(data.len());
    for (ordinal, expires_ms) in &index.expiries {
        data.extend_from_slice(&ordinal.to_le_bytes());
        data.extend_from_slice(&expires_ms.to_le_bytes());
    }
    ends.push(data.len());
    let header = encode_header(summary, &ends);
    if let Some(place) = data.get_mut(..header.len()) {
        place.copy_from_slice(&header);
    }
    data
}

pub(crate) fn encode_header(summary: &Summary, ends: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    out.extend_from_slice(&summary.records.to_le_bytes());
    for field in [
        summary.first,
        summary.salt,
        summary.log_bytes,
        summary.first_time_ms,
        summary.last_time_ms,
    ] {
        out.extend_from_slice(&field.to_le_bytes());
    }
    for (start, end) in ends.iter().zip(ends.iter().skip(1)) {
        out.extend_from_slice(&(*start as u64).to_le_bytes());
        out.extend_from_slice(&((end - start) as u64).to_le_bytes());
    }
    out
}

fn encode_topics(data: &mut Vec<u8>, topics: &[(u64, &Arc<str>, &Vec<Posting>)]) {
    let (mut name_at, mut posting_at) = (0, 0);
    for (hash, topic, postings) in topics {
        let (name_bytes, count) = (narrow(topic.len()), narrow(postings.len()));
        data.extend_from_slice(&hash.to_le_bytes());
        for field in [name_at, name_bytes, posting_at, count] {
            data.extend_from_slice(&field.to_le_bytes());
        }
        name_at += name_bytes;
        posting_at += count;
    }
}

fn encode_aliases(data: &mut Vec<u8>, index: &MemoryIndex) {
    let mut aliases: Vec<_> = index
        .aliases
        .iter()
        .map(|alias| (alias.hash, alias.posting))
        .collect();
    aliases.sort_unstable_by_key(|(hash, posting)| (*hash, posting.ordinal));
    for (hash, posting) in aliases {
        data.extend_from_slice(&hash.to_le_bytes());
        encode_posting(data, posting);
    }
}

fn encode_posting(data: &mut Vec<u8>, posting: Posting) {
    for field in [posting.ordinal, posting.offset, posting.length_and_expires] {
        data.extend_from_slice(&field.to_le_bytes());
    }
}

pub(crate) fn decode_header(header: &[u8]) -> Option<(Summary, [Section; SECTIONS])> {
    let mut fields = Fields(header);
    if fields.bytes(MAGIC.len())? != MAGIC || fields.u32()? != VERSION {
        return None;
    }
    let summary = Summary {
        records: fields.u32()?,
        first: fields.u64()?,
        salt: fields.u64()?,
        log_bytes: fields.u64()?,
        first_time_ms: fields.u64()?,
        last_time_ms: fields.u64()?,
    };
    let mut sections = [Section::default(); SECTIONS];
    for section in &mut sections {
        *section = Section {
            offset: fields.u64()?,
            bytes: fields.u64()?,
        };
    }
    Some((summary, sections))
}

/// Whether the sections follow each other without a hole.
pub(crate) fn is_laid_out(sections: &[Section; SECTIONS]) -> bool {
    let mut end = HEADER_BYTES as u64;
    sections.iter().all(|section| {
        let follows = section.offset == end;
        end = end.saturating_add(section.bytes);
        follows
    })
}

pub(crate) fn decode_topic(
    entry: &[u8],
    name: impl FnOnce(usize, usize) -> Option<Vec<u8>>,
) -> Option<List> {
    let mut fields = Fields(entry);
    fields.u64()?;
    let name = name(widen(fields.u32()?), widen(fields.u32()?))?;
    let topic = std::str::from_utf8(&name).ok()?.into();
    Some(List {
        topic,
        start: Some(fields.u32()?),
        count: fields.u32()?,
    })
}

pub(crate) fn decode_place(entry: &[u8]) -> Option<Sparse> {
    let mut fields = Fields(entry);
    Some(Sparse {
        ordinal: fields.u32()?,
        offset: fields.u32()?,
        time_ms: fields.u64()?,
    })
}

pub(crate) fn decode_posting(fields: &mut Fields<'_>) -> Option<Posting> {
    Some(Posting {
        ordinal: fields.u32()?,
        offset: fields.u32()?,
        length_and_expires: fields.u32()?,
    })
}

pub(crate) fn decode_postings(bytes: &[u8]) -> Result<Vec<Posting>, IndexError> {
    let postings = bytes
        .chunks(POSTING_BYTES)
        .map(|entry| decode_posting(&mut Fields(entry)));
    postings.collect::<Option<_>>().ok_or(IndexError::Damaged)
}
