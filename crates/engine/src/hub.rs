//! The hub: what publishers and subscribers share.

use std::{fmt, sync::Arc as StdArc};

use slab::Slab;
use tidings_log::{Marks, ReadError, Reader, Unread, Writer};

use crate::{
    bell::Bell,
    committer::Committer,
    control::Gap,
    crowd::Crowd,
    forgotten::{Forgotten, Told},
    idempotency::{Mark, Table},
    limits::Limits,
    publish::{Answer, Answers, Publish, PublishError, Refused, Run, Ticket},
    queue::Queue,
    selection::{Selection, Selector},
    signal::{EndReason, Signal},
    span::Framing,
    start::{Resolver, Start},
    stats::{Counters, Stats, add},
    subscription::{SubscribeError, Subscription},
    sync::{Arc, AtomicBool, AtomicU64, Mutex, Ordering, Weak, lock},
    window::Window,
};

/// Topics, publishers and subscribers over one log. Cheap to clone; all clones are the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Shared>);

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("epoch", &self.0.epoch)
            .finish_non_exhaustive()
    }
}

pub(crate) struct Shared {
    pub(crate) epoch: Arc<str>,
    pub(crate) log: Reader,
    pub(crate) window: Window,
    pub(crate) queue: Arc<Queue>,
    pub(crate) limits: Limits,
    pub(crate) counters: Counters,
    changes: AtomicU64,
    changed: AtomicU64,
    idempotency_keys: AtomicU64,
    subscribers: Mutex<Subscribers>,
    closed: AtomicBool,
}

/// Whom a drain has to tell.
#[derive(Default)]
struct Subscribers {
    alone: Slab<Arc<Signal>>,
    crowds: Vec<Weak<Bell>>,
}

/// A subscriber's place in the log, found by [`Hub::locate`].
#[derive(Debug)]
pub struct Located {
    pub(crate) selection: Selection,
    pub(crate) cursor: u64,
    pub(crate) gap: Option<Gap>,
    pub(crate) told: Told,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn unregister(&self, place: usize) {
        let mut subscribers = lock(&self.subscribers);
        subscribers.alone.try_remove(place);
        if subscribers.alone.is_empty() {
            subscribers.alone.shrink_to_fit();
        }
        drop(subscribers);
        self.counters.subscribers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts a subscriber of a crowd, under the lock that [`Hub::close_to_subscribers`] takes.
    pub(crate) fn register_in(&self, crowd: &Bell) -> Result<(), SubscribeError> {
        let _subscribers = lock(&self.subscribers);
        self.refuse_if_closed()?;
        crowd.joined();
        self.count_subscriber();
        Ok(())
    }

    pub(crate) fn unregister_from_crowd(&self, ended: Option<EndReason>) {
        self.counters.subscribers.fetch_sub(1, Ordering::Relaxed);
        self.count_end(ended);
    }

    pub(crate) fn count_end(&self, ended: Option<EndReason>) {
        let counter = match ended {
            Some(EndReason::Drain) => &self.counters.ended_drain,
            Some(EndReason::Evicted) => &self.counters.ended_evicted,
            Some(EndReason::TooSlow) => &self.counters.ended_too_slow,
            None => return,
        };
        add(counter, 1);
    }

    fn refuse_if_closed(&self) -> Result<(), SubscribeError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(SubscribeError::Closed);
        }
        Ok(())
    }

    fn count_subscriber(&self) {
        add(&self.counters.subscribers, 1);
        add(&self.counters.subscriptions, 1);
    }

    /// To be called before anything that may make the log forget: commits, by which a rule for so
    /// many events does, and retention.
    pub(crate) fn note_change(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes of the log that were begun. What was read of it before this is called holds nothing
    /// of later ones: an increment, and be it of nothing, comes before or behind each of the others.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.fetch_add(0, Ordering::AcqRel)
    }

    /// To be called behind each of them.
    pub(crate) fn note_changed(&self) {
        self.changed.fetch_add(1, Ordering::AcqRel);
    }

    /// Changes of the log that have ended.
    pub(crate) fn changed(&self) -> u64 {
        self.changed.fetch_add(0, Ordering::AcqRel)
    }

    pub(crate) fn counters_set(&self, idempotency_keys: usize) {
        self.idempotency_keys
            .store(idempotency_keys as u64, Ordering::Relaxed);
    }
}

impl Hub {
    /// A hub over an open log, and its committer, which has to run for anything to be published.
    ///
    /// Where damage hides idempotency keys, it goes without them: what is published again with one of
    /// those is stored again. [`Report::KeysUnread`](crate::Report) tells where.
    ///
    /// # Errors
    ///
    /// The log could not be read to find the idempotency keys that are still remembered.
    pub fn new(
        writer: Writer,
        log: Reader,
        limits: Limits,
        now_ms: u64,
    ) -> Result<(Self, Committer), ReadError> {
        let (table, unread) = remembered(&log, &limits, now_ms)?;
        let shared = Arc::new(Shared {
            epoch: log.epoch().into(),
            window: Window::new(log.next(), limits.window_bytes_max),
            log,
            queue: Queue::new(&limits),
            limits,
            counters: Counters::default(),
            changes: AtomicU64::new(1),
            changed: AtomicU64::new(1),
            idempotency_keys: AtomicU64::new(table.len() as u64),
            subscribers: Mutex::default(),
            closed: AtomicBool::new(false),
        });
        let committer = Committer::new(shared.clone(), writer, table, unread);
        Ok((Self(shared), committer))
    }

    /// The epoch of the log.
    pub fn epoch(&self) -> &str {
        &self.0.epoch
    }

    /// What this hub accepts and holds.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// Puts a group into the queue. The [`Ticket`] resolves once the group is as durable as the
    /// log was told to make it.
    ///
    /// # Errors
    ///
    /// The group breaks a limit, the queue is full, or the hub is closed. Nothing was published.
    pub fn publish(&self, publish: Publish) -> Result<Ticket, PublishError> {
        self.offer(publish).map_err(|refused| refused.error)
    }

    /// As [`Hub::publish`], but a group that was refused is given back, to be offered again.
    ///
    /// # Errors
    ///
    /// As [`Hub::publish`].
    pub fn offer(&self, publish: Publish) -> Result<Ticket, Box<Refused>> {
        self.push(publish, Ticket::new)
    }

    /// As [`Hub::publish`], but the answer is told to `to`, with the token to know it by.
    ///
    /// # Errors
    ///
    /// As [`Hub::publish`]; `to` hears nothing then.
    pub fn publish_to(
        &self,
        publish: Publish,
        to: StdArc<dyn Answers>,
        token: u64,
    ) -> Result<(), PublishError> {
        self.push(publish, || ((), Answer::told(to, token)))
            .map_err(|refused| refused.error)
    }

    fn push<T>(
        &self,
        publish: Publish,
        answer: impl FnOnce() -> (T, Answer),
    ) -> Result<T, Box<Refused>> {
        if let Err(error) = publish.check(&self.0.limits, &self.0.epoch) {
            return Err(Box::new(Refused { error, publish }));
        }
        self.0.queue.push(publish, answer).inspect_err(|refused| {
            if matches!(refused.error, PublishError::Busy) {
                add(&self.0.counters.refused_busy, 1);
            }
        })
    }

    /// A subscriber's cursor, at the place that `start` names.
    ///
    /// It reads the disk where [`Start::may_read`] says so. `now_ms` is Unix time in milliseconds.
    ///
    /// # Errors
    ///
    /// Nothing or too much to follow, the hub is closed, or the log could not be read.
    pub fn subscribe(
        &self,
        selectors: &[Selector],
        start: &Start,
        now_ms: u64,
    ) -> Result<Subscription, SubscribeError> {
        let located = self.locate(selectors, start, now_ms)?;
        let signal = Arc::new(Signal::default());
        let registered = self.register(&signal)?;
        Subscription::new(self.0.clone(), signal, located, registered)
    }

    /// Finds the place that `start` names, for [`Crowd::join`].
    ///
    /// It reads the disk where [`Start::may_read`] says so. `now_ms` is Unix time in milliseconds.
    ///
    /// # Errors
    ///
    /// Nothing or too much to follow, or the log could not be read.
    pub fn locate(
        &self,
        selectors: &[Selector],
        start: &Start,
        now_ms: u64,
    ) -> Result<Located, SubscribeError> {
        let max = self.0.limits.selectors_max;
        match selectors.len() {
            0 => return Err(SubscribeError::NoSelector),
            n if n > max => return Err(SubscribeError::TooManySelectors { max }),
            _ => {}
        }
        let selection = Selection::new(selectors);
        let resolver = Resolver {
            log: &self.0.log,
            epoch: &self.0.epoch,
            now_ms,
        };
        let (cursor, gap) = resolver
            .resolve(start, &selection)
            .map_err(SubscribeError::Log)?;
        let told = match start {
            Start::Earliest | Start::Last(_) => {
                // Before it is asked: what changes meanwhile may be in the answer, or not, and so may
                // what has begun to and not ended.
                let changes = self.0.changed();
                let before = selection.with(|s| self.0.log.forgotten_before(s));
                match before {
                    Ok(before) => {
                        let forgotten = Forgotten { before, changes };
                        Told::at_beginning(forgotten, selection.is_one_topic())
                    }
                    // Rather is it told of too much.
                    Err(ReadError::Damaged { .. }) => Told::default(),
                    Err(error) => return Err(SubscribeError::Log(error)),
                }
            }
            _ => Told::default(),
        };
        Ok(Located {
            selection,
            cursor,
            gap,
            told,
        })
    }

    /// An empty crowd, for a thread that serves many subscribers.
    ///
    /// `wake` is called when some of them may have news, once until [`Crowd::take_news`] was called
    /// after it; it must not block. `framing` puts the transport's framing around what is sent.
    pub fn crowd(&self, framing: Framing, wake: impl Fn() + Send + Sync + 'static) -> Crowd {
        let bell = Arc::new(Bell::new(wake));
        let mut subscribers = lock(&self.0.subscribers);
        subscribers.crowds.retain(|crowd| crowd.strong_count() > 0);
        subscribers.crowds.push(Arc::downgrade(&bell));
        drop(subscribers);
        Crowd::new(self.0.clone(), framing, bell)
    }

    /// Registers under the lock that [`Hub::close_to_subscribers`] takes, so that none slips past it.
    fn register(&self, signal: &Arc<Signal>) -> Result<usize, SubscribeError> {
        let mut subscribers = lock(&self.0.subscribers);
        self.0.refuse_if_closed()?;
        self.0.count_subscriber();
        Ok(subscribers.alone.insert(signal.clone()))
    }

    /// Subscriptions that are open.
    pub fn subscribers(&self) -> usize {
        let subscribers = lock(&self.0.subscribers);
        let crowds = subscribers.crowds.iter().filter_map(Weak::upgrade);
        subscribers.alone.len() + crowds.map(|bell| bell.open()).sum::<usize>()
    }

    /// Refuses new subscribers from now on. Those that are there stay until [`Hub::end`].
    pub fn close_to_subscribers(&self) {
        let _subscribers = lock(&self.0.subscribers);
        self.0.closed.store(true, Ordering::Release);
    }

    /// Ends up to `count` subscriptions that have not been ended yet, and says how many it found.
    ///
    /// Called again and again with a part of [`Hub::subscribers`] it spreads a drain over time.
    pub fn end(&self, count: usize, reason: EndReason) -> usize {
        let (chosen, crowds): (Vec<Arc<Signal>>, Vec<Arc<Bell>>) = {
            let subscribers = lock(&self.0.subscribers);
            let alone = subscribers.alone.iter().map(|(_, signal)| signal);
            let open = alone.filter(|signal| signal.ended().is_none());
            let crowds = subscribers.crowds.iter().filter_map(Weak::upgrade);
            (open.take(count).cloned().collect(), crowds.collect())
        };
        for signal in &chosen {
            signal.end(reason);
        }
        crowds.iter().fold(chosen.len(), |ended, crowd| {
            ended + crowd.end(count - ended, reason)
        })
    }

    /// Refuses publishes from now on. The committer answers what was accepted, and is done.
    pub fn close_to_publishers(&self) {
        self.0.queue.close();
    }

    /// What the hub counts.
    pub fn stats(&self) -> Stats {
        let (queue_groups, queue_bytes) = self.0.queue.depth();
        let (window_events, window_bytes, window_topics) = self.0.window.size();
        let log = self.0.log.stats();
        Stats {
            queue_groups: queue_groups as u64,
            queue_bytes: queue_bytes as u64,
            window_events: window_events as u64,
            window_bytes: window_bytes as u64,
            window_topics: window_topics as u64,
            idempotency_keys: self.0.idempotency_keys.load(Ordering::Relaxed),
            log_segments: log.segments as u64,
            log_bytes: log.bytes,
            log_events: log.records,
            log_first: log.first,
            log_next: log.next,
            ..self.0.counters.read()
        }
    }
}

/// The idempotency keys that the log remembers, and where there are some that cannot be read.
fn remembered(
    log: &Reader,
    limits: &Limits,
    now_ms: u64,
) -> Result<(Table, Vec<Unread>), ReadError> {
    let mut table = Table::new(limits);
    let since_ms = now_ms.saturating_sub(limits.idempotency_ms_max);
    let Marks { marks, unread } = log.marks(since_ms, MARKS_READ_MAX)?;
    for found in marks {
        if let Some(mark) = Mark::decode(&found.bytes) {
            let run = Run {
                first: found.sequence,
                count: mark.count,
            };
            table.record(&mark, run, found.time_ms);
        }
    }
    Ok((table, unread))
}

/// Marks read at opening, newest first: a request has one for each of its groups.
const MARKS_READ_MAX: usize = 1_000_000;
