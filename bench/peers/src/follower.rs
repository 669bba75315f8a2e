use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;

use anyhow::Result;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::{Numbering, Progress, Scanner, Tally};

/// A connection over HTTP/1.1 that follows.
#[derive(Debug)]
pub struct Follower {
    stream: TcpStream,
    state: State,
    scanner: Scanner,
    progress: Progress,
    /// Whether anything of the stream came since this was last set to `false`.
    pub heard: bool,
}

#[derive(Debug)]
enum State {
    /// The request, until it is sent.
    Connecting(Vec<u8>),
    /// The answer's head, until it is whole.
    Asked(Vec<u8>),
    Following,
    /// By the server, or never let in.
    Gone,
}

/// What has become of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    None,
    Ready,
    Refused,
    Closed,
}

impl Follower {
    /// Begins to connect; the request goes out when that is done.
    ///
    /// # Errors
    /// The limit on open files is too low.
    pub fn connect(
        address: SocketAddr,
        request: Vec<u8>,
        numbering: Numbering,
        registry: &Registry,
        token: Token,
    ) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            state: State::Connecting(request),
            scanner: Scanner::default(),
            progress: Progress::new(numbering),
            heard: false,
        })
    }

    /// Sends its request, or reads all that there is.
    pub fn go_on(&mut self, buffer: &mut [u8], tally: &mut Tally) -> Change {
        if let State::Connecting(request) = &self.state {
            // A request is small: a new socket takes it whole, or is not connected yet.
            match self.stream.write(request) {
                Ok(_) => self.state = State::Asked(Vec::new()),
                Err(error) if is_not_yet(error.kind()) => return Change::None,
                Err(_) => return self.leave(),
            }
        }
        let mut change = Change::None;
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return self.leave(),
                Ok(got) => {
                    let piece = &buffer[..got];
                    change = self.take(piece, tally, change);
                    // Edge-triggered: only a short read or an error says that it is dry.
                    if got < buffer.len() {
                        return change;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return change,
                Err(_) => return self.leave(),
            }
        }
    }

    fn take(&mut self, piece: &[u8], tally: &mut Tally, before: Change) -> Change {
        let State::Asked(head) = &mut self.state else {
            self.read(piece, tally);
            return before;
        };
        head.extend_from_slice(piece);
        let Some(end) = memchr::memmem::find(head, b"\r\n\r\n") else {
            return before;
        };
        let head = std::mem::take(head);
        if !head.starts_with(b"HTTP/1.1 200") {
            self.leave();
            return Change::Refused;
        }
        self.state = State::Following;
        self.read(&head[end + 4..], tally);
        Change::Ready
    }

    fn read(&mut self, piece: &[u8], tally: &mut Tally) {
        self.heard |= !piece.is_empty();
        tally.read(&mut self.scanner, &mut self.progress, piece);
    }

    fn leave(&mut self) -> Change {
        if matches!(self.state, State::Gone) {
            return Change::None;
        }
        self.state = State::Gone;
        Change::Closed
    }
}

fn is_not_yet(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::NotConnected)
}
