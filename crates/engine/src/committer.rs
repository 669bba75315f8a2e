//! The one thread that writes the log.
//!
//! It takes what is in the queue, gives each event the next sequence, puts the ID in front of its
//! bytes, and appends all with one write and one sync. Only then does anyone hear of it: first the
//! subscribers, then the publishers.

use std::{fmt, sync::Arc as StdArc, time::Duration};

use smallvec::SmallVec;
use tidings_log::{Batch, CommitError, Head, Retained, Unread, Writer};
use tidings_wire::Topic;

use crate::{
    hub::Shared,
    id,
    idempotency::{Known, Mark, Table},
    publish::{NewEvent, Publish, PublishError, Receipt, Run},
    queue::{Job, Outlet, Taken},
    stats::add,
    sync::{Arc, Ordering},
    window::{Arrival, Entry},
};

/// Owns the log's writing end. Run it on a thread of its own, or step it in a simulation.
pub struct Committer {
    shared: Arc<Shared>,
    queue: Outlet,
    writer: Writer,
    table: Table,
    /// What the table lacks, until it is reported.
    unread: Vec<Unread>,
    jobs: Vec<Job>,
    /// Why the log accepts nothing any more.
    failure: Option<Cause>,
    /// What the log failed with last, until it is reported.
    trouble: Option<CommitError>,
    /// What the last commit could not write, in bytes, until that much can be written again.
    refused_bytes: Option<usize>,
}

type Cause = StdArc<dyn std::error::Error + Send + Sync>;

const RETAIN_EVERY_MS: u64 = 1000;

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}

/// What a step of the committer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// It answered this many groups.
    Answered(usize),
    /// There was nothing to do.
    Idle,
    /// The hub is closed and all that was accepted is answered.
    Done,
}

/// What an operator would want to read of.
#[derive(Debug)]
#[non_exhaustive]
pub enum Report {
    /// Retention forgot old events.
    Retained(Retained),
    /// Retention could not be applied; it is tried again.
    RetentionFailed(CommitError),
    /// A commit failed and its publishers were told.
    CommitFailed(CommitError),
    /// The log accepts nothing more until it is opened again, whatever it was doing when it failed.
    LogFailed(CommitError),
    /// Idempotency keys cannot be read, because the log is damaged: what is published again with one of
    /// them is stored again.
    KeysUnread(Unread),
}

/// An event of a batch, until the batch is committed.
struct Staged {
    topics: SmallVec<[Topic; 1]>,
    expires_ms: u64,
}

/// A group of a batch, until the batch is committed.
struct Pending {
    job: Job,
    receipt: Receipt,
}

impl Committer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        writer: Writer,
        table: Table,
        unread: Vec<Unread>,
    ) -> Self {
        Self {
            queue: Outlet(shared.queue.clone()),
            shared,
            writer,
            table,
            unread,
            jobs: Vec::new(),
            failure: None,
            trouble: None,
            refused_bytes: None,
        }
    }

    /// Commits until the hub is closed, then closes the log.
    ///
    /// `now_ms` is asked for Unix time in milliseconds; `report` hears what an operator would want
    /// to read. Retention is applied about once a second, and more often where it has much to do.
    ///
    /// # Errors
    ///
    /// The log could not be closed cleanly. All that was acknowledged is safe.
    pub fn run(
        mut self,
        now_ms: impl Fn() -> u64,
        mut report: impl FnMut(Report),
    ) -> Result<(), CommitError> {
        for unread in self.unread.drain(..) {
            report(Report::KeysUnread(unread));
        }
        let mut retained_ms = 0;
        loop {
            let now = now_ms();
            let progress = self.step(now);
            self.report_trouble(&mut report);
            let is_time = now.abs_diff(retained_ms) >= RETAIN_EVERY_MS;
            if (is_time || self.writer.retention_is_due()) && self.failure.is_none() {
                retained_ms = now;
                match self.retain(now) {
                    Ok(retained) if retained.segments > 0 || retained.damaged > 0 => {
                        report(Report::Retained(retained));
                    }
                    Ok(_) => {}
                    // It is the log's trouble, and is not tried again.
                    Err(error) if error.is_poisoned() => self.report_trouble(&mut report),
                    Err(error) => report(Report::RetentionFailed(error)),
                }
            }
            match progress {
                Progress::Answered(_) => {}
                Progress::Idle => self
                    .queue
                    .wait(Duration::from_millis(self.patience_ms(now))),
                Progress::Done => return self.close(),
            }
        }
    }

    fn report_trouble(&mut self, report: &mut impl FnMut(Report)) {
        match self.trouble.take() {
            Some(error) if error.is_poisoned() => report(Report::LogFailed(error)),
            Some(error) => report(Report::CommitFailed(error)),
            None => {}
        }
    }

    /// How long nothing has to be done if nothing is published. Milliseconds.
    fn patience_ms(&self, now_ms: u64) -> u64 {
        let due = self.writer.sync_due_in_ms(now_ms);
        due.map_or(RETAIN_EVERY_MS, |due| due.min(RETAIN_EVERY_MS))
    }

    /// Commits what is in the queue, once, without waiting, and syncs if that is due.
    pub fn step(&mut self, now_ms: u64) -> Progress {
        let mut jobs = std::mem::take(&mut self.jobs);
        let bytes_max = self.shared.limits.commit_bytes_max;
        let taken = self.queue.take(&mut jobs, bytes_max);
        let count = jobs.len();
        if count > 0 {
            self.commit(&mut jobs, now_ms);
        }
        if self.failure.is_none()
            && let Err(error) = self.writer.sync_if_due(now_ms)
        {
            self.note_trouble(&error);
        }
        self.jobs = jobs;
        match taken {
            Taken::Jobs => Progress::Answered(count),
            Taken::Nothing => Progress::Idle,
            Taken::Closed => Progress::Done,
        }
    }

    /// Forgets what retention allows to forget. If the last commit found no room, looks whether
    /// there is some now, so that a hub whom nobody asks any more says that it can be asked again.
    ///
    /// # Errors
    ///
    /// The storage refused. Nothing is lost by it; try again later, unless the log has stopped: that
    /// is counted as if a commit had met it.
    pub fn retain(&mut self, now_ms: u64) -> Result<Retained, CommitError> {
        self.shared.note_change();
        let retained = self.writer.retain(now_ms);
        self.shared.note_changed();
        if let Err(error) = &retained
            && error.is_poisoned()
            && self.failure.is_none()
        {
            self.note_trouble(error);
        }
        if self
            .refused_bytes
            .is_some_and(|bytes| self.writer.try_room(bytes).is_ok())
        {
            self.note_written();
        }
        retained
    }

    /// Writes what makes the next opening fast.
    ///
    /// # Errors
    ///
    /// The storage refused. All that was acknowledged is safe.
    pub fn close(self) -> Result<(), CommitError> {
        self.writer.close()
    }

    fn commit(&mut self, jobs: &mut Vec<Job>, now_ms: u64) {
        if let Some(failure) = self.failure.clone() {
            for job in jobs.drain(..) {
                self.answer_after_failure(job, &failure);
            }
            return;
        }
        let first = self.writer.next_sequence();
        let mut batch = self.writer.begin(now_ms);
        let mut staged = Vec::new();
        let mut pending = Vec::new();
        for job in jobs.drain(..) {
            match self.stage(&job.publish, &mut batch, &mut staged, now_ms) {
                Ok(receipt) => pending.push(Pending { job, receipt }),
                Err(error) => job.answer.give(Err(error)),
            }
        }
        let result = if batch.is_empty() {
            Ok(())
        } else {
            self.write(batch, &staged)
        };
        match result {
            Ok(()) => pending.into_iter().for_each(|p| self.acknowledge(p)),
            Err(error) => {
                self.table.undo_from(first);
                self.refuse(pending, first, &error);
            }
        }
        self.shared.counters_set(self.table.len());
    }

    /// Adds a group's events to the batch, but for those that are in the log already.
    fn stage(
        &mut self,
        publish: &Publish,
        batch: &mut Batch,
        staged: &mut Vec<Staged>,
        now_ms: u64,
    ) -> Result<Receipt, PublishError> {
        let mut runs = match self.table.look_up(publish)? {
            Known::New => SmallVec::new(),
            Known::Prefix(runs) => runs,
        };
        let known: u64 = runs.iter().map(|run: &Run| run.count).sum();
        let repeated = known > 0;
        let new = publish
            .events
            .get(usize::try_from(known).unwrap_or(usize::MAX)..)
            .unwrap_or_default();
        if new.is_empty() {
            return Ok(Receipt { runs, repeated });
        }
        let mark = publish.idempotency.as_ref().map(|request| Mark {
            key: &request.key,
            offset: request.offset + known,
            count: new.len() as u64,
            fingerprint: publish.fingerprint(),
            whole: request.whole,
        });
        let checkpoint = batch.checkpoint();
        let first = match self.push_group(new, mark.as_ref().map(Mark::encode).as_deref(), batch) {
            Ok(first) => first,
            Err(error) => {
                batch.rewind(checkpoint);
                return Err(error);
            }
        };
        let time_ms = batch.time_ms();
        staged.extend(new.iter().map(|event| {
            Staged {
                topics: event.topics.clone(),
                expires_ms: event
                    .ttl_ms
                    .map_or(u64::MAX, |ttl| time_ms.saturating_add(ttl)),
            }
        }));
        let run = Run {
            first,
            count: new.len() as u64,
        };
        if let Some(mark) = &mark {
            self.table.record(mark, run, now_ms);
        }
        runs.push(run);
        Ok(Receipt { runs, repeated })
    }

    fn push_group(
        &self,
        events: &[NewEvent],
        mark: Option<&[u8]>,
        batch: &mut Batch,
    ) -> Result<u64, PublishError> {
        let mut first = None;
        let time_ms = batch.time_ms();
        for (i, event) in events.iter().enumerate() {
            let topics: SmallVec<[&str; 1]> = event.topics.iter().map(Topic::as_str).collect();
            let head = Head {
                topics: &topics,
                alias: event.id.as_deref(),
                key: event.key.as_deref(),
                expires_ms: event.ttl_ms.map(|ttl| time_ms.saturating_add(ttl)),
                mark: mark.filter(|_| i == 0),
                continues: i + 1 < events.len(),
            };
            let pushed = batch.push(&head, |sequence, out| self.encode(event, sequence, out));
            let sequence = pushed.map_err(|_| {
                // Checked when the group was accepted; only an odd configuration comes here.
                let max = self.shared.limits.event_bytes_max;
                PublishError::EventTooLarge {
                    bytes: event.body.len(),
                    max,
                }
            })?;
            first.get_or_insert(sequence);
        }
        first.ok_or(PublishError::Empty)
    }

    fn encode(&self, event: &NewEvent, sequence: u64, out: &mut Vec<u8>) {
        match &event.id {
            Some(own) => {
                // Checked to hold no line end when the event was made.
                out.extend_from_slice(b"id: ");
                out.extend_from_slice(own.as_bytes());
                out.push(b'\n');
            }
            None => id::encode_line(&self.shared.epoch, sequence, out),
        }
        out.extend_from_slice(&event.body);
    }

    fn write(&mut self, batch: Batch, staged: &[Staged]) -> Result<(), CommitError> {
        let begun = std::time::Instant::now();
        let bytes = batch.bytes();
        self.shared.note_change();
        let committed = self.writer.commit(batch);
        self.shared.note_changed();
        let committed = committed.inspect_err(|_| {
            self.refused_bytes = Some(bytes);
        })?;
        if self.refused_bytes.is_some() {
            self.note_written();
        }
        let counters = &self.shared.counters;
        add(
            &counters.commit_us,
            u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX),
        );
        add(&counters.commits, 1);
        add(&counters.published_events, staged.len() as u64);
        add(
            &counters.published_bytes,
            committed.frames.iter().map(|f| f.len() as u64).sum(),
        );
        let entries = (committed.first..).zip(committed.frames);
        let arrivals = entries
            .zip(staged)
            .map(|((sequence, frame), staged)| Arrival {
                topics: &staged.topics,
                entry: Entry {
                    sequence,
                    expires_ms: staged.expires_ms,
                    frame,
                },
            });
        self.shared.window.append(arrivals, committed.last + 1);
        Ok(())
    }

    fn acknowledge(&self, pending: Pending) {
        if pending.receipt.repeated {
            add(&self.shared.counters.repeated_groups, 1);
        }
        pending.job.answer.give(Ok(pending.receipt));
    }

    /// What was acknowledged before the log failed stays so, and is answered again.
    fn answer_after_failure(&self, job: Job, failure: &Cause) {
        let count = job.publish.events.len() as u64;
        match self.table.look_up(&job.publish) {
            Ok(Known::Prefix(runs)) if runs.iter().map(|run| run.count).sum::<u64>() == count => {
                let repeated = true;
                let receipt = Receipt { runs, repeated };
                self.acknowledge(Pending { job, receipt });
            }
            _ => {
                add(&self.shared.counters.refused_storage, 1);
                job.answer
                    .give(Err(PublishError::LogFailed(failure.clone())));
            }
        }
    }

    /// Answers the groups of a commit that failed. One that repeats only what was in the log
    /// before is as acknowledged as ever.
    fn refuse(&mut self, pending: Vec<Pending>, first: u64, error: &CommitError) {
        let cause = self.note_trouble(error);
        for pending in pending {
            if pending.receipt.runs.iter().all(|run| run.first < first) {
                self.acknowledge(pending);
                continue;
            }
            add(&self.shared.counters.refused_storage, 1);
            let error = match error {
                CommitError::Poisoned(_) => PublishError::LogFailed(cause.clone()),
                CommitError::Full(_) => PublishError::StorageFull(cause.clone()),
                _ => PublishError::WriteFailed(cause.clone()),
            };
            pending.job.answer.give(Err(error));
        }
    }

    /// Says what is wrong to whoever looks.
    fn note_trouble(&mut self, error: &CommitError) -> Cause {
        let cause: Cause = StdArc::new(error.clone());
        self.trouble = Some(error.clone());
        let counters = &self.shared.counters;
        let gauge = match error {
            CommitError::Poisoned(_) => {
                self.failure = Some(cause.clone());
                self.refused_bytes = None;
                counters.log_full.store(0, Ordering::Relaxed);
                counters.log_unwritable.store(0, Ordering::Relaxed);
                &counters.log_failed
            }
            CommitError::Full(_) => &counters.log_full,
            _ => &counters.log_unwritable,
        };
        gauge.store(1, Ordering::Relaxed);
        cause
    }

    fn note_written(&mut self) {
        self.refused_bytes = None;
        let counters = &self.shared.counters;
        counters.log_full.store(0, Ordering::Relaxed);
        counters.log_unwritable.store(0, Ordering::Relaxed);
    }
}
