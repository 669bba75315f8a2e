//! Folders of stores: their size, and how to have them out of memory.

use std::fs::{self, File};
use std::path::Path;

use anyhow::Result;
use rustix::fs::{Advice, fadvise};

/// Makes the operating system forget the pages of all files, so that the next reader goes to disk.
/// What a store keeps in its own memory it keeps; so open the store after this, not before.
pub fn forget(folder: &Path) -> Result<()> {
    each_file(folder, &mut |file| {
        file.sync_all()?; // pages that are not written yet cannot be dropped
        Ok(fadvise(file, 0, None, Advice::DontNeed)?)
    })
}

/// Bytes that are allocated, not lengths: some stores write ahead.
pub fn bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    each_file(folder, &mut |file| {
        use std::os::unix::fs::MetadataExt;
        bytes += file.metadata()?.blocks() * 512;
        Ok(())
    })?;
    Ok(bytes)
}

/// An empty folder.
pub fn empty(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(fs::create_dir_all(folder)?)
}

fn each_file(folder: &Path, look: &mut dyn FnMut(&File) -> Result<()>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            each_file(&path, look)?;
        } else {
            look(&File::open(path)?)?;
        }
    }
    Ok(())
}

/// What this process has had read from disk. Bytes.
pub fn read_bytes() -> Result<u64> {
    let counts = fs::read_to_string("/proc/self/io")?;
    let line = counts
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    Ok(line.unwrap_or("0").parse()?)
}
