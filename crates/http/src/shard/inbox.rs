//! What others have for a shard.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tidings::{Answers, Located, LogPage, LogRead, PublishError, Receipt, SubscribeError};

use crate::counters::Held;
use crate::server::Connections;

/// A message to a shard.
pub(crate) enum Message<L> {
    /// A connection that was accepted, which the driver has to watch.
    Accepted(L, Held<Connections>),
    News(News),
}

/// What a shard hears.
pub(crate) enum News {
    /// What a read of the log found.
    Read(LogPage),
    /// Where a subscriber begins, by its connection's slot and serial number.
    Located((u32, u32), Result<Located, SubscribeError>),
    /// What a publish came to, by the token that it was given with.
    Answered(u64, Result<Receipt, PublishError>),
    /// The drain is over: connections that ask nothing are closed.
    Drained,
    /// The grace is over, or the server is gone: all connections are closed.
    Over,
}

/// Blocking work of a shard.
pub(crate) enum Job {
    Read(LogRead),
    Locate(
        (u32, u32),
        Box<dyn FnOnce() -> Result<Located, SubscribeError> + Send>,
    ),
}

impl Job {
    /// Does it, and says what came of it.
    pub(crate) fn run(self) -> News {
        match self {
            Self::Read(read) => News::Read(read.run()),
            Self::Locate(connection, locate) => News::Located(connection, locate()),
        }
    }
}

/// Messages that wait for a shard, and what wakes it.
pub(crate) struct Inbox<L> {
    messages: Mutex<Vec<Message<L>>>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl<L> Inbox<L> {
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            messages: Mutex::default(),
            wake: Box::new(wake),
        }
    }

    /// Leaves a connection for the shard.
    pub(crate) fn accept(&self, link: L, held: Held<Connections>) {
        self.leave(Message::Accepted(link, held));
    }

    /// Leaves news.
    pub(crate) fn send(&self, news: News) {
        self.leave(Message::News(news));
    }

    /// Only the first message since the shard looked wakes it.
    fn leave(&self, message: Message<L>) {
        let mut messages = self.lock();
        messages.push(message);
        let first = messages.len() == 1;
        drop(messages);
        if first {
            (self.wake)();
        }
    }

    /// Wakes the shard, which has something to look at that is not here.
    pub(crate) fn wake(&self) {
        (self.wake)();
    }

    pub(crate) fn take(&self) -> Vec<Message<L>> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Message<L>>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<L: Send> Answers for Inbox<L> {
    fn answer(&self, token: u64, answer: Result<Receipt, PublishError>) {
        self.send(News::Answered(token, answer));
    }
}
