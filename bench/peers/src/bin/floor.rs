//! The floor of fan-out: a server that does nothing but write the same bytes to every socket.
//!
//! `floor PORT`: `GET` follows; `POST /pub` sends its body as one event with one write to each
//! follower; `POST /blast/N` sends N events in shared blocks of 64 KiB.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_peers::{now_ns, write_data};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use socket2::{Domain, Socket, Type};

const LISTENER: Token = Token(0);
const BACKLOG: i32 = 4096;
const BLOCK_BYTES: usize = 1 << 16;
const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
    Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";
const DONE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

fn main() -> Result<()> {
    let port: u16 = std::env::args()
        .nth(1)
        .context("usage: floor PORT")?
        .parse()?;
    let mut listener = listen(port)?;
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut server = Server {
        next: 1,
        connections: HashMap::new(),
        followers: Vec::new(),
    };
    let mut events = Events::with_capacity(1024);
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            match event.token() {
                LISTENER => server.accept(&listener, &poll)?,
                Token(number) => server.serve(number),
            }
        }
    }
}

/// With room for all who come at once: a dropped SYN costs its sender a second.
fn listen(port: u16) -> Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], port)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket.into()))
}

struct Server {
    next: usize,
    connections: HashMap<usize, TcpStream>,
    followers: Vec<TcpStream>,
}

impl Server {
    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> Result<()> {
        loop {
            let (mut stream, _) = match listener.accept() {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                accepted => accepted?,
            };
            stream.set_nodelay(true)?;
            poll.registry()
                .register(&mut stream, Token(self.next), Interest::READABLE)?;
            self.connections.insert(self.next, stream);
            self.next += 1;
        }
    }

    fn serve(&mut self, number: usize) {
        let Some(mut stream) = self.connections.remove(&number) else {
            return;
        };
        let mut request = [0; 1 << 14];
        let got = match stream.read(&mut request) {
            Ok(0) => return,
            Ok(got) => got,
            Err(_) => return drop(self.connections.insert(number, stream)),
        };
        let request = &request[..got];
        if request.starts_with(b"GET") {
            let _ = stream.write(HEAD);
            return self.followers.push(stream);
        }
        match request.strip_prefix(b"POST /blast/") {
            Some(rest) => self.blast(rest),
            None => self.send(body(request)),
        }
        let _ = stream.write(DONE);
        self.connections.insert(number, stream);
    }

    fn send(&mut self, body: &[u8]) {
        let mut event =
            format!("{:x}\r\nid: 1234567890123456\ndata: ", body.len() + 30).into_bytes();
        event.extend_from_slice(body);
        event.extend_from_slice(b"\n\n\r\n");
        for follower in &mut self.followers {
            // What is not taken is lost: this is a floor, not a server.
            let _ = follower.write(&event);
        }
    }

    fn blast(&mut self, rest: &[u8]) {
        let digits: String = rest
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .map(|byte| char::from(*byte))
            .collect();
        let events: u64 = digits.parse().unwrap_or(0);
        let mut sequence = 0;
        while sequence < events {
            let (mut block, now) = (Vec::with_capacity(2 * BLOCK_BYTES), now_ns());
            while sequence < events && block.len() < BLOCK_BYTES {
                block.extend_from_slice(b"id: 1234567890123456\ndata: ");
                write_data(&mut block, sequence, now);
                block.extend_from_slice(b"\n\n");
                sequence += 1;
            }
            let mut chunk = format!("{:x}\r\n", block.len()).into_bytes();
            chunk.extend_from_slice(&block);
            chunk.extend_from_slice(b"\r\n");
            self.followers
                .iter_mut()
                .for_each(|follower| write_all(follower, &chunk));
        }
    }
}

fn body(request: &[u8]) -> &[u8] {
    memchr::memmem::find(request, b"\r\n\r\n").map_or(b"", |end| &request[end + 4..])
}

fn write_all(stream: &mut TcpStream, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(wrote) => bytes = &bytes[wrote..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                std::thread::sleep(Duration::from_micros(100));
            }
            Err(_) => return,
        }
    }
}
