//! HTTP/1.1 by hand.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use crate::{events::Events, patience::soon};

/// A connection to a hub. It sends what it is told to and reads what it is asked for.
#[derive(Debug)]
pub struct Client<I> {
    io: I,
    unread: Vec<u8>,
    framing: Framing,
}

/// How the rest of the body that is being read is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Done,
    Length(usize),
    /// What is left of the chunk.
    Chunked(usize),
    UntilClose,
}

/// A response's status and fields.
#[derive(Debug, Clone)]
pub struct Head {
    /// `HTTP/1.1` or `HTTP/1.0`.
    pub version: String,
    /// The status.
    pub status: u16,
    /// The fields as they came.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The field called `name`, in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(n, _)| n == name)?;
        Some(&field.1)
    }
}

/// A response that was read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
}

impl Response {
    /// The status.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// The body, which is text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a body of UTF-8")
    }

    /// The body, which is JSON.
    pub fn json(&self) -> serde_json::Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The `detail` of a problem, which must be one.
    pub fn detail(&self) -> String {
        let kind = self.head.field("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{}", self.text());
        let problem = self.json();
        assert_eq!(problem.get("status"), Some(&self.head.status.into()));
        assert!(
            problem
                .get("title")
                .is_some_and(serde_json::Value::is_string)
        );
        let detail = problem.get("detail").and_then(serde_json::Value::as_str);
        detail.expect("a detail").to_owned()
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> Client<I> {
    /// A client on an open connection.
    pub fn new(io: I) -> Self {
        Self {
            io,
            unread: Vec::new(),
            framing: Framing::Done,
        }
    }

    /// Sends bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let sent = soon("room to send", self.io.write_all(bytes.as_ref())).await;
        sent.expect("the connection is open");
    }

    /// Sends what the other side takes, and says how much: all, or what it took until it closed or
    /// took nothing for `patience`.
    pub async fn send_while_taken(&mut self, bytes: &[u8], patience: Duration) -> usize {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match timeout(patience, self.io.write(rest)).await {
                Ok(Ok(n)) if n > 0 => sent += n,
                _ => break,
            }
        }
        sent
    }

    /// Says that nothing more is sent.
    pub async fn finish(&mut self) {
        soon("the end", self.io.shutdown()).await.expect("open");
    }

    /// Sends a request: `line` is its method and target.
    pub async fn request(&mut self, line: &str, fields: &[(&str, &str)], body: &[u8]) {
        let mut bytes = format!("{line} HTTP/1.1\r\n").into_bytes();
        let own_host = fields.iter().any(|(name, _)| *name == "host");
        let host = (!own_host).then_some(("host", "hub"));
        for (name, value) in host.iter().chain(fields) {
            bytes.extend(format!("{name}: {value}\r\n").into_bytes());
        }
        if !body.is_empty() || line.starts_with("POST") {
            bytes.extend(format!("content-length: {}\r\n", body.len()).into_bytes());
        }
        bytes.extend(b"\r\n");
        bytes.extend(body);
        self.send(bytes).await;
    }

    /// Sends one chunk of a body that was announced as chunked; an empty one ends it.
    pub async fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend(bytes);
        chunk.extend(b"\r\n");
        self.send(chunk).await;
    }

    /// Subscribes and reads the response's head, which must be a stream of events.
    pub async fn subscribe(mut self, target: &str, fields: &[(&str, &str)]) -> Events<I> {
        self.request(&format!("GET {target}"), fields, b"").await;
        let head = self.head().await;
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        Events::new(self)
    }

    /// Reads a response's head.
    pub async fn head(&mut self) -> Head {
        let head = self.try_head().await;
        head.expect("a response, not the end of the connection")
    }

    /// As [`Client::head`]; `None` if the connection ended instead.
    pub async fn try_head(&mut self) -> Option<Head> {
        let end = loop {
            if let Some(end) = find(&self.unread, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                return None;
            }
        };
        let text: Vec<u8> = self.unread.drain(..end + 4).collect();
        let head = parse_head(&String::from_utf8_lossy(&text));
        self.framing = framing(&head);
        Some(head)
    }

    /// Reads a whole response.
    pub async fn response(&mut self) -> Response {
        let head = self.head().await;
        let body = self.body().await;
        Response { head, body }
    }

    /// Reads the body to its end.
    pub async fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(bytes) = self.chunk().await {
            body.extend(bytes);
        }
        body
    }

    /// The next bytes of the body. `None` at its end, or where the connection broke: see
    /// [`Client::is_whole`].
    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.framing {
                Framing::Done | Framing::Length(0) => {
                    self.framing = Framing::Done;
                    return None;
                }
                Framing::Chunked(0) => self.chunk_size().await?,
                _ if self.unread.is_empty() => {
                    if !self.fill().await {
                        if self.framing == Framing::UntilClose {
                            self.framing = Framing::Done;
                        }
                        return None;
                    }
                }
                Framing::Length(left) => {
                    let bytes = self.take(left);
                    self.framing = Framing::Length(left - bytes.len());
                    return Some(bytes);
                }
                Framing::Chunked(left) => {
                    let bytes = self.take(left);
                    self.framing = Framing::Chunked(left - bytes.len());
                    return Some(bytes);
                }
                Framing::UntilClose => return Some(std::mem::take(&mut self.unread)),
            }
        }
    }

    /// Whether the last body was read to its proper end.
    pub fn is_whole(&self) -> bool {
        self.framing == Framing::Done
    }

    /// Waits until the other side closes, and returns what it had sent and nobody read.
    pub async fn closed(&mut self) -> Vec<u8> {
        while self.fill().await {}
        std::mem::take(&mut self.unread)
    }

    /// The connection itself.
    pub fn into_inner(self) -> I {
        self.io
    }

    /// Reads a chunk's size, and its end if it is the last.
    async fn chunk_size(&mut self) -> Option<()> {
        let mut line = self.line().await?;
        if line.is_empty() {
            line = self.line().await?; // that was the end of the chunk before
        }
        let size = line.split(';').next().unwrap_or_default();
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size");
        self.framing = Framing::Chunked(size);
        if size == 0 {
            while !self.line().await?.is_empty() {}
            self.framing = Framing::Done;
        }
        Some(())
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.unread, b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Some(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn take(&mut self, max: usize) -> Vec<u8> {
        let count = self.unread.len().min(max);
        self.unread.drain(..count).collect()
    }

    /// Reads more. False: the connection has ended.
    async fn fill(&mut self) -> bool {
        let read = soon("bytes", self.io.read_buf(&mut self.unread)).await;
        read.is_ok_and(|count| count > 0)
    }
}

fn parse_head(text: &str) -> Head {
    let mut lines = text.split("\r\n");
    let mut status = lines.next().unwrap_or_default().split(' ');
    let version = status.next().unwrap_or_default().to_owned();
    let code = status.next().and_then(|code| code.parse().ok());
    let fields = lines
        .take_while(|line| !line.is_empty())
        .map(|line| line.split_once(':').expect("a field"))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Head {
        version,
        status: code.expect("a status"),
        fields,
    }
}

fn framing(head: &Head) -> Framing {
    if head.field("transfer-encoding") == Some("chunked") {
        return Framing::Chunked(0);
    }
    match head.field("content-length") {
        Some(length) => Framing::Length(length.parse().expect("a length")),
        None if matches!(head.status, 204 | 304 | 100..200) => Framing::Done,
        None => Framing::UntilClose,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}
