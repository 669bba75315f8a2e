//! What each event's data begins with: `|SEQUENCE:8|NANOSECONDS:16|`, who it is and when it was
//! sent. It can be found in a stream without parsing it, however the stream is cut into reads.

use std::io::Write;

const BYTES: usize = 27;

/// What each event of every row has, mark included.
pub const DATA_BYTES: usize = 128;

/// An event's data.
pub fn write_data(into: &mut Vec<u8>, sequence: u64, sent_ns: u64) {
    let end = into.len() + DATA_BYTES;
    // Writing to memory cannot fail.
    let _ = write!(into, "|{sequence:08}|{sent_ns:016}|");
    into.resize(end, b'x');
}

/// Finds marks in pieces of a stream.
#[derive(Debug, Default)]
pub struct Scanner {
    /// A mark that began in the last piece.
    carry: [u8; BYTES],
    carried: usize,
}

impl Scanner {
    /// Tells `found` of the sequence and the time of each mark that ends in this piece.
    pub fn scan(&mut self, piece: &[u8], mut found: impl FnMut(u64, u64)) {
        let mut rest = self.complete(piece, &mut found);
        while let Some(begin) = memchr::memchr(b'|', rest) {
            rest = &rest[begin..];
            let Some(mark) = rest.first_chunk::<BYTES>() else {
                self.carry[..rest.len()].copy_from_slice(rest);
                self.carried = rest.len();
                return;
            };
            let parsed = parse(mark);
            if let Some((sequence, sent_ns)) = parsed {
                found(sequence, sent_ns);
            }
            rest = &rest[if parsed.is_some() { BYTES } else { 1 }..];
        }
    }

    /// Answers what of the piece is left.
    fn complete<'a>(&mut self, piece: &'a [u8], found: &mut impl FnMut(u64, u64)) -> &'a [u8] {
        let mut rest = piece;
        while self.carried > 0 {
            let taken = (BYTES - self.carried).min(rest.len());
            self.carry[self.carried..][..taken].copy_from_slice(&rest[..taken]);
            self.carried += taken;
            rest = &rest[taken..];
            if self.carried < BYTES {
                return rest;
            }
            if let Some((sequence, sent_ns)) = parse(&self.carry) {
                found(sequence, sent_ns);
                self.carried = 0;
            } else {
                self.drop_first_bar();
            }
        }
        rest
    }

    /// It began no mark; another in the carry may.
    fn drop_first_bar(&mut self) {
        let next = memchr::memchr(b'|', &self.carry[1..]).map_or(BYTES, |place| place + 1);
        self.carry.copy_within(next.., 0);
        self.carried = BYTES - next;
    }
}

fn parse(mark: &[u8; BYTES]) -> Option<(u64, u64)> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number * 10 + u64::from(digit - b'0'))
        })
    };
    (mark[9] == b'|' && mark[26] == b'|')
        .then(|| number(&mark[1..9]).zip(number(&mark[10..26])))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::{Scanner, write_data};

    #[test]
    fn marks_are_found_wherever_the_stream_is_cut() {
        let mut stream = b"id: 1|2\ndata: ".to_vec();
        write_data(&mut stream, 7, 1234);
        stream.extend_from_slice(b"\n\ndata: ");
        write_data(&mut stream, 8, 5678);
        stream.extend_from_slice(b"\n\n");
        // The first bar is none of ours.
        for cut in 0..stream.len() {
            let (mut scanner, mut marks) = (Scanner::default(), Vec::new());
            for piece in [&stream[..cut], &stream[cut..]] {
                scanner.scan(piece, |sequence, sent_ns| marks.push((sequence, sent_ns)));
            }
            assert_eq!(marks, [(7, 1234), (8, 5678)], "cut at {cut}");
        }
    }
}
