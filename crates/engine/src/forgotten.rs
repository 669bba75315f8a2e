//! What is gone of what was asked for, and what of that a subscriber knows.

use std::num::NonZeroU64;

/// What a read of the log found to be gone.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Forgotten {
    /// Some of what was asked for is gone before this sequence. 0: nothing is.
    pub(crate) before: u64,
    /// See [`Shared::changes`](crate::hub::Shared::changes).
    pub(crate) changes: u64,
}

/// What a subscriber needs not be told.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Told {
    /// That some was forgotten before this sequence.
    before: u64,
    /// And that only as long as the log has not changed since.
    while_changes: Option<NonZeroU64>,
}

impl Told {
    /// Who begins with whatever is there misses nothing of what is not.
    ///
    /// How far back that reaches is known of each topic. Of several, or of a pattern, it is known of
    /// all together: more of one may go where others were gone before, and that has to be told. So
    /// it holds until anything changes, and who has not got all by then may be told of a gap where
    /// nothing was lost since.
    pub(crate) fn at_beginning(forgotten: Forgotten, is_one_topic: bool) -> Self {
        Self {
            before: forgotten.before,
            while_changes: NonZeroU64::new(forgotten.changes).filter(|_| !is_one_topic),
        }
    }

    /// Whether this has to be told to a subscriber whose next event is `next`. It counts as told
    /// from now on.
    pub(crate) fn is_news(&mut self, forgotten: Forgotten, next: u64) -> bool {
        let is_outdated = |changes: NonZeroU64| changes.get() != forgotten.changes;
        let before = match self.while_changes {
            Some(changes) if is_outdated(changes) => 0,
            _ => self.before,
        };
        let is_news = forgotten.before > before.max(next);
        if is_news {
            *self = Self {
                before: forgotten.before,
                while_changes: None,
            };
        }
        is_news
    }
}
