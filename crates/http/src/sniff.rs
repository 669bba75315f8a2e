//! Telling HTTP/1.1 from HTTP/2 by the first bytes of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4). No HTTP/1 request begins so.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is known. `None`: the client went away before that.
pub(crate) async fn sniff<I>(mut io: I) -> io::Result<Option<(Protocol, Rewound<I>)>>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let mut first = Vec::with_capacity(PREFACE.len());
    let protocol = loop {
        let mut chunk = [0; PREFACE.len()];
        let room = PREFACE.len() - first.len();
        let read = io.read(chunk.get_mut(..room).unwrap_or_default()).await?;
        if read == 0 {
            return Ok(None);
        }
        first.extend_from_slice(chunk.get(..read).unwrap_or_default());
        if !PREFACE.starts_with(&first) {
            break Protocol::Http1;
        }
        if first.len() == PREFACE.len() {
            break Protocol::Http2;
        }
    };
    Ok(Some((protocol, Rewound::new(first.into(), io))))
}

/// A connection whose first bytes were read already, and are read again.
#[derive(Debug)]
pub(crate) struct Rewound<I> {
    first: Bytes,
    io: I,
}

impl<I> Rewound<I> {
    pub(crate) fn new(first: Bytes, io: I) -> Self {
        Self { first, io }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.first.len().min(buf.remaining());
        buf.put_slice(self.first.get(..count).unwrap_or_default());
        self.first.advance(count);
        if self.first.is_empty() {
            self.first = Bytes::new(); // gives the allocation back
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Rewound<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
