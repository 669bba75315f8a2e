//! What the data of a measured event begins with, so that it can be checked and timed on arrival.

use std::io::Write;

/// `LANE:NUMBER:SENT:`, where `SENT` is nanoseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Which publisher of its topic sent it.
    pub(crate) lane: usize,
    /// The how-manieth event of that publisher for that topic it is, from 0.
    pub(crate) number: u64,
    pub(crate) sent_ns: u64,
}

impl Mark {
    /// Room for any mark.
    pub(crate) const BYTES_MAX: usize = 64;

    /// Data of `size` bytes with this mark.
    pub(crate) fn data(self, size: usize) -> Vec<u8> {
        let Self {
            lane,
            number,
            sent_ns,
        } = self;
        let mut data = Vec::with_capacity(size.max(Self::BYTES_MAX));
        // Writing to memory cannot fail.
        let _ = write!(data, "{lane}:{number}:{sent_ns}:");
        data.resize(size.max(data.len()), b'x');
        data
    }

    /// `None` for data that is not of a run.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let mut fields = data.splitn(4, |byte| *byte == b':').map(number);
        Some(Self {
            lane: usize::try_from(fields.next()??).ok()?,
            number: fields.next()??,
            sent_ns: fields.next()??,
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_survives_the_way_through_a_hub() {
        let mark = Mark {
            lane: 3,
            number: u64::MAX,
            sent_ns: 1,
        };
        assert_eq!(mark.data(128).len(), 128);
        assert_eq!(Mark::parse(&mark.data(128)), Some(mark));
        let longest = Mark {
            lane: usize::MAX,
            number: u64::MAX,
            sent_ns: u64::MAX,
        };
        assert!(longest.data(0).len() <= Mark::BYTES_MAX);
        for data in ["", "x", "1:2", "1:2:x:", "-1:2:3:"] {
            assert_eq!(Mark::parse(data.as_bytes()), None, "{data}");
        }
    }
}
