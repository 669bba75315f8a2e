//! Real files in one directory, locked against a second process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::DirectoryError;
use crate::storage::{Storage, StorageFile};

const LOCK: &str = "LOCK";

/// A directory of real files.
///
/// The lock is held as long as this value, or the writer of a log on it, lives; the operating system
/// gives it back also when the process is killed. Network file systems whose locks or syncs do
/// not hold what they promise are no place for a log.
#[derive(Debug)]
pub struct DirectoryStorage {
    path: PathBuf,
    /// Closing it unlocks. `None`: opened to read only.
    lock_file: Option<File>,
}

impl DirectoryStorage {
    /// Takes a directory, creating it if it is not there, and locks it for this process.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DirectoryError> {
        let path = path.as_ref();
        let failed = |operation, path: &Path| {
            let path = path.to_owned();
            move |source| DirectoryError::Io {
                operation,
                path,
                source,
            }
        };
        create_directory(path).map_err(failed("create the directory", path))?;
        let lock_path = path.join(LOCK);
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock_path)
            .map_err(failed("open the lock file", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(DirectoryError::Locked {
                    path: path.to_owned(),
                    pid: holder(lock),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(failed("lock", &lock_path)(error));
            }
        }
        sign(&lock).map_err(failed("write the lock file", &lock_path))?;
        Ok(Self {
            path: path.to_owned(),
            lock_file: Some(lock),
        })
    }

    /// Looks at a directory that another process may have open. All that would change it fails.
    pub fn read_only(path: impl AsRef<Path>) -> Self {
        Self {
            path: path.as_ref().to_owned(),
            lock_file: None,
        }
    }

    fn writable(&self) -> io::Result<()> {
        match self.lock_file {
            Some(_) => Ok(()),
            None => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "opened to read only",
            )),
        }
    }
}

/// Creates the directory and makes its name durable: a synced file in a directory that a crash
/// takes away is not durable.
fn create_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path)?;
    let parent = path.canonicalize()?;
    parent
        .ancestors()
        .skip(1)
        .take(1)
        .try_for_each(|parent| File::open(parent)?.sync_all())
}

fn holder(lock: File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn sign(mut lock: &File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

impl Storage for DirectoryStorage {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            // A name that is not UTF-8 is not one of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.writable()?;
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(self.lock_file.is_some())
            .open(path)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.writable()?;
        fs::remove_file(self.path.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.writable()?;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}

struct RealFile(File);

impl StorageFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.0.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
