//! A subscriber over HTTP/1.1: a socket and a decoder, and nothing else, so that a process can have
//! very many of them.

use std::{cell::RefCell, io, net::SocketAddr, rc::Rc};

use hyper::Request;
use tokio::{net::TcpStream, sync::Semaphore};

use super::{
    chunks::Chunks,
    run::{Reader, Run},
};
use crate::{
    client::Refusal,
    failure::{Code, Failure},
};

const READ_BYTES: usize = 64 << 10;
const HEAD_BYTES_MAX: usize = 16 << 10;

/// What all subscribers of a run share.
#[derive(Debug)]
pub(crate) struct Entrance {
    pub(crate) address: SocketAddr,
    /// One for all: whoever is woken reads, and is done with it before it waits again.
    buffer: RefCell<Vec<u8>>,
    /// How many may knock at the same time.
    pub(crate) knocking: Semaphore,
}

impl Entrance {
    pub(crate) fn new(address: SocketAddr, knocking_max: usize) -> Self {
        Self {
            address,
            buffer: RefCell::new(vec![0; READ_BYTES]),
            knocking: Semaphore::new(knocking_max),
        }
    }
}

/// Subscribes, and reads until the stream ends.
pub(crate) async fn follow(
    run: Rc<Run>,
    entrance: Rc<Entrance>,
    number: usize,
    request: Request<()>,
) {
    let mut subscriber = Subscriber {
        run: &run,
        number,
        reader: Reader::default(),
        head: Some(Vec::new()),
        chunks: Chunks::new(false),
    };
    match subscriber.follow(&entrance, &request).await {
        // It had a stream, which has ended.
        _ if subscriber.head.is_none() => run.cut(number),
        Ok(()) => run.fail(cannot(number, &"the hub closed the connection")),
        Err(error) => run.fail(cannot(number, &error)),
    }
}

pub(crate) fn cannot(number: usize, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(
        Code::Unreachable,
        format!("subscriber {} cannot get in: {why}", number + 1),
    )
}

struct Subscriber<'a> {
    run: &'a Run,
    number: usize,
    reader: Reader,
    /// The response's head, until it is complete.
    head: Option<Vec<u8>>,
    chunks: Chunks,
}

impl Subscriber<'_> {
    async fn follow(&mut self, entrance: &Entrance, request: &Request<()>) -> io::Result<()> {
        let stream = self.enter(entrance, request).await?;
        while !self.chunks.is_over() && self.go_on(&stream, entrance).await? {}
        Ok(())
    }

    /// Knocks until the response's head is here, or the connection has ended.
    async fn enter(&mut self, entrance: &Entrance, request: &Request<()>) -> io::Result<TcpStream> {
        // The semaphore is never closed.
        let _knocking = entrance.knocking.acquire().await;
        let stream = TcpStream::connect(entrance.address).await?;
        send(&stream, &render(request)).await?;
        while self.head.is_some() && self.go_on(&stream, entrance).await? {}
        Ok(stream)
    }

    /// Waits for bytes and takes them; `false`: the connection has ended.
    async fn go_on(&mut self, stream: &TcpStream, entrance: &Entrance) -> io::Result<bool> {
        stream.readable().await?;
        let mut buffer = entrance.buffer.borrow_mut();
        match stream.try_read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(got) => self.take(buffer.get(..got).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut head) = self.head.take() else {
            return self.read(bytes);
        };
        head.extend_from_slice(bytes);
        let Some(end) = memchr::memmem::find(&head, b"\r\n\r\n") else {
            if head.len() > HEAD_BYTES_MAX {
                return Err(io::Error::other("the answer is no HTTP"));
            }
            self.head = Some(head);
            return Ok(());
        };
        let (head, body) = head.split_at(end + 4);
        let told = String::from_utf8_lossy(head).to_ascii_lowercase();
        if !told.starts_with("http/1.1 200 ") {
            // Not answered: what is said here is why.
            self.head = Some(Vec::new());
            return Err(io::Error::other(refusal(&told, body)));
        }
        self.chunks = Chunks::new(told.contains("\r\ntransfer-encoding: chunked\r\n"));
        self.run.count(|tally| tally.answered += 1);
        self.read(body)
    }

    fn read(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while let Some(body) = self.chunks.next(&mut bytes) {
            let body =
                body.map_err(|_| io::Error::other("the stream is not chunked as it says"))?;
            self.reader.take(self.run, self.number, body);
        }
        Ok(())
    }
}

/// What a refusal says, as far as it has come.
fn refusal(head: &str, body: &[u8]) -> String {
    match Refusal::from_line(body) {
        Some(refusal) => format!("the hub refused: {refusal}"),
        None => format!("the answer is {}", head.lines().next().unwrap_or_default()),
    }
}

/// As it goes over the wire.
fn render(request: &Request<()>) -> Vec<u8> {
    let (method, uri) = (request.method(), request.uri());
    let mut bytes = format!("{method} {uri} HTTP/1.1\r\n").into_bytes();
    for (name, value) in request.headers() {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

async fn send(stream: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(wrote) => bytes = bytes.get(wrote..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_rendered_as_it_was_built() {
        let request = Request::get("/x/events?topic=a%2Fb").header("Host", "hub:1");
        let request = request.body(()).unwrap();
        let text = String::from_utf8(render(&request)).unwrap();
        assert_eq!(
            text,
            "GET /x/events?topic=a%2Fb HTTP/1.1\r\nhost: hub:1\r\n\r\n"
        );
    }

    #[test]
    fn a_refusal_says_why() {
        let body = br#"{"status":503,"title":"x","detail":"too many"}"#;
        assert!(refusal("http/1.1 503 \r\n", body).contains("too many"));
        assert_eq!(
            refusal("http/1.1 502 bad\r\n", b"<html>"),
            "the answer is http/1.1 502 bad"
        );
    }
}
