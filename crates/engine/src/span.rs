//! What a cursor has pending, as bytes that can be written as they are.

use std::{fmt, sync::Arc};

use crate::forgotten::Forgotten;

/// A place within a log: a sequence, and how much of its frame was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) sequence: u64,
    /// Bytes of the frame at `sequence`; 0 between events.
    pub(crate) offset: u32,
}

impl Place {
    pub(crate) fn at(sequence: u64) -> Self {
        Self {
            sequence,
            offset: 0,
        }
    }
}

/// Puts a transport's framing around a piece of a frame, e.g. the chunks of HTTP/1.1.
pub type Framing = fn(piece: &[u8], out: &mut Vec<u8>);

/// The bytes of a frame that are framed as one. It is what a subscriber whose socket takes no more
/// can hold: the rest of one piece.
pub const PIECE_BYTES_MAX: usize = 4 << 10;

/// Framed bytes of events, in order: encoded once for all cursors that stand at the same place.
///
/// It is whole pieces. A cursor whose socket took only a part of it goes on behind the piece that
/// was begun, once the rest of that is written.
pub struct Span {
    pub(crate) source: Source,
    pub(crate) from: Place,
    pub(crate) to: Place,
    pub(crate) bytes: Vec<u8>,
    /// Where each piece ends.
    ends: Vec<End>,
    pub(crate) events: u64,
    /// Bytes of frames, without the framing.
    pub(crate) frame_bytes: usize,
    /// The budget was used up: there may be more behind it.
    pub(crate) is_full: bool,
    /// When the first of the events that begin in it expires. Unix milliseconds.
    pub(crate) expires_ms: u64,
    /// What the log said to be gone when it was read, for those who come to it later.
    pub(crate) forgotten: Forgotten,
}

/// The end of a piece.
#[derive(Debug, Clone, Copy)]
struct End {
    /// Bytes of the span up to here.
    at: u32,
    /// Bytes of frames up to here.
    frame_bytes: u32,
    /// What a cursor has reached here.
    place: Place,
}

/// What a socket that took only a part of a span has got.
#[derive(Debug)]
pub(crate) struct Reached<'a> {
    /// The rest of the piece that was begun; empty where a piece ends.
    pub(crate) rest: &'a [u8],
    /// The place behind that piece.
    pub(crate) place: Place,
    /// Events that end before that place.
    pub(crate) events: u64,
    /// Bytes of frames before it.
    pub(crate) frame_bytes: u64,
}

/// What a span was read from: the one channel that many follow, or one subscriber's own selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Channel(u32),
    Member(u32),
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Span")
            .field("from", &self.from)
            .field("to", &self.to)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Span {
    pub(crate) fn new(source: Source, from: Place) -> Self {
        Self {
            source,
            from,
            to: from,
            bytes: Vec::new(),
            ends: Vec::new(),
            events: 0,
            frame_bytes: 0,
            is_full: false,
            expires_ms: u64::MAX,
            forgotten: Forgotten::default(),
        }
    }

    /// The bytes to write.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether there may be more to write behind it.
    pub fn is_full(&self) -> bool {
        self.is_full
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Notes when an event expires that is to be added. One that was begun is finished all the same.
    pub(crate) fn expire_with(&mut self, sequence: u64, expires_ms: u64) {
        let begun = self.from.offset > 0 && self.from.sequence == sequence;
        if !begun {
            self.expires_ms = self.expires_ms.min(expires_ms);
        }
    }

    /// Adds the frame, or as much of it as the budget has room for. False: no room for any of it.
    pub(crate) fn push(&mut self, sequence: u64, frame: &[u8], limit: &SpanLimit) -> bool {
        let mut done = match self.to {
            to if to.sequence == sequence => to.offset as usize,
            _ => 0,
        };
        let room = |span: &Self| span.bytes.len() < limit.bytes && span.ends.len() < limit.pieces;
        if !room(self) {
            self.is_full = true;
            return false;
        }
        while let Some(rest) = frame.get(done..).filter(|rest| !rest.is_empty()) {
            if !room(self) {
                self.is_full = true;
                return true;
            }
            let piece = rest.get(..PIECE_BYTES_MAX).unwrap_or(rest);
            (limit.framing)(piece, &mut self.bytes);
            done += piece.len();
            self.frame_bytes += piece.len();
            self.to = match u32::try_from(done) {
                Ok(offset) if done < frame.len() => Place { sequence, offset },
                _ => Place::at(sequence + 1),
            };
            self.ends.push(End {
                at: narrow(self.bytes.len()),
                frame_bytes: narrow(self.frame_bytes),
                place: self.to,
            });
        }
        self.events += 1;
        true
    }

    /// What was reached when the first `written` bytes are written.
    pub(crate) fn reached(&self, written: usize) -> Reached<'_> {
        let whole = self.ends.partition_point(|end| end.at as usize <= written);
        let before = whole.checked_sub(1).and_then(|i| self.ends.get(i));
        let begun = written > before.map_or(0, |end| end.at as usize);
        let last = self.ends.get(whole).filter(|_| begun);
        let rest = last.and_then(|end| self.bytes.get(written..end.at as usize));
        let pieces = self.ends.iter().take(whole + usize::from(begun));
        let last = last.or(before);
        Reached {
            rest: rest.unwrap_or_default(),
            place: last.map_or(self.from, |end| end.place),
            events: pieces.filter(|end| end.place.offset == 0).count() as u64,
            frame_bytes: last.map_or(0, |end| u64::from(end.frame_bytes)),
        }
    }
}

/// A span is bounded far below that.
fn narrow(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

/// How much a span holds, and how it is framed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SpanLimit {
    /// A span that has so many bytes is full. The last piece may exceed it.
    pub(crate) bytes: usize,
    pub(crate) pieces: usize,
    pub(crate) framing: Framing,
}

/// The spans that were used last. Those who follow a topic stand at the same place nearly always,
/// and those who resume together go through the same places.
#[derive(Debug, Default)]
pub(crate) struct SpanCache {
    spans: Vec<Arc<Span>>,
    /// The oldest, to be replaced next.
    oldest: usize,
    /// One that was replaced, whose memory the next one gets. Were it freed and allocated again
    /// each time, what sockets leave unwritten would come to lie in between, a few bytes in each
    /// hole of a span's size: 2,000 clients that stalled then held 170 MB.
    spare: Option<Span>,
}

/// Spans that a crowd keeps: some for topics that are busy at once, few enough to look through.
pub(crate) const SPANS_MAX: usize = 16;

impl SpanCache {
    /// The span at this place, if it still is all that there is up to `next`.
    pub(crate) fn get(
        &self,
        source: Source,
        from: Place,
        next: u64,
        now_ms: u64,
    ) -> Option<Arc<Span>> {
        let here = |span: &&Arc<Span>| span.from == from && span.source == source;
        let span = self.spans.iter().find(here)?;
        let complete = span.is_full || span.to.sequence >= next;
        (complete && span.expires_ms > now_ms).then(|| span.clone())
    }

    /// An empty span.
    pub(crate) fn begin(&mut self, source: Source, from: Place) -> Span {
        let new = Span::new(source, from);
        let Some(Span {
            mut bytes,
            mut ends,
            ..
        }) = self.spare.take()
        else {
            return new;
        };
        bytes.clear();
        ends.clear();
        Span { bytes, ends, ..new }
    }

    /// Keeps a span for those who come to its place next.
    pub(crate) fn put(&mut self, span: Span) -> Arc<Span> {
        let span = Arc::new(span);
        let same = |old: &Arc<Span>| old.from == span.from && old.source == span.source;
        let place = match self.spans.iter().position(same) {
            Some(place) => place,
            None if self.spans.len() < SPANS_MAX => {
                self.spans.push(span.clone());
                return span;
            }
            None => {
                self.oldest = (self.oldest + 1) % SPANS_MAX;
                self.oldest
            }
        };
        if let Some(old) = self.spans.get_mut(place) {
            self.spare = Arc::into_inner(std::mem::replace(old, span.clone()));
        }
        span
    }

    /// Takes back a span that nobody needs.
    pub(crate) fn put_back(&mut self, span: Span) {
        self.spare = Some(span);
    }

    /// Forgets what was read for `source`, whose number may be given to another.
    pub(crate) fn forget(&mut self, source: Source) {
        self.spans.retain(|span| span.source != source);
        self.oldest = 0;
    }
}
