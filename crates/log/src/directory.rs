//! Real files in one directory, locked against a second process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{DirectoryError, is_full};
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
        create_directory(path, &mut sync_directory)
            .map_err(failed("create the directory", path))?;
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

fn is_not_ours_to_sync(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, ReadOnlyFilesystem, Unsupported};
    matches!(
        kind,
        PermissionDenied | InvalidInput | ReadOnlyFilesystem | Unsupported
    )
}

/// Creates the directory, and those above it that are not there, and makes their names durable by
/// `sync`, which is given the directory of each: a synced file in a directory that a crash takes away
/// is not durable.
///
/// Each is durable before the next is created. A process that was killed amid it may have left one
/// that is not: that is the last that is there, and its name is synced first.
fn create_directory(path: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let mut missing = Vec::new();
    // A relative path ends in an empty one, which is where the process is.
    for path in path.ancestors().filter(|it| !it.as_os_str().is_empty()) {
        if path.is_dir() {
            match sync_name(path, sync) {
                // It is somebody else's, who lets this process in and not look around; or it is on a
                // file system that has no names to lose.
                Err(error) if is_not_ours_to_sync(error.kind()) => {}
                synced => synced?,
            }
            break;
        }
        missing.push(path);
    }
    for path in missing.into_iter().rev() {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            created => created?,
        }
        sync_name(path, sync)?;
    }
    Ok(())
}

fn sync_name(path: &Path, sync: &mut dyn FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    path.canonicalize()?.parent().map_or(Ok(()), sync)
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn holder(lock: File) -> Option<u32> {
    let mut text = String::new();
    lock.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Writes down who holds the lock, over who did before: that takes no block of a full disk. Where it
/// cannot be written nobody is told who it is, which is no reason not to start.
fn sign(lock: &File) -> io::Result<()> {
    let pid = format!("{}\n", std::process::id());
    let written = lock.write_all_at(pid.as_bytes(), 0);
    match written.and_then(|()| lock.set_len(pid.len() as u64)) {
        Err(error) if is_full(&error) => {
            drop(lock.set_len(0));
            Ok(())
        }
        written => written,
    }
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
        sync_directory(&self.path)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Creates a directory, and returns which were synced; the one at `fails` is not.
    fn create(path: &Path, fails: Option<usize>) -> (io::Result<()>, Vec<PathBuf>) {
        let mut synced = Vec::new();
        let mut sync = |path: &Path| {
            if fails == Some(synced.len()) {
                return Err(io::ErrorKind::Other.into());
            }
            synced.push(path.to_owned());
            Ok(())
        };
        let created = create_directory(path, &mut sync);
        (created, synced)
    }

    /// The names of directories in the middle were not synced, and none was when a process was killed
    /// before it had.
    #[test]
    fn all_names_that_were_created_are_durable() {
        let parent = tempfile::tempdir().unwrap();
        let top = parent.path().canonicalize().unwrap();
        let path = parent.path().join("a/b/c");
        let (created, synced) = create(parent.path(), None);
        created.unwrap();
        assert_eq!(synced, [top.parent().unwrap()]);
        let of = |names: &[&str]| -> Vec<PathBuf> { names.iter().map(|it| top.join(it)).collect() };
        let (created, synced) = create(&path, Some(2));
        created.unwrap_err();
        assert_eq!(synced.get(1..).unwrap(), of(&[""]));
        assert!(!path.exists(), "it would be found, and taken for durable");
        let (created, synced) = create(&path, Some(1));
        created.unwrap_err();
        assert_eq!(synced, of(&["a"]), "\"b\" was there, and not durable");
        for _ in 0..2 {
            let (created, synced) = create(&path, None);
            created.unwrap();
            assert_eq!(synced, of(&["a/b"]), "\"c\" is there");
        }
    }
}
