//! A second reader of the log's format, which judges the first, and the document.
//!
//! It was written from `docs/log-format.md` alone and shares no code with the crate, so where the two
//! find different things, one of the three is wrong. It is also the shortest whole answer to how a log
//! is read, for who writes a reader in another language: what is here follows the sections of the
//! document, in their words. It reads files that are in memory, changes nothing, is not fast, and
//! panics on no bytes.
//!
//! - [`header`], [`record`] and [`index`] take single files apart,
//! - [`segment`] finds where the records of one end,
//! - [`audit`] says what an index has to say,
//! - [`log`] says which segments there are, and what opening refuses: begin there.

#![allow(dead_code, reason = "each test takes what it needs")]
#![deny(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used,
    reason = "bytes from a disk may say anything"
)]

mod audit;
mod checksum;
mod fields;
mod header;
mod index;
mod log;
mod record;
mod segment;

use std::collections::BTreeMap;
use std::fmt;

pub(crate) use log::{Log, open};
pub(crate) use record::Record;
pub(crate) use segment::Segment;

/// A directory: the bytes of each file by its name, in the order of names.
pub(crate) type Files<'a> = BTreeMap<&'a str, &'a [u8]>;

/// Why something is not a log, or not whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) file: String,
    pub(crate) offset: usize,
    pub(crate) what: &'static str,
}

impl Fault {
    fn new(file: &str, offset: usize, what: &'static str) -> Self {
        let file = file.to_owned();
        Self { file, offset, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, what } = self;
        write!(formatter, "{file}, byte {offset}: {what}")
    }
}
