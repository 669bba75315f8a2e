//! The value of an `event` field.

use core::error::Error;
use core::fmt;

use memchr::memchr2;

/// The longest event type, in bytes of UTF-8.
pub const EVENT_TYPE_BYTES_MAX: usize = 1024;

/// The value of an `event` field: not empty, on one line, at most [`EVENT_TYPE_BYTES_MAX`] bytes.
///
/// It is what a page gives to `addEventListener`. An event without one is a `message`. Since the
/// check is made here, encoding cannot fail, and no text can smuggle a field into the stream.
///
/// ```
/// use tidings_wire::{EventType, EventTypeError};
///
/// assert_eq!(EventType::new("price")?.as_str(), "price");
/// assert_eq!(EventType::new("price\ndata: 0"), Err(EventTypeError::LineBreak { at: 5 }));
/// # Ok::<(), EventTypeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventType<'a>(&'a str);

impl<'a> EventType<'a> {
    /// Checks `text`.
    pub fn new(text: &'a str) -> Result<Self, EventTypeError> {
        if text.is_empty() {
            return Err(EventTypeError::Empty);
        }
        if text.len() > EVENT_TYPE_BYTES_MAX {
            return Err(EventTypeError::TooLong { bytes: text.len() });
        }
        match memchr2(b'\n', b'\r', text.as_bytes()) {
            Some(at) => Err(EventTypeError::LineBreak { at }),
            None => Ok(Self(text)),
        }
    }

    /// The event type's text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// Why a text is not an [`EventType`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventTypeError {
    /// The text is empty.
    Empty,
    /// The text is longer than [`EVENT_TYPE_BYTES_MAX`].
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The text contains a CR or an LF.
    LineBreak {
        /// Where, in bytes from the beginning.
        at: usize,
    },
}

impl fmt::Display for EventTypeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(
                "the event type is empty: leave it out, and the event is of type `message`",
            ),
            Self::TooLong { bytes } => write!(
                f,
                "the event type is {bytes} bytes long: shorten it to {EVENT_TYPE_BYTES_MAX} bytes \
                 or fewer"
            ),
            Self::LineBreak { at } => {
                write!(f, "the event type has a line break at byte {at}: remove it")
            }
        }
    }
}

impl Error for EventTypeError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn good_event_types() {
        for text in ["a", " a", "a:b", "\0", "größe", "\u{2028}"] {
            assert_eq!(EventType::new(text).unwrap().as_str(), text);
        }
        assert!(EventType::new(&"x".repeat(EVENT_TYPE_BYTES_MAX)).is_ok());
    }

    #[test]
    fn bad_event_types() {
        let long = "x".repeat(EVENT_TYPE_BYTES_MAX + 1);
        let cases = [
            ("", EventTypeError::Empty),
            (long.as_str(), EventTypeError::TooLong { bytes: 1025 }),
            ("a\n", EventTypeError::LineBreak { at: 1 }),
            ("\ra", EventTypeError::LineBreak { at: 0 }),
        ];
        for (text, error) in cases {
            assert_eq!(EventType::new(text).unwrap_err(), error);
            assert!(error.to_string().contains("event type"));
        }
    }
}
