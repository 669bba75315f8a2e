//! Receipts of a stream, on their way to a publisher that may not read them yet.
//!
//! Many clients send all of a request before they read any of its answer. If the hub stopped
//! reading while they do not read, both would wait for ever. So receipts wait here, as runs of
//! sequences: one for each commit, not one for each event.

use std::{
    collections::VecDeque,
    fmt::Write,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tidings::Run;
use tokio::sync::Notify;

use crate::problem::Problem;

/// Receipts that were given and not yet sent.
#[derive(Debug)]
pub(crate) struct Receipts {
    state: Mutex<State>,
    /// Rung when there is room again, and when the client has gone.
    room: Notify,
    runs_max: usize,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Line>,
    ended: bool,
    gone: bool,
    waker: Option<Waker>,
}

#[derive(Debug)]
enum Line {
    Run(Run),
    Own(Box<str>),
    Problem(Box<Problem>),
}

/// The response body that sends them.
#[derive(Debug)]
pub(crate) struct ReceiptStream {
    receipts: Arc<Receipts>,
    epoch: Arc<str>,
}

/// Bytes of receipts sent at once.
const CHUNK_BYTES: usize = 16 << 10;

impl Receipts {
    pub(crate) fn new(runs_max: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            room: Notify::new(),
            runs_max,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn give(&self, runs: impl IntoIterator<Item = Run>) {
        let mut state = self.lock();
        for run in runs {
            match state.waiting.back_mut() {
                Some(Line::Run(last)) if last.first + last.count == run.first => {
                    last.count += run.count;
                }
                _ => state.waiting.push_back(Line::Run(run)),
            }
        }
        state.wake();
    }

    /// A receipt for an event with the publisher's own ID.
    pub(crate) fn give_own(&self, id: Box<str>) {
        let mut state = self.lock();
        state.waiting.push_back(Line::Own(id));
        state.wake();
    }

    /// No more receipts: the stream ended, or this is why it cannot go on.
    pub(crate) fn end(&self, problem: Option<Problem>) {
        let mut state = self.lock();
        state
            .waiting
            .extend(problem.map(Box::new).map(Line::Problem));
        state.ended = true;
        state.wake();
    }

    /// Waits until the client has read enough of what waits. False: it has gone.
    pub(crate) async fn room(&self) -> bool {
        loop {
            let notified = self.room.notified();
            {
                let state = self.lock();
                if state.gone || state.waiting.len() < self.runs_max {
                    return !state.gone;
                }
            }
            notified.await;
        }
    }

    pub(crate) fn stream(self: &Arc<Self>, epoch: &str) -> ReceiptStream {
        ReceiptStream {
            receipts: self.clone(),
            epoch: epoch.into(),
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Writes what fits, as NDJSON.
    fn write(&mut self, epoch: &str, out: &mut String) {
        while out.len() < CHUNK_BYTES {
            match self.waiting.front_mut() {
                Some(Line::Run(run)) if run.count > 0 => {
                    let _ = writeln!(out, "{{\"id\":\"{epoch}:{}\"}}", run.first);
                    run.first += 1;
                    run.count -= 1;
                    continue;
                }
                Some(Line::Run(_)) => {}
                Some(Line::Own(id)) => {
                    push_json(id, out);
                    out.push('\n');
                }
                Some(Line::Problem(problem)) => {
                    let _ = writeln!(out, "{}", problem.to_json());
                }
                None => return,
            }
            self.waiting.pop_front();
        }
    }
}

impl ReceiptStream {
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let mut out = String::new();
        {
            let mut state = self.receipts.lock();
            state.write(&self.epoch, &mut out);
            if out.is_empty() {
                if state.ended {
                    return Poll::Ready(None);
                }
                state.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
        self.receipts.room.notify_one();
        Poll::Ready(Some(Ok(out.into())))
    }
}

impl Drop for ReceiptStream {
    fn drop(&mut self) {
        self.receipts.lock().gone = true;
        self.receipts.room.notify_one();
    }
}

/// Writes `{"id":…}`.
pub(crate) fn push_json(id: &str, out: &mut String) {
    out.push_str("{\"id\":");
    // A string: this cannot fail.
    out.push_str(&serde_json::to_string(id).unwrap_or_default());
    out.push('}');
}
