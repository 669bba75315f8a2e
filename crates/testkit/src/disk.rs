//! Files in memory that can be told to fail.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tidings_log::{MemoryStorage, Storage, StorageFile};

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct Disk {
    files: Arc<MemoryStorage>,
    fault: Arc<AtomicU8>,
}

impl std::fmt::Debug for Disk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

/// What is wrong with a [`Disk`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Nothing.
    None,
    /// Writes fail: there is no room.
    Full,
    /// Writes fail.
    Write,
    /// Syncs fail, after which nobody knows what was written.
    Sync,
    /// Syncs of the directory fail, after which nobody knows which files there are.
    SyncDirectory,
}

impl Disk {
    /// From now on, `fault` is what is wrong.
    pub fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::Relaxed);
    }

    fn wrap(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(File {
            file,
            fault: self.fault.clone(),
        })
    }
}

struct File {
    file: Arc<dyn StorageFile>,
    fault: Arc<AtomicU8>,
}

/// Fails if `fault` is what is wrong.
fn check(wrong: &AtomicU8, fault: Fault, kind: io::ErrorKind) -> io::Result<()> {
    if wrong.load(Ordering::Relaxed) == fault as u8 {
        return Err(kind.into());
    }
    Ok(())
}

impl File {
    fn check(&self, fault: Fault, kind: io::ErrorKind) -> io::Result<()> {
        check(&self.fault, fault, kind)
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.files.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.files.create(name).map(|file| self.wrap(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.files.open(name).map(|file| self.wrap(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }

    fn sync_directory(&self) -> io::Result<()> {
        check(&self.fault, Fault::SyncDirectory, io::ErrorKind::Other)?;
        self.files.sync_directory()
    }
}

impl StorageFile for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check(Fault::Full, io::ErrorKind::StorageFull)?;
        self.check(Fault::Write, io::ErrorKind::Other)?;
        self.file.write_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.check(Fault::Sync, io::ErrorKind::Other)?;
        self.file.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}
