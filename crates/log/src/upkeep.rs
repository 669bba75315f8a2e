//! Work beside the commits: none of it makes anything durable that was acknowledged, so no commit
//! has to wait for it.
//!
//! A segment that is full needs its index written and its unused end cut off. And the segment
//! after it should have been written before, with zeros: then a commit changes no file's length
//! and no block's state, and its sync has nothing to flush but its own bytes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::segment::Segment;
use crate::storage::{Storage, StorageFile};
use crate::writer::remove_durably;

/// The file that becomes the next segment. There is one at most.
pub(crate) const SPARE_NAME: &str = "next.spare";

/// What is written at once.
const WRITE_BYTES: u64 = 1 << 20;

/// What may be written before it is synced: more would make the commits' syncs wait for it.
const UNSYNCED_BYTES: u64 = 8 << 20;

/// The work that a [`Writer`](crate::Writer) leaves to another thread.
///
/// From the call of [`Writer::upkeep`](crate::Writer::upkeep) on the writer counts on it: run it
/// on a thread of its own, or step it in a simulation. If it is dropped, or slow, the log goes on
/// as before, only slower.
pub struct Upkeep {
    storage: Arc<dyn Storage>,
    tasks: Receiver<Task>,
    bench: Arc<Bench>,
}

/// The writer's end.
pub(crate) struct Helper {
    tasks: Sender<Task>,
    bench: Arc<Bench>,
}

enum Task {
    /// A segment that takes no more records.
    Seal(Arc<Segment>),
    /// The next segment's file, of so many bytes.
    Prepare(u64),
}

/// What both ends see.
#[derive(Default)]
struct Bench {
    spare: Mutex<Spare>,
    /// The writer is gone: nothing is prepared any more.
    closed: AtomicBool,
}

#[derive(Default)]
enum Spare {
    /// Nobody has asked for one.
    #[default]
    None,
    Wanted,
    /// Asked for, and could not be had: not again before the next segment.
    Failed,
    Ready(Prepared),
}

/// A file of zeros, synced, whose name may or may not survive.
pub(crate) struct Prepared {
    pub(crate) file: Arc<dyn StorageFile>,
    pub(crate) bytes: u64,
}

impl Bench {
    fn spare(&self) -> MutexGuard<'_, Spare> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn pair(storage: Arc<dyn Storage>) -> (Helper, Upkeep) {
    let (sender, receiver) = channel();
    let bench = Arc::new(Bench::default());
    let helper = Helper {
        tasks: sender,
        bench: Arc::clone(&bench),
    };
    let upkeep = Upkeep {
        storage,
        tasks: receiver,
        bench,
    };
    (helper, upkeep)
}

impl Helper {
    /// Asks for a segment to be sealed; false if nobody will.
    pub(crate) fn seal(&self, segment: &Arc<Segment>) -> bool {
        self.tasks.send(Task::Seal(Arc::clone(segment))).is_ok()
    }

    /// Asks for the next segment's file, once.
    pub(crate) fn prepare(&self, bytes: u64) {
        let mut spare = self.bench.spare();
        if matches!(*spare, Spare::None) && self.tasks.send(Task::Prepare(bytes)).is_ok() {
            *spare = Spare::Wanted;
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        matches!(*self.bench.spare(), Spare::Ready(_))
    }

    /// What the file that is ready takes on disk. Bytes.
    pub(crate) fn spare_bytes(&self) -> u64 {
        match &*self.bench.spare() {
            Spare::Ready(prepared) => prepared.bytes,
            _ => 0,
        }
    }

    /// Takes the file if it is ready. Another may be asked for afterwards.
    pub(crate) fn take(&self) -> Option<Prepared> {
        let mut spare = self.bench.spare();
        match std::mem::take(&mut *spare) {
            Spare::Ready(prepared) => Some(prepared),
            Spare::Wanted => {
                *spare = Spare::Wanted;
                None
            }
            Spare::None | Spare::Failed => None,
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.bench.closed.store(true, Ordering::Relaxed);
    }
}

impl Upkeep {
    /// Does what the writer asks for until the writer is gone. Blocks.
    pub fn run(self) {
        while let Ok(task) = self.tasks.recv() {
            self.perform(task);
        }
    }

    /// Does one thing that the writer has asked for; false if there is none.
    ///
    /// What the storage refuses is left undone: a segment without its index is read in full at the
    /// next opening, and one that was not written ahead grows as it is written to.
    pub fn step(&self) -> bool {
        match self.tasks.try_recv() {
            Ok(task) => {
                self.perform(task);
                true
            }
            Err(_) => false,
        }
    }

    fn perform(&self, task: Task) {
        match task {
            Task::Seal(segment) => drop(segment.seal(&*self.storage)),
            Task::Prepare(bytes) => {
                let prepared = self.prepare(bytes);
                *self.bench.spare() = if let Ok(file) = prepared {
                    Spare::Ready(Prepared { file, bytes })
                } else {
                    // Also what is there of it takes room that somebody may need.
                    drop(remove_durably(&*self.storage, SPARE_NAME));
                    Spare::Failed
                };
            }
        }
    }

    fn prepare(&self, bytes: u64) -> io::Result<Arc<dyn StorageFile>> {
        drop(self.storage.remove(SPARE_NAME));
        let file = self.storage.create(SPARE_NAME)?;
        let zeros = vec![0; usize::try_from(bytes.min(WRITE_BYTES)).unwrap_or(0)];
        let (mut written, mut synced) = (0, 0);
        while written < bytes {
            if self.bench.closed.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count =
                usize::try_from(bytes - written).map_or(zeros.len(), |rest| rest.min(zeros.len()));
            file.write_at(zeros.get(..count).unwrap_or_default(), written)?;
            written += count as u64;
            if written - synced >= UNSYNCED_BYTES || written == bytes {
                file.sync_data()?;
                synced = written;
            }
        }
        Ok(file)
    }
}
