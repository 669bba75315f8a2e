//! One connection, from its first byte to its last.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    Response,
    body::{Body, Frame, SizeHint},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use crate::{
    counters::Held,
    hangup::{Hangup, Streaming},
    http2,
    patience::Patient,
    reply::Reply,
    route::route,
    server::Shared,
    sniff::{Protocol, Rewound, sniff},
};

/// What hyper reads and writes.
pub(crate) type Io<I> = Rewound<Patient<I>>;

/// Serves a connection until it ends, is cut, or the hub has drained.
pub(crate) async fn serve<I>(shared: Arc<Shared>, io: I, over_limit: bool) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = &shared.stream.config;
    let stall_max = Duration::from_millis(config.stall_ms_max);
    let io = Patient::new(io, stall_max, shared.stream.counters.clone());
    let first = timeout(Duration::from_millis(config.head_ms_max), sniff(io));
    let first = tokio::select! {
        biased; // what a shard has read already is under way, also in a drain
        first = first => first,
        // Browsers open connections ahead of need: a drain does not wait for those.
        () = shared.drained() => return Ok(()),
    };
    let Ok(Some((protocol, io))) = first? else {
        return Ok(());
    };
    let outcome = match protocol {
        Protocol::Http1 => serve_http1(&shared, io, over_limit).await,
        Protocol::Http2 => http2::serve(&shared, io, over_limit).await,
    };
    outcome.map_err(io::Error::other)
}

async fn serve_http1<I>(shared: &Arc<Shared>, io: Io<I>, over_limit: bool) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = &shared.stream.config;
    let streaming = &Streaming::default();
    let io = Hangup::new(
        io,
        streaming.clone(),
        Duration::from_millis(config.linger_ms_max),
    );
    let service = service_fn(|request| async move {
        let response = route(shared, request, over_limit).await;
        Ok::<_, io::Error>(watched(response, streaming))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Who closes its side behind its request is answered. Of a stream, `Hangup` sees the end.
        .half_close(true)
        .header_read_timeout(Duration::from_millis(config.head_ms_max))
        .max_headers(config.head_fields_max)
        // Bounds the head, and what is held for a client that does not read.
        .max_buf_size(config.head_bytes_max.max(8 << 10))
        .serve_connection(TokioIo::new(io), service);
    let mut connection = pin!(connection);
    tokio::select! {
        biased; // likewise
        outcome = &mut connection => return outcome,
        () = shared.drained() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        outcome = &mut connection => outcome,
        () = shared.grace_is_over() => Ok(()),
    }
}

/// While events are streamed, the client has nothing to say, and is listened to for its going.
fn watched(response: Response<Reply>, streaming: &Streaming) -> Response<Watched> {
    response.map(|reply| Watched {
        _held: matches!(reply, Reply::Events(_)).then(|| Held::new(streaming.clone()).0),
        reply,
    })
}

/// A body that tells its connection whether it is a stream of events.
struct Watched {
    reply: Reply,
    _held: Option<Held<Streaming>>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.get_mut().reply).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.reply.size_hint()
    }
}
