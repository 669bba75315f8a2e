//! The fields of the event that is being read.

use alloc::vec::Vec;

use crate::scan;

/// The standard's data buffer, event type buffer and last event ID buffer.
#[derive(Debug, Default)]
pub(crate) struct Block {
    /// The lines of data, joined by LF, from `data_start` on.
    data: Vec<u8>,
    /// A held line becomes the data as it is, with the field's name, which this skips.
    data_start: usize,
    /// Empty data is data too.
    has_data: bool,
    event_type: Vec<u8>,
    id: Vec<u8>,
    has_id: bool,
}

impl Block {
    /// Drops all fields, and keeps the buffers.
    pub(crate) fn clear(&mut self) {
        self.clear_event();
        self.has_id = false;
    }

    /// Drops what one event has, that is all but the ID.
    pub(crate) fn clear_event(&mut self) {
        self.data.clear();
        self.data_start = 0;
        self.has_data = false;
        self.event_type.clear();
    }

    /// Whether there is no field yet.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        !self.has_data && !self.has_id && self.event_type.is_empty()
    }

    pub(crate) fn has_data(&self) -> bool {
        self.has_data
    }

    pub(crate) fn data(&self) -> &[u8] {
        self.data.get(self.data_start..).unwrap_or(&[])
    }

    pub(crate) fn push_data(&mut self, line: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.has_data = true;
        scan::count(line.len());
        self.data.extend_from_slice(line);
    }

    /// Like [`Block::push_data`], where the line ends `held`, which may be taken for another buffer.
    pub(crate) fn take_data(&mut self, held: &mut Vec<u8>, line_start: usize) {
        if self.has_data {
            self.push_data(held.get(line_start..).unwrap_or(&[]));
        } else {
            core::mem::swap(&mut self.data, held);
            self.data_start = line_start;
            self.has_data = true;
        }
    }

    pub(crate) fn event_type(&self) -> &[u8] {
        &self.event_type
    }

    pub(crate) fn set_event_type(&mut self, value: &[u8]) {
        self.event_type.clear();
        self.event_type.extend_from_slice(value);
    }

    pub(crate) fn set_id(&mut self, value: &[u8]) {
        self.id.clear();
        self.id.extend_from_slice(value);
        self.has_id = true;
    }

    /// Moves the ID, if there is one, to `last_event_id`.
    pub(crate) fn commit_id(&mut self, last_event_id: &mut Vec<u8>) {
        if core::mem::take(&mut self.has_id) {
            core::mem::swap(&mut self.id, last_event_id);
        }
    }

    /// The bytes that its buffers hold on to.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.data.capacity() + self.event_type.capacity() + self.id.capacity()
    }

    /// What counts against the limit of an event.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() - self.data_start + self.event_type.len()
    }
}
