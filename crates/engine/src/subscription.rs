//! A subscriber: a cursor over the log.

use std::{
    fmt,
    task::{Context, Poll},
};

use bytes::Bytes;
use tidings_log::{Page, ReadError, ReadLimits};

use crate::{
    control::{Gap, GapReason},
    forgotten::{Forgotten, Told},
    hub::{Located, Shared},
    id::Position,
    reading::Budget,
    selection::Selection,
    signal::{EndReason, Signal},
    span::{Place, Source},
    stats::add,
    sync::Arc,
    window::{Found, Membership},
};

/// A subscriber's cursor. Drop it, and nothing of it stays behind.
///
/// It holds no events: what its subscriber has not taken is in the window or in the log, however
/// far behind it is.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    selection: Arc<Selection>,
    signal: Arc<Signal>,
    membership: Membership,
    cursor: u64,
    gap: Option<Box<Gap>>,
    told: Told,
    registered: usize,
}

/// What a subscription has for its subscriber.
#[derive(Debug)]
#[non_exhaustive]
pub enum Step {
    /// Encoded events, in order, ready to be written as they are. At least one.
    Frames(Vec<Bytes>),
    /// Events that cannot be delivered. The stream goes on after them.
    Gap(Gap),
    /// The next events are on disk: run this where blocking is fine, and hand what it returns to
    /// [`Subscription::accept`].
    Behind(LogRead),
    /// The stream is to end, for this reason. Nothing comes after it.
    End(EndReason),
}

/// A read of the log for a subscriber that is behind the window. It holds no place in the hub.
pub struct LogRead {
    shared: Arc<Shared>,
    selection: Arc<Selection>,
    asked: Asked,
    limits: ReadLimits,
}

/// For whom a read is, from where on, and which of a crowd's reads it is.
pub(crate) type Asked = (Source, Place, u64);

impl fmt::Debug for LogRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogRead")
            .field("from", &self.asked.1.sequence)
            .finish_non_exhaustive()
    }
}

/// What a [`LogRead`] returned.
#[derive(Debug)]
pub struct LogPage {
    pub(crate) asked: Asked,
    /// See [`Shared::changes`].
    pub(crate) changes: u64,
    pub(crate) found: Result<Page, ReadError>,
}

/// Why a subscriber could not be given its place.
#[derive(Debug)]
#[non_exhaustive]
pub enum SubscribeError {
    /// It follows nothing.
    NoSelector,
    /// It follows more than [`Limits::selectors_max`](crate::Limits::selectors_max).
    TooManySelectors {
        /// The limit.
        max: usize,
    },
    /// The hub has as many patterns with modifiers or wildcards within as it can try, see
    /// [`Limits::complex_patterns_max`](crate::Limits::complex_patterns_max).
    TooManyComplexPatterns {
        /// The limit.
        max: usize,
    },
    /// The log could not be read.
    Log(ReadError),
    /// The hub is shutting down.
    Closed,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSelector => {
                f.write_str("nothing to follow; name at least one topic or pattern")
            }
            Self::TooManySelectors { max } => write!(
                f,
                "one stream may follow {max} topics and patterns; use a pattern that covers several"
            ),
            Self::TooManyComplexPatterns { max } => write!(
                f,
                "all subscribers together may follow {max} patterns that are more than whole \
                 segments, `:names` and a `*` at the end; use such a plain one"
            ),
            Self::Log(_) => f.write_str("the log could not be read to find the place to start at"),
            Self::Closed => f.write_str("the hub is shutting down; try again shortly"),
        }
    }
}

impl std::error::Error for SubscribeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Log(source) => Some(source),
            _ => None,
        }
    }
}

impl Subscription {
    pub(crate) fn new(
        shared: Arc<Shared>,
        signal: Arc<Signal>,
        located: Located,
        registered: usize,
    ) -> Result<Self, SubscribeError> {
        let Located {
            selection,
            cursor,
            gap,
            told,
        } = located;
        let mut subscription = Self {
            shared,
            selection: Arc::new(selection),
            signal,
            membership: Membership::default(),
            cursor,
            gap: gap.map(Box::new),
            told,
            registered,
        };
        let Self {
            shared,
            selection,
            signal,
            ..
        } = &subscription;
        let max = shared.limits.complex_patterns_max;
        match shared.window.join(selection, signal, max) {
            Some(membership) => subscription.membership = membership,
            None => return Err(SubscribeError::TooManyComplexPatterns { max }),
        }
        Ok(subscription)
    }

    /// The next thing for the subscriber, or a wake-up when there is one.
    ///
    /// `now_ms` is Unix time in milliseconds, for events that expire. Taking a step moves the
    /// cursor: hand the frames on, or resume a new subscription after [`Subscription::position`].
    ///
    /// Cancel safe: nothing moves while this is pending.
    pub fn poll_step(&mut self, cx: &mut Context<'_>, now_ms: u64) -> Poll<Step> {
        loop {
            self.signal.clear();
            if let Some(step) = self.step(now_ms) {
                return Poll::Ready(step);
            }
            if !self.signal.leave(cx.waker()) {
                return Poll::Pending;
            }
        }
    }

    /// The next thing for the subscriber if it is there now.
    pub fn step(&mut self, now_ms: u64) -> Option<Step> {
        if let Some(reason) = self.signal.ended() {
            return Some(Step::End(reason));
        }
        if let Some(gap) = self.gap.take() {
            return Some(self.tell(*gap));
        }
        let limits = &self.shared.limits;
        let budget = Budget {
            bytes: limits.step_bytes_max,
            events: limits.step_events_max,
            now_ms,
        };
        loop {
            match self
                .shared
                .window
                .read(&self.membership, self.cursor, budget)
            {
                Found::Behind => return Some(Step::Behind(self.log_read())),
                Found::Frames { frames, next } if frames.is_empty() => {
                    let done = next == self.cursor;
                    self.cursor = next;
                    if done {
                        return None;
                    }
                }
                Found::Frames { frames, next } => {
                    self.cursor = next;
                    return Some(self.hand_over(frames));
                }
            }
        }
    }

    /// Takes what a [`LogRead`] found. `None`: nothing that matches yet; ask for the next step.
    ///
    /// A page for another place than the cursor's is ignored: its read was begun twice, and the
    /// other one came first.
    ///
    /// # Errors
    ///
    /// The log could not be read. The cursor has not moved; ask again later or end the stream.
    pub fn accept(&mut self, page: LogPage, now_ms: u64) -> Result<Option<Step>, ReadError> {
        if page.asked.1 != Place::at(self.cursor) {
            return Ok(None);
        }
        let LogPage { found, changes, .. } = page;
        let page = match found {
            Ok(page) => page,
            Err(error) => {
                let (reason, next) = GapReason::of(&error).ok_or(error)?;
                return Ok(Some(self.skip_to(next, reason)));
            }
        };
        let forgotten = Forgotten {
            before: page.forgotten_before.unwrap_or(0),
            changes,
        };
        if self.told.is_news(forgotten, self.cursor) {
            // Of what was asked for some is gone, and what is left of it follows.
            let gap = Gap::forgotten(self.position(), self.before(forgotten.before));
            return Ok(Some(self.tell(gap)));
        }
        self.cursor = self.cursor.max(page.next);
        let frames: Vec<Bytes> = page
            .frames
            .into_iter()
            .filter(|stored| {
                stored
                    .expires_ms
                    .is_none_or(|expires_ms| expires_ms > now_ms)
            })
            .map(|stored| stored.frame)
            .collect();
        Ok((!frames.is_empty()).then(|| self.hand_over(frames)))
    }

    /// Where a new subscription would go on: all before it was handed out or does not match.
    ///
    /// Where a subscription begins with a gap, that is its first step, and this is the place after
    /// it: tell the gap before this place, or a stream that breaks in between hides it.
    pub fn position(&self) -> Position {
        self.before(self.cursor)
    }

    fn hand_over(&self, frames: Vec<Bytes>) -> Step {
        let bytes: usize = frames.iter().map(Bytes::len).sum();
        add(&self.shared.counters.delivered_events, frames.len() as u64);
        add(&self.shared.counters.delivered_bytes, bytes as u64);
        Step::Frames(frames)
    }

    fn log_read(&self) -> LogRead {
        // It has one cursor, and no number.
        let asked = (Source::Member(0), Place::at(self.cursor), 0);
        LogRead::new(&self.shared, self.selection.clone(), asked)
    }

    fn skip_to(&mut self, cursor: u64, reason: GapReason) -> Step {
        let from = self.position().to_string();
        self.cursor = self.cursor.max(cursor);
        self.tell(Gap::skipping(from, self.position(), reason))
    }

    fn before(&self, sequence: u64) -> Position {
        Position::before(&self.shared.epoch, sequence)
    }

    fn tell(&self, gap: Gap) -> Step {
        add(&self.shared.counters.gaps, 1);
        Step::Gap(gap)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.window.leave(&mut self.membership);
        self.shared.unregister(self.registered);
        self.shared.count_end(self.signal.ended());
    }
}

impl LogRead {
    pub(crate) fn asked(&self) -> Asked {
        self.asked
    }

    pub(crate) fn new(shared: &Arc<Shared>, selection: Arc<Selection>, asked: Asked) -> Self {
        add(&shared.counters.log_reads, 1);
        Self {
            shared: shared.clone(),
            selection,
            asked,
            limits: ReadLimits {
                bytes_max: shared.limits.step_bytes_max,
                records_max: shared.limits.step_events_max,
                ..ReadLimits::default()
            },
        }
    }

    /// Reads. It blocks on the disk, for at most a bounded number of bytes.
    pub fn run(self) -> LogPage {
        let from = self.asked.1.sequence;
        let log = &self.shared.log;
        let found = self.selection.with(|s| log.read(s, from, self.limits));
        LogPage {
            asked: self.asked,
            changes: self.shared.changes(),
            found,
        }
    }
}
