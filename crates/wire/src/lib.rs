//! An exact, fast codec for server-sent event streams, and the place to learn their corners.
//!
//! `text/event-stream` is lines of UTF-8: fields, and a blank line that ends an event. [`Event`]
//! writes it, [`Decoder`] reads it, both exactly as the [WHATWG HTML standard] says. The crate is
//! `no_std` with `alloc`, has no unsafe code, does no I/O and knows no clock.
//!
//! [WHATWG HTML standard]: https://html.spec.whatwg.org/multipage/server-sent-events.html
//!
//! ```
//! use tidings_wire::{Decoder, Event, EventId, Item};
//!
//! let mut stream = Vec::new();
//! Event::new().id(EventId::new("7")?).data("hello\nworld").encode_into(&mut stream);
//! assert_eq!(stream, b"id: 7\ndata: hello\ndata: world\n\n");
//!
//! let mut decoder = Decoder::new();
//! let mut input = &stream[..]; // or a chunk of it: any cut will do
//! while let Some(item) = decoder.next(&mut input) {
//!     match item {
//!         Ok(Item::Event(event)) => assert_eq!(event.data, "hello\nworld"),
//!         Ok(_) => {}                             // comments, retry
//!         Err(error) => eprintln!("{error}"),     // a limit: the stream goes on after it
//!     }
//! }
//! assert_eq!(decoder.last_event_id(), "7");
//! # Ok::<(), tidings_wire::EventIdError>(())
//! ```
//!
//! # Writing
//!
//! No text can break out of its field. Data may be any text. An event type, an ID and a topic are
//! checked once, when an [`EventType`], an [`EventId`] or a [`Topic`] is made; then encoding cannot
//! fail, and it allocates nothing but what the caller's buffer needs to grow.
//!
//! ```
//! use tidings_wire::{Event, EventType};
//!
//! let mut out = Vec::new();
//! Event::new().data("a\n\nevent: evil\rid: 9").encode_into(&mut out);
//! assert_eq!(out, b"data: a\ndata: \ndata: event: evil\ndata: id: 9\n\n");
//! assert!(EventType::new("x\ndata: evil").is_err());
//! ```
//!
//! # The corners
//!
//! In these examples `seen` decodes a whole stream and lists the type, data and last event ID of
//! each event.
//!
//! ## Lines
//!
//! A line ends in LF, CR or CRLF, also mixed. Nothing else ends one: U+2028 is text.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! let expected = [["message", "a\nb\nc", ""]];
//! assert_eq!(seen("data: a\ndata: b\rdata: c\r\n\r\n"), expected);
//! assert_eq!(seen("data: a\u{2028}b\n\n")[0][1], "a\u{2028}b");
//! # }
//! ```
//!
//! A CR at the end of a chunk ends its line at once. Waiting for the LF that may follow would hold
//! back an event until the next one.
//!
//! ```
//! use tidings_wire::Decoder;
//!
//! let mut decoder = Decoder::new();
//! assert!(decoder.next(&mut &b"data: a\r\n\r"[..]).is_some());
//! assert!(decoder.next(&mut &b"\n"[..]).is_none()); // the rest of that CRLF, and not a line
//! ```
//!
//! ## Chunks
//!
//! A stream comes in pieces that mean nothing, and a cut may go through a line end, a character, a name
//! or the BOM.
//!
//! ```
//! use tidings_wire::{Decoder, Item};
//!
//! let stream = "\u{feff}id: 1\r\ndata: \u{1f980}\r\n\r\n".as_bytes();
//! for at in 0..=stream.len() {
//!     let (mut decoder, mut events) = (Decoder::new(), 0);
//!     for mut chunk in [&stream[..at], &stream[at..]] {
//!         while let Some(item) = decoder.next(&mut chunk) {
//!             assert!(matches!(item, Ok(Item::Event(event)) if event.data == "\u{1f980}"));
//!             events += 1;
//!         }
//!     }
//!     assert_eq!(events, 1);
//! }
//! ```
//!
//! ## Fields
//!
//! One space after the colon is dropped, and only one. A field without a colon is empty. Names are
//! exact, and unknown ones are ignored.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! assert_eq!(seen("data:a\n\n")[0][1], "a");
//! assert_eq!(seen("data:  a \n\n")[0][1], " a ");
//! assert_eq!(seen("data\n\n")[0][1], "");
//! assert!(seen("Data: a\n data: a\ndata : a\ndatas: a\n\n").is_empty());
//! # }
//! ```
//!
//! ## Data
//!
//! Each `data` line adds its value and an LF, of which the last is dropped. So empty data is an event,
//! two empty lines are one LF, and a block without `data` dispatches nothing, whatever else it has.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! assert_eq!(seen("data:\n\n")[0][1], "");
//! assert_eq!(seen("data\ndata\n\n")[0][1], "\n");
//! assert!(seen("event: x\n\n").is_empty());
//! # }
//! ```
//!
//! What ends in a line end when it is encoded keeps it; but CR and CRLF come out as LF, since the
//! stream cannot tell them apart.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! let mut out = Vec::new();
//! tidings_wire::Event::new().data("a\r\nb\r").encode_into(&mut out);
//! assert_eq!(seen(out)[0][1], "a\nb\n");
//! # }
//! ```
//!
//! ## Event types
//!
//! `event` is for its block only; empty is `message`. A page hears `message` in `onmessage`, and all
//! others with `addEventListener`.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! let expected = [["x", "a", ""], ["message", "b", ""]];
//! assert_eq!(seen("event: x\ndata: a\n\ndata: b\n\n"), expected);
//! # }
//! ```
//!
//! ## IDs
//!
//! `id` stays until another replaces it. An empty one resets it. One with a NUL is ignored.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! let stream = "id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\nid\ndata: d\n\n";
//! let ids: Vec<_> = seen(stream).into_iter().map(|[_, _, id]| id).collect();
//! assert_eq!(ids, ["1", "1", "1", ""]);
//! # }
//! ```
//!
//! The blank line commits it, and it needs no data for that: so a block of an ID alone is a heartbeat
//! that no page sees, but that moves the place where the page will resume. An ID in a block that never
//! ends does not count.
//!
//! ```
//! use tidings_wire::Decoder;
//!
//! let mut decoder = Decoder::new();
//! assert!(decoder.next(&mut &b"id: 41\n\nid: 42\ndata: lost"[..]).is_none());
//! assert_eq!(decoder.last_event_id(), "41");
//! decoder.restart(); // a new connection, with `Last-Event-ID: 41`
//! assert_eq!(decoder.last_event_id(), "41");
//! ```
//!
//! It is known before a stream begins, too: a program that was started again sends the ID it has kept,
//! and what comes without an ID has that one.
//!
//! ```
//! use tidings_wire::{Decoder, Item};
//!
//! let mut decoder = Decoder::new();
//! decoder.set_last_event_id("41");
//! let mut input = &b"data: a\n\n"[..];
//! assert!(matches!(decoder.next(&mut input),
//!     Some(Ok(Item::Event(event))) if event.last_event_id == "41"));
//! ```
//!
//! ## Retry
//!
//! `retry` is ASCII digits and nothing else, of any size. It takes effect at its line, not at the blank
//! line, and dispatches nothing.
//!
//! ```
//! use tidings_wire::{Decoder, Item};
//!
//! let mut decoder = Decoder::new();
//! let mut input = &b"retry: 5000\nretry: 5s\nretry: -1\nretry\n"[..];
//! assert_eq!(decoder.next(&mut input), Some(Ok(Item::Retry(5000))));
//! assert_eq!(decoder.next(&mut input), None);
//! assert_eq!(decoder.retry_ms(), Some(5000));
//! ```
//!
//! ## Comments
//!
//! A line that begins with a colon is a comment. It may stand anywhere, between the fields of an event
//! too, and a blank line after it is not needed.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! assert_eq!(seen(": ping\n\ndata: a\n: ping\ndata: b\n\n"), [["message", "a\nb", ""]]);
//! # }
//! ```
//!
//! ## Encoding
//!
//! The stream is UTF-8, whatever the `charset` says. One BOM at its beginning is dropped; a second one
//! is the beginning of a name, which nobody knows. What is malformed becomes U+FFFD, as the Encoding
//! standard says, and is no error.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! assert_eq!(seen("\u{feff}data: a\n\n").len(), 1);
//! assert_eq!(seen("\u{feff}\u{feff}data: a\n\n").len(), 0);
//! assert_eq!(seen(b"data: a\xFFb\xE2\x82\n\n")[0][1], "a\u{fffd}b\u{fffd}");
//! # }
//! ```
//!
//! ## The end
//!
//! An event that has no blank line yet when the stream ends is discarded: the connection broke, and
//! half an event is none. So there is nothing to flush.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/seen.rs"));
//! # fn main() {
//! assert_eq!(seen("data: a\n\ndata: b\n"), [["message", "a", ""]]);
//! # }
//! ```
//!
//! # Limits
//!
//! The standard has none, and a peer can send a line without an end. [`Limits`] bound a line, an event
//! and an ID, and so the decoder's memory. When one is exceeded, that block is dropped with its ID and
//! reported once; the next one is read as if nothing had been.
//!
//! ```
//! use tidings_wire::{DecodeError, Decoder, Item, Limits};
//!
//! let mut limits = Limits::default();
//! limits.line_bytes_max = 10;
//! let mut decoder = Decoder::with_limits(limits);
//! let mut input = &b"id: 1\ndata: much too long\n\ndata: b\n\n"[..];
//! let error = DecodeError::LineTooLong { line_bytes_max: 10 };
//! assert_eq!(decoder.next(&mut input), Some(Err(error)));
//! assert!(matches!(decoder.next(&mut input), Some(Ok(Item::Event(event))) if event.data == "b"));
//! assert_eq!(decoder.skipped(), 1);
//! assert_eq!(decoder.last_event_id(), "");
//! ```
//!
//! # Cost
//!
//! Work is linear in the bytes of the stream, in any chunking. An event of one line of data in one
//! chunk is borrowed from the chunk; data is copied only if it has several lines or spans chunks.
//!
//! The decoder looks for line ends and for names, and reads nothing else. What it yields is [`Text`]:
//! the bytes as they came, to pass on or to parse, and a string for who asks. To check that bytes are
//! UTF-8 takes about as long as all else, so only who wants a string pays for it.
//!
//! ```
//! use tidings_wire::{Decoder, Item};
//!
//! let mut decoder = Decoder::new();
//! let mut input = &b"event: x\ndata: a\xFFb\n\n"[..];
//! let Some(Ok(Item::Event(event))) = decoder.next(&mut input) else {
//!     panic!("an event is there");
//! };
//! assert_eq!(event.event_type, "x");
//! assert_eq!(event.data.as_bytes(), b"a\xFFb");
//! assert_eq!(event.data.to_str(), "a\u{fffd}b");
//! ```
//!
//! The feature `std` (default) only lets `memchr` choose the CPU's widest vectors at run time.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod block;
mod decoder;
mod event;
mod event_id;
mod event_type;
mod field;
mod item;
mod limits;
mod line_reader;
mod lines;
mod plain_block;
mod scan;
mod text;
mod topic;

pub use decoder::Decoder;
pub use event::{Event, comment_len, encode_comment, encode_id_line, id_line_len};
pub use event_id::{EVENT_ID_BYTES_MAX, EventId, EventIdError};
pub use event_type::{EVENT_TYPE_BYTES_MAX, EventType, EventTypeError};
pub use item::{Item, MessageEvent, OwnedMessageEvent};
pub use limits::{DecodeError, Limits};
pub use text::Text;
pub use topic::{TOPIC_BYTES_MAX, Topic, TopicError};
