//! How an HTTP/1.1 connection ends: noticing that the client has gone, and letting it read the last
//! answer before the connection goes too.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, timeout},
};

/// How many responses of a connection are streams of events: one or none.
#[derive(Debug, Default, Clone)]
pub(crate) struct Streaming(Arc<AtomicUsize>);

impl AsRef<AtomicUsize> for Streaming {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0
    }
}

/// A connection that is read also where hyper would not.
///
/// Hyper stops reading once it holds bytes that it has no use for yet. A client that sent one byte
/// too many after its request and went away would then keep its place until a write fails, and
/// where heartbeats are rare that takes long. So while events are streamed, whatever the client
/// sends is read and dropped here, and its going is seen at once.
///
/// And hyper closes when it has answered, though the client may still be sending. The kernel then
/// resets the connection, and the client may never see the answer that told it what was wrong. So
/// after the last byte, what still comes is read and dropped for a while.
#[derive(Debug)]
pub(crate) struct Hangup<I> {
    io: I,
    streaming: Streaming,
    /// Bytes of the client were dropped: what follows them makes no sense any more.
    dropped: bool,
    linger_max: Duration,
    /// Set once the last byte was sent.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<I> Hangup<I> {
    pub(crate) fn new(io: I, streaming: Streaming, linger_max: Duration) -> Self {
        Self {
            io,
            streaming,
            dropped: false,
            linger_max,
            linger: None,
        }
    }

    fn is_streaming(&self) -> bool {
        self.streaming.0.load(Ordering::Relaxed) > 0
    }
}

impl<I: AsyncRead + Unpin> Hangup<I> {
    /// Reads and drops what comes. Ready once the client has gone.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut chunk = [0; 4096];
        // The runtime's budget for a task bounds this loop.
        loop {
            let mut unread = ReadBuf::new(&mut chunk);
            ready!(Pin::new(&mut self.io).poll_read(cx, &mut unread))?;
            if unread.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            self.dropped = true;
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Hangup<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_streaming() {
            return self.poll_gone(cx);
        }
        if self.dropped {
            return Poll::Ready(Ok(())); // the end, as far as requests go
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Hangup<I> {
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

    /// Hyper comes here whenever it has nothing to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_streaming() && self.poll_gone(cx)?.is_ready() {
            let gone = io::Error::new(io::ErrorKind::ConnectionAborted, "the client has gone");
            return Poll::Ready(Err(gone));
        }
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            self.linger = Some(Box::pin(tokio::time::sleep(self.linger_max)));
        }
        // An error is as good an end as any: all was sent.
        if let (Poll::Pending, Some(linger)) = (self.poll_gone(cx), &mut self.linger) {
            ready!(linger.as_mut().poll(cx));
        }
        Poll::Ready(Ok(()))
    }
}

/// Sends the end, then reads and drops what still comes, for so long: a client that is sending gets
/// to read what it was sent.
pub(crate) async fn linger<I>(mut io: I, linger_ms_max: u64) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let dropping = async {
        io.shutdown().await?;
        let mut chunk = [0; 4096];
        while io.read(&mut chunk).await? > 0 {}
        Ok(())
    };
    // An error is as good an end as any: all was sent.
    let _: Result<io::Result<()>, _> =
        timeout(Duration::from_millis(linger_ms_max), dropping).await;
    Ok(())
}
