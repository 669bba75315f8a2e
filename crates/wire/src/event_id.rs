//! The value of an `id` field.

use core::error::Error;
use core::fmt;

use memchr::memchr3;

/// The longest event ID that is sent, in bytes of UTF-8. It comes back in a request header.
pub const EVENT_ID_BYTES_MAX: usize = 1024;

/// The value of an `id` field: on one line, without NUL, at most [`EVENT_ID_BYTES_MAX`] bytes.
///
/// A receiver keeps the last one and sends it back as `Last-Event-ID` when it reconnects. An empty
/// one is allowed: it resets what the receiver has kept. NUL is not: the standard has the receiver
/// ignore such an ID, so it could never come back.
///
/// ```
/// use tidings_wire::{EventId, EventIdError};
///
/// assert_eq!(EventId::new("k3f:42")?.as_str(), "k3f:42");
/// assert_eq!(EventId::new("42\0"), Err(EventIdError::Forbidden { at: 2 }));
/// # Ok::<(), EventIdError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId<'a>(&'a str);

impl<'a> EventId<'a> {
    /// Checks `text`.
    pub fn new(text: &'a str) -> Result<Self, EventIdError> {
        if text.len() > EVENT_ID_BYTES_MAX {
            return Err(EventIdError::TooLong { bytes: text.len() });
        }
        match memchr3(b'\n', b'\r', b'\0', text.as_bytes()) {
            Some(at) => Err(EventIdError::Forbidden { at }),
            None => Ok(Self(text)),
        }
    }

    /// The ID's text.
    pub const fn as_str(self) -> &'a str {
        self.0
    }
}

/// Why a text is not an [`EventId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventIdError {
    /// The text is longer than [`EVENT_ID_BYTES_MAX`].
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The text contains a CR, an LF or a NUL.
    Forbidden {
        /// Where, in bytes from the beginning.
        at: usize,
    },
}

impl fmt::Display for EventIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(
                f,
                "the event ID is {bytes} bytes long: shorten it to {EVENT_ID_BYTES_MAX} bytes or \
                 fewer"
            ),
            Self::Forbidden { at } => write!(
                f,
                "the event ID has a line break or a NUL at byte {at}: remove it"
            ),
        }
    }
}

impl Error for EventIdError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn good_ids() {
        for text in ["", "1", " 1", "a:1", "größe", "\u{2028}"] {
            assert_eq!(EventId::new(text).unwrap().as_str(), text);
        }
        assert!(EventId::new(&"x".repeat(EVENT_ID_BYTES_MAX)).is_ok());
    }

    #[test]
    fn bad_ids() {
        let long = "x".repeat(EVENT_ID_BYTES_MAX + 1);
        let cases = [
            (long.as_str(), EventIdError::TooLong { bytes: 1025 }),
            ("1\n", EventIdError::Forbidden { at: 1 }),
            ("\r1", EventIdError::Forbidden { at: 0 }),
            ("a\0b", EventIdError::Forbidden { at: 1 }),
        ];
        for (text, error) in cases {
            assert_eq!(EventId::new(text).unwrap_err(), error);
            assert!(error.to_string().contains("event ID"));
        }
    }
}
