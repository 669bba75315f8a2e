//! What a decoder accepts, and how it says that there was more.

use core::error::Error;
use core::fmt;

/// The most that a [`Decoder`](crate::Decoder) accepts, all in bytes of the stream.
///
/// They bound its memory: it holds at most one line and one event at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest line, of any kind, without its end. Default: 16 MiB.
    pub line_bytes_max: usize,
    /// The largest event: its data, with an LF between lines, and its event type. Default: 16 MiB.
    pub event_bytes_max: usize,
    /// The longest ID. Default: 4 KiB, since it goes into the header of a request.
    pub id_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 16 << 20,
            event_bytes_max: 16 << 20,
            id_bytes_max: 4 << 10,
        }
    }
}

impl Limits {
    /// What has at most so many bytes exceeds none of them.
    #[inline]
    pub(crate) fn least(&self) -> usize {
        let Self {
            line_bytes_max,
            event_bytes_max,
            id_bytes_max,
        } = *self;
        line_bytes_max.min(event_bytes_max).min(id_bytes_max)
    }
}

/// A limit was exceeded, and an event is lost.
///
/// The decoder has dropped the block that was too large, with its ID, and goes on with the next
/// one: keep calling [`Decoder::next`](crate::Decoder::next), or hang up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// A line is longer than [`Limits::line_bytes_max`].
    LineTooLong {
        /// The limit.
        line_bytes_max: usize,
    },
    /// An event is larger than [`Limits::event_bytes_max`].
    EventTooLarge {
        /// The limit.
        event_bytes_max: usize,
    },
    /// An ID is longer than [`Limits::id_bytes_max`].
    IdTooLong {
        /// The limit.
        id_bytes_max: usize,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, limit, name) = match self {
            Self::LineTooLong { line_bytes_max } => ("a line", line_bytes_max, "line_bytes_max"),
            Self::EventTooLarge { event_bytes_max } => {
                ("an event", event_bytes_max, "event_bytes_max")
            }
            Self::IdTooLong { id_bytes_max } => ("an event ID", id_bytes_max, "id_bytes_max"),
        };
        write!(
            f,
            "{what} exceeds {limit} bytes, so its event was skipped: raise `{name}` to accept it"
        )
    }
}

impl Error for DecodeError {}
