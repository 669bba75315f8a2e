//! How it goes, on stderr: a line that is rewritten where somebody watches, else one now and then.

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

#[derive(Debug)]
pub(crate) struct StatusLine {
    watched: bool,
    shown: Instant,
    /// Whether the cursor stands behind a line that is to be rewritten.
    open: bool,
}

impl StatusLine {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            watched: notice::is_watched(),
            shown: now,
            open: false,
        }
    }

    /// Whether it is time to show something. Who asks is taken to do it.
    pub(crate) fn is_due(&mut self, now: Instant) -> bool {
        let every = if self.watched {
            REWRITE_EVERY
        } else {
            REPORT_EVERY
        };
        let is_due = now.duration_since(self.shown) >= every;
        if is_due {
            self.shown = now;
        }
        is_due
    }

    /// Shows how it goes.
    pub(crate) fn show(&mut self, text: impl Display) {
        if self.watched {
            self.open = true;
            // A line that wraps could not be taken away again, but for its end: what a narrow terminal
            // has no room for is cut off.
            let _ = write!(stderr(), "\r\x1b[K\x1b[?7l{text}\x1b[?7h");
        } else {
            notice::say(text);
        }
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }

    /// Says something else in between.
    pub(crate) fn say(&mut self, line: impl Display) {
        self.clear();
        notice::say(line);
    }
}
