//! One small error for each operation: what was being done, with what, and what to do next.
//!
//! Each says in one line all that it knows, also what the operating system answered. Its source is that
//! answer itself, for those who want to know which it was, and nothing in between, which would only say
//! the same again.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// What a call to the storage was for, on which file.
#[derive(Debug, Clone)]
pub struct StorageFault {
    /// What was being done, e.g. `sync`.
    pub operation: &'static str,
    /// The file, or `the directory`.
    pub file: String,
    /// What the storage answered.
    pub source: Arc<io::Error>,
}

impl StorageFault {
    pub(crate) fn new(operation: &'static str, file: &str, source: io::Error) -> Self {
        Self {
            operation,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }

    /// Whether there was no room: something an operator can mend without a restart.
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Whether there was no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

impl fmt::Display for StorageFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "could not {} {}: {}",
            self.operation, self.file, self.source
        )?;
        match self.source.kind() {
            io::ErrorKind::IsADirectory => {
                write!(f, "; that is a directory: move it out of the log's")
            }
            _ => Ok(()),
        }
    }
}

impl Error for StorageFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.source)
    }
}

/// Bytes on disk that are not what was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub segment: String,
    /// Where in that file. Bytes.
    pub offset: u64,
    /// What is wrong there.
    pub reason: &'static str,
}

impl Error for Damage {}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "segment {} is damaged at byte {}: {}",
            self.segment, self.offset, self.reason
        )
    }
}

/// A directory could not be taken for a log.
#[derive(Debug)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Another process has it.
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who has it, as far as its `LOCK` file says.
        pid: Option<u32>,
    },
    /// The operating system refused.
    Io {
        /// What was being done.
        operation: &'static str,
        /// With which file or directory.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path, pid } => {
                write!(f, "the log in {} is in use by ", path.display())?;
                match pid {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => write!(f, "another process")?,
                }
                write!(f, "; stop it, or choose another directory")
            }
            Self::Io {
                operation,
                path,
                source,
            } => {
                write!(f, "could not {operation} {}: {source}", path.display())
            }
        }
    }
}

impl Error for DirectoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Locked { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// A log could not be opened. Nothing was changed that matters: what was readable still is.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// A call to the storage failed.
    Storage(StorageFault),
    /// Acknowledged records cannot be read back.
    Damaged(Damage),
    /// A segment between others is not there.
    Missing {
        /// The first sequence that is not held.
        sequence: u64,
        /// The segment that comes after the hole.
        before: String,
    },
    /// The newest segment is not there, though its index tells what it held.
    Gone {
        /// The segment's file.
        segment: String,
        /// Its index.
        index: String,
    },
    /// A segment belongs to another log.
    Foreign {
        /// The segment's file.
        segment: String,
    },
    /// A segment was written by a later version of this program.
    Version {
        /// The file.
        file: String,
        /// The version that it says.
        version: u32,
    },
    /// The segment could not be begun that leaves out the sequences which a crash may have lost.
    Begin(CommitError),
    /// The epoch offered for a new log is not 1 to 64 bytes long.
    Epoch,
}

/// What can be done about a log that is not whole, wherever in it that is.
const REPAIRS: &str = "or let `tidings log repair` leave out what cannot be read, which with --dry-run only \
                       says what that is; `tidings log verify` tells all that is wrong";

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Storage(fault) if fault.is_full() => {
                write!(
                    f,
                    "{fault}; nothing was lost: free some space and try again"
                )
            }
            Self::Storage(fault) => fault.fmt(f),
            Self::Damaged(damage) => write!(
                f,
                "{damage}; nothing was changed: restore this file from a copy, {REPAIRS}"
            ),
            Self::Missing { sequence, before } => write!(
                f,
                "records from sequence {sequence} on are missing before segment {before}; restore \
                 the segment that held them from a copy, {REPAIRS}"
            ),
            Self::Gone { segment, index } => write!(
                f,
                "the newest segment {segment} is missing, of which {index} tells that it held records; \
                 restore it from a copy, {REPAIRS}"
            ),
            Self::Foreign { segment } => write!(
                f,
                "segment {segment} is of another log than one beside it; move what does not belong \
                 there out of the directory"
            ),
            Self::Version { file, version } => write!(
                f,
                "{file} has format version {version}, this program knows {}; use a newer program",
                crate::header::VERSION
            ),
            Self::Begin(error) => error.fmt(f),
            Self::Epoch => write!(f, "the epoch of a new log must be 1 to 64 bytes long"),
        }
    }
}

impl Error for OpenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Storage(fault) => fault.source(),
            Self::Begin(error) => error.source(),
            _ => None,
        }
    }
}

impl From<StorageFault> for OpenError {
    fn from(fault: StorageFault) -> Self {
        Self::Storage(fault)
    }
}

impl From<Damage> for OpenError {
    fn from(damage: Damage) -> Self {
        Self::Damaged(damage)
    }
}

/// A record was not added to its batch, which is as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppendError {
    /// The record is larger than [`Options::record_bytes_max`](crate::Options).
    TooLarge {
        /// What it would have taken. Bytes.
        bytes: u64,
        /// What it may take. Bytes.
        bytes_max: u64,
    },
    /// The batch cannot grow by this record; commit it first.
    BatchFull,
    /// A record needs one topic at least, and at most 65,535.
    Topics,
    /// A topic, the alias or the key is longer than 65,535 bytes.
    TooLong,
    /// The function that writes the frame took bytes away; the batch is not to be used any more.
    Shrank,
}

impl fmt::Display for AppendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { bytes, bytes_max } => {
                write!(
                    f,
                    "the record takes {bytes} bytes, at most {bytes_max} are allowed"
                )
            }
            Self::BatchFull => write!(f, "the batch is full; commit it and begin another"),
            Self::Topics => write!(f, "a record has 1 to 65535 topics"),
            Self::TooLong => write!(f, "topics, alias and key have at most 65535 bytes each"),
            Self::Shrank => write!(f, "the frame's writer removed bytes that were there before"),
        }
    }
}

impl Error for AppendError {}

/// A batch was not acknowledged.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum CommitError {
    /// There is no room. Nothing of the batch is in the log, which goes on: try again when there is.
    Full(StorageFault),
    /// The write failed. Nothing of the batch is in the log, which goes on.
    Write(StorageFault),
    /// What is on disk is not known any more: the log takes nothing until it is opened again, and
    /// reads go on. Whether this batch survived is known after that.
    Poisoned(StorageFault),
    /// The batch was begun before another one was committed. Nothing was written.
    Stale,
    /// The last record of the batch says that its group continues. Nothing was written.
    GroupOpen,
}

impl CommitError {
    /// Whether the log takes nothing more until it is opened again.
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Self::Poisoned(_))
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(fault) => {
                write!(
                    f,
                    "{fault}; nothing was stored: free some space and try again"
                )
            }
            Self::Write(fault) => write!(f, "{fault}; nothing was stored: try again"),
            Self::Poisoned(fault) => write!(
                f,
                "the log stopped taking events because what is on disk became uncertain ({fault}); \
                 check the disk and restart"
            ),
            Self::Stale => write!(f, "the batch was begun before another was committed"),
            Self::GroupOpen => write!(f, "the last group of the batch is not complete"),
        }
    }
}

impl Error for CommitError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full(fault) | Self::Write(fault) | Self::Poisoned(fault) => fault.source(),
            Self::Stale | Self::GroupOpen => None,
        }
    }
}

/// Records could not be read.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ReadError {
    /// The cursor is at a record that retention has removed.
    Forgotten {
        /// The oldest sequence that is held.
        first: u64,
    },
    /// The cursor is where a crash may have taken records that were acknowledged before they were
    /// synced, see [`Durability::Interval`](crate::Durability).
    Lost {
        /// The nearest cursor behind them.
        next: u64,
    },
    /// A record is not what was written.
    Damaged {
        /// Where, and what is wrong.
        damage: Damage,
        /// The nearest cursor behind the damage: what is in between cannot be read.
        next: u64,
    },
    /// A call to the storage failed.
    Io(StorageFault),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forgotten { first } => {
                write!(
                    f,
                    "the record is no longer held; the oldest has sequence {first}"
                )
            }
            Self::Lost { next } => {
                write!(
                    f,
                    "records before sequence {next} may have been lost when the power failed, \
                     since they were acknowledged before they were synced"
                )
            }
            Self::Damaged { damage, next } => {
                write!(f, "{damage}; reading can go on at sequence {next}")
            }
            Self::Io(fault) => fault.fmt(f),
        }
    }
}

impl Error for ReadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io(fault) => fault.source(),
            _ => None,
        }
    }
}

impl From<StorageFault> for ReadError {
    fn from(fault: StorageFault) -> Self {
        Self::Io(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repair::RepairError;

    #[test]
    fn the_answer_of_the_storage_is_said_once_and_is_the_source() {
        let fault = || StorageFault::new("read", "a", io::ErrorKind::PermissionDenied.into());
        let errors: [Box<dyn Error>; 8] = [
            Box::new(fault()),
            Box::new(OpenError::Storage(fault())),
            Box::new(OpenError::Begin(CommitError::Write(fault()))),
            Box::new(CommitError::Full(fault())),
            Box::new(CommitError::Write(fault())),
            Box::new(CommitError::Poisoned(fault())),
            Box::new(ReadError::Io(fault())),
            Box::new(RepairError::Storage(fault())),
        ];
        for error in errors {
            let said = error.to_string();
            assert_eq!(said.matches("permission denied").count(), 1, "{said}");
            let source = error.source().unwrap().downcast_ref::<io::Error>();
            assert_eq!(source.unwrap().kind(), io::ErrorKind::PermissionDenied);
        }
    }
}
