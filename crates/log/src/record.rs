//! A record: one event as the log holds it. The format is described here and nowhere else in code.
//!
//! ```text
//! 0   head crc32c    4   of the salt and of bytes 4 to 56
//! 4   length         4   of the whole record
//! 8   body crc32c    4   of bytes 56 to the end
//! 12  commit offset  4   bytes from the beginning of its commit, or of the first of several that
//!                        were synced together, to this record
//! 16  sequence       8
//! 24  time           8   unix milliseconds, never less than the record before
//! 32  expires        8   unix milliseconds, if flag 2 is set, else 0
//! 40  flags          2   1: the next record belongs to the same group; 2: expires; 4: alias;
//!                        8: key; 16: mark
//! 42  topic count    2
//! 44  alias length   2
//! 46  key length     2
//! 48  mark length    4
//! 52  frame offset   4   from the beginning of the record
//! 56  topics, each: length 2, bytes; then alias, key, mark, frame
//! ```
//!
//! The head has a checksum of its own, so that a length is known to be right before anything is
//! allocated or skipped by it, and so that recovery can look for heads behind a broken record at
//! the cost of one pass. The head's checksum covers the body's, so both are salted.
//!
//! The commit offset is what tells a torn write from damage. What is synced at once, one commit or
//! several, is written only after the sync before it: of a file only the last of these can be
//! torn, in any way, also with a whole record behind a hole. A whole record of a *later* one
//! behind a broken record is therefore proof of damage, and one of the same is not.

use crate::error::AppendError;
use crate::fields::{Fields, narrow, widen};

/// The head's length.
pub(crate) const HEAD_BYTES: usize = 56;

/// Where the field of the record's length ends.
pub(crate) const LENGTH_END: usize = 8;

const CONTINUES: u16 = 1;
const EXPIRES: u16 = 2;
const ALIAS: u16 = 4;
const KEY: u16 = 8;
const MARK: u16 = 16;

/// What is stored beside the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Head<'a> {
    /// 1 to 65,535 topics of at most 65,535 bytes each, which mean nothing to the log.
    pub topics: &'a [&'a str],
    /// The publisher's own ID, at most 65,535 bytes: [`Reader::find_alias`](crate::Reader::find_alias)
    /// finds its newest record.
    pub alias: Option<&'a str>,
    /// Stored and shown, at most 65,535 bytes.
    pub key: Option<&'a str>,
    /// When the event stops to be of use. Unix milliseconds. Readers get it back and decide.
    pub expires_ms: Option<u64>,
    /// A note of the owner, found again by [`Reader::marks`](crate::Reader::marks) without
    /// reading other records.
    pub mark: Option<&'a [u8]>,
    /// The next record belongs to the same group, which survives a crash whole or not at all.
    pub continues: bool,
}

/// The fixed part of a record, its checksum verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) length: u32,
    body_crc: u32,
    pub(crate) commit_offset: u32,
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) expires_ms: Option<u64>,
    flags: u16,
    topics: u16,
    alias_bytes: u16,
    key_bytes: u16,
    mark_bytes: u32,
    frame_at: u32,
}

/// A whole record, verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub(crate) head: RecordHead,
    topics: &'a [u8],
    pub(crate) alias: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) mark: Option<&'a [u8]>,
    pub(crate) frame: &'a [u8],
}

/// Where in a log, and in its commit, a record comes to stand.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) sequence: u64,
    pub(crate) time_ms: u64,
    pub(crate) commit_offset: u32,
}

impl RecordHead {
    /// Takes the head from the beginning of `bytes`, if one with this salt is there.
    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let (crc, covered) = bytes.get(..HEAD_BYTES)?.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != head_crc(covered, salt) {
            return None;
        }
        Self::parse(covered)
    }

    /// The same of bytes that have not left memory: their checksum is not calculated again.
    pub(crate) fn trusted(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes.get(4..HEAD_BYTES)?)
    }

    fn parse(covered: &[u8]) -> Option<Self> {
        let mut fields = Fields(covered);
        let head = Self {
            length: fields.u32()?,
            body_crc: fields.u32()?,
            commit_offset: fields.u32()?,
            sequence: fields.u64()?,
            time_ms: fields.u64()?,
            expires_ms: Some(fields.u64()?),
            flags: fields.u16()?,
            topics: fields.u16()?,
            alias_bytes: fields.u16()?,
            key_bytes: fields.u16()?,
            mark_bytes: fields.u32()?,
            frame_at: fields.u32()?,
        };
        let expires_ms = head.expires_ms.filter(|_| head.has(EXPIRES));
        Some(Self { expires_ms, ..head })
    }

    /// Whether bytes could be a head, by the fields alone: what recovery asks of every byte
    /// before it calculates a checksum.
    pub(crate) fn plausible(bytes: &[u8], sequences: &std::ops::Range<u64>) -> bool {
        let length = bytes.get(4..8).and_then(|field| Fields(field).u32());
        let sequence = bytes.get(16..24).and_then(|field| Fields(field).u64());
        length.is_some_and(|length| widen(length) >= HEAD_BYTES)
            && sequence.is_some_and(|sequence| sequences.contains(&sequence))
    }

    fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    pub(crate) fn continues(&self) -> bool {
        self.has(CONTINUES)
    }

    pub(crate) fn has_mark(&self) -> bool {
        self.has(MARK)
    }
}

impl<'a> Record<'a> {
    /// Takes the record that `head` began from `bytes`, which hold all of it.
    pub(crate) fn decode(head: RecordHead, bytes: &'a [u8]) -> Option<Self> {
        let body = bytes.get(HEAD_BYTES..widen(head.length))?;
        if crc32c::crc32c(body) != head.body_crc {
            return None;
        }
        Self::trusted(head, bytes)
    }

    /// The same for bytes that have not left memory: their checksum is not calculated again.
    pub(crate) fn trusted(head: RecordHead, bytes: &'a [u8]) -> Option<Self> {
        let frame = bytes.get(widen(head.frame_at)..widen(head.length))?;
        let record = Self::without_frame(head, bytes)?;
        Some(Self { frame, ..record })
    }

    /// The same of bytes that end where the frame begins.
    pub(crate) fn without_frame(head: RecordHead, bytes: &'a [u8]) -> Option<Self> {
        let beside = bytes.get(HEAD_BYTES..widen(head.frame_at))?;
        let mut fields = Fields(beside);
        for _ in 0..head.topics {
            // That it is text is checked where it is read.
            let length = fields.u16()?;
            fields.bytes(usize::from(length))?;
        }
        let topics = beside.get(..beside.len() - fields.0.len())?;
        let alias = fields.text(usize::from(head.alias_bytes))?;
        let key = fields.text(usize::from(head.key_bytes))?;
        let mark = fields.bytes(widen(head.mark_bytes))?;
        Some(Self {
            head,
            topics,
            alias: head.has(ALIAS).then_some(alias),
            key: head.has(KEY).then_some(key),
            mark: head.has(MARK).then_some(mark),
            frame: &[],
        })
    }

    /// The topics, in the order in which they were given.
    pub(crate) fn topics(&self) -> Topics<'a> {
        Topics(Fields(self.topics))
    }
}

/// Walks the topics of a verified record.
pub(crate) struct Topics<'a>(Fields<'a>);

impl<'a> Iterator for Topics<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let length = self.0.u16()?;
        self.0.text(usize::from(length))
    }
}

impl Head<'_> {
    /// The bytes before the frame, or why they cannot be written.
    fn beside_bytes(&self) -> Result<usize, AppendError> {
        if self.topics.is_empty() || u16::try_from(self.topics.len()).is_err() {
            return Err(AppendError::Topics);
        }
        let texts = self.topics.iter().chain(&self.alias).chain(&self.key);
        if texts.clone().any(|text| u16::try_from(text.len()).is_err()) {
            return Err(AppendError::TooLong);
        }
        let text_bytes: usize = texts.map(|text| text.len()).sum();
        Ok(HEAD_BYTES + 2 * self.topics.len() + text_bytes + self.mark.map_or(0, <[u8]>::len))
    }

    fn flags(&self) -> u16 {
        [
            (CONTINUES, self.continues),
            (EXPIRES, self.expires_ms.is_some()),
            (ALIAS, self.alias.is_some()),
            (KEY, self.key.is_some()),
            (MARK, self.mark.is_some()),
        ]
        .into_iter()
        .filter_map(|(flag, set)| set.then_some(flag))
        .sum()
    }
}

/// Appends a record to `out`, or takes back what it wrote and says why not. Returns where in the
/// record its frame begins.
pub(crate) fn encode(
    out: &mut Vec<u8>,
    place: Place,
    head: &Head<'_>,
    record_bytes_max: u32,
    frame: impl FnOnce(u64, &mut Vec<u8>),
) -> Result<u32, AppendError> {
    let start = out.len();
    let frame_at = head.beside_bytes()?;
    let bytes_max = u64::from(record_bytes_max);
    let too_large = |bytes: usize| AppendError::TooLarge {
        bytes: bytes as u64,
        bytes_max,
    };
    if frame_at as u64 > bytes_max {
        return Err(too_large(frame_at));
    }
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write_beside(out, head);
    frame(place.sequence, out);
    if out.len() < start + frame_at {
        return Err(AppendError::Shrank);
    }
    let length = out.len() - start;
    if length as u64 > bytes_max {
        out.truncate(start);
        return Err(too_large(length));
    }
    if let Some(record) = out.get_mut(start..) {
        write_head(record, place, head, frame_at);
    }
    Ok(narrow(frame_at))
}

fn write_beside(out: &mut Vec<u8>, head: &Head<'_>) {
    for topic in head.topics {
        out.extend_from_slice(&short(topic.len()).to_le_bytes());
        out.extend_from_slice(topic.as_bytes());
    }
    out.extend_from_slice(head.alias.unwrap_or_default().as_bytes());
    out.extend_from_slice(head.key.unwrap_or_default().as_bytes());
    out.extend_from_slice(head.mark.unwrap_or_default());
}

fn write_head(record: &mut [u8], place: Place, head: &Head<'_>, frame_at: usize) {
    let length = narrow(record.len());
    let Some((fixed, body)) = record.split_first_chunk_mut::<HEAD_BYTES>() else {
        return;
    };
    let (crc, covered) = fixed.split_at_mut(4);
    let mut rest = &mut *covered;
    let mut put = |field: &[u8]| {
        if let Some((place, behind)) = std::mem::take(&mut rest).split_at_mut_checked(field.len()) {
            place.copy_from_slice(field);
            rest = behind;
        }
    };
    put(&length.to_le_bytes());
    put(&crc32c::crc32c(body).to_le_bytes());
    put(&place.commit_offset.to_le_bytes());
    put(&place.sequence.to_le_bytes());
    put(&place.time_ms.to_le_bytes());
    put(&head.expires_ms.unwrap_or(0).to_le_bytes());
    put(&head.flags().to_le_bytes());
    put(&short(head.topics.len()).to_le_bytes());
    put(&short(head.alias.map_or(0, str::len)).to_le_bytes());
    put(&short(head.key.map_or(0, str::len)).to_le_bytes());
    put(&narrow(head.mark.map_or(0, <[u8]>::len)).to_le_bytes());
    put(&narrow(frame_at).to_le_bytes());
    crc.copy_from_slice(&head_crc(covered, place.salt).to_le_bytes());
}

/// Changes a whole record's commit offset.
pub(crate) fn move_within_commit(record: &mut [u8], salt: u64, commit_offset: u32) {
    let Some((fixed, _)) = record.split_first_chunk_mut::<HEAD_BYTES>() else {
        return;
    };
    let (crc, covered) = fixed.split_at_mut(4);
    if let Some(field) = covered.get_mut(8..12) {
        field.copy_from_slice(&commit_offset.to_le_bytes());
    }
    crc.copy_from_slice(&head_crc(covered, salt).to_le_bytes());
}

fn head_crc(covered: &[u8], salt: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), covered)
}

/// A length that was checked against 65,535.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}
