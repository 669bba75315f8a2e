//! Bytes to events.

use alloc::borrow::ToOwned;
use alloc::string::String;

use memchr::memchr;

use crate::block::Block;
use crate::field::Field;
use crate::item::{Item, MessageEvent};
use crate::limits::{DecodeError, Limits};
use crate::line_reader::{Line, LineReader};
use crate::plain_block::PlainBlock;

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
    /// Whether a block begins at the next byte, and nothing is left of one before it.
    between_blocks: bool,
    /// Whether the block is to be skipped, since it exceeded a limit.
    skipping: bool,
    last_event_id: String,
    retry_ms: Option<u64>,
    skipped: u64,
    /// Text of which the bytes were malformed.
    replaced: String,
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
            between_blocks: false,
            skipping: false,
            last_event_id: String::new(),
            retry_ms: None,
            skipped: 0,
            replaced: String::new(),
        }
    }

    /// The next item in `input`, the stream's next bytes, or `None` if it takes more of them.
    ///
    /// What it has read, it removes from `input`: give it the same slice until it returns `None`,
    /// when the slice is empty. An error is survivable, see [`DecodeError`]. The item borrows
    /// `input` and the decoder; data is copied only if it has several lines, spans chunks or is
    /// malformed UTF-8.
    #[inline]
    pub fn next<'a, 'c: 'a>(
        &'a mut self,
        input: &mut &'c [u8],
    ) -> Option<Result<Item<'a>, DecodeError>> {
        if let Some((block, rest)) = self.plain_block(input)
            // Once for all fields: it is what costs most.
            && let Ok(text) = core::str::from_utf8(block.bytes)
        {
            *input = rest;
            let event_type = self.take_head(&block, text);
            return Some(Ok(Item::Event(MessageEvent {
                event_type,
                data: text.get(block.data..).unwrap_or(""),
                last_event_id: &self.last_event_id,
            })));
        }
        if input.is_empty() {
            return None;
        }
        let found = self.find(input)?;
        let item = Self::item(found, &self.block, &self.lines, &self.last_event_id);
        Some(item.map(|item| item.decode(&mut self.replaced)))
    }

    /// Like [`Decoder::next`], but data and comments are the stream's bytes: they may be malformed
    /// UTF-8, for which the standard has replacement characters. For who passes them on, or
    /// parses them as JSON, which checks them anyway: the check is up to half of what decoding
    /// costs. `String::from_utf8_lossy` makes of them what `next` would have.
    ///
    /// Calls of both may alternate.
    #[inline]
    pub fn next_bytes<'a, 'c: 'a>(
        &'a mut self,
        input: &mut &'c [u8],
    ) -> Option<Result<Item<'a, &'a [u8]>, DecodeError>> {
        if let Some((block, rest)) = self.plain_block(input)
            && let Some((head, _)) = block.bytes.split_at_checked(block.data_line)
            && let Ok(head) = core::str::from_utf8(head)
        {
            *input = rest;
            let event_type = self.take_head(&block, head);
            return Some(Ok(Item::Event(MessageEvent {
                event_type,
                data: block.bytes.get(block.data..).unwrap_or(&[]),
                last_event_id: &self.last_event_id,
            })));
        }
        if input.is_empty() {
            return None;
        }
        let found = self.find(input)?;
        Some(Self::item(
            found,
            &self.block,
            &self.lines,
            &self.last_event_id,
        ))
    }

    /// The block that begins at `input` and what follows it, if it is a plain one. If the chunk
    /// ends in its data, it is taken over instead.
    #[expect(
        clippy::inline_always,
        reason = "the result is eleven words: by way of memory small events take 10 % longer"
    )]
    #[inline(always)]
    fn plain_block<'c>(&mut self, input: &mut &'c [u8]) -> Option<(PlainBlock<'c>, &'c [u8])> {
        if !self.between_blocks {
            return None;
        }
        let block = PlainBlock::parse(input, &self.limits)?;
        if let Some(rest) = block.rest {
            return Some((block, rest));
        }
        self.take_split(&block);
        *input = &[];
        None
    }

    /// Takes over a block that the chunk ends in, so that its data need not be scanned again.
    fn take_split(&mut self, block: &PlainBlock<'_>) {
        self.between_blocks = false;
        self.clear_dispatched();
        if let Some(id) = block.id.clone() {
            self.block.set_id(block.bytes.get(id).unwrap_or(&[]));
        }
        if let Some(event_type @ [_, ..]) = block.bytes.get(block.event_type.clone()) {
            self.block.set_event_type(event_type);
        }
        let mut line = block.bytes.get(block.data_line..).unwrap_or(&[]);
        self.lines.hold_rest(&mut line); // which is within the limit
    }

    /// Commits the ID of a plain block, of which `text` is the bytes, and returns its type.
    #[inline]
    fn take_head<'c>(&mut self, block: &PlainBlock<'_>, text: &'c str) -> &'c str {
        if let Some(id) = block.id.clone() {
            self.last_event_id.clear();
            self.last_event_id.push_str(text.get(id).unwrap_or(""));
        }
        type_or_message(text.get(block.event_type.clone()).unwrap_or(""))
    }

    /// What was found, with what it borrows from the decoder.
    fn item<'a>(
        found: Found<'a>,
        block: &'a Block,
        lines: &'a LineReader,
        last_event_id: &'a str,
    ) -> Result<Item<'a, &'a [u8]>, DecodeError> {
        Ok(match found {
            Found::Event(data) => Item::Event(MessageEvent {
                event_type: type_or_message(block.event_type()),
                data: data.unwrap_or(block.data()),
                last_event_id,
            }),
            Found::Comment(text) => {
                Item::Comment(text.unwrap_or(match Field::parse(lines.held()) {
                    Field::Comment(text) => text,
                    _ => &[],
                }))
            }
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
        self.between_blocks = self.lines.is_at_line_start()
            && !self.skipping
            && (self.dispatched || self.block.is_empty());
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
        self.between_blocks = false;
        self.skipping = false;
    }

    /// The ID to send as `Last-Event-ID` in a reconnect: that of the last block that ended, be it
    /// with data or without, if it or one before it had one. Empty: send none.
    pub fn last_event_id(&self) -> &str {
        &self.last_event_id
    }

    /// Sets the last event ID, to go on where an earlier decoder was.
    pub fn set_last_event_id(&mut self, id: &str) {
        id.clone_into(&mut self.last_event_id);
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
fn type_or_message(event_type: &str) -> &str {
    if event_type.is_empty() {
        "message"
    } else {
        event_type
    }
}
