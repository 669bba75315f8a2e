//! One record, and its head alone.

use super::checksum::crc32c;
use super::fields::{length_at, part, u16_at, u32_at, u64_at};

const HEAD_BYTES: usize = 56;
const RECORD_BYTES_MAX: usize = 512 << 20;

const CONTINUES: u16 = 1;
const EXPIRES: u16 = 2;
const ALIAS: u16 = 4;
const KEY: u16 = 8;
const MARK: u16 = 16;

/// What must be right before anything else of a record is looked at.
#[derive(Debug)]
pub(super) struct Head<'a> {
    bytes: &'a [u8],
    length: usize,
    commit_offset: usize,
    pub(super) sequence: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record<'a> {
    /// Where it is in its segment.
    pub(crate) offset: usize,
    pub(crate) length: usize,
    pub(crate) commit_offset: usize,
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    /// The next one belongs to the same group.
    pub(crate) continues: bool,
    pub(crate) topics: Vec<&'a str>,
    pub(crate) alias: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) mark: Option<&'a [u8]>,
    pub(crate) frame: &'a [u8],
}

/// The head at an offset of a segment, if its checksum is right.
pub(super) fn head(segment: &[u8], offset: usize, salt: u64) -> Option<Head<'_>> {
    let bytes = part(segment, offset, HEAD_BYTES)?;
    let right = crc32c(&[&salt.to_le_bytes(), bytes.get(4..)?]);
    (u32_at(bytes, 0)? == right).then_some(Head {
        bytes,
        length: length_at(bytes, 4)?,
        commit_offset: length_at(bytes, 12)?,
        sequence: u64_at(bytes, 16)?,
    })
}

impl Head<'_> {
    /// Where the unit begins to which the record at this offset belongs.
    pub(super) fn unit(&self, offset: usize) -> Option<usize> {
        offset.checked_sub(self.commit_offset)
    }
}

/// The record at an offset of a segment.
pub(super) fn record(segment: &[u8], offset: usize, salt: u64) -> Result<Record<'_>, &'static str> {
    let head = head(segment, offset, salt).ok_or("no head with a right checksum")?;
    if !(HEAD_BYTES..=RECORD_BYTES_MAX).contains(&head.length) {
        return Err("a length that no record has");
    }
    let bytes = part(segment, offset, head.length).ok_or("the file ends within a record")?;
    let (_, body) = bytes.split_at_checked(HEAD_BYTES).unwrap_or_default();
    if u32_at(bytes, 8) != Some(crc32c(&[body])) {
        return Err("a body whose checksum is wrong");
    }
    fields(bytes, &head, offset).ok_or("a record that contradicts itself")
}

fn fields<'a>(bytes: &'a [u8], head: &Head, offset: usize) -> Option<Record<'a>> {
    let mut at = HEAD_BYTES;
    let mut take = |length: usize| {
        let taken = part(bytes, at, length)?;
        at += length;
        Some(taken)
    };
    let mut topics = Vec::new();
    for _ in 0..u16_at(bytes, 42)? {
        let length = usize::from(u16_at(take(2)?, 0)?);
        topics.push(std::str::from_utf8(take(length)?).ok()?);
    }
    let alias = std::str::from_utf8(take(usize::from(u16_at(bytes, 44)?))?).ok()?;
    let key = std::str::from_utf8(take(usize::from(u16_at(bytes, 46)?))?).ok()?;
    let mark = take(length_at(bytes, 48)?)?;
    let frame = bytes.get(at..)?;
    let flags = u16_at(bytes, 40)?;
    let has = |flag: u16| flags & flag != 0;
    let is_good = !topics.is_empty() && length_at(bytes, 52)? == at && flags < 2 * MARK;
    is_good.then_some(Record {
        offset,
        length: head.length,
        commit_offset: head.commit_offset,
        sequence: head.sequence,
        time_ms: u64_at(bytes, 24)?,
        expires_ms: u64_at(bytes, 32).filter(|_| has(EXPIRES)),
        continues: has(CONTINUES),
        topics,
        alias: has(ALIAS).then_some(alias),
        key: has(KEY).then_some(key),
        mark: has(MARK).then_some(mark),
        frame,
    })
}
