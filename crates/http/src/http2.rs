//! A connection of HTTP/2: many streams, each a task.

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::{
    body::{Body, Frame, SizeHint},
    rt::Executor,
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use pin_project_lite::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::oneshot,
    task::futures::TaskLocalFuture,
    task_local,
    time::Sleep,
};

use crate::{
    connection::Io,
    counters::{Counters, Held, increment},
    reply::Reply,
    route::route,
    server::Shared,
};

/// A connection that is one too many is closed when it was quiet for this long.
const SHED_IDLE: Duration = Duration::from_secs(1);

/// Bytes handed to hyper at once. To take so many is what a client has to manage in the time that it
/// may stall: slower than that looks like a window that is never opened.
const PIECE_BYTES: usize = 4 << 10;

/// Bytes that hyper may hold of a stream whose window is closed.
const SEND_BYTES_MAX: usize = 16 << 10;

pub(crate) async fn serve<I>(shared: &Arc<Shared>, io: Io<I>, over_limit: bool) -> hyper::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let config = &shared.stream.config;
    let stall_max = Duration::from_millis(config.stall_ms_max);
    let busy = Busy::default();
    let service = service_fn(|request| {
        let (shared, busy) = (shared.clone(), busy.clone());
        async move {
            busy.0.requests.fetch_add(1, Ordering::Relaxed);
            let held = Held::new(busy).0;
            // Boxed, so that it is gone when the stream begins: a task is as large as the largest
            // thing that it ever waits for, and there may be 100,000 of them.
            let response = Box::pin(route(&shared, request, over_limit)).await;
            Ok::<_, io::Error>(response.map(|reply| Pieces::new(reply, held)))
        }
    });
    let streams = Streams {
        stall_max,
        counters: shared.stream.counters.clone(),
    };
    let connection = http2::Builder::new(streams)
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.h2_streams_max)
        .max_header_list_size(u32::try_from(config.head_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(stall_max)
        .keep_alive_timeout(stall_max)
        .serve_connection(TokioIo::new(io), service);
    let idle_max = if over_limit {
        SHED_IDLE
    } else {
        Duration::from_millis(config.h2_idle_ms_max)
    };
    let (leave, left) = oneshot::channel();
    tokio::spawn(tell(shared.clone(), busy.clone(), idle_max, leave));
    let mut connection = pin!(connection);
    tokio::select! {
        biased;
        outcome = &mut connection => return outcome,
        _ = left => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        outcome = &mut connection => outcome,
        () = shared.grace_is_over() => Ok(()),
        () = busy.idle(idle_max) => Ok(()),
    }
}

/// Tells a connection when it is to take no more requests.
///
/// A task of its own: the connection's would look at the timer and the phase whenever there is
/// something to write.
async fn tell(shared: Arc<Shared>, busy: Busy, idle_max: Duration, mut leave: oneshot::Sender<()>) {
    tokio::select! {
        () = leave.closed() => {}
        () = shared.drained() => {}
        () = busy.idle(idle_max) => {}
    }
    // Dropped, it is told.
}

/// Whether a connection is used for anything.
#[derive(Debug, Default, Clone)]
struct Busy(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// Requests so far.
    requests: AtomicUsize,
    /// Responses that have not ended.
    open: AtomicUsize,
}

impl AsRef<AtomicUsize> for Busy {
    fn as_ref(&self) -> &AtomicUsize {
        &self.0.open
    }
}

impl Busy {
    /// Resolves when nothing was open, and nothing was asked for, for the whole of `patience`.
    async fn idle(&self, patience: Duration) {
        loop {
            let before = self.0.requests.load(Ordering::Relaxed);
            tokio::time::sleep(patience).await;
            let quiet = self.0.requests.load(Ordering::Relaxed) == before;
            if quiet && self.0.open.load(Ordering::Relaxed) == 0 {
                return;
            }
        }
    }
}

/// Runs the streams of a connection, and cuts those whose client takes nothing.
#[derive(Debug, Clone)]
struct Streams {
    stall_max: Duration,
    counters: Arc<Counters>,
}

task_local! {
    static PROGRESS: Progress;
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let progress = Progress::default();
        tokio::spawn(Watched {
            stream: PROGRESS.scope(progress.clone(), stream),
            stall: Stall {
                progress,
                max: self.stall_max,
                since: None,
                counters: self.counters.clone(),
            },
        });
    }
}

/// How often a body was asked for bytes and gave some: an odd number while those are on their way.
#[derive(Debug, Default, Clone)]
struct Progress(Arc<AtomicU64>);

impl Progress {
    fn asked(&self) {
        let count = self.0.load(Ordering::Relaxed);
        self.0.store(count + count % 2, Ordering::Relaxed);
    }

    fn gave(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

pin_project! {
    /// A stream, which ends when its client takes nothing: dropped, it resets itself, and nothing of
    /// it stays behind.
    struct Watched<F> {
        #[pin]
        stream: TaskLocalFuture<Progress, F>,
        stall: Stall,
    }
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let watched = self.project();
        if watched.stream.poll(cx).is_ready() {
            return Poll::Ready(());
        }
        watched.stall.poll(cx)
    }
}

/// Whether a client takes nothing of a stream.
///
/// The connection itself does not stall when the window of one of its streams is never opened, and
/// hyper does not ask that stream's body for anything then.
///
/// The timer exists only while bytes are on their way: a client that keeps up costs nothing.
struct Stall {
    progress: Progress,
    max: Duration,
    /// The progress that there was, and the time that is left for more.
    since: Option<(u64, Pin<Box<Sleep>>)>,
    counters: Arc<Counters>,
}

impl Stall {
    /// Ready when bytes were on their way for too long. To be asked after the stream was polled.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.progress.0.load(Ordering::Relaxed);
        if now.is_multiple_of(2) {
            self.since = None;
            return Poll::Pending;
        }
        let (_, timer) = match &mut self.since {
            Some(since) if since.0 == now => since,
            since => since.insert((now, Box::pin(tokio::time::sleep(self.max)))),
        };
        ready!(timer.as_mut().poll(cx));
        increment(&self.counters.stalled);
        Poll::Ready(())
    }
}

/// A body in pieces, which counts as open until it is dropped.
struct Pieces {
    reply: Reply,
    /// What was given for the client and not handed on.
    rest: Bytes,
    progress: Progress,
    _held: Held<Busy>,
}

impl Pieces {
    fn new(reply: Reply, held: Held<Busy>) -> Self {
        Self {
            reply,
            rest: Bytes::new(),
            progress: PROGRESS.try_with(Clone::clone).unwrap_or_default(),
            _held: held,
        }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.progress.asked();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.reply).poll_frame(cx)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                end => return Poll::Ready(end),
            }
        }
        self.progress.gave();
        let piece = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(piece);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.reply.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() {
            return self.reply.size_hint();
        }
        SizeHint::default()
    }
}
