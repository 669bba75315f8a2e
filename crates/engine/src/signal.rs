//! How a subscriber that waits at the tail learns that there is more.

use std::task::Waker;

use crate::sync::{AtomicBool, AtomicU8, Mutex, Ordering, lock};

/// Why a stream ends before its subscriber wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndReason {
    /// The hub is shutting down; come back to it or to another.
    Drain,
    /// An operator ended this stream.
    Evicted,
    /// The subscriber took nothing for longer than it may.
    TooSlow,
}

impl EndReason {
    /// The word that stands in a `tidings.end` event and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Evicted => "evicted",
            Self::TooSlow => "too_slow",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Drain),
            2 => Some(Self::Evicted),
            3 => Some(Self::TooSlow),
            _ => None,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Drain => 1,
            Self::Evicted => 2,
            Self::TooSlow => 3,
        }
    }
}

/// One subscriber's bell.
///
/// The subscriber clears it, looks, leaves its waker and looks at the bell again; whoever has
/// news sets it first and takes the waker after. So either the subscriber sees the bell or the
/// ringer sees the waker, and a busy subscriber costs the ringer one atomic swap.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    rung: AtomicBool,
    ended: AtomicU8,
    waker: Mutex<Option<Waker>>,
}

impl Signal {
    /// Rings, and gives back the waker for the caller to wake once it holds no lock.
    #[must_use]
    pub(crate) fn ring(&self) -> Option<Waker> {
        if self.rung.swap(true, Ordering::AcqRel) {
            return None;
        }
        lock(&self.waker).take()
    }

    pub(crate) fn clear(&self) {
        self.rung.swap(false, Ordering::AcqRel);
    }

    /// Leaves the waker. True: the bell rang meanwhile, look again.
    pub(crate) fn leave(&self, waker: &Waker) -> bool {
        let mut slot = lock(&self.waker);
        if !slot.as_ref().is_some_and(|old| old.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
        drop(slot);
        self.rung.load(Ordering::Acquire)
    }

    /// Ends the stream; the first reason counts.
    pub(crate) fn end(&self, reason: EndReason) {
        let _ = self
            .ended
            .compare_exchange(0, reason.code(), Ordering::AcqRel, Ordering::Acquire);
        if let Some(waker) = self.ring() {
            waker.wake();
        }
    }

    pub(crate) fn ended(&self) -> Option<EndReason> {
        EndReason::from_code(self.ended.load(Ordering::Acquire))
    }
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use shuttle::{future::block_on, thread};

    use super::*;
    use crate::sync::{Arc, AtomicU64};

    /// Follows the protocol until `wanted` pieces of news are there. A lost bell is a deadlock.
    fn wait(signal: &Signal, news: &AtomicU64, wanted: u64) {
        block_on(poll_fn(|cx| {
            loop {
                signal.clear();
                if news.load(Ordering::Acquire) >= wanted {
                    return Poll::Ready(());
                }
                if !signal.leave(cx.waker()) {
                    return Poll::Pending;
                }
            }
        }));
    }

    fn tell(signal: &Signal, news: &AtomicU64) {
        news.fetch_add(1, Ordering::Release);
        if let Some(waker) = signal.ring() {
            waker.wake();
        }
    }

    fn world(ringers: usize, news_each: u64) {
        let (signal, news) = (Arc::new(Signal::default()), Arc::new(AtomicU64::new(0)));
        for _ in 0..ringers {
            let ringer = (signal.clone(), news.clone());
            thread::spawn(move || (0..news_each).for_each(|_| tell(&ringer.0, &ringer.1)));
        }
        for wanted in 1..=ringers as u64 * news_each {
            wait(&signal, &news, wanted);
        }
    }

    /// A subscriber that looked just before the news came, and left its waker just after it was
    /// asked for, must look again. Every schedule there is, not a sample.
    #[test]
    fn no_bell_is_lost_in_any_schedule() {
        shuttle::check_dfs(|| world(1, 1), None);
    }

    #[test]
    fn no_bell_is_lost_when_several_ring_again_and_again() {
        shuttle::check_random(|| world(1, 2), 10_000);
        shuttle::check_random(|| world(2, 2), 10_000);
    }
}
