//! Opening: what a crash left is made whole, and what cannot be made whole is refused.
//!
//! Sealed segments were synced before the next one was begun, so whatever is wrong in them is
//! damage. Only the newest may end in what a crash interrupted, and of its commits only the last.

use std::io;
use std::sync::Arc;

use crate::error::{Damage, OpenError, StorageFault};
use crate::header::{HEADER_BYTES, HEADER_END, HeaderFound, SegmentHeader};
use crate::index_file::FileIndex;
use crate::options::Options;
use crate::reader::{Reader, Shared};
use crate::record::{HEAD_BYTES, RecordHead};
use crate::segment::{Scanned, Segment, SegmentList, index_name, log_name, name_sequence, scan};
use crate::storage::{Storage, StorageFile};
use crate::writer::{Writer, create, remove_durably};

/// What is searched at once for records behind a broken one.
const SEARCH_BYTES: usize = 1 << 20;

/// What is written back at once.
const REWRITE_BYTES: u64 = 1 << 20;

/// What opening a log found and did.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    /// Whether the log is new.
    pub created: bool,
    /// Segments held.
    pub segments: usize,
    /// Records held.
    pub records: u64,
    /// What was cut off the end, if anything was.
    pub cut: Option<Cut>,
    /// Indexes that had to be built again by reading their segment.
    pub indexes_rebuilt: usize,
    /// Files that were removed: indexes without a segment, a segment whose creation was not
    /// finished.
    pub removed: Vec<String>,
}

/// The unfinished end of the newest segment, which was never acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The segment's file.
    pub segment: String,
    /// Where it ends now. Bytes.
    pub offset: u64,
    /// How much was cut off. Bytes.
    pub bytes: u64,
}

/// Opens a log, or begins one where there is none.
///
/// `new_epoch` is used only for a new log; it must differ from that of every other. Takes time by
/// the number of segments, and by the size of the newest.
pub fn open(
    storage: Arc<dyn Storage>,
    options: Options,
    new_epoch: &str,
    now_ms: u64,
) -> Result<(Writer, Reader, Recovery), OpenError> {
    let mut opening = Opening {
        storage: &*storage,
        found: Recovery::default(),
    };
    let mut firsts = opening.list()?;
    let newest = opening.newest(&mut firsts)?;
    let (header, segments) = match newest {
        None => opening.begin(new_epoch, now_ms)?,
        Some(newest) => (newest.header.clone(), opening.resume(&firsts, newest)?),
    };
    let found = opening.found;
    let last_time_ms = segments
        .iter()
        .map(|segment| segment.last_time_ms())
        .max()
        .unwrap_or(0);
    // There is always one: a new log begins with it. The error is never seen.
    let Some(active) = segments.last().map(Arc::clone) else {
        return Err(OpenError::Epoch);
    };
    let found = Recovery {
        segments: segments.len(),
        records: segments.iter().map(|segment| segment.records()).sum(),
        ..found
    };
    let shared = Arc::new(Shared::new(header.epoch, segments));
    let reader = Reader {
        shared: Arc::clone(&shared),
    };
    let writer = Writer {
        storage,
        options,
        shared,
        active,
        salt: header.salt,
        last_time_ms,
        batch_bytes: 0,
        poison: None,
        doomed: std::collections::VecDeque::new(),
    };
    Ok((writer, reader, found))
}

struct Opening<'a> {
    storage: &'a dyn Storage,
    found: Recovery,
}

/// The newest segment's file, its header verified.
struct Newest {
    header: SegmentHeader,
    file: Arc<dyn StorageFile>,
}

impl Opening<'_> {
    /// The first sequences of all segments, in order. Indexes without a segment are what an
    /// interrupted retention leaves; they are removed.
    fn list(&mut self) -> Result<Vec<u64>, OpenError> {
        let fault = |error| StorageFault::new("list", "the directory", error);
        let names = self.storage.list().map_err(fault)?;
        let mut firsts: Vec<u64> = names
            .iter()
            .filter_map(|name| name_sequence(name, ".log"))
            .collect();
        firsts.sort_unstable();
        for name in names {
            let orphan = name_sequence(&name, ".idx")
                .is_some_and(|first| firsts.binary_search(&first).is_err());
            if orphan && self.storage.remove(&name).is_ok() {
                self.found.removed.push(name);
            }
        }
        Ok(firsts)
    }

    /// Opens the newest segment; one whose creation was not finished is removed first.
    fn newest(&mut self, firsts: &mut Vec<u64>) -> Result<Option<Newest>, OpenError> {
        let Some(first) = firsts.last().copied() else {
            return Ok(None);
        };
        let name = log_name(first);
        let file = self.open_file(&name)?;
        let found = SegmentHeader::read(&*file).map_err(fault("read", &name))?;
        if found == HeaderFound::Bad && is_unfinished(&*file, firsts)? {
            remove_durably(self.storage, &name).map_err(fault("remove", &name))?;
            self.found.removed.push(name);
            firsts.pop();
            return self.before_unfinished(firsts);
        }
        let header = good_header(found, first, None)?;
        Ok(Some(Newest { header, file }))
    }

    /// The newest segment after one was removed whose creation was not finished: at most one is
    /// being created at a time, so this one was, and a bad header is damage.
    fn before_unfinished(&mut self, firsts: &[u64]) -> Result<Option<Newest>, OpenError> {
        let Some(first) = firsts.last().copied() else {
            return Ok(None);
        };
        let name = log_name(first);
        let file = self.open_file(&name)?;
        let found = SegmentHeader::read(&*file).map_err(fault("read", &name))?;
        let header = good_header(found, first, None)?;
        Ok(Some(Newest { header, file }))
    }

    fn begin(
        &mut self,
        epoch: &str,
        now_ms: u64,
    ) -> Result<(SegmentHeader, SegmentList), OpenError> {
        if !SegmentHeader::epoch_fits(epoch) {
            return Err(OpenError::Epoch);
        }
        let salt = self.storage.entropy();
        let header = SegmentHeader {
            epoch: epoch.to_owned(),
            first: 1,
            created_ms: now_ms,
            salt,
        };
        let segment = create(self.storage, &header).map_err(crate::writer::Creation::fault)?;
        self.found.created = true;
        Ok((header, vec![Arc::new(segment)]))
    }

    fn resume(&mut self, firsts: &[u64], newest: Newest) -> Result<SegmentList, OpenError> {
        let mut segments = SegmentList::new();
        let sealed = firsts.split_last().map_or(&[][..], |(_, sealed)| sealed);
        for first in sealed {
            let segment = self.sealed(*first, &newest.header)?;
            follows(&segments, &segment)?;
            segments.push(Arc::new(segment));
        }
        let segment = self.active(newest, !sealed.is_empty())?;
        follows(&segments, &segment)?;
        segments.push(Arc::new(segment));
        Ok(segments)
    }

    /// Opens a segment that is not the newest: by its index if that is good, else by reading it.
    fn sealed(&mut self, first: u64, newest: &SegmentHeader) -> Result<Segment, OpenError> {
        let name = log_name(first);
        let file = self.open_file(&name)?;
        let found = SegmentHeader::read(&*file).map_err(fault("read", &name))?;
        let header = good_header(found, first, Some(newest))?;
        let len = file.len().map_err(fault("read the length of", &name))?;
        let expected = |summary: &crate::index_layout::Summary| {
            summary.first == first && summary.salt == header.salt && summary.log_bytes == len
        };
        let index = FileIndex::open(self.storage, &index_name(first), expected, header.salt);
        if let Some((index, summary, bytes)) = index {
            let index = (crate::index::Index::File(index), bytes);
            return Ok(Segment::new(&header, file, &summary, index));
        }
        let scanned = scan_file(&header, &file, len)?;
        if let Some((offset, reason)) = scanned.bad {
            return Err(Damage {
                segment: name,
                offset,
                reason,
            }
            .into());
        }
        let segment = Segment::from_scan(&header, file, scanned);
        self.found.indexes_rebuilt += 1;
        // If it cannot be written it stays in memory, and is built again the next time.
        drop(segment.seal(self.storage));
        Ok(segment)
    }

    /// Opens the newest segment, and cuts off what a crash interrupted.
    fn active(&mut self, newest: Newest, older: bool) -> Result<Segment, OpenError> {
        let Newest { header, file } = newest;
        let name = log_name(header.first);
        // An index of this segment is from before a later segment was taken back.
        drop(self.storage.remove(&index_name(header.first)));
        let len = file.len().map_err(fault("read the length of", &name))?;
        let scanned = scan_file(&header, &file, len)?;
        if len == HEADER_END && (older || header.first == 1) {
            return self.create_again(&header, &name);
        }
        if let Some((offset, reason)) = scanned.bad {
            refuse_damage(&header, &*file, &scanned, (offset, reason), len)?;
            file.set_len(scanned.len).map_err(fault("cut", &name))?;
            let bytes = len - scanned.len;
            self.found.cut = Some(Cut {
                segment: name.clone(),
                offset: scanned.len,
                bytes,
            });
        }
        rewrite(&*file, scanned.commit_at..scanned.len).map_err(fault("write to", &name))?;
        file.sync_data().map_err(fault("sync", &name))?;
        self.storage
            .sync_directory()
            .map_err(fault("sync the directory of", &name))?;
        Ok(Segment::from_scan(&header, file, scanned))
    }

    /// Creates a segment once more in which there is nothing yet.
    ///
    /// If the sync of the directory failed in the process before, the name may be in memory only,
    /// and the operating system may think that it is on disk. Nothing can be lost by this: it
    /// holds no record, and it is not the last trace of a log that had some.
    fn create_again(&self, header: &SegmentHeader, name: &str) -> Result<Segment, OpenError> {
        remove_durably(self.storage, name).map_err(fault("remove", name))?;
        let created = create(self.storage, header);
        Ok(created.map_err(crate::writer::Creation::fault)?)
    }

    fn open_file(&self, name: &str) -> Result<Arc<dyn StorageFile>, OpenError> {
        self.storage.open(name).map_err(fault("open", name))
    }
}

fn fault<'a>(operation: &'static str, name: &'a str) -> impl FnOnce(io::Error) -> OpenError + 'a {
    move |error| StorageFault::new(operation, name, error).into()
}

/// Whether a segment with a bad header never held a record. Records are written only after the
/// header is synced, so there is nothing behind it. The log's only segment is unfinished only
/// if it was its first ever: older ones are removed only when a newer one is whole.
fn is_unfinished(file: &dyn StorageFile, firsts: &[u64]) -> Result<bool, OpenError> {
    let only = firsts.len() == 1 && firsts.first() != Some(&1);
    let name = firsts
        .last()
        .map_or_else(String::new, |first| log_name(*first));
    let len = file.len().map_err(fault("read the length of", &name))?;
    Ok(!only && len <= HEADER_END)
}

/// Tells damage from an interrupted commit: a record of a later commit behind the broken place
/// proves that the commit there was synced once.
fn refuse_damage(
    header: &SegmentHeader,
    file: &dyn StorageFile,
    scanned: &Scanned,
    (offset, reason): (u64, &'static str),
    len: u64,
) -> Result<(), OpenError> {
    let segment = log_name(header.first);
    let expected = header.first + u64::from(scanned.index.records);
    let sequences = expected..header.first.saturating_add(len / HEAD_BYTES as u64);
    let later = later_commit(file, header.salt, offset..len, &sequences)
        .map_err(fault("read", &segment))?;
    if later {
        Err(Damage {
            segment,
            offset,
            reason,
        }
        .into())
    } else {
        Ok(())
    }
}

fn scan_file(
    header: &SegmentHeader,
    file: &Arc<dyn StorageFile>,
    len: u64,
) -> Result<Scanned, OpenError> {
    scan(file, header.first, header.salt, HEADER_END..len)
        .map_err(fault("read", &log_name(header.first)))
}

/// The header, if it is the one that the file's name and the log's newest segment promise.
pub(crate) fn good_header(
    found: HeaderFound,
    first: u64,
    newest: Option<&SegmentHeader>,
) -> Result<SegmentHeader, OpenError> {
    let segment = log_name(first);
    match found {
        HeaderFound::Bad => Err(Damage {
            segment,
            offset: 0,
            reason: "its header is not readable",
        }
        .into()),
        HeaderFound::Version(version) => Err(OpenError::Version {
            file: segment,
            version,
        }),
        HeaderFound::Good(header) if header.first != first => Err(Damage {
            segment,
            offset: 16,
            reason: "it is not what its name says",
        }
        .into()),
        HeaderFound::Good(header) => match newest {
            Some(newest) if newest.epoch != header.epoch || newest.salt != header.salt => {
                Err(OpenError::Foreign { segment })
            }
            _ => Ok(header),
        },
    }
}

/// Sequences within a log have no holes: one is a segment that somebody took away.
fn follows(segments: &SegmentList, next: &Segment) -> Result<(), OpenError> {
    match segments.last().map(|last| last.end()) {
        Some(end) if end != next.first => Err(OpenError::Missing {
            sequence: end,
            before: next.name.clone(),
        }),
        _ => Ok(()),
    }
}

/// Whether the range, which begins with what is no record, holds the head of a record whose
/// commit begins behind its beginning.
///
/// One pass: of each byte it is asked whether a head could begin there, and a checksum of 52
/// bytes is calculated only if so.
pub(crate) fn later_commit(
    file: &dyn StorageFile,
    salt: u64,
    range: std::ops::Range<u64>,
    sequences: &std::ops::Range<u64>,
) -> io::Result<bool> {
    let mut buffer = vec![0; SEARCH_BYTES + HEAD_BYTES];
    let mut offset = range.start;
    while offset < range.end {
        let count = file.read_at(&mut buffer, offset)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        for (at, window) in (offset..range.end)
            .zip(bytes.windows(HEAD_BYTES))
            .take(SEARCH_BYTES)
        {
            let later = RecordHead::plausible(window, sequences, range.end - at)
                && RecordHead::decode(window, salt).is_some_and(|head| {
                    at.checked_sub(u64::from(head.commit_offset)) > Some(range.start)
                });
            if later {
                return Ok(true);
            }
        }
        offset += SEARCH_BYTES as u64;
    }
    Ok(false)
}

/// Writes the last commit once more, as it is.
///
/// If its sync failed in the process before, the operating system may hold it in memory and think
/// that it is on disk; the sync that follows here would do nothing. Written again, it does.
fn rewrite(file: &dyn StorageFile, range: std::ops::Range<u64>) -> io::Result<()> {
    let mut offset = range.start;
    while offset < range.end {
        let count = (range.end - offset).min(REWRITE_BYTES);
        let mut buffer = vec![0; usize::try_from(count).unwrap_or(HEADER_BYTES)];
        if file.read_at(&mut buffer, offset)? < buffer.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        file.write_at(&buffer, offset)?;
        offset += count;
    }
    Ok(())
}
