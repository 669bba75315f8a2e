//! What a log takes on disk, by its names and headers.

use std::io;

use super::{Segments, header, segments};
use crate::error::StorageFault;
use crate::segment::{index_name, log_name};
use crate::storage::Storage;

/// What a log takes on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Files {
    /// The identity of the log, if a segment tells it.
    pub epoch: Option<String>,
    /// Segments that opening would keep.
    pub segments: usize,
    /// Those of them that hold only some of what there was: what single topics keep, or what could be
    /// read of a damaged one.
    pub sparse_segments: usize,
    /// What the segments take. Bytes.
    pub segment_bytes: u64,
    /// What their indexes take. Bytes.
    pub index_bytes: u64,
    /// Copies of damaged segments that repairs have kept. The log does not need them.
    pub damaged_files: usize,
    /// What these take. Bytes.
    pub damaged_bytes: u64,
}

/// Looks at the files of a log, also beside a running hub. Takes time by the number of segments.
pub fn files(storage: &dyn Storage) -> Result<Files, StorageFault> {
    let mut found = Files::default();
    let Segments { firsts, .. } = segments(storage)?;
    for first in firsts {
        // What is not there any more was forgotten meanwhile.
        let Some(bytes) = bytes_of(storage, &log_name(first))? else {
            continue;
        };
        found.segments += 1;
        found.segment_bytes += bytes;
        found.index_bytes += bytes_of(storage, &index_name(first))?.unwrap_or(0);
        if let Some(header) = header(storage, first)? {
            found.sparse_segments += usize::from(header.end > 0);
            found.epoch.get_or_insert(header.epoch);
        }
    }
    let names = storage.list();
    let names = names.map_err(|error| StorageFault::new("list", "the directory", error))?;
    for name in names.iter().filter(|name| name.contains(".log.damaged")) {
        found.damaged_files += 1;
        found.damaged_bytes += bytes_of(storage, name)?.unwrap_or(0);
    }
    Ok(found)
}

/// A file's length, if it is there.
fn bytes_of(storage: &dyn Storage, name: &str) -> Result<Option<u64>, StorageFault> {
    match storage.open(name).and_then(|file| file.len()) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageFault::new("open", name, error)),
    }
}
