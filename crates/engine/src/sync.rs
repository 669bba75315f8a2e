//! The synchronisation primitives, in one place so that tests can swap them.
//!
//! With the feature `shuttle` they are shuttle's, and a test can run the engine under every
//! schedule it likes to try. Poisoning is ignored: no code of this crate can panic half-way
//! through a change of shared state, and a subscriber must not die of another's bug.

#[cfg(not(feature = "shuttle"))]
pub(crate) use std::sync::{
    Arc, Condvar, Mutex, MutexGuard, Weak,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

#[cfg(feature = "shuttle")]
pub(crate) use shuttle::sync::{
    Arc, Condvar, Mutex, MutexGuard, Weak,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

/// Locks, whether or not a holder panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
