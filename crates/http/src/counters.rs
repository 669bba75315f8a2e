//! What the server counts, beside what the hub does.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Open now.
    pub(crate) connections: AtomicUsize,
    pub(crate) connections_accepted: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    /// Open event streams.
    pub(crate) streams: AtomicUsize,
    /// Told to come back later.
    pub(crate) shed: AtomicU64,
    /// Cut because the client took nothing.
    pub(crate) stalled: AtomicU64,
    pub(crate) heartbeats: AtomicU64,
    /// Responses by status.
    responses: Mutex<BTreeMap<u16, u64>>,
}

impl Counters {
    pub(crate) fn response(&self, status: u16) {
        let mut responses = self
            .responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *responses.entry(status).or_default() += 1;
    }

    pub(crate) fn responses(&self) -> BTreeMap<u16, u64> {
        self.responses
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Adds one now and takes it away when dropped.
#[derive(Debug)]
pub(crate) struct Held<C: AsRef<AtomicUsize>>(C);

impl<C: AsRef<AtomicUsize>> Held<C> {
    /// The count with this one in it.
    pub(crate) fn new(counter: C) -> (Self, usize) {
        let count = counter.as_ref().fetch_add(1, Ordering::Relaxed) + 1;
        (Self(counter), count)
    }
}

impl<C: AsRef<AtomicUsize>> Drop for Held<C> {
    fn drop(&mut self) {
        self.0.as_ref().fetch_sub(1, Ordering::Relaxed);
    }
}

pub(crate) fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
