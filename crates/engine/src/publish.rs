//! What a publisher hands in, and what it gets back.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc as StdArc,
    task::{Context, Poll, Waker},
};

use smallvec::SmallVec;
use tidings_wire::{Event, EventId, EventIdError, EventType, Topic};

use crate::{
    control::CONTROL_PREFIX,
    id,
    limits::Limits,
    sync::{Arc, Condvar, Mutex, lock},
};

/// An event that is ready to be committed: validated, and encoded but for its ID.
///
/// The encoding happens on the publisher's thread, so that the one committer has only to put the
/// ID in front.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub(crate) topics: SmallVec<[Topic; 1]>,
    pub(crate) id: Option<Box<str>>,
    pub(crate) key: Option<Box<str>>,
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) body: Vec<u8>,
    /// Whether its event type is one that only the hub may send.
    reserved: bool,
}

impl NewEvent {
    /// An event with `data` for one topic.
    pub fn new(topic: Topic, data: &str) -> Self {
        Self::with(std::iter::once(topic), None, None, data)
    }

    /// An event for several topics, with an event type and a `retry` in milliseconds.
    ///
    /// A subscriber that follows several of its topics gets it once.
    pub fn with(
        topics: impl IntoIterator<Item = Topic>,
        event_type: Option<EventType<'_>>,
        retry_ms: Option<u64>,
        data: &str,
    ) -> Self {
        let mut unique: SmallVec<[Topic; 1]> = SmallVec::new();
        for topic in topics {
            if !unique.contains(&topic) {
                unique.push(topic);
            }
        }
        let mut event = Event::new().data(data);
        if let Some(event_type) = event_type {
            event = event.event_type(event_type);
        }
        if let Some(retry_ms) = retry_ms {
            event = event.retry_ms(retry_ms);
        }
        let mut body = Vec::with_capacity(event.encoded_len());
        event.encode_into(&mut body);
        Self {
            topics: unique,
            id: None,
            key: None,
            ttl_ms: None,
            body,
            reserved: event_type.is_some_and(|t| t.as_str().starts_with(CONTROL_PREFIX)),
        }
    }

    /// Gives the event the publisher's own ID, which subscribers see and can resume after.
    ///
    /// Where an ID was given twice, the newest event counts.
    ///
    /// # Errors
    ///
    /// An ID travels back in the `Last-Event-ID` header, so what a header cannot carry is refused.
    pub fn id(mut self, id: EventId<'_>) -> Result<Self, PublishError> {
        let text = id.as_str();
        if text.is_empty() || text.trim() != text || text.chars().any(char::is_control) {
            return Err(PublishError::BadId);
        }
        self.id = Some(text.into());
        Ok(self)
    }

    /// Stores a key with the event.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Delivers the event only until this many milliseconds after its commit.
    #[must_use]
    pub fn ttl_ms(mut self, ttl_ms: u64) -> Self {
        self.ttl_ms = Some(ttl_ms);
        self
    }

    /// The publisher's own ID.
    pub fn own_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The topics it is published under.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// About what the event costs in the queue.
    pub(crate) fn cost(&self) -> usize {
        let text = |t: &Option<Box<str>>| t.as_ref().map_or(0, |t| t.len());
        let topics: usize = self.topics.iter().map(|t| t.as_str().len()).sum();
        size_of::<Self>() + self.body.len() + topics + text(&self.id) + text(&self.key)
    }

    /// A number that is the same for the same event, today and after a restart.
    pub(crate) fn fingerprint(&self, seed: u64) -> u64 {
        let mut hash = Fingerprint(seed);
        for topic in &self.topics {
            hash.field(topic.as_str().as_bytes());
        }
        for text in [&self.id, &self.key] {
            hash.field(text.as_deref().unwrap_or_default().as_bytes());
        }
        hash.field(&self.ttl_ms.unwrap_or(0).to_le_bytes());
        hash.field(&self.body);
        hash.0
    }

    fn check(&self, limits: &Limits, epoch: &str) -> Result<(), PublishError> {
        if self.topics.is_empty() {
            return Err(PublishError::NoTopic);
        }
        if self.reserved {
            return Err(PublishError::ReservedEventType);
        }
        if self.topics.len() > limits.event_topics_max {
            return Err(PublishError::TooManyTopics {
                max: limits.event_topics_max,
            });
        }
        if self.body.len() > limits.event_bytes_max {
            let (bytes, max) = (self.body.len(), limits.event_bytes_max);
            return Err(PublishError::EventTooLarge { bytes, max });
        }
        for (name, text) in [("id", &self.id), ("key", &self.key)] {
            check_text(name, text.as_deref().unwrap_or_default(), limits)?;
        }
        match self.id.as_deref().and_then(id::split) {
            Some((ours, _)) if ours == epoch => Err(PublishError::ReservedId),
            _ => Ok(()),
        }
    }
}

fn check_text(name: &'static str, text: &str, limits: &Limits) -> Result<(), PublishError> {
    if text.len() > limits.text_bytes_max {
        return Err(PublishError::TextTooLong {
            name,
            max: limits.text_bytes_max,
        });
    }
    Ok(())
}

/// FNV-1a over length-prefixed fields, eight bytes at a time: it tells a repeated request from a
/// changed one and defends against nobody.
struct Fingerprint(u64);

impl Fingerprint {
    fn field(&mut self, bytes: &[u8]) {
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.word(u64::from(*byte));
        }
    }

    fn word(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x0000_0100_0000_01b3)
            .rotate_left(23);
    }
}

/// Where a group stands in a request that may be repeated.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The request's `Idempotency-Key`.
    pub key: Arc<str>,
    /// How many events of the request come before this group.
    pub offset: u64,
    /// The fingerprint of those, from [`Publish::fingerprint`]; 0 at the start.
    pub fingerprint: u64,
    /// Whether this group is the whole request, so that a repetition must have as many events.
    pub whole: bool,
}

/// A group of events: committed together, in order, all or none, next to each other in the log.
#[derive(Debug, Clone, Default)]
pub struct Publish {
    /// The events; at least one.
    pub events: Vec<NewEvent>,
    /// Set where the request must take effect once however often it is repeated.
    pub idempotency: Option<Idempotency>,
}

impl Publish {
    /// A group without an idempotency key.
    pub fn new(events: Vec<NewEvent>) -> Self {
        Self {
            events,
            idempotency: None,
        }
    }

    /// The fingerprint of this group and all before it in the request.
    pub fn fingerprint(&self) -> u64 {
        let seed = self.idempotency.as_ref().map_or(0, |i| i.fingerprint);
        self.events
            .iter()
            .fold(seed, |seed, event| event.fingerprint(seed))
    }

    pub(crate) fn cost(&self) -> usize {
        self.events.iter().map(NewEvent::cost).sum()
    }

    /// All that can be refused before the log is asked.
    pub(crate) fn check(&self, limits: &Limits, epoch: &str) -> Result<(), PublishError> {
        if self.events.is_empty() {
            return Err(PublishError::Empty);
        }
        let bytes: usize = self.events.iter().map(|e| e.body.len()).sum();
        if self.events.len() > limits.group_events_max
            || bytes > limits.group_bytes_max.max(limits.event_bytes_max)
        {
            let (events, bytes) = (limits.group_events_max, limits.group_bytes_max);
            return Err(PublishError::GroupTooLarge {
                events_max: events,
                bytes_max: bytes,
            });
        }
        if let Some(idempotency) = &self.idempotency {
            check_text("Idempotency-Key", &idempotency.key, limits)?;
        }
        self.events
            .iter()
            .try_for_each(|event| event.check(limits, epoch))
    }
}

/// A group that was refused, and why.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: PublishError,
    /// The group, as it was.
    pub publish: Publish,
}

/// A run of sequences next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The first sequence.
    pub first: u64,
    /// How many there are; at least 1.
    pub count: u64,
}

/// The answer to a publish, given once its events are as durable as the log was told to make them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The sequences of the group's events, in their order.
    pub runs: SmallVec<[Run; 1]>,
    /// Whether any of them had been published before under the same idempotency key.
    pub repeated: bool,
}

impl Receipt {
    /// The sequence of each event of the group.
    pub fn sequences(&self) -> impl Iterator<Item = u64> {
        self.runs
            .iter()
            .flat_map(|run| run.first..run.first + run.count)
    }
}

/// Why a publish did not happen. Nothing of the group is in the log then, but for
/// [`PublishError::LogFailed`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum PublishError {
    /// The group has no events.
    Empty,
    /// An event has no topic.
    NoTopic,
    /// An event has more topics than [`Limits::event_topics_max`].
    TooManyTopics {
        /// The limit.
        max: usize,
    },
    /// An event is larger than [`Limits::event_bytes_max`].
    EventTooLarge {
        /// Its encoded size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// The group has more events or bytes than [`Limits`] allows.
    GroupTooLarge {
        /// The limit on events.
        events_max: usize,
        /// The limit on bytes.
        bytes_max: usize,
    },
    /// A text is longer than [`Limits::text_bytes_max`].
    TextTooLong {
        /// Which text.
        name: &'static str,
        /// The limit.
        max: usize,
    },
    /// The publisher's own ID could not come back in a `Last-Event-ID` header.
    BadId,
    /// The publisher's own ID looks like one that this log gives.
    ReservedId,
    /// The event type begins with `tidings.`, as only the hub's own do: a page has to be able to
    /// trust them.
    ReservedEventType,
    /// The idempotency key was used for another request.
    KeyReused,
    /// A group of a stream came before the groups that precede it in the request.
    OutOfTurn,
    /// The commit queue is full: try again in a moment.
    Busy,
    /// The disk is full. The log goes on when there is room.
    StorageFull(StdArc<dyn std::error::Error + Send + Sync>),
    /// The storage refused to write. The log goes on: try again.
    WriteFailed(StdArc<dyn std::error::Error + Send + Sync>),
    /// The log failed and does not accept events any more. Whether a group that it was writing at
    /// that moment survived is known after a restart; repeated with its idempotency key, it is in
    /// the log once.
    LogFailed(StdArc<dyn std::error::Error + Send + Sync>),
    /// The hub is shutting down.
    Closed,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no event to publish; send at least one"),
            Self::NoTopic => f.write_str("the event has no topic; name at least one"),
            Self::TooManyTopics { max } => {
                write!(f, "an event may have {max} topics; publish it in several parts")
            }
            Self::EventTooLarge { bytes, max } => write!(
                f,
                "the event has {bytes} bytes and may have {max}; send less, or a link to it"
            ),
            Self::GroupTooLarge { events_max, bytes_max } => write!(
                f,
                "one request may commit {events_max} events and {bytes_max} bytes together; \
                 send several, or stream them as application/x-ndjson"
            ),
            Self::TextTooLong { name, max } => write!(f, "`{name}` may have {max} bytes; shorten it"),
            Self::BadId => f.write_str(
                "an event's own `id` must not be empty, begin or end with a space, or hold control \
                 characters: browsers send it back in a header",
            ),
            Self::ReservedId => f.write_str(
                "an event's own `id` must not look like one of this hub's; choose another form",
            ),
            Self::ReservedEventType => f.write_str(
                "event types that begin with `tidings.` are the hub's own; choose another",
            ),
            Self::KeyReused => f.write_str(
                "this Idempotency-Key was used for a different request; use a new key for new events",
            ),
            Self::OutOfTurn => f.write_str(
                "this Idempotency-Key is in use by another request that has not come so far; \
                 repeat the request from its start",
            ),
            Self::Busy => f.write_str("the hub has more to write than it can hold; try again shortly"),
            Self::StorageFull(_) => f.write_str(
                "the disk is full: nothing was published; free space or lower the retention",
            ),
            Self::WriteFailed(_) => {
                f.write_str("the log could not be written: nothing was published; try again shortly")
            }
            Self::LogFailed(_) => f.write_str(
                "the log failed and accepts no events until the hub is restarted: check the disk \
                 first; what was acknowledged is still delivered",
            ),
            Self::Closed => f.write_str("the hub is shutting down; try again shortly"),
        }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::StorageFull(source) | Self::WriteFailed(source) | Self::LogFailed(source) => {
                Some(&**source)
            }
            _ => None,
        }
    }
}

impl From<EventIdError> for PublishError {
    fn from(_: EventIdError) -> Self {
        Self::BadId
    }
}

/// What a publish comes to, once it is known. A future, and also something a thread can wait on.
///
/// Dropping it does not take the publish back: the group is in the queue and will be committed.
#[derive(Debug)]
#[must_use = "a publish is acknowledged only by its receipt"]
pub struct Ticket(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug)]
enum State {
    Waiting(Option<Waker>),
    Answered(Result<Receipt, PublishError>),
}

/// The committer's end of a [`Ticket`]. Dropped without an answer, it says that the hub closed.
#[derive(Debug)]
pub(crate) struct Answer(Arc<Slot>);

impl Ticket {
    pub(crate) fn new() -> (Self, Answer) {
        let slot = Arc::new(Slot {
            state: Mutex::new(State::Waiting(None)),
            answered: Condvar::new(),
        });
        (Self(slot.clone()), Answer(slot))
    }

    /// Blocks this thread until the answer is there.
    ///
    /// # Errors
    ///
    /// As the publish itself failed.
    pub fn wait(self) -> Result<Receipt, PublishError> {
        let mut state = lock(&self.0.state);
        loop {
            match &*state {
                State::Answered(answer) => return answer.clone(),
                State::Waiting(_) => {
                    state = self
                        .0
                        .answered
                        .wait(state)
                        .unwrap_or_else(std::sync::PoisonError::into_inner);
                }
            }
        }
    }
}

impl Future for Ticket {
    type Output = Result<Receipt, PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *lock(&self.0.state) {
            State::Answered(answer) => Poll::Ready(answer.clone()),
            State::Waiting(waker) => {
                *waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Answer {
    pub(crate) fn give(self, answer: Result<Receipt, PublishError>) {
        self.set(answer);
    }

    fn set(&self, answer: Result<Receipt, PublishError>) {
        let mut state = lock(&self.0.state);
        if let State::Waiting(waker) = &mut *state {
            let waker = waker.take();
            *state = State::Answered(answer);
            drop(state);
            self.0.answered.notify_all();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.set(Err(PublishError::Closed));
    }
}
