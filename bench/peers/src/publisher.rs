use std::io::{ErrorKind, Read, Write};

use anyhow::{Context, Result, ensure};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::{Exchange, Histogram, Lines, Target, Turn};

/// A kept-alive connection that publishes, without ever blocking.
#[derive(Debug)]
pub struct Publisher {
    stream: TcpStream,
    speech: Speech,
    out: Vec<u8>,
    written: usize,
    busy: bool,
}

#[derive(Debug)]
enum Speech {
    /// A request for each event.
    Events(Exchange),
    /// One request whose body is a stream of lines: at most so many without a receipt, so many at
    /// once.
    Lines {
        lines: Lines,
        window: usize,
        chunk: usize,
    },
}

/// How a publisher speaks.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    Events,
    /// At most so many lines without a receipt, so many at once.
    Lines {
        window: usize,
        chunk: usize,
    },
}

impl Manner {
    /// As all rows with one stream of lines have it.
    pub const LINES: Self = Self::Lines {
        window: 8192,
        chunk: 512,
    };
}

impl Publisher {
    /// # Errors
    /// The server cannot be reached.
    pub fn connect(
        target: &Target,
        manner: Manner,
        topic: &str,
        registry: &Registry,
        token: Token,
    ) -> Result<Self> {
        let stream = std::net::TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let (speech, out) = match manner {
            Manner::Events => (Speech::Events(Exchange::new(target)), Vec::new()),
            Manner::Lines { window, chunk } => {
                let lines = Lines::new(topic);
                let speech = Speech::Lines {
                    lines,
                    window,
                    chunk,
                };
                (speech, Lines::head(target))
            }
        };
        Ok(Self {
            stream,
            speech,
            out,
            written: 0,
            busy: false,
        })
    }

    /// How many events it can take now.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.speech {
            Speech::Events(_) => usize::from(!self.busy),
            Speech::Lines { .. } if !self.out.is_empty() => 0,
            Speech::Lines {
                lines,
                window,
                chunk,
            } => *chunk.min(&window.saturating_sub(lines.unanswered())),
        }
    }

    /// Sends these.
    ///
    /// # Errors
    /// The connection broke.
    pub fn send(&mut self, turns: &[Turn]) -> Result<()> {
        match &mut self.speech {
            Speech::Events(exchange) => {
                for turn in turns {
                    self.busy = true;
                    exchange.request(turn.sequence, turn.topic, &mut self.out);
                }
            }
            Speech::Lines { lines, .. } => {
                let mut sequences = turns.iter().map(|turn| turn.sequence);
                let next = || sequences.next().unwrap_or_default();
                lines.chunk(turns.len(), next, &mut self.out);
            }
        }
        self.write()
    }

    /// Nothing is on its way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.speech {
            Speech::Events(_) => !self.busy,
            Speech::Lines { lines, .. } => lines.unanswered() == 0,
        }
    }

    /// Writes and reads all that it can.
    ///
    /// # Errors
    /// The connection broke, or an event was refused.
    pub fn go_on(&mut self, buffer: &mut [u8], times: &mut Histogram) -> Result<()> {
        self.write()?;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    ensure!(self.is_done(), "the server closed a publisher's connection");
                    return Ok(());
                }
                Ok(got) => self.take(&buffer[..got], times)?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("a publisher's connection broke"),
            }
        }
    }

    fn take(&mut self, piece: &[u8], times: &mut Histogram) -> Result<()> {
        match &mut self.speech {
            Speech::Events(exchange) => {
                if let Some(took_ns) = exchange.take(piece)? {
                    self.busy = false;
                    times.add(took_ns);
                }
                Ok(())
            }
            Speech::Lines { lines, .. } => lines.take(piece, |took_ns| times.add(took_ns)),
        }
    }

    fn write(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(wrote) => self.written += wrote,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error).context("a publisher's connection broke"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }
}
