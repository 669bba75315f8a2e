//! What the engine tells a subscriber in band, beside its events.
//!
//! All of it is ordinary events with a type of their own, so that a plain `EventSource` can listen
//! for them, and one that does not never notices.

use std::fmt::Write;

use bytes::Bytes;
use tidings_log::ReadError;

use crate::{
    id::{self, Position},
    signal::EndReason,
};

/// What the event types of all that the hub itself says begin with.
pub(crate) const CONTROL_PREFIX: &str = "tidings.";

/// A range that a cursor asked for and the log does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The event ID after which events are missing: as the subscriber gave it, where it did.
    pub from: String,
    /// The last event ID of the range. What follows it is delivered, if there is anything.
    pub to: Position,
    /// Where the stream goes on: after this place.
    pub resumes_after: Position,
    /// Why they are missing.
    pub reason: GapReason,
}

/// Why events cannot be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapReason {
    /// They were there, and retention forgot them.
    Retention,
    /// The ID belongs to another log: this one was begun anew. All that it holds is delivered.
    Epoch,
    /// The ID is ahead of this log, which must have been restored from an older copy.
    Future,
    /// The power failed before they were synced: the hub runs with a durability that allows that.
    Lost,
    /// They are there and cannot be read: the disk does not return what was written. Where a stream
    /// begins at a publisher's own ID, the event that has it may be among those: then some may be missing.
    Damaged,
    /// No event that the log holds has this ID: it is forgotten or was never given. All that the
    /// log holds is delivered, so some of it may have been seen before.
    Unknown,
}

impl GapReason {
    /// The word that stands in a `tidings.gap` event and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retention => "retention",
            Self::Epoch => "epoch",
            Self::Future => "future",
            Self::Lost => "lost",
            Self::Damaged => "damaged",
            Self::Unknown => "unknown",
        }
    }

    /// Why the log cannot give what was asked for, and the sequence at which it can go on. `None`:
    /// it cannot be read at all.
    pub(crate) fn of(error: &ReadError) -> Option<(Self, u64)> {
        match error {
            ReadError::Forgotten { first } => Some((Self::Retention, *first)),
            ReadError::Lost { next } => Some((Self::Lost, *next)),
            ReadError::Damaged { next, .. } => Some((Self::Damaged, *next)),
            _ => None,
        }
    }
}

impl Gap {
    /// Everything after `from` is missing up to `to`, where the stream goes on.
    pub(crate) fn skipping(from: String, to: Position, reason: GapReason) -> Self {
        Self {
            from,
            resumes_after: to.clone(),
            to,
            reason,
        }
    }

    /// Some of what was asked for after `from` is forgotten up to `to`, and what is left of it
    /// follows: the stream goes on where it is.
    pub(crate) fn forgotten(from: Position, to: Position) -> Self {
        Self {
            from: from.to_string(),
            resumes_after: from,
            to,
            reason: GapReason::Retention,
        }
    }

    /// The gap as an event: `tidings.gap`, with the ID that a reconnect resumes after, so that a
    /// gap is told once.
    pub fn frame(&self) -> Bytes {
        let mut frame = Vec::with_capacity(160);
        id::encode_line(
            &self.resumes_after.epoch,
            self.resumes_after.sequence,
            &mut frame,
        );
        let mut json = String::from(r#"{"from":"#);
        push_json_string(&self.from, &mut json);
        let _ = write!(
            json,
            r#","to":"{}","reason":"{}"}}"#,
            self.to,
            self.reason.as_str()
        );
        push_event("tidings.gap", &json, &mut frame);
        frame.into()
    }
}

/// The event that says why a stream is about to close, and when to come back.
pub fn end_frame(reason: EndReason, retry_ms: u64) -> Bytes {
    let mut frame = format!("retry: {retry_ms}\n").into_bytes();
    let json = format!(r#"{{"reason":"{}"}}"#, reason.as_str());
    push_event("tidings.end", &json, &mut frame);
    frame.into()
}

/// A heartbeat: moves the page's last event ID and dispatches nothing. With `ping`, a
/// `tidings.ping` event that the page can see.
pub fn heartbeat_frame(at: &Position, ping: bool) -> Bytes {
    let mut frame = Vec::with_capacity(64);
    id::encode_line(&at.epoch, at.sequence, &mut frame);
    if ping {
        push_event("tidings.ping", "", &mut frame);
    } else {
        frame.push(b'\n');
    }
    frame.into()
}

/// The first bytes of a stream: when to come back should it break, and where it starts, so that
/// even a stream that broke before its first event resumes without loss.
pub fn opening_frame(at: &Position, retry_ms: u64) -> Bytes {
    let mut frame = format!("retry: {retry_ms}\n").into_bytes();
    id::encode_line(&at.epoch, at.sequence, &mut frame);
    frame.push(b'\n');
    frame.into()
}

/// `data` has no line ends in it: all callers pass JSON that this module wrote.
fn push_event(event_type: &str, data: &str, out: &mut Vec<u8>) {
    for part in ["event: ", event_type, "\ndata: ", data, "\n\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// The ID comes from a stranger: quotes, controls and all.
fn push_json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_cannot_be_injected_into() {
        let at = Position {
            epoch: "e1".into(),
            sequence: 4,
        };
        let gap = Gap {
            from: "a\"\\\n\r\u{85}b".into(),
            to: at.clone(),
            resumes_after: at,
            reason: GapReason::Unknown,
        };
        assert_eq!(
            gap.frame(),
            "id: e1:4\nevent: tidings.gap\n\
             data: {\"from\":\"a\\\"\\\\\\u000a\\u000d\\u0085b\",\"to\":\"e1:4\",\"reason\":\"unknown\"}\n\n"
        );
    }
}
