//! Chunks to lines.

use alloc::vec::Vec;

use crate::scan;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// Cuts a stream that comes in chunks into lines, and copies only those that a chunk's end splits.
#[derive(Debug)]
pub(crate) struct LineReader {
    at: Place,
    /// The beginning of a line that a chunk's end split, then all of it.
    held: Vec<u8>,
    /// Whether lines are only counted off: nothing is held, and none is too long.
    discarding: bool,
    line_bytes_max: usize,
}

/// Where in the stream the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the stream's beginning, after this many bytes of a BOM.
    Beginning(u8),
    LineStart,
    /// After a CR, which has ended its line: if an LF is next, it belongs to the CR.
    AfterCr,
    /// In a line of which at least one byte has been seen.
    InLine,
}

/// What [`LineReader::next`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line<'c> {
    /// A line, without its end, in the chunk.
    InChunk(&'c [u8]),
    /// A line that is not empty, in [`LineReader::held`].
    Held,
    /// The chunk is used up.
    None,
    /// A line, perhaps without an end yet, exceeds the limit.
    TooLong,
}

impl LineReader {
    pub(crate) const fn new(line_bytes_max: usize) -> Self {
        Self {
            at: Place::Beginning(0),
            held: Vec::new(),
            discarding: false,
            line_bytes_max,
        }
    }

    /// Forgets all of the stream so far, but not the buffer.
    pub(crate) fn restart(&mut self) {
        self.at = Place::Beginning(0);
        self.discarding = false;
    }

    /// Says whether what the lines are is of no interest.
    pub(crate) fn set_discarding(&mut self, discarding: bool) {
        self.discarding = discarding;
    }

    /// Adds to the line that is held. `ends`: its end and a blank line follow, and were taken.
    #[inline]
    pub(crate) fn add(&mut self, part: &[u8], ends: bool) {
        scan::count(part.len());
        self.held.extend_from_slice(part);
        if ends {
            self.at = Place::LineStart;
        }
    }

    /// Whether the next byte begins a line.
    #[inline]
    pub(crate) fn is_at_line_start(&self) -> bool {
        self.at == Place::LineStart
    }

    /// The line that [`Line::Held`] announced.
    pub(crate) fn held(&self) -> &[u8] {
        &self.held
    }

    /// Like [`LineReader::held`], for who wants to take the buffer and leave another.
    pub(crate) fn held_mut(&mut self) -> &mut Vec<u8> {
        &mut self.held
    }

    /// The next line; what it takes from `input`, it removes there.
    #[inline]
    pub(crate) fn next<'c>(&mut self, input: &mut &'c [u8]) -> Line<'c> {
        if self.at != Place::LineStart
            && let Some(line) = self.resume(input)
        {
            return line;
        }
        let Some(line) = self.take_line(input) else {
            return self.hold_rest(input);
        };
        if line.len() > self.line_bytes_max && !self.discarding {
            return Line::TooLong;
        }
        Line::InChunk(line)
    }

    /// Gets to the start of a line, unless that takes more input or completes a line.
    fn resume<'c>(&mut self, input: &mut &'c [u8]) -> Option<Line<'c>> {
        if let Place::Beginning(matched) = self.at {
            self.skip_bom(matched, input);
        }
        if self.at == Place::AfterCr {
            self.skip_lf(input);
        }
        match self.at {
            Place::LineStart => None,
            Place::InLine => Some(self.complete_held(input)),
            Place::Beginning(_) | Place::AfterCr => Some(Line::None),
        }
    }

    /// Exactly one BOM is dropped; what only began like one is the beginning of a line.
    fn skip_bom(&mut self, matched: u8, input: &mut &[u8]) {
        let mut matched = usize::from(matched);
        while let (Some(expected), Some((byte, rest))) = (BOM.get(matched), input.split_first()) {
            if byte != expected {
                break;
            }
            matched += 1;
            *input = rest;
        }
        self.at = match matched {
            0 if !input.is_empty() => Place::LineStart,
            3 => Place::LineStart,
            _ if input.is_empty() => Place::Beginning(u8::try_from(matched).unwrap_or(0)),
            _ => {
                self.held.clear();
                self.held
                    .extend_from_slice(BOM.get(..matched).unwrap_or(&[]));
                Place::InLine
            }
        };
    }

    fn skip_lf(&mut self, input: &mut &[u8]) {
        match *input {
            [] => return,
            [b'\n', rest @ ..] => *input = rest,
            _ => {}
        }
        self.at = Place::LineStart;
    }

    /// The bytes up to the next line end, which are removed with it.
    #[inline]
    fn take_line<'c>(&mut self, input: &mut &'c [u8]) -> Option<&'c [u8]> {
        let at = scan::line_end(input)?;
        let (line, end) = input.split_at_checked(at)?;
        (self.at, *input) = match end {
            [b'\r'] => (Place::AfterCr, &[][..]),
            [b'\r', b'\n', rest @ ..] | [_, rest @ ..] => (Place::LineStart, rest),
            [] => return None,
        };
        Some(line)
    }

    /// Holds the beginning of a line whose end is not in the chunk. It begins where a line does.
    pub(crate) fn hold_rest<'c>(&mut self, input: &mut &[u8]) -> Line<'c> {
        if input.is_empty() {
            return Line::None;
        }
        self.at = Place::InLine;
        self.held.clear();
        self.hold(input)
    }

    /// Adds all of `input` to what is held.
    fn hold<'c>(&mut self, input: &mut &[u8]) -> Line<'c> {
        let part = core::mem::take(input);
        if self.discarding {
            return Line::None;
        }
        if self.held.len() + part.len() > self.line_bytes_max {
            return Line::TooLong;
        }
        scan::count(part.len());
        self.held.extend_from_slice(part);
        Line::None
    }

    fn complete_held<'c>(&mut self, input: &mut &[u8]) -> Line<'c> {
        let Some(mut part) = self.take_line(input) else {
            return self.hold(input);
        };
        match self.hold(&mut part) {
            Line::TooLong => Line::TooLong,
            _ => Line::Held,
        }
    }
}
