//! A set of the records of one segment: a record that several lists name is counted once.

const WORD_BITS: u64 = 64;

pub(crate) struct Bitmap {
    words: Vec<u64>,
    records: u64,
}

impl Bitmap {
    /// Empty, for this many records. An eighth of a byte each.
    pub(crate) fn new(records: u64) -> Self {
        let words = usize::try_from(records.div_ceil(WORD_BITS)).unwrap_or(usize::MAX);
        Self {
            words: vec![0; words],
            records,
        }
    }

    /// Adds a record; one that became durable since the set was made does nothing.
    pub(crate) fn set(&mut self, ordinal: u32) {
        let ordinal = u64::from(ordinal);
        let place = usize::try_from(ordinal / WORD_BITS).unwrap_or(usize::MAX);
        if let Some(word) = self.words.get_mut(place).filter(|_| ordinal < self.records) {
            *word |= 1 << (ordinal % WORD_BITS);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.words
            .iter()
            .map(|word| u64::from(word.count_ones()))
            .sum()
    }

    /// The record before which there are `skip` others.
    pub(crate) fn nth(&self, mut skip: u64) -> Option<u64> {
        for (place, word) in (0..).zip(&self.words) {
            let ones = u64::from(word.count_ones());
            if skip < ones {
                let mut bits = (0..WORD_BITS).filter(|bit| word & (1 << bit) != 0);
                let bit = bits.nth(usize::try_from(skip).ok()?)?;
                return Some(place * WORD_BITS + bit);
            }
            skip -= ones;
        }
        None
    }
}
