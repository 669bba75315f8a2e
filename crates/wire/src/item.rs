//! What a decoder yields.

use alloc::string::String;

use crate::text::Text;

/// What [`Decoder::next`](crate::Decoder::next) found in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// An event, as the standard dispatches it.
    Event(MessageEvent<'a>),
    /// A line that was a comment, without its colon and one space after it.
    Comment(Text<'a>),
    /// A valid `retry` field, in milliseconds; one that is too large for a `u64` is `u64::MAX`.
    /// It takes effect at once, wherever it stands.
    Retry(u64),
}

/// An event as the standard dispatches it, borrowed until the decoder is called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEvent<'a> {
    /// The event type; `message` if the stream named none.
    pub event_type: Text<'a>,
    /// The lines of data, joined by LF.
    pub data: Text<'a>,
    /// The ID that the stream had last set when this event ended; empty if none.
    pub last_event_id: Text<'a>,
}

impl MessageEvent<'_> {
    /// Copies the event, to keep it, as strings.
    pub fn to_owned(&self) -> OwnedMessageEvent {
        OwnedMessageEvent {
            event_type: self.event_type.to_str().into_owned(),
            data: self.data.to_str().into_owned(),
            last_event_id: self.last_event_id.to_str().into_owned(),
        }
    }
}

/// A [`MessageEvent`] to keep.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OwnedMessageEvent {
    /// See [`MessageEvent::event_type`].
    pub event_type: String,
    /// See [`MessageEvent::data`].
    pub data: String,
    /// See [`MessageEvent::last_event_id`].
    pub last_event_id: String,
}
