//! What is told on stderr while lines are published.

use std::{fmt::Display, time::Instant};

use crate::status_line::StatusLine;

/// Counts, and says so now and then.
#[derive(Debug)]
pub(crate) struct Progress {
    wanted: bool,
    began: Instant,
    line: StatusLine,
}

impl Progress {
    /// `wanted`: say how it goes, not only what goes wrong.
    pub(crate) fn new(wanted: bool, now: Instant) -> Self {
        Self {
            wanted,
            began: now,
            line: StatusLine::new(now),
        }
    }

    /// So many are acknowledged.
    pub(crate) fn show(&mut self, count: u64, now: Instant) {
        if self.wanted && self.line.is_due(now) {
            self.line.show(self.summary("published", count, now));
        }
    }

    /// Says something else in between.
    pub(crate) fn say(&mut self, line: impl Display) {
        self.line.say(line);
    }

    /// The end of it.
    pub(crate) fn finish(&mut self, count: u64, last_id: &str, now: Instant) {
        if self.wanted {
            let text = self.summary("published", count, now);
            let last = if last_id.is_empty() {
                String::new()
            } else {
                format!("; the last is {last_id}")
            };
            self.say(format_args!("{text}{last}"));
        }
    }

    fn summary(&self, done: &str, count: u64, now: Instant) -> String {
        let ms = now.duration_since(self.began).as_millis();
        let rate = u128::from(count) * 1000 / ms.max(1);
        let plural = if count == 1 { "" } else { "s" };
        format!(
            "{done} {count} event{plural} in {}.{} s ({rate}/s)",
            ms / 1000,
            ms % 1000 / 100
        )
    }
}
