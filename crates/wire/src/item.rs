//! What a decoder yields.

use alloc::borrow::ToOwned;
use alloc::string::String;

use crate::text;

/// What [`Decoder::next`](crate::Decoder::next) found in the stream, or
/// [`Decoder::next_bytes`](crate::Decoder::next_bytes), of which `D` is `&[u8]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a, D = &'a str> {
    /// An event, as the standard dispatches it.
    Event(MessageEvent<'a, D>),
    /// A line that was a comment, without its colon and one space after it.
    Comment(D),
    /// A valid `retry` field, in milliseconds; one that is too large for a `u64` is `u64::MAX`.
    /// It takes effect at once, wherever it stands.
    Retry(u64),
}

impl<'a> Item<'a, &'a [u8]> {
    /// The same with text; only what is malformed is copied, into `scratch`.
    pub(crate) fn decode(self, scratch: &'a mut String) -> Item<'a> {
        match self {
            Item::Event(event) => Item::Event(MessageEvent {
                event_type: event.event_type,
                data: text::decode(event.data, scratch),
                last_event_id: event.last_event_id,
            }),
            Item::Comment(comment) => Item::Comment(text::decode(comment, scratch)),
            Item::Retry(retry_ms) => Item::Retry(retry_ms),
        }
    }
}

/// An event as the standard dispatches it, borrowed until the decoder is called again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageEvent<'a, D = &'a str> {
    /// The event type; `message` if the stream named none.
    pub event_type: &'a str,
    /// The lines of data, joined by LF.
    pub data: D,
    /// The ID that the stream had last set when this event ended; empty if none.
    pub last_event_id: &'a str,
}

impl MessageEvent<'_> {
    /// Copies the event, to keep it.
    pub fn to_owned(&self) -> OwnedMessageEvent {
        OwnedMessageEvent {
            event_type: self.event_type.to_owned(),
            data: self.data.to_owned(),
            last_event_id: self.last_event_id.to_owned(),
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
