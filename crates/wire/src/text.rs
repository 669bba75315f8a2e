//! What the stream says, as it came.

use alloc::borrow::Cow;
use alloc::string::String;
use core::fmt;

/// Text of a stream: the bytes as they came, and a string when it is asked for.
///
/// A stream is UTF-8, and what is malformed in it becomes U+FFFD, as the Encoding standard says:
/// [`Text::to_str`] does that. To look at every byte for it costs about as much again as to find
/// the events, so nobody pays who passes the bytes on, parses them, or drops the event.
///
/// ```
/// use std::borrow::Cow;
/// use tidings_wire::Text;
///
/// let good = Text::from("price");
/// assert!(matches!(good.to_str(), Cow::Borrowed("price")));
/// assert_eq!(good, "price");
///
/// let bad = Text::from(&b"a\xFFb"[..]);
/// assert_eq!(bad.to_str(), "a\u{fffd}b");
/// assert_eq!(bad.to_string(), "a\u{fffd}b");
/// assert_eq!(bad.as_bytes(), b"a\xFFb");
/// ```
///
/// A line end is never a part of a UTF-8 sequence, so to decode values one by one comes to the same
/// as to decode the whole stream: a sequence that a line end cuts off is malformed either way.
///
/// It equals a `str` if it is that as a string, and another text if their bytes are the same.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Text<'a>(&'a [u8]);

impl<'a> Text<'a> {
    /// The bytes as they came: UTF-8, unless the sender made a mistake.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text as a string. It is borrowed, unless there is something to replace.
    pub fn to_str(self) -> Cow<'a, str> {
        // `from_utf8_lossy` alone would do, but it goes by single bytes.
        match core::str::from_utf8(self.0) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => String::from_utf8_lossy(self.0),
        }
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a [u8]> for Text<'a> {
    #[inline]
    fn from(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    #[inline]
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl AsRef<[u8]> for Text<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0
    }
}

impl PartialEq<str> for Text<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes() || self.to_str() == other
    }
}

impl PartialEq<&str> for Text<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str())
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str(), f)
    }
}
