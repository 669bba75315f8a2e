//! The hub's answer: a receipt on each line, or at the end a problem.

use std::{
    borrow::Cow,
    io::{self, BufWriter, Stdout, Write},
};

use memchr::memchr;
use serde::Deserialize;

use super::trouble::Trouble;
use crate::client::Refusal;

/// The longest line of an answer.
const LINE_BYTES_MAX: usize = 64 << 10;

/// Takes receipts, each once, however often a block is sent.
#[derive(Debug)]
pub(crate) struct Receipts {
    out: Option<BufWriter<Stdout>>,
    /// The beginning of a line whose end has not come.
    held: Vec<u8>,
    /// Events acknowledged before this block.
    before: u64,
    /// Events of this block that are acknowledged.
    known: u64,
    /// Receipts of this attempt; up to `known` they are repetitions.
    answered: u64,
    last_id: String,
}

#[derive(Deserialize)]
struct Receipt<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

#[derive(Deserialize)]
struct At {
    line: Option<u64>,
}

impl Receipts {
    /// `out`: where IDs are printed, if they are.
    pub(crate) fn new(out: Option<Stdout>) -> Self {
        Self {
            out: out.map(BufWriter::new),
            held: Vec::new(),
            before: 0,
            known: 0,
            answered: 0,
            last_id: String::new(),
        }
    }

    /// Begins the next block.
    pub(crate) fn begin_block(&mut self) {
        self.before += self.known;
        self.known = 0;
    }

    /// Begins an attempt at the block.
    pub(crate) fn begin_attempt(&mut self) {
        self.answered = 0;
        self.held.clear();
    }

    /// Takes a piece of the answer.
    pub(crate) fn take(&mut self, mut piece: &[u8]) -> Result<(), Trouble> {
        while let Some(end) = memchr(b'\n', piece) {
            let (line, rest) = piece.split_at(end);
            piece = rest.get(1..).unwrap_or_default();
            if self.held.is_empty() {
                self.take_line(line)?;
            } else {
                let mut whole = std::mem::take(&mut self.held);
                whole.extend_from_slice(line);
                self.take_line(&whole)?;
            }
        }
        self.held.extend_from_slice(piece);
        if self.held.len() > LINE_BYTES_MAX {
            return Err(Trouble::Foreign(
                "it has lines that are too long".to_owned(),
            ));
        }
        self.flush().map_err(Trouble::Output)
    }

    /// The answer is over; its last line may have no end.
    pub(crate) fn finish(&mut self) -> Result<(), Trouble> {
        let last = std::mem::take(&mut self.held);
        self.take_line(&last)?;
        self.flush().map_err(Trouble::Output)
    }

    /// Receipts of this attempt.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Events acknowledged in all.
    pub(crate) fn total(&self) -> u64 {
        self.before + self.known
    }

    /// The newest ID; empty if there is none.
    pub(crate) fn last_id(&self) -> &str {
        &self.last_id
    }

    fn take_line(&mut self, line: &[u8]) -> Result<(), Trouble> {
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let Ok(Receipt { id }) = serde_json::from_slice::<Receipt<'_>>(line) else {
            return Err(self.problem(line));
        };
        self.answered += 1;
        if self.answered <= self.known {
            return Ok(());
        }
        self.known = self.answered;
        if let Some(out) = &mut self.out {
            writeln!(out, "{id}").map_err(Trouble::Output)?;
        }
        self.last_id.clear();
        self.last_id.push_str(&id);
        Ok(())
    }

    fn problem(&self, line: &[u8]) -> Trouble {
        let Some(refusal) = Refusal::from_line(line) else {
            let start: String = String::from_utf8_lossy(line).chars().take(80).collect();
            return Trouble::Foreign(format!("it has a line that is no receipt: {start}"));
        };
        let at = serde_json::from_slice(line).ok().and_then(|at: At| at.line);
        let line = self.before + at.unwrap_or(self.answered + 1);
        Trouble::Refused {
            refusal,
            line: Some(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_counts_once_however_often_it_comes() {
        let mut receipts = Receipts::new(None);
        receipts.begin_attempt();
        receipts.take(b"{\"id\":\"e:1\"}\n{\"id\":\"e").unwrap();
        assert_eq!((receipts.total(), receipts.last_id()), (1, "e:1"));
        receipts.begin_attempt();
        receipts
            .take(b"{\"id\":\"e:1\"}\n{\"id\":\"e:2\"}\n{\"id\":\"e:3\"}")
            .unwrap();
        receipts.finish().unwrap();
        assert_eq!((receipts.total(), receipts.answered()), (3, 3));
        receipts.begin_block();
        receipts.begin_attempt();
        receipts.take(b"{\"id\":\"\\u0065:4\"}\r\n").unwrap();
        assert_eq!((receipts.total(), receipts.last_id()), (4, "e:4"));
    }

    #[test]
    fn a_problem_names_its_line() {
        let mut receipts = Receipts::new(None);
        receipts.begin_attempt();
        let answer =
            b"{\"id\":\"e:1\"}\n{\"status\":413,\"title\":\"x\",\"detail\":\"too long\"}\n";
        let Err(Trouble::Refused { refusal, line }) = receipts.take(answer) else {
            panic!("not refused")
        };
        assert_eq!((refusal.detail.as_str(), line), ("too long", Some(2)));
        assert_eq!(receipts.total(), 1);
        assert!(matches!(
            receipts.take(b"<html>\n"),
            Err(Trouble::Foreign(_))
        ));
    }
}
