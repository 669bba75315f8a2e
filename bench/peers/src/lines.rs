use std::collections::VecDeque;
use std::io::Write;

use anyhow::{Context, Result, ensure};

use crate::{DATA_BYTES, Target, now_ns, write_data};

/// A stream of NDJSON and its receipts, without the socket.
#[derive(Debug)]
pub struct Lines {
    topic: String,
    /// When each line without a receipt was sent.
    sent: VecDeque<u64>,
    head_passed: bool,
    answer: Vec<u8>,
}

impl Lines {
    #[must_use]
    pub fn new(topic: &str) -> Self {
        Self {
            topic: topic.to_owned(),
            sent: VecDeque::new(),
            head_passed: false,
            answer: Vec::new(),
        }
    }

    /// The request's head.
    #[must_use]
    pub fn head(target: &Target) -> Vec<u8> {
        let (path, address) = (target.path(0), target.address);
        format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-ndjson\r\n\
             Transfer-Encoding: chunked\r\n\r\n"
        )
        .into_bytes()
    }

    /// Lines that no receipt has come for.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.sent.len()
    }

    /// So many lines as one chunk, with the sequences that `next` gives.
    pub fn chunk(&mut self, count: usize, mut next: impl FnMut() -> u64, into: &mut Vec<u8>) {
        let sent_ns = now_ns();
        let mut lines = Vec::with_capacity(count * (DATA_BYTES + 64));
        for _ in 0..count {
            // Writing to memory cannot fail.
            let _ = write!(lines, r#"{{"topic":"{}","data":""#, self.topic);
            write_data(&mut lines, next(), sent_ns);
            lines.extend_from_slice(b"\"}\n");
        }
        let _ = write!(into, "{:x}\r\n", lines.len());
        into.extend_from_slice(&lines);
        into.extend_from_slice(b"\r\n");
        self.sent.extend(std::iter::repeat_n(sent_ns, count));
    }

    /// The end of the request.
    pub fn end(into: &mut Vec<u8>) {
        into.extend_from_slice(b"0\r\n\r\n");
    }

    /// A piece of the answer; `answered` is told how long each receipt took.
    ///
    /// # Errors
    /// A line was refused.
    pub fn take(&mut self, piece: &[u8], mut answered: impl FnMut(u64)) -> Result<()> {
        let mut body = piece;
        if !self.head_passed {
            self.answer.extend_from_slice(piece);
            let Some(end) = memchr::memmem::find(&self.answer, b"\r\n\r\n") else {
                return Ok(());
            };
            self.head_passed = true;
            let whole = String::from_utf8_lossy(&self.answer);
            ensure!(whole.starts_with("HTTP/1.1 200"), "refused: {whole}");
            body = piece
                .get(piece.len() - (self.answer.len() - end - 4)..)
                .unwrap_or_default();
        }
        let text = || String::from_utf8_lossy(body);
        // Problems have one, and receipts do not.
        ensure!(
            memchr::memmem::find(body, b"\"status\"").is_none(),
            "refused: {}",
            text()
        );
        let now = now_ns();
        // Each receipt is one JSON object, and nothing else in the answer has a brace.
        for _ in memchr::memchr_iter(b'{', body) {
            let sent_ns = self.sent.pop_front().context("a receipt too many")?;
            answered(now.saturating_sub(sent_ns));
        }
        Ok(())
    }
}
