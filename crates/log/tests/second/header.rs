//! The 128 bytes that a segment begins with.

use super::checksum::crc32c;
use super::fields::{are_zeros, length_at, part, u32_at, u64_at};

pub(super) const HEADER_BYTES: usize = 128;

const MAGIC: &[u8] = b"TIDINGS\n";
const CHECKED_BYTES: usize = 124;
const VERSION: u32 = 2;
const UNSYNCED: u32 = 1;
const SPARSE: u32 = 2;

#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) version: u32,
    pub(crate) epoch: String,
    pub(crate) first: u64,
    pub(crate) salt: u64,
    /// Commits are not synced one by one.
    pub(crate) unsynced: bool,
    pub(crate) follows: u64,
    /// Of a sparse segment one past the last sequence that it stands for.
    pub(crate) sparse_end: Option<u64>,
}

/// Why there is no header.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NoHeader {
    /// It was not finished, or is damaged.
    Bad,
    Version,
    Name,
}

impl NoHeader {
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Bad => "no good header",
            Self::Version => "a version that is not known",
            Self::Name => "its name says another first sequence",
        }
    }
}

/// The header of a segment whose name says that it begins with `first`.
pub(super) fn header(bytes: &[u8], first: u64) -> Result<Header, NoHeader> {
    let found = checked(bytes).ok_or(NoHeader::Bad)?;
    // What is below was written so, or by a later version.
    let version = u32_at(found, 8).ok_or(NoHeader::Bad)?;
    if !(1..=VERSION).contains(&version) {
        return Err(NoHeader::Version);
    }
    let found = fields(found, version).ok_or(NoHeader::Bad)?;
    if found.first == first {
        Ok(found)
    } else {
        Err(NoHeader::Name)
    }
}

fn checked(bytes: &[u8]) -> Option<&[u8]> {
    let checked = part(bytes, 0, CHECKED_BYTES)?;
    let is_right = u32_at(bytes, CHECKED_BYTES)? == crc32c(&[checked]);
    (is_right && checked.starts_with(MAGIC)).then_some(checked)
}

fn fields(checked: &[u8], version: u32) -> Option<Header> {
    let epoch_bytes = length_at(checked, 12).filter(|length| (1..=64).contains(length))?;
    let (epoch, rest) = part(checked, 40, 64)?.split_at_checked(epoch_bytes)?;
    let epoch = std::str::from_utf8(epoch).ok()?.to_owned();
    let (first, salt) = (u64_at(checked, 16)?, u64_at(checked, 32)?);
    let (flags, follows, end) = match version {
        1 => (0, first, 0),
        _ => (
            u32_at(checked, 104)?,
            u64_at(checked, 108)?,
            u64_at(checked, 116)?,
        ),
    };
    let sparse_end = (flags & SPARSE != 0).then_some(end);
    let is_good = are_zeros(rest)
        && first > 0
        && flags <= (UNSYNCED | SPARSE)
        && follows <= first
        && sparse_end.map_or(end == 0, |end| end >= first);
    is_good.then_some(Header {
        version,
        epoch,
        first,
        salt,
        unsynced: flags & UNSYNCED != 0,
        follows,
        sparse_end,
    })
}
