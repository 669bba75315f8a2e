//! A line that tells by itself which one it is, and whether it is whole.

use std::fmt;

/// `NUMBER HASH TEXT`: numbers from 1, the hash of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'t> {
    pub(super) number: usize,
    hash: u32,
    text: &'t str,
}

impl<'t> Line<'t> {
    pub(super) fn new(number: usize, text: &'t str) -> Self {
        Self {
            number,
            hash: hash(text),
            text,
        }
    }

    /// `None`: no line of ours.
    pub(super) fn parse(line: &'t str) -> Option<Self> {
        let (number, rest) = line.split_once(' ')?;
        let (hash, text) = rest.split_once(' ')?;
        let (number, hash) = (number.parse().ok()?, u32::from_str_radix(hash, 16).ok()?);
        Some(Self { number, hash, text })
    }

    pub(super) fn is_whole(&self) -> bool {
        self.hash == hash(self.text)
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:07} {:08x} {}", self.number, self.hash, self.text)
    }
}

/// FNV-1a over UTF-16 code units, which is what a page's strings are made of (see `page.js`).
fn hash(text: &str) -> u32 {
    text.encode_utf16().fold(0x811c_9dc5, |hash, unit| {
        (hash ^ u32::from(unit)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn a_line_comes_back_whole_and_a_changed_one_is_noticed() {
        let text = Line::new(7, "fn main() { \"é𝄞\" }").to_string();
        assert!(Line::parse(&text).is_some_and(|line| line.number == 7 && line.is_whole()));
        let changed = text.replace("main", "mian");
        assert!(Line::parse(&changed).is_some_and(|line| !line.is_whole()));
        assert_eq!(Line::parse("not ours"), None);
    }
}
