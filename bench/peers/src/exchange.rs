use anyhow::{Context, Result, ensure};

use crate::{DATA_BYTES, Target, now_ns, write_data};

/// One publisher's requests and answers over HTTP/1.1, without the socket: an event in each
/// request, which is answered before the next.
#[derive(Debug)]
pub struct Exchange {
    target: Target,
    answer: Vec<u8>,
    sent_ns: u64,
}

impl Exchange {
    #[must_use]
    pub fn new(target: &Target) -> Self {
        Self {
            target: target.clone(),
            answer: Vec::new(),
            sent_ns: 0,
        }
    }

    /// The bytes of a request.
    pub fn request(&mut self, sequence: u64, topic: u64, into: &mut Vec<u8>) {
        let (path, address) = (self.target.path(topic), self.target.address);
        self.sent_ns = now_ns();
        let mut data = Vec::with_capacity(DATA_BYTES);
        write_data(&mut data, sequence, self.sent_ns);
        let length = data.len();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        into.extend_from_slice(head.as_bytes());
        into.extend_from_slice(&data);
    }

    /// A piece of the answer; tells how long it took once it is whole.
    ///
    /// # Errors
    /// The event was refused.
    pub fn take(&mut self, piece: &[u8]) -> Result<Option<u64>> {
        self.answer.extend_from_slice(piece);
        if !self.is_answered()? {
            return Ok(None);
        }
        self.answer.clear();
        Ok(Some(now_ns().saturating_sub(self.sent_ns)))
    }

    fn is_answered(&self) -> Result<bool> {
        let Some(end) = memchr::memmem::find(&self.answer, b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).context("no status")?;
        let whole = || String::from_utf8_lossy(&self.answer);
        ensure!(status.starts_with('2'), "refused: {}", whole());
        let field = |name| head.lines().find_map(|line| line.strip_prefix(name));
        let length = field("content-length:").map(|text| text.trim().parse::<usize>());
        Ok(match length {
            Some(length) => self.answer.len() >= end + 4 + length?,
            None if field("transfer-encoding:").is_some() => self.answer.ends_with(b"0\r\n\r\n"),
            None => true,
        })
    }
}
