//! The readers. Each gets the chunks as it likes them best, and counts events and bytes of data.

use std::convert::Infallible;
use std::fmt::Debug;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::stream;
use tidings_wire::{Item, MessageEvent};
use tokio_util::codec::Decoder;

#[derive(Debug, Default)]
pub struct Seen {
    pub events: usize,
    pub data_bytes: usize,
}

impl Seen {
    fn add(&mut self, data: &str) {
        self.events += 1;
        self.data_bytes += black_box(data).len();
    }
}

type Reader = (&'static str, fn(&[Bytes]) -> Seen);

/// The ceiling comes first.
pub fn readers() -> Vec<Reader> {
    vec![
        ("memchr2 (ceiling)", ceiling),
        ("memchr2, joined", joined),
        ("tidings-wire", tidings),
        ("tidings-wire, text", tidings_text),
        ("tidings-wire, owned", tidings_owned),
        ("sse-core", sse_core),
        ("sse-parse", sse_parse),
        ("sse-stream", sse_stream),
        ("sseer", sseer),
        ("eventsource-stream", eventsource_stream),
        ("sse-codec", sse_codec),
        ("async-sse", async_sse),
        ("russe", russe),
        ("tokio_sse_codec", tokio_sse_codec),
    ]
}

fn ceiling(chunks: &[Bytes]) -> Seen {
    let mut seen = Seen::default();
    for chunk in chunks {
        for at in memchr::memchr2_iter(b'\n', b'\r', chunk) {
            seen.data_bytes ^= at;
            seen.events += 1;
        }
    }
    seen
}

/// The ceiling of who gives data in one piece: lines that chunks split are copied.
fn joined(chunks: &[Bytes]) -> Seen {
    let mut seen = Seen::default();
    let mut line = Vec::new();
    for chunk in chunks {
        let mut from = 0;
        for at in memchr::memchr2_iter(b'\n', b'\r', chunk) {
            if from == 0 && !line.is_empty() {
                line.extend_from_slice(&chunk[..at]);
                black_box(&line);
                line.clear();
            }
            from = at + 1;
            seen.data_bytes ^= at;
            seen.events += 1;
        }
        line.extend_from_slice(&chunk[from..]);
    }
    seen
}

/// Data as it came: what is enough to pass it on, or for a parser of bytes.
fn tidings(chunks: &[Bytes]) -> Seen {
    drive_tidings(chunks, |seen, event| {
        seen.events += 1;
        seen.data_bytes += black_box(event.data.as_bytes()).len();
    })
}

/// Data as a borrowed `str`, which is checked for that.
fn tidings_text(chunks: &[Bytes]) -> Seen {
    drive_tidings(chunks, |seen, event| seen.add(&event.data.to_str()))
}

/// What the peers do: `String`s for each event.
fn tidings_owned(chunks: &[Bytes]) -> Seen {
    drive_tidings(chunks, |seen, event| {
        seen.add(&black_box(event.to_owned()).data);
    })
}

fn drive_tidings(chunks: &[Bytes], each: impl Fn(&mut Seen, MessageEvent<'_>)) -> Seen {
    let mut seen = Seen::default();
    let mut decoder = tidings_wire::Decoder::new();
    for chunk in chunks {
        let mut input = &**chunk;
        while let Some(item) = decoder.next(&mut input) {
            if let Ok(Item::Event(event)) = item {
                black_box((event.event_type, event.last_event_id));
                each(&mut seen, event);
            }
        }
    }
    seen
}

fn sse_core(chunks: &[Bytes]) -> Seen {
    let mut seen = Seen::default();
    let mut decoder = sse_core::SseDecoder::new();
    for chunk in chunks {
        let mut input = &**chunk;
        while let Some(item) = decoder.next(&mut input) {
            if let Ok(sse_core::SseEvent::Message(event)) = item {
                seen.add(&event.data);
            }
        }
    }
    seen
}

fn sse_parse(chunks: &[Bytes]) -> Seen {
    let mut seen = Seen::default();
    let mut parser = sse_parse::SseParser::new();
    for chunk in chunks {
        parser.feed(chunk);
        while let Some(event) = parser.next_event() {
            seen.add(&event.data);
        }
    }
    seen
}

fn sse_stream(chunks: &[Bytes]) -> Seen {
    let source = sse_stream::SseByteStream::new(source(chunks));
    drain(source, |seen, event| {
        seen.add(&event.expect("valid").data.expect("data"))
    })
}

fn sseer(chunks: &[Bytes]) -> Seen {
    let source = sseer::event_stream::EventStream::new(source(chunks));
    drain(source, |seen, event| seen.add(&event.expect("valid").data))
}

fn eventsource_stream(chunks: &[Bytes]) -> Seen {
    let source = eventsource_stream::EventStream::new(source(chunks));
    drain(source, |seen, event| seen.add(&event.expect("valid").data))
}

fn sse_codec(chunks: &[Bytes]) -> Seen {
    drain(sse_codec::decode_stream(reader(chunks)), |seen, event| {
        if let sse_codec::Event::Message { data, .. } = event.expect("valid") {
            seen.add(&data);
        }
    })
}

fn async_sse(chunks: &[Bytes]) -> Seen {
    drain(async_sse::decode(reader(chunks)), |seen, event| {
        if let async_sse::Event::Message(message) = event.expect("valid") {
            seen.add(std::str::from_utf8(message.data()).expect("ASCII"));
        }
    })
}

fn russe(chunks: &[Bytes]) -> Seen {
    frames(chunks, russe::Decoder::default(), |seen, event| {
        if let russe::Event::Message(message) = event {
            seen.add(&message.data);
        }
    })
}

fn tokio_sse_codec(chunks: &[Bytes]) -> Seen {
    let decoder = tokio_sse_codec::SseDecoder::<String>::new();
    frames(chunks, decoder, |seen, frame| {
        if let tokio_sse_codec::Frame::Event(event) = frame {
            seen.add(&event.data);
        }
    })
}

/// A decoder that takes its input from a buffer, to which chunks are added as a socket's bytes.
fn frames<D: Decoder<Error: Debug>>(
    chunks: &[Bytes],
    mut decoder: D,
    mut each: impl FnMut(&mut Seen, D::Item),
) -> Seen {
    let mut seen = Seen::default();
    let mut buffer = BytesMut::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        while let Some(item) = decoder.decode(&mut buffer).expect("valid") {
            each(&mut seen, item);
        }
    }
    seen
}

fn source(chunks: &[Bytes]) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + '_ {
    stream::iter(chunks.iter().cloned().map(Ok))
}

/// A reader whose every read or `fill_buf` is one chunk.
fn reader(chunks: &[Bytes]) -> impl futures_util::AsyncBufRead + Unpin + '_ {
    futures_util::TryStreamExt::into_async_read(stream::iter(
        chunks.iter().cloned().map(Ok::<_, std::io::Error>),
    ))
}

/// All is in memory, so nothing is ever pending.
fn drain<T>(source: impl Stream<Item = T>, mut each: impl FnMut(&mut Seen, T)) -> Seen {
    let mut seen = Seen::default();
    let mut source = pin!(source);
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(item)) = source.as_mut().poll_next(&mut context) {
        each(&mut seen, item);
    }
    seen
}
