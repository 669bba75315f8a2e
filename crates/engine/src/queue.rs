//! The bounded queue between publishers and the one committer.

use std::{collections::VecDeque, time::Duration};

use crate::{
    limits::Limits,
    publish::{Answer, Publish, PublishError, Refused},
    sync::{Arc, Condvar, Mutex, lock},
};

/// A group that waits to be committed.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) publish: Publish,
    pub(crate) answer: Answer,
    cost: usize,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    bytes_max: usize,
    groups_max: usize,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
    /// The committer waits. Waking it costs a system call, also where it does not.
    asleep: bool,
}

/// The committer's end of the queue. Without it nothing would ever be answered, so dropping it
/// closes the queue and refuses what waits there.
#[derive(Debug)]
pub(crate) struct Outlet(pub(crate) Arc<Queue>);

/// What the committer finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Jobs,
    Nothing,
    /// Closed, and all that was accepted before has been taken.
    Closed,
}

impl Queue {
    pub(crate) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::default()),
            arrived: Condvar::new(),
            bytes_max: limits.queue_bytes_max,
            groups_max: limits.queue_groups_max,
        })
    }

    /// Puts a group into the queue with the answer that `answer` makes, which is not made for one
    /// that is refused.
    pub(crate) fn push<T>(
        &self,
        publish: Publish,
        answer: impl FnOnce() -> (T, Answer),
    ) -> Result<T, Box<Refused>> {
        let cost = publish.cost();
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Box::new(Refused {
                error: PublishError::Closed,
                publish,
            }));
        }
        let full = state.bytes + cost > self.bytes_max || state.jobs.len() >= self.groups_max;
        // An empty queue takes any group, or one over the limit could never be published.
        if full && !state.jobs.is_empty() {
            return Err(Box::new(Refused {
                error: PublishError::Busy,
                publish,
            }));
        }
        let (ticket, answer) = answer();
        state.bytes += cost;
        state.jobs.push_back(Job {
            publish,
            answer,
            cost,
        });
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.arrived.notify_one();
        }
        Ok(ticket)
    }

    /// Refuses what comes from now on. What was accepted is still committed.
    pub(crate) fn close(&self) {
        lock(&self.state).closed = true;
        self.arrived.notify_all();
    }

    /// Groups and bytes that wait.
    pub(crate) fn depth(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.jobs.len(), state.bytes)
    }
}

impl Outlet {
    /// Moves what is there into `jobs`, up to `bytes_max` and at least one group.
    pub(crate) fn take(&self, jobs: &mut Vec<Job>, bytes_max: usize) -> Taken {
        let mut state = lock(&self.0.state);
        let mut bytes = 0;
        while let Some(job) = state
            .jobs
            .pop_front_if(|job| bytes == 0 || bytes + job.cost <= bytes_max)
        {
            bytes += job.cost;
            state.bytes -= job.cost;
            jobs.push(job);
        }
        match (bytes > 0, state.closed) {
            (true, _) => Taken::Jobs,
            (false, false) => Taken::Nothing,
            (false, true) => Taken::Closed,
        }
    }

    /// Blocks until something is there, the queue is closed, or `patience` is over.
    pub(crate) fn wait(&self, patience: Duration) {
        let mut state = lock(&self.0.state);
        if state.jobs.is_empty() && !state.closed {
            state.asleep = true;
            let _ = self.0.arrived.wait_timeout(state, patience);
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.0.close();
        // An answer wakes its publisher: not under the lock.
        let refused = std::mem::take(&mut lock(&self.0.state).jobs);
        drop(refused);
    }
}
