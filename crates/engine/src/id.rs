//! Event IDs: `EPOCH:SEQUENCE`, or the publisher's own.

use std::fmt;

use crate::sync::Arc;

/// An event's place in a log, as subscribers see it: `EPOCH:SEQUENCE`.
///
/// Sequence 0 is the place before the first event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The log's epoch.
    pub epoch: Arc<str>,
    /// The sequence in that log.
    pub sequence: u64,
}

impl Position {
    /// The place in front of an event: after the one before it.
    pub(crate) fn before(epoch: &Arc<str>, sequence: u64) -> Self {
        Self {
            epoch: epoch.clone(),
            sequence: sequence.saturating_sub(1),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.sequence)
    }
}

/// Splits an ID of the form `EPOCH:SEQUENCE`. Anything else is a publisher's own ID.
///
/// An epoch begins with a letter and goes on with letters and digits; a sequence is decimal
/// without leading zeros, so that each place has one spelling.
pub(crate) fn split(id: &str) -> Option<(&str, u64)> {
    let (epoch, digits) = id.split_once(':')?;
    let canonical = digits == "0" || !digits.starts_with('0');
    let digits_only = digits.bytes().all(|b| b.is_ascii_digit());
    if !is_epoch(epoch) || !canonical || !digits_only {
        return None;
    }
    Some((epoch, digits.parse().ok()?))
}

/// Whether `epoch` can be a log's epoch: a letter, then letters and digits, 32 at the most.
pub fn is_epoch(epoch: &str) -> bool {
    epoch.len() <= 32
        && epoch.starts_with(|c: char| c.is_ascii_alphabetic())
        && epoch.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Writes `id: EPOCH:SEQUENCE` and a newline: the first line of every event without an ID of its
/// own, and but for a blank line the whole of a heartbeat.
pub(crate) fn encode_line(epoch: &str, sequence: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(epoch.as_bytes());
    out.push(b':');
    encode_decimal(sequence, out);
    out.push(b'\n');
}

/// `write!` costs several times as much, and this runs once for every event.
fn encode_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [0_u8; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        *slot = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_spelling_is_a_position() {
        assert_eq!(split("e1:0"), Some(("e1", 0)));
        assert_eq!(split("abc:18446744073709551615"), Some(("abc", u64::MAX)));
        for other in [
            "",
            ":",
            "e:",
            ":1",
            "1e:1",
            "e:01",
            "e:+1",
            "e:-1",
            "e: 1",
            "e:1 ",
            "e-f:1",
            "e:18446744073709551616",
            "e:1:1",
            "order-17",
        ] {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn the_line_is_what_display_would_write() {
        for sequence in [0, 1, 9, 10, 12_345, u64::MAX] {
            let mut line = Vec::new();
            encode_line("e1", sequence, &mut line);
            assert_eq!(line, format!("id: e1:{sequence}\n").into_bytes());
        }
    }
}
