//! A shard as a task, for what is not a TCP socket: Unix sockets, pipes, and tests, whose time may
//! be paused.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, oneshot},
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    fanout::{Released, Shard, Wait},
    inbox::{Inbox, Message, News},
    link::{Link, Release},
    request::chunk,
};
use crate::{
    counters::Held,
    server::{Connections, Shared},
};

/// Anything that bytes can be read from and written to.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<I: AsyncRead + AsyncWrite + Unpin + Send> Socket for I {}

/// The end of a connection within a shard: where it goes, and with what.
type Outcome = (Box<dyn Socket>, Release, Held<Connections>);

/// A shard that runs as a task.
pub(crate) struct TaskShard {
    inbox: Arc<Inbox<TaskLink>>,
}

impl std::fmt::Debug for TaskShard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TaskShard").finish_non_exhaustive()
    }
}

pub(crate) struct TaskLink {
    io: Box<dyn Socket>,
    waker: Waker,
    home: oneshot::Sender<Outcome>,
}

impl Link for TaskLink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(&self.waker);
        let mut unread = ReadBuf::new(buffer);
        match Pin::new(&mut self.io).poll_read(&mut context, &mut unread) {
            Poll::Ready(outcome) => {
                // Only a read that finds nothing will wake: have it looked at again.
                self.waker.wake_by_ref();
                outcome.map(|()| unread.filled().len())
            }
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut context = Context::from_waker(&self.waker);
        match Pin::new(&mut self.io).poll_write(&mut context, bytes) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

/// The slots of sockets that something happened to.
#[derive(Default)]
struct Happened(Mutex<Vec<u32>>);

impl Happened {
    fn take(&self) -> Vec<u32> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Wakes the shard for one socket.
struct SocketWaker {
    slot: u32,
    happened: Arc<Happened>,
    notify: Arc<Notify>,
}

impl Wake for SocketWaker {
    fn wake(self: Arc<Self>) {
        let mut slots = self
            .happened
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        slots.push(self.slot);
        drop(slots);
        self.notify.notify_one();
    }
}

impl TaskShard {
    /// Starts the task in the runtime that this is called in.
    pub(crate) fn start(server: &Arc<Shared>) -> Self {
        let notify = Arc::new(Notify::new());
        let wake = notify.clone();
        let inbox = Arc::new(Inbox::new(move || wake.notify_one()));
        tokio::spawn(run(server.clone(), inbox.clone(), notify));
        Self { inbox }
    }

    /// Serves a connection until it ends, here or with hyper.
    pub(crate) async fn serve(
        &self,
        server: Arc<Shared>,
        io: Box<dyn Socket>,
        held: Held<Connections>,
    ) -> io::Result<()> {
        let (home, outcome) = oneshot::channel();
        let link = TaskLink {
            io,
            waker: Waker::noop().clone(),
            home,
        };
        self.inbox.accept(link, held);
        let Ok((io, why, _held)) = outcome.await else {
            return Ok(()); // the runtime ends
        };
        why.carry_out(server, io).await
    }

    pub(crate) fn tell_drained(&self) {
        self.inbox.send(News::Drained);
    }

    pub(crate) fn tell_over(&self) {
        self.inbox.send(News::Over);
    }
}

impl Drop for TaskShard {
    fn drop(&mut self) {
        self.tell_over();
    }
}

async fn run(server: Arc<Shared>, inbox: Arc<Inbox<TaskLink>>, notify: Arc<Notify>) {
    let waking = inbox.clone();
    let crowd = server.hub.crowd(chunk, move || waking.wake());
    let mut shard = Shard::new(server, crowd, inbox.clone());
    let happened = Arc::new(Happened::default());
    let begun = Instant::now();
    let mut over = false;
    while !over || shard.len() > 0 {
        shard.set_time(u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX));
        for slot in happened.take() {
            shard.happened(slot, true, true);
        }
        for message in inbox.take() {
            let (link, held) = match message {
                Message::Accepted(link, held) => (link, held),
                Message::News(news) => {
                    over |= matches!(news, News::Over);
                    shard.hear(news);
                    continue;
                }
            };
            let slot = shard.accept(link, held);
            if let Some(link) = shard.link(slot) {
                link.waker = Arc::new(SocketWaker {
                    slot,
                    happened: happened.clone(),
                    notify: notify.clone(),
                })
                .into();
            }
            shard.happened(slot, true, false);
        }
        let wait = shard.turn();
        for job in shard.take_jobs() {
            let inbox = inbox.clone();
            tokio::task::spawn_blocking(move || inbox.send(job.run()));
        }
        for Released { link, why, held } in shard.take_released() {
            // Nobody waits for it any more: it is closed.
            let _ = link.home.send((link.io, why, held));
        }
        match wait {
            Wait::No => yield_now().await,
            Wait::Event => notify.notified().await,
            Wait::Until(ms) => {
                let due = begun + Duration::from_millis(ms);
                tokio::select! {
                    () = notify.notified() => {}
                    () = sleep_until(due) => {}
                }
            }
        }
    }
}
