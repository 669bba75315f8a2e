//! One HTTP/1.1 request on a connection of its own, whose answer is read line by line while the
//! body is still being sent. Written out, since clients at hand send first and read later: then a
//! kill amid a request would find no receipt that was read.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::ControlFlow;
use std::thread;
use std::time::Duration;

use crate::hub::LOOPBACK;

/// Longer than the hub is ever silent: with heartbeats every second nothing takes this long.
const SILENCE_MAX: Duration = Duration::from_mins(1);
const LINE_BYTES_MAX: usize = 1 << 20;

/// A request.
#[derive(Debug, Default)]
pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: Vec<(&'a str, String)>,
    pub(super) body: &'a [u8],
}

impl Request<'_> {
    /// Sends it, hands out each line of the answer, and returns the status once the answer is
    /// complete or `take` has had enough. An error is a broken connection.
    pub(super) fn send(
        &self,
        port: u16,
        mut take: impl FnMut(u16, &str) -> ControlFlow<()>,
    ) -> io::Result<u16> {
        let stream = TcpStream::connect((LOOPBACK, port))?;
        stream.set_read_timeout(Some(SILENCE_MAX))?;
        thread::scope(|scope| {
            // An answer may come before all is sent, and then the rest is not wanted any more.
            scope.spawn(|| self.write(&stream).is_ok());
            let answered = read(&stream, &mut take);
            let _ = stream.shutdown(Shutdown::Both); // ends the writer as well
            answered
        })
    }

    fn write(&self, mut stream: &TcpStream) -> io::Result<()> {
        let Self { method, path, .. } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n"); // a string: this cannot fail
        }
        let _ = write!(head, "content-length: {}\r\n\r\n", self.body.len());
        stream.write_all(head.as_bytes())?;
        stream.write_all(self.body)
    }
}

/// How a body's end is known. Never by the connection's end: so also a killed hub's answers end.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Chunked,
    Length(u64),
}

fn read(stream: &TcpStream, take: &mut dyn FnMut(u16, &str) -> ControlFlow<()>) -> io::Result<u16> {
    let mut stream = BufReader::new(stream);
    let (status, framing) = read_head(&mut stream)?;
    let mut lines = Lines {
        carry: Vec::new(),
        take: &mut |line| take(status, line),
    };
    let _ended: ControlFlow<()> = match framing {
        Framing::Chunked => read_chunks(&mut stream, &mut lines)?,
        Framing::Length(bytes) => {
            let mut body = Vec::new();
            (&mut stream).take(bytes).read_to_end(&mut body)?;
            if (body.len() as u64) < bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            lines.feed(&body)?
        }
    };
    if !lines.carry.is_empty() {
        let rest = std::mem::take(&mut lines.carry);
        let _ended: ControlFlow<()> = lines.line(&rest)?;
    }
    Ok(status)
}

fn read_head(stream: &mut impl BufRead) -> io::Result<(u16, Framing)> {
    let first = read_line(stream)?;
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    let mut framing = None;
    loop {
        let line = read_line(stream)?.to_ascii_lowercase();
        match line.split_once(':') {
            None => break,
            Some(("transfer-encoding", _)) => framing = Some(Framing::Chunked),
            Some(("content-length", value)) => {
                let bytes = value.trim().parse().map_err(|_| malformed())?;
                framing = Some(Framing::Length(bytes));
            }
            Some(_) => {}
        }
    }
    status.zip(framing).ok_or_else(malformed)
}

fn read_chunks(stream: &mut impl BufRead, lines: &mut Lines<'_>) -> io::Result<ControlFlow<()>> {
    loop {
        let size = read_line(stream)?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| malformed())?;
        let mut chunk = vec![0; size.min(LINE_BYTES_MAX)];
        stream.read_exact(&mut chunk)?;
        if lines.feed(&chunk)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        read_line(stream)?;
        if size == 0 {
            return Ok(ControlFlow::Continue(()));
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    stream.take(64 << 10).read_line(&mut line)?;
    if !line.ends_with('\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP")
}

/// Makes lines of bytes that come in any pieces.
struct Lines<'a> {
    carry: Vec<u8>,
    take: &'a mut dyn FnMut(&str) -> ControlFlow<()>,
}

impl Lines<'_> {
    fn feed(&mut self, mut bytes: &[u8]) -> io::Result<ControlFlow<()>> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.carry.extend_from_slice(line);
            let whole = std::mem::take(&mut self.carry);
            if self.line(&whole)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.carry.extend_from_slice(bytes);
        Ok(ControlFlow::Continue(()))
    }

    fn line(&mut self, line: &[u8]) -> io::Result<ControlFlow<()>> {
        let line = std::str::from_utf8(line).map_err(|_| malformed())?;
        Ok((self.take)(line))
    }
}
