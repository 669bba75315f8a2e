//! A durable, segmented, append-only event log with group commit.
//!
//! One [`Writer`] appends, any number of [`Reader`]s read, and neither waits for the other. An
//! event is a [`Head`] (its topics, the publisher's own ID, and what else is stored beside it) and a
//! frame, whose bytes mean nothing to the log. Each gets the next sequence: 1, 2, 3, and so on,
//! without holes, never given twice within the log's epoch to anything a reader may have seen.
//!
//! ```
//! use std::sync::Arc;
//! use tidings_log::{Head, MemoryStorage, Options, ReadLimits, Select, open};
//!
//! struct Orders;
//!
//! impl Select for Orders {
//!     fn exact(&self) -> Option<&[&str]> {
//!         Some(&["orders"])
//!     }
//!     fn matches(&self, topic: &str) -> bool {
//!         topic == "orders"
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = Arc::new(MemoryStorage::new());
//! let (mut writer, reader, _) = open(storage, Options::default(), "E1a2b3c", 1_700_000_000_000)?;
//! let mut batch = writer.begin(1_700_000_000_000);
//! let head = Head { topics: &["orders"], ..Head::default() };
//! batch.push(&head, |_sequence, frame| frame.extend_from_slice(b"data: new\n\n"))?;
//! writer.commit(batch)?; // durable from here on
//! let page = reader.read(&Orders, 1, ReadLimits::default())?;
//! assert_eq!(page.frames.len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! There is no thread, no clock, no runtime and no randomness in here: times are arguments (unix
//! milliseconds), the disk is a [`Storage`], and what commits need not wait for is an [`Upkeep`] that
//! its owner may give a thread.
//!
//! # What survives
//!
//! [`Writer::commit`] returns `Ok` after one `fdatasync` of the segment, or, with
//! [`Durability::Interval`], before it; readers see the batch after that and never before.
//!
//! | what happens | [`Durability::Always`] | [`Durability::Interval`] | a [`MemoryStorage`] |
//! | --- | --- | --- | --- |
//! | the process crashes or is killed | everything acknowledged survives | the same | nothing does |
//! | the kernel crashes, the power goes | everything acknowledged survives, if the disk keeps what it says it has synced | all up to the last sync, or beyond, without a hole | nothing does |
//! | the disk fails | nothing does: keep copies | the same | - |
//!
//! A batch that was not acknowledged may survive or not, but of each group in it
//! ([`Head::continues`]) all or nothing does. One that was refused with [`CommitError::Full`] or
//! [`CommitError::Write`] does not: it is cut off, and the cut is synced, before the error is
//! returned. Of one that was refused with [`CommitError::Poisoned`] nobody knows until the log is
//! opened again.
//!
//! After a failed sync the log takes nothing more. An operating system may then hold pages in
//! memory that it thinks are on disk, so that neither syncing again nor reading back proves
//! anything. For the same reason opening a log writes its last commit once more before it syncs.
//!
//! # What opening does
//!
//! Sealed segments are opened by the header of their index; the newest is read in full, unless
//! the log was closed in order ([`Writer::close`]). What a crash
//! interrupted at its end is cut off and reported ([`Recovery::cut`]). Damage is told from that by
//! looking for a record of a later commit behind the broken place, and refused: nothing is deleted
//! that was acknowledged. What cannot be told apart: damage within the very last commit looks like
//! an interrupted one, and is cut off, and reported, as such. Not so after a close in order: nothing
//! can be torn then, and the newest segment's index tells what there was. Of the records only the last
//! are read; what is missing, or broken there, is refused as damage.
//!
//! Other segments, and the rest of that one, are not read when the log is opened: damage in them is
//! found by [`Reader::read`], which never returns a record whose checksum is wrong, or by
//! [`inspect::verify`].
//!
//! # What it costs
//!
//! - A commit: one write, one sync, and a copy of the records' heads, which the [`Upkeep`] or the next
//!   reader puts into the index. Beginning a new segment: two syncs more; without an [`Upkeep`] the
//!   index file's too, and each commit makes the file longer.
//! - A read of some topics: their entries in the indexes and their records, not the log. A read by a
//!   pattern: a scan from the cursor, in steps of [`ReadLimits::scan_bytes_max`]; if little of what it
//!   reads is wanted, the list of a segment's topics and then as above.
//! - Memory: the active segment's index (about 160 bytes for a topic with a short name and one
//!   record, and 12 to 24 for each further record; about 60 more for one with an alias), up to 4 MiB
//!   that it does not know of yet, and about 1 KiB for each sealed segment; a damaged index of a
//!   sealed segment is held in memory from when it is met. A read holds one window of 256 KiB or one
//!   record, and its page. `bench/compare` measures it (`memory`).
//! - Open files: two for each segment. With the defaults, and segments of 64 MiB, a terabyte takes
//!   33,000: raise the limit or the segment size.
//! - Retention: three calls for each segment that is forgotten; where single topics have rules, a look
//!   at the topics in its index, and a copy of the records that are kept, both by the [`Upkeep`].
//!
//! The format is described in `docs/log-format.md`.

mod batch;
mod blank;
mod blocks;
mod closed;
mod collect;
mod compaction;
mod directory;
mod error;
#[cfg(any(test, feature = "testing"))]
mod fault;
mod fetch;
mod fields;
mod fresh;
mod header;
mod index;
mod index_file;
mod index_layout;
pub mod inspect;
mod memory;
mod merge;
mod options;
mod ordinals;
mod page;
mod reader;
mod record;
mod recovery;
mod repair;
mod retention;
mod rules;
mod salvage;
mod scanner;
mod segment;
mod storage;
mod torn;
mod upkeep;
mod writer;

pub use batch::{Batch, Checkpoint, Committed};
pub use directory::DirectoryStorage;
pub use error::{
    AppendError, CommitError, Damage, DirectoryError, OpenError, ReadError, StorageFault,
};
#[cfg(any(test, feature = "testing"))]
pub use fault::{Call, FaultStorage};
pub use memory::MemoryStorage;
pub use options::{Durability, Options, Retention, TopicRetention, Topics};
pub use page::{Found, Mark, Marks, Page, ReadLimits, Select, Stats, Stored, Unread};
pub use reader::Reader;
pub use record::Head;
pub use recovery::{Cut, Recovery, open};
pub use repair::{Repair, RepairError, repair};
pub use retention::Retained;
pub use storage::{Storage, StorageFile};
pub use upkeep::Upkeep;
pub use writer::Writer;
