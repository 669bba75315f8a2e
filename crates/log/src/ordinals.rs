//! A set of the records of one segment: a record that several lists name is counted once.

const WORD_BITS: u64 = 64;

/// The set.
pub(crate) enum Ordinals {
    /// One bit for each record of the segment.
    Many { words: Vec<u64>, records: u64 },
    /// Of a compacted segment, which has few records and many ordinals; sorted once it is settled.
    Few(Vec<u32>),
}

impl Ordinals {
    /// Empty, for this many records.
    pub(crate) fn many(records: u64) -> Self {
        let words = usize::try_from(records.div_ceil(WORD_BITS)).unwrap_or(usize::MAX);
        Self::Many {
            words: vec![0; words],
            records,
        }
    }

    /// Empty, for any ordinals.
    pub(crate) fn few() -> Self {
        Self::Few(Vec::new())
    }

    /// Adds a record; one that became durable since the set was made does nothing.
    pub(crate) fn set(&mut self, ordinal: u32) {
        match self {
            Self::Many { words, records } => {
                let ordinal = u64::from(ordinal);
                let place = usize::try_from(ordinal / WORD_BITS).unwrap_or(usize::MAX);
                if let Some(word) = words.get_mut(place).filter(|_| ordinal < *records) {
                    *word |= 1 << (ordinal % WORD_BITS);
                }
            }
            Self::Few(ordinals) => ordinals.push(ordinal),
        }
    }

    /// To be called when all are added.
    pub(crate) fn settle(&mut self) {
        if let Self::Few(ordinals) = self {
            ordinals.sort_unstable();
            ordinals.dedup();
        }
    }

    pub(crate) fn count(&self) -> u64 {
        match self {
            Self::Many { words, .. } => words.iter().map(|it| u64::from(it.count_ones())).sum(),
            Self::Few(ordinals) => ordinals.len() as u64,
        }
    }

    /// The record before which there are `skip` others.
    pub(crate) fn nth(&self, mut skip: u64) -> Option<u64> {
        let words = match self {
            Self::Many { words, .. } => words,
            Self::Few(ordinals) => {
                let place = usize::try_from(skip).ok()?;
                return ordinals.get(place).map(|ordinal| u64::from(*ordinal));
            }
        };
        for (place, word) in (0..).zip(words) {
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
