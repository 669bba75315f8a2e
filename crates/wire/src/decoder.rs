//! Bytes to events.

use alloc::vec::Vec;

use memchr::memchr;

use crate::block::Block;
use crate::field::Field;
use crate::item::{Item, MessageEvent};
use crate::limits::{DecodeError, Limits};
use crate::line_reader::{Line, LineReader};
use crate::plain_block::{Data, PlainBlock};
use crate::text::Text;

/// Reads an event stream, in chunks of any size, exactly as the standard says.
///
/// ```
/// use tidings_wire::{Decoder, Item};
///
/// let mut decoder = Decoder::new();
/// let mut seen = Vec::new();
/// for chunk in ["id: 1\ndata: he", "llo\n", "\nda", "ta: bye\n\n"] {
///     let mut input = chunk.as_bytes();
///     while let Some(item) = decoder.next(&mut input) {
///         if let Ok(Item::Event(event)) = item {
///             seen.push(event.to_owned());
///         }
///     }
/// }
/// assert_eq!(seen.len(), 2);
/// assert_eq!((&*seen[0].data, &*seen[0].last_event_id), ("hello", "1"));
/// assert_eq!((&*seen[1].data, &*seen[1].last_event_id), ("bye", "1"));
/// assert_eq!(decoder.last_event_id(), "1");
/// ```
///
/// At the end of the stream there is nothing to call: an event without its blank line is
/// discarded. [`Decoder::restart`] begins the next stream.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    lines: LineReader,
    block: Block,
    /// Whether `block` is that of the event that was yielded last.
    dispatched: bool,
    place: Place,
    /// Whether the block is to be skipped, since it exceeded a limit.
    skipping: bool,
    last_event_id: Vec<u8>,
    retry_ms: Option<u64>,
    skipped: u64,
}

/// Where in a block the next byte is, as far as it helps to be fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A block begins, and nothing is left of one before it.
    BetweenBlocks,
    /// In the line of data of a plain block, which is held so far.
    InPlainData,
    Elsewhere,
}

/// What the lines so far come to; it borrows the chunk, but not the decoder.
#[derive(Clone, Copy)]
enum Found<'c> {
    /// An event; its data, unless that is in the block.
    Event(Option<&'c [u8]>),
    /// A comment; its text, unless that is in the held line.
    Comment(Option<&'c [u8]>),
    Retry(u64),
    Error(DecodeError),
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder with the default [`Limits`].
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// A decoder with these limits.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            lines: LineReader::new(limits.line_bytes_max),
            block: Block::default(),
            dispatched: false,
            place: Place::Elsewhere,
            skipping: false,
            last_event_id: Vec::new(),
            retry_ms: None,
            skipped: 0,
        }
    }

    /// The next item in `input`, the stream's next bytes, or `None` if it takes more of them.
    ///
    /// What it has read, it removes from `input`: give it the same slice until it returns `None`,
    /// when the slice is empty. An error is survivable, see [`DecodeError`]. The item borrows
    /// `input` and the decoder; data is copied only if it has several lines or spans chunks.
    #[inline]
    pub fn next<'a, 'c: 'a>(
        &'a mut self,
        input: &mut &'c [u8],
    ) -> Option<Result<Item<'a>, DecodeError>> {
        if let Some((event_type, data)) = self.plain_event(input) {
            return Some(Ok(Item::Event(MessageEvent {
                event_type: type_or_message(event_type),
                data: data.into(),
                last_event_id: self.last_event_id(),
            })));
        }
        if input.is_empty() {
            return None;
        }
        self.next_by_lines(input)
    }

    /// What is not plain.
    #[inline(never)]
    fn next_by_lines<'a, 'c: 'a>(
        &'a mut self,
        input: &mut &'c [u8],
    ) -> Option<Result<Item<'a>, DecodeError>> {
        if self.place == Place::InPlainData {
            if self.end_plain_data(input) {
                return Some(self.item(Found::Event(None)));
            }
            if input.is_empty() {
                return None;
            }
        }
        let found = self.find(input)?;
        Some(self.item(found))
    }

    /// Goes on in the data of a plain block that chunks split, and says whether that ends the
    /// event. It takes nothing if it is no plain block after all, or perhaps exceeds a limit.
    fn end_plain_data(&mut self, input: &mut &[u8]) -> bool {
        let Some(data) = Data::parse(input) else {
            return false;
        };
        let (Data::Whole(part, _) | Data::Split(part)) = data;
        let block_bytes = self.block.bytes() + self.lines.held().len() + part.len();
        if block_bytes > self.limits.line_bytes_max.min(self.limits.event_bytes_max) {
            return false;
        }
        let Data::Whole(_, rest) = data else {
            *input = &[];
            self.lines.add(part, false);
            return false;
        };
        *input = rest;
        self.lines.add(part, true);
        let _ = self.take_held(); // whose limit was looked at
        self.block.commit_id(&mut self.last_event_id);
        self.dispatched = true;
        self.place = Place::BetweenBlocks;
        true
    }

    /// The type and data of the event at `input`, if it is a plain block. If the chunk ends in its
    /// data, it is taken over instead.
    #[expect(
        clippy::inline_always,
        reason = "the result is many words: by way of memory small events take 10 % longer"
    )]
    #[inline(always)]
    fn plain_event<'c>(&mut self, input: &mut &'c [u8]) -> Option<(&'c [u8], &'c [u8])> {
        if self.place != Place::BetweenBlocks {
            return None;
        }
        let block = PlainBlock::parse(input, &self.limits)?;
        match block.data {
            Data::Whole(data, rest) => {
                *input = rest;
                if let Some(id) = block.id {
                    self.last_event_id.clear();
                    self.last_event_id.extend_from_slice(id);
                }
                Some((block.event_type, data))
            }
            Data::Split(line) => {
                *input = &[];
                self.take_split(block.id, block.event_type, line);
                None
            }
        }
    }

    /// Takes over a plain block whose line of data the chunk's end splits, so that it need not be
    /// scanned again.
    fn take_split(&mut self, id: Option<&[u8]>, event_type: &[u8], mut line: &[u8]) {
        self.place = Place::InPlainData;
        self.clear_dispatched();
        if let Some(id) = id {
            self.block.set_id(id);
        }
        self.block.set_event_type(event_type);
        self.lines.hold_rest(&mut line); // which is within the limit
    }

    /// What was found, with what it borrows from the decoder.
    fn item<'a>(&'a self, found: Found<'a>) -> Result<Item<'a>, DecodeError> {
        Ok(match found {
            Found::Event(data) => Item::Event(MessageEvent {
                event_type: type_or_message(self.block.event_type()),
                data: data.unwrap_or(self.block.data()).into(),
                last_event_id: self.last_event_id(),
            }),
            Found::Comment(text) => Item::Comment(
                text.unwrap_or(match Field::parse(self.lines.held()) {
                    Field::Comment(text) => text,
                    _ => &[],
                })
                .into(),
            ),
            Found::Retry(retry_ms) => Item::Retry(retry_ms),
            Found::Error(error) => return Err(error),
        })
    }

    /// Reads lines up to the next thing to tell.
    fn find<'c>(&mut self, input: &mut &'c [u8]) -> Option<Found<'c>> {
        self.clear_dispatched();
        // The block's only line of data, as long as it can stay in the chunk.
        let mut data = None;
        let found = loop {
            let line = self.lines.next(input);
            if self.skipping {
                match line {
                    Line::None => break None,
                    Line::InChunk([]) => self.set_skipping(false),
                    _ => {}
                }
                continue;
            }
            let found = match line {
                Line::InChunk(line) => match Field::parse(line) {
                    Field::Blank if data.is_some() => {
                        self.block.commit_id(&mut self.last_event_id);
                        Some(Found::Event(data.take()))
                    }
                    Field::Data(value) if data.is_none() && !self.block.has_data() => {
                        data = Some(value);
                        self.check_event(value.len())
                    }
                    Field::Data(value) => {
                        self.keep(data.take());
                        self.block.push_data(value);
                        self.check_event(0)
                    }
                    Field::Comment(text) => Some(Found::Comment(Some(text))),
                    field => self.take_field(field, data.map_or(0, <[u8]>::len)),
                },
                Line::Held => {
                    self.keep(data.take());
                    self.take_held()
                }
                Line::None => break None,
                Line::TooLong => {
                    let line_bytes_max = self.limits.line_bytes_max;
                    Some(Found::Error(DecodeError::LineTooLong { line_bytes_max }))
                }
            };
            if found.is_some() {
                break found;
            }
        };
        match found {
            Some(Found::Error(_)) => self.set_skipping(true),
            Some(Found::Event(_)) => self.dispatched = true,
            _ => self.keep(data),
        }
        let between_blocks = self.lines.is_at_line_start()
            && !self.skipping
            && (self.dispatched || self.block.is_empty());
        self.place = if between_blocks {
            Place::BetweenBlocks
        } else {
            Place::Elsewhere
        };
        found
    }

    /// Drops the event that was yielded last, which nobody can be looking at any more.
    fn clear_dispatched(&mut self) {
        if core::mem::take(&mut self.dispatched) {
            self.block.clear_event();
        }
    }

    /// Moves data from the chunk, which is about to go, to the block.
    fn keep(&mut self, data: Option<&[u8]>) {
        if let Some(line) = data {
            self.block.push_data(line);
        }
    }

    /// Takes a line that a chunk's end split.
    fn take_held<'c>(&mut self) -> Option<Found<'c>> {
        // The buffer is out of the reader while the line in it is looked at, and back after that.
        let mut held = core::mem::take(self.lines.held_mut());
        let found = match Field::parse(&held) {
            Field::Data(value) => {
                let line_start = held.len() - value.len();
                self.block.take_data(&mut held, line_start);
                self.check_event(0)
            }
            Field::Comment(_) => Some(Found::Comment(None)),
            field => self.take_field(field, 0),
        };
        *self.lines.held_mut() = held;
        found
    }

    /// Takes a field other than data and comments. `data_len`: see `check_event`.
    fn take_field<'c>(&mut self, field: Field<'_>, data_len: usize) -> Option<Found<'c>> {
        match field {
            Field::Blank => {
                self.block.commit_id(&mut self.last_event_id);
                if self.block.has_data() {
                    return Some(Found::Event(None));
                }
                self.block.clear_event();
                None
            }
            Field::EventType(value) => {
                self.block.set_event_type(value);
                self.check_event(data_len)
            }
            Field::Id(value) => self.take_id(value),
            Field::Retry(retry_ms) => {
                self.retry_ms = Some(retry_ms);
                Some(Found::Retry(retry_ms))
            }
            Field::Data(_) | Field::Comment(_) | Field::Ignored => None,
        }
    }

    /// The standard ignores an ID with a NUL in it.
    fn take_id<'c>(&mut self, value: &[u8]) -> Option<Found<'c>> {
        let id_bytes_max = self.limits.id_bytes_max;
        if memchr(b'\0', value).is_some() {
            return None;
        }
        if value.len() > id_bytes_max {
            return Some(Found::Error(DecodeError::IdTooLong { id_bytes_max }));
        }
        self.block.set_id(value);
        None
    }

    /// `data_len`: the bytes of data that are not in the block yet.
    fn check_event<'c>(&self, data_len: usize) -> Option<Found<'c>> {
        let event_bytes_max = self.limits.event_bytes_max;
        (self.block.bytes() + data_len > event_bytes_max)
            .then_some(Found::Error(DecodeError::EventTooLarge { event_bytes_max }))
    }

    /// Drops the block, and all lines up to its end; or ends that.
    fn set_skipping(&mut self, skipping: bool) {
        self.skipped += u64::from(skipping);
        self.skipping = skipping;
        self.lines.set_discarding(skipping);
        self.block.clear();
    }

    /// Begins a new stream, as after a reconnect: the unfinished event is discarded, with its ID;
    /// the last event ID, the retry time and the count of skipped events stay.
    pub fn restart(&mut self) {
        self.lines.restart();
        self.block.clear();
        self.dispatched = false;
        self.place = Place::Elsewhere;
        self.skipping = false;
    }

    /// The ID to send as `Last-Event-ID` in a reconnect: that of the last block that ended, be it
    /// with data or without, if it or one before it had one. Empty: send none. What is sent is the
    /// UTF-8 of [`Text::to_str`].
    #[inline]
    pub fn last_event_id(&self) -> Text<'_> {
        Text::from(&*self.last_event_id)
    }

    /// Sets the last event ID, to go on where an earlier decoder was.
    pub fn set_last_event_id(&mut self, id: &str) {
        self.last_event_id.clear();
        self.last_event_id.extend_from_slice(id.as_bytes());
    }

    /// The time to wait before a reconnect, in milliseconds, if the stream has set one.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// How many blocks were skipped since they exceeded a limit.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// The bytes that its buffers hold on to.
    #[cfg(test)]
    pub(crate) fn capacity(&mut self) -> usize {
        self.lines.held_mut().capacity() + self.block.capacity() + self.last_event_id.capacity()
    }

    /// The limits that it was made with.
    pub fn limits(&self) -> Limits {
        self.limits
    }
}

/// The type that the standard dispatches an event with.
#[inline]
fn type_or_message(event_type: &[u8]) -> Text<'_> {
    if event_type.is_empty() {
        Text::from("message")
    } else {
        Text::from(event_type)
    }
}
