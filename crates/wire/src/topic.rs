//! The name an event is published under.

use alloc::string::String;
use alloc::sync::Arc;
use core::borrow::Borrow;
use core::error::Error;
use core::fmt;
use core::str::FromStr;

/// The longest topic, in bytes of UTF-8.
pub const TOPIC_BYTES_MAX: usize = 1024;

/// The name an event is published under: UTF-8, not empty, without control characters, at most
/// [`TOPIC_BYTES_MAX`] bytes.
///
/// A `Topic` in hand is a good topic, so nothing behind it checks again. A clone shares the text.
///
/// ```
/// use tidings_wire::Topic;
///
/// let topic: Topic = "orders/42".parse()?;
/// assert_eq!(topic.as_str(), "orders/42");
/// assert!(Topic::new("two\nlines").is_err());
/// # Ok::<(), tidings_wire::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic(Arc<str>);

impl Topic {
    /// Checks `text` and copies it.
    pub fn new(text: &str) -> Result<Self, TopicError> {
        if text.is_empty() {
            return Err(TopicError::Empty);
        }
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong { bytes: text.len() });
        }
        match text.char_indices().find(|(_, char)| char.is_control()) {
            Some((at, _)) => Err(TopicError::ControlCharacter { at }),
            None => Ok(Self(Arc::from(text))),
        }
    }

    /// The topic's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a [`Topic`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TopicError {
    /// The text is empty.
    Empty,
    /// The text is longer than [`TOPIC_BYTES_MAX`].
    TooLong {
        /// How long it is.
        bytes: usize,
    },
    /// The text contains a control character.
    ControlCharacter {
        /// Where, in bytes from the beginning.
        at: usize,
    },
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the topic is empty: name one, like `orders/42`"),
            Self::TooLong { bytes } => write!(
                f,
                "the topic is {bytes} bytes long: shorten it to {TOPIC_BYTES_MAX} bytes or fewer"
            ),
            Self::ControlCharacter { at } => write!(
                f,
                "the topic has a control character at byte {at}: remove it or percent-encode it"
            ),
        }
    }
}

impl Error for TopicError {}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topic({:?})", &*self.0)
    }
}

impl AsRef<str> for Topic {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A map with `Topic` keys is searched with a `&str`.
impl Borrow<str> for Topic {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl FromStr for Topic {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

impl TryFrom<&str> for Topic {
    type Error = TopicError;

    fn try_from(text: &str) -> Result<Self, TopicError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Topic {
    type Error = TopicError;

    fn try_from(text: String) -> Result<Self, TopicError> {
        Self::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn good_topics() {
        for text in ["a", "orders/42", "größe/🦀", " spaces are text ", "-"] {
            assert_eq!(Topic::new(text).unwrap().as_str(), text);
        }
        assert!(Topic::new(&"x".repeat(TOPIC_BYTES_MAX)).is_ok());
    }

    #[test]
    fn bad_topics() {
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        let cases = [
            ("", TopicError::Empty),
            (long.as_str(), TopicError::TooLong { bytes: 1025 }),
            ("a\nb", TopicError::ControlCharacter { at: 1 }),
            ("a\0", TopicError::ControlCharacter { at: 1 }),
            ("ä\u{7f}", TopicError::ControlCharacter { at: 2 }),
            ("\u{85}", TopicError::ControlCharacter { at: 0 }),
        ];
        for (text, error) in cases {
            assert_eq!(Topic::new(text).unwrap_err(), error);
            assert!(error.to_string().contains("topic"));
        }
    }

    #[test]
    fn a_clone_shares_the_text() {
        let topic = Topic::new("a").unwrap();
        assert!(core::ptr::eq(topic.as_str(), topic.clone().as_str()));
    }
}
