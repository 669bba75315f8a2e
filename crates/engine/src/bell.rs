//! How a crowd learns that there is more for its subscribers.

use std::fmt;

use crate::{
    signal::EndReason,
    sync::{Mutex, lock},
};

/// What the committer and the hub tell one crowd: which of its channels have news, and how many of
/// its subscribers are to end. A commit wakes a crowd once, however many it reaches.
pub(crate) struct Bell {
    state: Mutex<State>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct State {
    /// The crowd's numbers of the channels that were written to, each once.
    touched: Vec<u32>,
    /// A bit for each of them.
    is_touched: Vec<u64>,
    endings: Vec<(usize, EndReason)>,
    /// The crowd was woken and has not looked yet.
    woken: bool,
    open: usize,
    /// Of the open ones, those that were told to end.
    ending: usize,
}

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bell").finish_non_exhaustive()
    }
}

impl Bell {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            state: Mutex::default(),
            wake: Box::new(wake),
        }
    }

    /// Notes news of the channel with this number. True: the crowd has to be woken.
    #[must_use]
    pub(crate) fn touch(&self, at: u32) -> bool {
        let mut state = lock(&self.state);
        let (word, bit) = (at as usize / 64, 1_u64 << (at % 64));
        if state.is_touched.len() <= word {
            state.is_touched.resize(word + 1, 0);
        }
        if let Some(word) = state.is_touched.get_mut(word).filter(|w| **w & bit == 0) {
            *word |= bit;
            state.touched.push(at);
        }
        !std::mem::replace(&mut state.woken, true)
    }

    /// Wakes the crowd's thread. It may run code of others: call it without a lock.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    /// Takes what was noted, and has the next note wake again.
    pub(crate) fn take(&self, touched: &mut Vec<u32>, endings: &mut Vec<(usize, EndReason)>) {
        let mut state = lock(&self.state);
        state.woken = false;
        touched.clear();
        std::mem::swap(touched, &mut state.touched);
        for at in touched.iter() {
            if let Some(word) = state.is_touched.get_mut(*at as usize / 64) {
                *word &= !(1_u64 << (at % 64));
            }
        }
        endings.append(&mut state.endings);
    }

    pub(crate) fn open(&self) -> usize {
        lock(&self.state).open
    }

    pub(crate) fn joined(&self) {
        lock(&self.state).open += 1;
    }

    pub(crate) fn left(&self, was_ended: bool) {
        let mut state = lock(&self.state);
        state.open = state.open.saturating_sub(1);
        state.ending = state.ending.saturating_sub(usize::from(was_ended));
    }

    /// Asks for up to `count` subscribers to end that were not told yet, and says how many.
    pub(crate) fn end(&self, count: usize, reason: EndReason) -> usize {
        let mut state = lock(&self.state);
        let count = count.min(state.open.saturating_sub(state.ending));
        if count == 0 {
            return 0;
        }
        state.ending += count;
        state.endings.push((count, reason));
        let asleep = !std::mem::replace(&mut state.woken, true);
        drop(state);
        if asleep {
            self.wake();
        }
        count
    }

    /// So many of those that were to end were gone before they could be told.
    pub(crate) fn gone_before_end(&self, count: usize) {
        let mut state = lock(&self.state);
        state.ending = state.ending.saturating_sub(count);
    }
}
