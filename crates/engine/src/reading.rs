//! One pass of a reader over its channels.

use crate::window::{Channel, Entry};

/// How much a reader takes at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) bytes: usize,
    pub(crate) events: usize,
    /// Unix milliseconds; what has expired by then is passed over.
    pub(crate) now_ms: u64,
}

impl Budget {
    /// Whether there is room for a frame of so many bytes; the first always has.
    pub(crate) fn allows(&mut self, bytes: usize, first: bool) -> bool {
        if !first && (self.events == 0 || self.bytes < bytes) {
            return false;
        }
        self.events = self.events.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

/// One pass: the events from `cursor` on, up to `until`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) cursor: u64,
    /// The window's `next` when the pass began: channels are complete below it.
    pub(crate) until: u64,
    /// The event at the cursor was begun before, so it is given also if it has expired since.
    pub(crate) resumed: bool,
    /// What each of several channels is asked for at most; `give` has the last word.
    pub(crate) budget: Budget,
}

impl Reading {
    /// Shows `give` the events in order while it takes them. Returns where it stopped: all before
    /// was given or is not wanted. `None`: the window does not reach back to the cursor.
    pub(crate) fn read(
        &self,
        channels: &[&Channel],
        mut give: impl FnMut(&Entry) -> bool,
    ) -> Option<u64> {
        match channels {
            [channel] => self.one(channel, give),
            channels => self.several(channels, &mut give),
        }
    }

    fn one(&self, channel: &Channel, mut give: impl FnMut(&Entry) -> bool) -> Option<u64> {
        channel.scan(self.cursor, self.until, |entry| {
            self.is_stale(entry) || give(entry)
        })
    }

    /// Each channel gives what it has within the budget; what lies beyond the first channel that
    /// ran out of budget waits for the next pass.
    fn several(&self, channels: &[&Channel], give: &mut dyn FnMut(&Entry) -> bool) -> Option<u64> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut until = self.until;
        for channel in channels {
            let reading = Self { until, ..*self };
            let (mut budget, mut first) = (self.budget, true);
            until = reading.one(channel, |entry| {
                let room = budget.allows(entry.frame.len(), first);
                first = false;
                if room {
                    entries.push(entry.clone());
                }
                room
            })?;
        }
        entries.sort_by_key(|entry| entry.sequence);
        entries.dedup_by_key(|entry| entry.sequence);
        let mut merged = entries.iter().take_while(|entry| entry.sequence < until);
        Some(
            merged
                .find(|entry| !give(entry))
                .map_or(until, |entry| entry.sequence),
        )
    }

    fn is_stale(&self, entry: &Entry) -> bool {
        let begun = self.resumed && entry.sequence == self.cursor;
        entry.expires_ms <= self.budget.now_ms && !begun
    }
}
