//! Where a log lives: the few calls that it makes to a disk.
//!
//! The log never touches `std::fs` itself, so that tests can put a disk beneath it that tears
//! writes, loses what was not synced, fails any call and runs full. A call costs a system call
//! anyway: dynamic dispatch is free beside it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::sync::Arc;

/// A flat directory of files.
pub trait Storage: Send + Sync + 'static {
    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Creates an empty file; fails with [`io::ErrorKind::AlreadyExists`] if there is one.
    ///
    /// The name survives a crash only after [`Storage::sync_directory`].
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a file that exists, to read and, where the storage allows it, to write.
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>>;

    /// Takes a file's name away. Handles that are open go on working.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Gives a file another name, for all at once; a file that had that name loses it.
    ///
    /// After a crash before [`Storage::sync_directory`] either the one or the other holds, whole.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes created, removed and changed names durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// A number that strangers cannot guess: a new log salts its checksums with it.
    ///
    /// A storage for tests answers from its seed, so that a run can be repeated byte for byte.
    fn entropy(&self) -> u64 {
        RandomState::new().hash_one("tidings")
    }
}

/// An open file. All calls name their offset: there is no shared position to race for.
pub trait StorageFile: Send + Sync {
    /// Fills `buffer` from `offset` and says how many bytes there were: fewer only at the end of
    /// the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part of them may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes all that was written durable, and the length, but not the file's name.
    ///
    /// After an error nothing is known of what was written since the last success: an operating
    /// system may forget that pages were dirty, so trying again proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file off, or extends it with zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// The length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether there are no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}
