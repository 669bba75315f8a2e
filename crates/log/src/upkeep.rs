//! Work beside the commits: none of it makes anything durable that was acknowledged, so no commit
//! has to wait for it.
//!
//! A segment that is full needs its index written and its unused end cut off. And the segment
//! after it should have been written before, with zeros: then a commit changes no file's length
//! and no block's state, and its sync has nothing to flush but its own bytes. It is written as the
//! segment before it fills: all at once, it would keep the commits of that time waiting.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::compaction::{Compacted, Compaction};
use crate::error::CommitError;
use crate::segment::Segment;
use crate::storage::{Storage, StorageFile};
use crate::writer::remove_durably;

/// The file that becomes the next segment. There is one at most.
pub(crate) const SPARE_NAME: &str = "next.spare";

/// What is written at once.
const WRITE_BYTES: u64 = 1 << 20;

/// What may be written before it is synced: more would make the commits' syncs wait for it.
const UNSYNCED_BYTES: u64 = 2 << 20;

/// The least number of parts in which a segment's file is asked for.
const STEPS: u64 = 8;

/// How many segments may wait to be sealed: each has its index in memory until then.
const UNSEALED_MAX: usize = 16;

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
    /// How much of the next segment's file was asked for. Bytes.
    asked: u64,
}

enum Task {
    /// A segment that takes no more records.
    Seal(Arc<Segment>),
    /// The next segment's file, up to so many bytes.
    Prepare(u64),
    /// What was committed to a segment and is not in its index.
    Index(Arc<Segment>),
    /// What is to be compacted, if it still is.
    Compact,
    /// Segments whose names are gone. Whoever closes a file last gives its blocks back, and that
    /// takes a file system some 20 ms for each 64 MiB.
    LetGo(Vec<Arc<Segment>>),
}

/// How far a compaction is that the writer has asked for.
#[derive(Default)]
enum Compacting {
    #[default]
    Idle,
    /// Nobody has begun.
    Asked(Compaction),
    Busy,
    Done(Result<Option<Compacted>, CommitError>),
    /// Nobody does it any more.
    Left,
}

/// What both ends see.
#[derive(Default)]
struct Bench {
    spare: Mutex<Spare>,
    compacting: Mutex<Compacting>,
    /// It is not busy any more.
    compacted: Condvar,
    /// How many segments wait to be sealed.
    unsealed: AtomicUsize,
    /// The writer is gone: nothing is prepared any more.
    closed: AtomicBool,
}

#[derive(Default)]
enum Spare {
    #[default]
    None,
    /// It is being written to.
    Busy,
    /// It could not be had: not again before the next segment.
    Failed,
    /// The writer is giving it its name: what is under the old one must be left alone.
    Taken,
    Held(Prepared),
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

    fn compacting(&self) -> MutexGuard<'_, Compacting> {
        self.compacting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What is there of the file, which is `Busy` from now on, for the upkeep to write to.
    fn lift(&self) -> Spare {
        let mut spare = self.spare();
        match &*spare {
            Spare::None | Spare::Held(_) => std::mem::replace(&mut *spare, Spare::Busy),
            Spare::Busy => Spare::Busy,
            Spare::Failed => Spare::Failed,
            Spare::Taken => Spare::Taken,
        }
    }

    /// What is there of the file, for the writer to name.
    fn take(&self) -> Option<Prepared> {
        let mut spare = self.spare();
        match std::mem::replace(&mut *spare, Spare::Taken) {
            Spare::Held(prepared) => Some(prepared),
            Spare::Busy => {
                *spare = Spare::Busy;
                None
            }
            Spare::None | Spare::Failed | Spare::Taken => None,
        }
    }
}

pub(crate) fn pair(storage: Arc<dyn Storage>) -> (Helper, Upkeep) {
    let (sender, receiver) = channel();
    let bench = Arc::new(Bench::default());
    let helper = Helper {
        tasks: sender,
        bench: Arc::clone(&bench),
        asked: 0,
    };
    let upkeep = Upkeep {
        storage,
        tasks: receiver,
        bench,
    };
    (helper, upkeep)
}

impl Helper {
    /// Asks for a segment to be sealed; false if nobody will, or too many wait for it.
    pub(crate) fn seal(&self, segment: &Arc<Segment>) -> bool {
        let unsealed = &self.bench.unsealed;
        if unsealed.load(Ordering::Relaxed) >= UNSEALED_MAX {
            return false;
        }
        unsealed.fetch_add(1, Ordering::Relaxed);
        self.tasks.send(Task::Seal(Arc::clone(segment))).is_ok()
    }

    /// Asks for what was committed to be put into the index; false if nobody will.
    pub(crate) fn index(&self, segment: &Arc<Segment>) -> bool {
        self.tasks.send(Task::Index(Arc::clone(segment))).is_ok()
    }

    /// Has segments let go of that are no longer part of the log. To be called by who holds nothing
    /// else of them, or it is the one who waits.
    pub(crate) fn let_go(&self, segments: Vec<Arc<Segment>>) {
        // Where nobody is left who would do it, they are let go of here.
        drop(self.tasks.send(Task::LetGo(segments)));
    }

    /// Asks for a compaction, unless one is not through yet; gives it back if nobody will do it.
    pub(crate) fn compact(&self, compaction: Compaction) -> Option<Compaction> {
        let mut compacting = self.bench.compacting();
        match *compacting {
            Compacting::Idle => {}
            Compacting::Left => return Some(compaction),
            Compacting::Asked(_) | Compacting::Busy | Compacting::Done(_) => return None,
        }
        if self.tasks.send(Task::Compact).is_err() {
            return Some(compaction);
        }
        *compacting = Compacting::Asked(compaction);
        None
    }

    /// Has the compaction come to an end: takes it back if nobody has begun, and waits for who has.
    pub(crate) fn finish(&self) {
        let mut compacting = self.bench.compacting();
        if matches!(*compacting, Compacting::Asked(_)) {
            *compacting = Compacting::Idle;
        }
        let is_busy = |compacting: &mut Compacting| matches!(*compacting, Compacting::Busy);
        let ended = self.bench.compacted.wait_while(compacting, is_busy);
        drop(ended.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether a compaction is through.
    pub(crate) fn has_compacted(&self) -> bool {
        matches!(*self.bench.compacting(), Compacting::Done(_))
    }

    /// What became of the compaction, once it is through.
    pub(crate) fn compacted(&self) -> Option<Result<Option<Compacted>, CommitError>> {
        let mut compacting = self.bench.compacting();
        match std::mem::take(&mut *compacting) {
            Compacting::Done(done) => Some(done),
            other => {
                *compacting = other;
                None
            }
        }
    }

    /// Asks for so much of the next segment's file, which will have `bytes`.
    pub(crate) fn prepare(&mut self, due: u64, bytes: u64) {
        let step_bytes = (bytes / STEPS).clamp(1, UNSYNCED_BYTES);
        let due = due.next_multiple_of(step_bytes).min(bytes);
        if due <= self.asked {
            return;
        }
        self.named();
        if self.tasks.send(Task::Prepare(due)).is_ok() {
            self.asked = due;
        }
    }

    /// What was taken has its name, or is gone.
    fn named(&self) {
        let mut spare = self.bench.spare();
        if matches!(*spare, Spare::Taken) {
            *spare = Spare::None;
        }
    }

    /// How much of the next segment's file is there. Bytes.
    pub(crate) fn spare_bytes(&self) -> u64 {
        match &*self.bench.spare() {
            Spare::Held(prepared) => prepared.bytes,
            _ => 0,
        }
    }

    /// Takes the file as far as it was written. Another may be asked for afterwards.
    pub(crate) fn take(&mut self) -> Option<Prepared> {
        self.asked = 0;
        self.bench.take()
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.bench.closed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Upkeep {
    /// What was asked for and not begun is left to the writer.
    fn drop(&mut self) {
        let mut compacting = self.bench.compacting();
        if !matches!(*compacting, Compacting::Done(_)) {
            *compacting = Compacting::Left;
        }
        self.bench.compacted.notify_all();
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
            Task::Seal(segment) => {
                drop(segment.seal(&*self.storage));
                self.bench.unsealed.fetch_sub(1, Ordering::Relaxed);
            }
            Task::Prepare(bytes) => self.prepare(bytes),
            Task::Index(segment) => segment.index_fresh(),
            Task::LetGo(segments) => drop(segments),
            // What is written would have no name after the writer has gone.
            Task::Compact if self.bench.closed.load(Ordering::Relaxed) => {}
            Task::Compact => self.compact(),
        }
    }

    /// Does the first thing that there is to compact. All else goes before: none of it takes long, and
    /// commits may be waiting for it.
    fn compact(&self) {
        let mut compacting = self.bench.compacting();
        let compaction = match std::mem::take(&mut *compacting) {
            Compacting::Asked(compaction) => compaction,
            other => {
                *compacting = other;
                return;
            }
        };
        *compacting = Compacting::Busy;
        drop(compacting);
        // No other compaction is among them: this one is busy.
        let done = compaction.first(&|| while self.step() {});
        *self.bench.compacting() = Compacting::Done(done);
        self.bench.compacted.notify_all();
    }

    fn prepare(&self, bytes: u64) {
        let begun = match self.bench.lift() {
            Spare::None => self.begin(),
            Spare::Held(prepared) => Ok(prepared),
            Spare::Busy | Spare::Failed | Spare::Taken => return,
        };
        let prepared = begun.and_then(|prepared| self.extend(prepared, bytes));
        let spare = prepared.map_or_else(
            |_| {
                // Also what is there of it takes room that somebody may need.
                drop(remove_durably(&*self.storage, SPARE_NAME));
                Spare::Failed
            },
            Spare::Held,
        );
        *self.bench.spare() = spare;
    }

    fn begin(&self) -> io::Result<Prepared> {
        drop(self.storage.remove(SPARE_NAME));
        let file = self.storage.create(SPARE_NAME)?;
        Ok(Prepared { file, bytes: 0 })
    }

    /// Writes zeros up to so many bytes.
    fn extend(&self, mut prepared: Prepared, bytes: u64) -> io::Result<Prepared> {
        let wanted = bytes.saturating_sub(prepared.bytes);
        let zeros = vec![0; usize::try_from(wanted.min(WRITE_BYTES)).unwrap_or(0)];
        let mut synced = prepared.bytes;
        while prepared.bytes < bytes {
            if self.bench.closed.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let rest = usize::try_from(bytes - prepared.bytes).unwrap_or(usize::MAX);
            let part = zeros.get(..rest.min(zeros.len())).unwrap_or_default();
            prepared.file.write_at(part, prepared.bytes)?;
            prepared.bytes += part.len() as u64;
            if prepared.bytes - synced >= UNSYNCED_BYTES || prepared.bytes == bytes {
                prepared.file.sync_data()?;
                synced = prepared.bytes;
            }
        }
        Ok(prepared)
    }
}
