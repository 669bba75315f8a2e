//! How far somebody may go: a publisher, so that each kill falls among lines that are still coming,
//! or a follower that is to be slow without any clock.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

#[derive(Debug, Default, Clone)]
pub(crate) struct Gate {
    state: Arc<(Mutex<usize>, Condvar)>,
    passed: Arc<AtomicUsize>,
}

impl Gate {
    /// Lets lines up to `limit` (exclusive) pass.
    pub(crate) fn open_to(&self, limit: usize) {
        let (lines, changed) = &*self.state;
        *lines.lock().unwrap_or_else(PoisonError::into_inner) = limit;
        changed.notify_all();
    }

    /// Writes all lines, each as soon as it may pass. Ends early where nobody reads any more, which
    /// the reader's own exit status explains.
    pub(crate) fn feed(&self, lines: &[String], mut into: impl Write) -> std::io::Result<()> {
        for (index, line) in lines.iter().enumerate() {
            self.wait_for(index);
            writeln!(into, "{line}")?;
            self.passed.store(index + 1, Ordering::Relaxed);
        }
        into.flush()
    }

    pub(crate) fn passed(&self) -> usize {
        self.passed.load(Ordering::Relaxed)
    }

    /// Until `index` lies below the limit.
    pub(crate) fn wait_for(&self, index: usize) {
        let (lines, changed) = &*self.state;
        let mut limit = lines.lock().unwrap_or_else(PoisonError::into_inner);
        while *limit <= index {
            limit = changed.wait(limit).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
