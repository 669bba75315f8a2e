//! What is told on stderr while lines are published.

use std::{
    fmt::Display,
    io::{Write, stderr},
    time::{Duration, Instant},
};

use crate::notice;

/// How often a terminal's line is rewritten.
const REWRITE_EVERY: Duration = Duration::from_millis(200);

/// How often a line is written where nobody watches.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// Counts, and says so now and then.
#[derive(Debug)]
pub(crate) struct Progress {
    wanted: bool,
    watched: bool,
    began: Instant,
    shown: Instant,
    /// Whether the cursor stands behind a line that is to be rewritten.
    open: bool,
}

impl Progress {
    /// `wanted`: say how it goes, not only what goes wrong.
    pub(crate) fn new(wanted: bool, now: Instant) -> Self {
        Self {
            wanted,
            watched: notice::is_watched(),
            began: now,
            shown: now,
            open: false,
        }
    }

    /// So many are acknowledged.
    pub(crate) fn show(&mut self, count: u64, now: Instant) {
        let every = if self.watched {
            REWRITE_EVERY
        } else {
            REPORT_EVERY
        };
        if !self.wanted || now.duration_since(self.shown) < every {
            return;
        }
        self.shown = now;
        let text = self.summary("published", count, now);
        if self.watched {
            self.open = true;
            let _ = write!(stderr(), "\r\x1b[K{text}");
        } else {
            notice::say(text);
        }
    }

    /// Says something else in between.
    pub(crate) fn say(&mut self, line: impl Display) {
        if std::mem::take(&mut self.open) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
        notice::say(line);
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
