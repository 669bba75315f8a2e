//! Events to their bytes.

use alloc::vec::Vec;

use crate::event_id::EventId;
use crate::event_type::EventType;
use crate::lines::{encode_lines, lines_len};

const ID: &[u8] = b"id: ";
const EVENT: &[u8] = b"event: ";
const RETRY: &[u8] = b"retry: ";
const DATA: &[u8] = b"data: ";
const COMMENT: &[u8] = b": ";

/// The decimal digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// An event to encode: any of `id`, `event`, `retry` and `data`.
///
/// What has `data` (empty data too) is dispatched to the page. What has none is not, but its `id`
/// and `retry` count: an event of an `id` alone is a heartbeat that moves the last event ID.
///
/// The encoding is always the fields in the order `id`, `event`, `retry`, `data`, then a blank
/// line. So an ID that is known later can be put in front: [`encode_id_line`], then the encoding
/// of the event without one, are together the encoding of the event with it.
///
/// ```
/// use tidings_wire::{Event, EventId, EventType};
///
/// let event = Event::new()
///     .id(EventId::new("k3f:42")?)
///     .event_type(EventType::new("price")?)
///     .data("EUR\r\n1.09");
/// let mut out = Vec::new();
/// event.encode_into(&mut out);
/// assert_eq!(out, b"id: k3f:42\nevent: price\ndata: EUR\ndata: 1.09\n\n");
/// assert_eq!(out.len(), event.encoded_len());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_field_names,
    reason = "`type` is taken, and `event_type` says it best"
)]
pub struct Event<'a> {
    id: Option<EventId<'a>>,
    event_type: Option<EventType<'a>>,
    retry_ms: Option<u64>,
    data: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// An event without fields; it encodes to a blank line, which does nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            id: None,
            event_type: None,
            retry_ms: None,
            data: None,
        }
    }

    /// Sets the ID that the receiver is to keep.
    #[must_use]
    pub const fn id(self, id: EventId<'a>) -> Self {
        Self {
            id: Some(id),
            ..self
        }
    }

    /// Sets the event type; without it the event is a `message`.
    #[must_use]
    pub const fn event_type(self, event_type: EventType<'a>) -> Self {
        Self {
            event_type: Some(event_type),
            ..self
        }
    }

    /// Sets the time that the receiver is to wait before it reconnects, in milliseconds.
    #[must_use]
    pub const fn retry_ms(self, retry_ms: u64) -> Self {
        Self {
            retry_ms: Some(retry_ms),
            ..self
        }
    }

    /// Sets the data: any text. CR, LF and CRLF each end a line, and the receiver gets the lines
    /// joined by LF: the stream has no way to tell them apart.
    #[must_use]
    pub const fn data(self, data: &'a str) -> Self {
        Self {
            data: Some(data),
            ..self
        }
    }

    /// How many bytes [`Event::encode_into`] appends. It looks at the data once.
    pub fn encoded_len(&self) -> usize {
        let id = self.id.map_or(0, id_line_len);
        let event_type = self
            .event_type
            .map_or(0, |event_type| EVENT.len() + event_type.as_str().len() + 1);
        let retry = self
            .retry_ms
            .map_or(0, |retry_ms| RETRY.len() + digits(retry_ms) + 1);
        let data = self.data.map_or(0, |data| lines_len(DATA, data.as_bytes()));
        id + event_type + retry + data + 1
    }

    /// Appends the event's bytes to `out`, the blank line included. It allocates nothing but what
    /// `out` needs to grow.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        if let Some(id) = self.id {
            encode_id_line(id, out);
        }
        if let Some(event_type) = self.event_type {
            encode_line(EVENT, event_type.as_str().as_bytes(), out);
        }
        if let Some(retry_ms) = self.retry_ms {
            encode_retry_line(retry_ms, out);
        }
        if let Some(data) = self.data {
            encode_lines(DATA, data.as_bytes(), out);
        }
        out.push(b'\n');
    }
}

/// Appends `id: ID` and a line end: the line to put in front of an event that was encoded without
/// an ID, or of a blank line, which makes a heartbeat.
///
/// ```
/// use tidings_wire::{Event, EventId, encode_id_line};
///
/// let mut out = Vec::new();
/// encode_id_line(EventId::new("k3f:42")?, &mut out);
/// Event::new().data("hello").encode_into(&mut out);
/// assert_eq!(out, b"id: k3f:42\ndata: hello\n\n");
/// # Ok::<(), tidings_wire::EventIdError>(())
/// ```
pub fn encode_id_line(id: EventId<'_>, out: &mut Vec<u8>) {
    encode_line(ID, id.as_str().as_bytes(), out);
}

/// How many bytes [`encode_id_line`] appends.
pub const fn id_line_len(id: EventId<'_>) -> usize {
    ID.len() + id.as_str().len() + 1
}

/// Appends `text` as a comment: any text, a line of the stream for each line of it. No page sees
/// it. There is no blank line after it, since none is needed: it may stand between events, and
/// between the fields of one.
///
/// ```
/// let mut out = Vec::new();
/// tidings_wire::encode_comment("still here\ndata: not data", &mut out);
/// assert_eq!(out, b": still here\n: data: not data\n");
/// ```
pub fn encode_comment(text: &str, out: &mut Vec<u8>) {
    encode_lines(COMMENT, text.as_bytes(), out);
}

/// How many bytes [`encode_comment`] appends.
pub fn comment_len(text: &str) -> usize {
    lines_len(COMMENT, text.as_bytes())
}

/// `value` is known to have no line end in it.
fn encode_line(prefix: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.reserve(prefix.len() + value.len() + 1);
    out.extend_from_slice(prefix);
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn encode_retry_line(retry_ms: u64, out: &mut Vec<u8>) {
    let mut text = [0; DIGITS_MAX];
    let mut rest = retry_ms;
    let count = digits(retry_ms);
    for digit in text.iter_mut().take(count).rev() {
        // A digit fits in a byte, so the fallback is never taken.
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    encode_line(RETRY, text.get(..count).unwrap_or(&[]), out);
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(event: Event<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        event.encode_into(&mut out);
        assert_eq!(out.len(), event.encoded_len());
        out
    }

    #[test]
    fn each_line_end_ends_a_line() {
        for (data, expected) in [
            ("", &b"data: \n\n"[..]),
            ("a", b"data: a\n\n"),
            ("a\nb", b"data: a\ndata: b\n\n"),
            ("a\rb", b"data: a\ndata: b\n\n"),
            ("a\r\nb", b"data: a\ndata: b\n\n"),
            ("a\n\rb", b"data: a\ndata: \ndata: b\n\n"),
            ("a\n", b"data: a\ndata: \n\n"),
            ("\r\n", b"data: \ndata: \n\n"),
            (" a", b"data:  a\n\n"),
        ] {
            assert_eq!(encoded(Event::new().data(data)), expected, "{data:?}");
        }
    }

    #[test]
    fn retry_has_all_its_digits() {
        for (retry_ms, expected) in [
            (0, &b"retry: 0\n\n"[..]),
            (9, b"retry: 9\n\n"),
            (10, b"retry: 10\n\n"),
            (3_000, b"retry: 3000\n\n"),
            (u64::MAX, b"retry: 18446744073709551615\n\n"),
        ] {
            assert_eq!(encoded(Event::new().retry_ms(retry_ms)), expected);
        }
    }

    #[test]
    fn an_id_line_in_front_is_the_id_field() {
        let id = EventId::new("k3f:42").unwrap();
        let event = Event::new().retry_ms(5).data("a\nb");
        let mut pieces = Vec::new();
        encode_id_line(id, &mut pieces);
        assert_eq!(pieces.len(), id_line_len(id));
        event.encode_into(&mut pieces);
        assert_eq!(pieces, encoded(event.id(id)));
    }

    #[test]
    fn an_event_without_fields_is_a_blank_line() {
        assert_eq!(encoded(Event::new()), b"\n");
    }

    #[test]
    fn a_comment_cannot_end() {
        let mut out = Vec::new();
        encode_comment("a\r\ndata: b\r\n\r\n", &mut out);
        assert_eq!(out, b": a\n: data: b\n: \n: \n");
        assert_eq!(out.len(), comment_len("a\r\ndata: b\r\n\r\n"));
    }
}
