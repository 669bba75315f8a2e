//! The records of several topics in one order, from their lists.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::error::ReadError;
use crate::index::{List, Posting};
use crate::segment::Segment;

/// How many entries of a list are held at most. Twelve bytes each.
const CHUNK: usize = 340;

/// A place in each of some lists of a segment.
pub(crate) struct Merge<'a> {
    segment: &'a Segment,
    cursors: Vec<Cursor>,
    /// The next ordinal of each list that has one, with its place in `cursors`.
    heap: BinaryHeap<Reverse<(u32, usize)>>,
    chunk: usize,
}

struct Cursor {
    list: List,
    position: u32,
    /// Newest first, so that the next is taken from the end.
    held: Vec<Posting>,
}

impl<'a> Merge<'a> {
    /// Begins, in each list, at the first record with at least the ordinal beside it.
    pub(crate) fn new(
        segment: &'a Segment,
        lists: impl Iterator<Item = (List, u32)>,
        records_max: usize,
    ) -> Result<Self, ReadError> {
        let chunk = records_max.clamp(1, CHUNK);
        let mut merge = Self {
            segment,
            cursors: Vec::new(),
            heap: BinaryHeap::new(),
            chunk,
        };
        for (list, from) in lists {
            let position = segment.lookup(|index| index.seek(&list, from))?;
            merge.cursors.push(Cursor {
                list,
                position,
                held: Vec::new(),
            });
            merge.advance(merge.cursors.len() - 1)?;
        }
        Ok(merge)
    }

    /// The next record; one with several of the topics is there once.
    pub(crate) fn next(&mut self) -> Result<Option<Posting>, ReadError> {
        let Some(Reverse((ordinal, _))) = self.heap.peek().copied() else {
            return Ok(None);
        };
        let mut found = None;
        while let Some(Reverse((next, place))) = self.heap.peek().copied() {
            if next != ordinal {
                break;
            }
            self.heap.pop();
            found = self
                .cursors
                .get_mut(place)
                .and_then(|cursor| cursor.held.pop());
            self.advance(place)?;
        }
        Ok(found)
    }

    /// Puts the next entry of a list on the heap.
    fn advance(&mut self, place: usize) -> Result<(), ReadError> {
        let Some(cursor) = self.cursors.get_mut(place) else {
            return Ok(());
        };
        if cursor.held.is_empty() {
            cursor.held = self
                .segment
                .lookup(|index| index.chunk(&cursor.list, cursor.position, self.chunk))?;
            cursor.position += crate::fields::narrow(cursor.held.len());
            cursor.held.reverse();
        }
        if let Some(next) = cursor.held.last() {
            self.heap.push(Reverse((next.ordinal, place)));
        }
        Ok(())
    }
}
