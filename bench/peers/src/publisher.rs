use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};

use crate::Target;

/// A kept-alive connection that posts one event per request.
#[derive(Debug)]
pub struct Publisher {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Publisher {
    /// # Errors
    /// The server cannot be reached.
    pub fn connect(target: &Target, content_type: &str, body: &str) -> Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        let Target { address, path } = target;
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        Ok(Self {
            stream,
            request: request.into_bytes(),
            answer: Vec::new(),
        })
    }

    /// One request, answered.
    ///
    /// # Errors
    /// It was refused, or the connection broke.
    pub fn publish(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        self.answer.clear();
        let mut chunk = [0; 4096];
        loop {
            let got = self.stream.read(&mut chunk)?;
            ensure!(got > 0, "the server closed the connection");
            self.answer.extend_from_slice(&chunk[..got]);
            if self.is_answered()? {
                return Ok(());
            }
        }
    }

    fn is_answered(&self) -> Result<bool> {
        let Some(end) = memchr::memmem::find(&self.answer, b"\r\n\r\n") else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(&self.answer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).context("no status")?;
        ensure!(
            status.starts_with('2'),
            "refused: {}",
            String::from_utf8_lossy(&self.answer)
        );
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"));
        let length: Option<usize> = length.and_then(|text| text.trim().parse().ok());
        Ok(match length {
            Some(length) => self.answer.len() >= end + 4 + length,
            None => self.answer.ends_with(b"0\r\n\r\n"),
        })
    }
}
