//! The engine against the simplest thing that could be right: a vector of events.
//!
//! Random publishers and subscribers, step by step and on one thread: groups with several topics,
//! own IDs, expiry and idempotency keys; subscribers that start anywhere, fall behind a small
//! window, resume; a log that forgets; a hub that is closed and opened again. Every frame, gap and
//! receipt must be what the vector says.
//!
//! `PROPTEST_CASES=10000 cargo test -p tidings --test model` runs more cases. A failing case is
//! printed in its smallest form.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod topics;

use std::{collections::HashMap, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings::{
    Committer, EventId, Gap, GapReason, Hub, Idempotency, Limits, NewEvent, Progress, Publish,
    PublishError, Receipt, Selector, Start, Step, Subscription, Ticket,
};
use tidings_log::{MemoryStorage, Options, Retention, open};
use topics::{TOPICS, selector, some_selectors, wants};

const SLOTS: usize = 4;

#[derive(Clone, Debug)]
struct Setup {
    limits: Limits,
    retention: Retention,
}

#[derive(Clone, Debug)]
struct EventSpec {
    topics: Vec<usize>,
    own_id: Option<u8>,
    ttl_ms: Option<u64>,
    data_bytes: usize,
}

#[derive(Clone, Debug)]
enum Group {
    Plain(Vec<EventSpec>),
    /// A request of so many events; changed or not.
    Whole {
        key: u8,
        count: u64,
        changed: bool,
    },
    /// A part of a streamed request, which may have been sent before or come too soon.
    Part {
        key: u8,
        offset: u64,
        count: u64,
        changed: bool,
    },
}

#[derive(Clone, Debug)]
enum Begin {
    Latest,
    Earliest,
    At(u64),
    After(u64),
    AfterOwn(u8),
    AfterForeign(u64),
    Last(u64),
    Time(u64),
}

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<Group>),
    Subscribe {
        slot: usize,
        selectors: Vec<usize>,
        from: Begin,
    },
    Step {
        slot: usize,
        times: usize,
    },
    Resume {
        slot: usize,
    },
    Drop {
        slot: usize,
    },
    Advance(u64),
    Retain,
    Reopen,
}

fn some_setup() -> impl Strategy<Value = Setup> {
    (
        select(vec![0, 300, 1500, 1 << 20]),
        select(vec![1, 80, 1 << 16]),
        select(vec![1, 3, 512]),
        select(vec![1, 600, 1 << 20]),
        option::of(select(vec![1, 8, 32])),
        option::weighted(0.3, Just(4000)),
    )
        .prop_map(
            |(window, step_bytes, step_events, commit, events_max, age_ms_max)| {
                let mut limits = Limits::default();
                limits.window_bytes_max = window;
                limits.step_bytes_max = step_bytes;
                limits.step_events_max = step_events;
                limits.commit_bytes_max = commit;
                let retention = Retention {
                    events_max,
                    age_ms_max,
                    ..Retention::default()
                };
                Setup { limits, retention }
            },
        )
}

fn some_event() -> impl Strategy<Value = EventSpec> {
    (
        vec(0..TOPICS.len(), 1..3),
        option::weighted(0.3, 0..4_u8),
        option::weighted(0.2, 0..3000_u64),
        0..40_usize,
    )
        .prop_map(|(topics, own_id, ttl_ms, data_bytes)| EventSpec {
            topics,
            own_id,
            ttl_ms,
            data_bytes,
        })
}

fn some_group() -> impl Strategy<Value = Group> {
    let changed = || prop::bool::weighted(0.1);
    prop_oneof![
        4 => vec(some_event(), 1..4).prop_map(Group::Plain),
        1 => (0..3_u8, 1..4_u64, changed())
            .prop_map(|(key, count, changed)| Group::Whole { key, count, changed }),
        2 => (0..2_u8, 0..8_u64, 1..4_u64, changed())
            .prop_map(|(key, offset, count, changed)| Group::Part { key, offset, count, changed }),
    ]
}

fn some_from() -> impl Strategy<Value = Begin> {
    prop_oneof![
        Just(Begin::Latest),
        Just(Begin::Earliest),
        (0..60_u64).prop_map(Begin::At),
        (0..60_u64).prop_map(Begin::After),
        (0..5_u8).prop_map(Begin::AfterOwn),
        (0..9_u64).prop_map(Begin::AfterForeign),
        (0..9_u64).prop_map(Begin::Last),
        (0..20_000_u64).prop_map(Begin::Time),
    ]
}

fn some_op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    prop_oneof![
        6 => vec(some_group(), 1..4).prop_map(Op::Publish),
        4 => (slot(), some_selectors(), some_from())
            .prop_map(|(slot, selectors, from)| Op::Subscribe { slot, selectors, from }),
        8 => (slot(), 1..6_usize).prop_map(|(slot, times)| Op::Step { slot, times }),
        2 => slot().prop_map(|slot| Op::Resume { slot }),
        1 => slot().prop_map(|slot| Op::Drop { slot }),
        2 => (0..2500_u64).prop_map(Op::Advance),
        2 => Just(Op::Retain),
        1 => Just(Op::Reopen),
    ]
}

/// An event that was acknowledged.
struct Truth {
    sequence: u64,
    topics: Vec<&'static str>,
    own_id: Option<String>,
    time_ms: u64,
    expires_ms: u64,
    frame: String,
}

/// What a request that may be repeated has in the log.
#[derive(Clone, Default)]
struct Request {
    whole: bool,
    /// The sequences of its events, and what tells their data.
    sequences: Vec<u64>,
    data_bytes: Vec<usize>,
    /// For each of its groups the first sequence, and where the group stands in the request.
    groups: Vec<(u64, usize, usize)>,
}

struct Follower {
    subscription: Subscription,
    selectors: Vec<Selector>,
    /// The next sequence that it wants.
    cursor: u64,
}

struct World {
    storage: Arc<MemoryStorage>,
    setup: Setup,
    hub: Hub,
    committer: Committer,
    now_ms: u64,
    truth: Vec<Truth>,
    requests: HashMap<String, Request>,
    followers: [Option<Follower>; SLOTS],
}

fn open_hub(storage: &Arc<MemoryStorage>, setup: &Setup, now_ms: u64) -> (Hub, Committer) {
    let options = Options {
        retention: setup.retention.clone(),
        ..Options::default()
    };
    let (writer, reader, _) = open(storage.clone(), options, "e1", now_ms).unwrap();
    Hub::new(writer, reader, setup.limits.clone(), now_ms).unwrap()
}

impl World {
    fn new(setup: Setup) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let (hub, committer) = open_hub(&storage, &setup, 1000);
        Self {
            storage,
            setup,
            hub,
            committer,
            now_ms: 1000,
            truth: Vec::new(),
            requests: HashMap::new(),
            followers: [const { None }; SLOTS],
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Publish(groups) => self.publish(groups),
            Op::Subscribe {
                slot,
                selectors,
                from,
            } => {
                let selectors = selectors.into_iter().map(selector).collect();
                self.subscribe(slot, selectors, &from);
            }
            Op::Step { slot, times } => {
                for _ in 0..times {
                    self.step(slot);
                }
            }
            Op::Resume { slot } => self.resume(slot),
            Op::Drop { slot } => self.followers[slot] = None,
            Op::Advance(ms) => self.now_ms += ms,
            Op::Retain => drop(self.committer.retain(self.now_ms).unwrap()),
            Op::Reopen => self.reopen(),
        }
        let open = self.followers.iter().flatten().count();
        assert_eq!(self.hub.subscribers(), open);
    }

    fn first(&self) -> u64 {
        self.hub.stats().log_first
    }

    fn next(&self) -> u64 {
        self.truth.last().map_or(1, |event| event.sequence + 1)
    }

    fn publish(&mut self, groups: Vec<Group>) {
        let tickets: Vec<(Group, Ticket)> = groups
            .into_iter()
            .map(|group| {
                let ticket = self.hub.publish(group.publish()).unwrap();
                (group, ticket)
            })
            .collect();
        while self.committer.step(self.now_ms) != Progress::Idle {}
        for (group, ticket) in tickets {
            let answer = ticket.wait();
            self.answered(&group, answer);
        }
        assert_eq!(self.hub.stats().log_next, self.next());
    }

    /// Checks an answer, and takes what it says is new into the vector.
    fn answered(&mut self, group: &Group, answer: Result<Receipt, PublishError>) {
        let publish = group.publish();
        let count = publish.events.len();
        let Some(request) = publish.idempotency else {
            let expected: Vec<u64> = (self.next()..).take(count).collect();
            let receipt = answer.unwrap();
            assert_eq!(receipt.sequences().collect::<Vec<_>>(), expected);
            assert!(!receipt.repeated);
            return self.append(group, 0);
        };
        let offset = usize::try_from(request.offset).unwrap();
        let known = self.requests.get(&*request.key).cloned();
        let entry = known.clone().unwrap_or_default();
        let old = entry.sequences.len().saturating_sub(offset).min(count);
        if known.is_some() && entry.whole && entry.sequences.len() != count {
            assert!(matches!(answer, Err(PublishError::KeyReused)), "{answer:?}");
            return;
        }
        if offset > entry.sequences.len() {
            assert!(matches!(answer, Err(PublishError::OutOfTurn)), "{answer:?}");
            return;
        }
        // A change is seen where the group reaches the end of what is known.
        let same = group.claim().get(..offset + old) == Some(&*entry.data_bytes);
        if known.is_some() && offset + old == entry.sequences.len() && !same {
            assert!(matches!(answer, Err(PublishError::KeyReused)), "{answer:?}");
            return;
        }
        let mut expected = entry
            .sequences
            .get(offset..offset + old)
            .unwrap_or_default()
            .to_vec();
        expected.extend((self.next()..).take(count - old));
        let receipt = answer.unwrap();
        assert_eq!(receipt.sequences().collect::<Vec<_>>(), expected);
        assert_eq!(receipt.repeated, old > 0);
        if old < count {
            let next = self.next();
            let entry = self.requests.entry(request.key.to_string()).or_default();
            entry.whole = request.whole;
            entry.groups.push((next, offset + old, count - old));
            entry.sequences.extend((next..).take(count - old));
            entry.data_bytes = group.claim();
            self.append(group, old);
        }
    }

    fn append(&mut self, group: &Group, skip: usize) {
        for spec in group.events().into_iter().skip(skip) {
            let sequence = self.next();
            let id = spec.own_id.map(own_id).unwrap_or(format!("e1:{sequence}"));
            self.truth.push(Truth {
                sequence,
                topics: spec.topics.iter().map(|t| TOPICS[*t]).collect(),
                own_id: spec.own_id.map(own_id),
                time_ms: self.now_ms,
                expires_ms: spec.ttl_ms.map_or(u64::MAX, |ttl| self.now_ms + ttl),
                frame: format!("id: {id}\ndata: {}\n\n", spec.data()),
            });
        }
    }

    /// The wanted events from `cursor` on that are not expired.
    fn wanted<'a>(&'a self, of: &'a [Selector], cursor: u64) -> impl Iterator<Item = &'a Truth> {
        self.truth.iter().filter(move |e| {
            e.sequence >= cursor && e.expires_ms > self.now_ms && wants(of, &e.topics)
        })
    }

    fn subscribe(&mut self, slot: usize, selectors: Vec<Selector>, from: &Begin) {
        let start = from.start();
        let (cursor, gap) = self.place(&selectors, &start);
        let mut subscription = self.hub.subscribe(&selectors, &start, self.now_ms).unwrap();
        assert_eq!(
            subscription.position().to_string(),
            format!("e1:{}", cursor - 1)
        );
        if let Some((from, to, reason)) = gap {
            let step = subscription.step(self.now_ms);
            let Some(Step::Gap(gap)) = step else {
                panic!("{start:?} gave {step:?}");
            };
            check_gap(&gap, &from, to, cursor - 1, reason);
        }
        self.followers[slot] = Some(Follower {
            subscription,
            selectors,
            cursor,
        });
    }

    /// The cursor that a start means, and the gap in front of it.
    fn place(&self, of: &[Selector], start: &Start) -> (u64, Option<(String, u64, GapReason)>) {
        let (first, next) = (self.first(), self.next());
        let held = || self.truth.iter().filter(|event| event.sequence >= first);
        let after = |cursor: u64| match cursor.max(1) {
            cursor if cursor > next => {
                let gap = (format!("e1:{}", next - 1), cursor - 1, GapReason::Future);
                (next, Some(gap))
            }
            cursor if cursor < first => {
                let gap = (
                    format!("e1:{}", cursor - 1),
                    first - 1,
                    GapReason::Retention,
                );
                (first, Some(gap))
            }
            cursor => (cursor, None),
        };
        match start {
            Start::Latest | Start::Last(0) => (next, None),
            Start::Earliest => (first, None),
            Start::At(id) => after(id.strip_prefix("e1:").unwrap().parse().unwrap()),
            Start::After(id) => {
                if let Some(sequence) = id.strip_prefix("e1:") {
                    return after(sequence.parse::<u64>().unwrap() + 1);
                }
                match held().rfind(|event| event.own_id.as_ref() == Some(id)) {
                    Some(event) => after(event.sequence + 1),
                    None if id.contains(':') => {
                        (first, Some((id.clone(), first - 1, GapReason::Epoch)))
                    }
                    None => (first, Some((id.clone(), first - 1, GapReason::Unknown))),
                }
            }
            Start::Last(n) => {
                let wanted: Vec<&Truth> = self.wanted(of, first).collect();
                let skip = wanted.len().checked_sub(usize::try_from(*n).unwrap());
                (skip.map_or(first, |skip| wanted[skip].sequence), None)
            }
            Start::Time(ms) => {
                let found = held().find(|event| event.time_ms >= *ms);
                let cursor = found.map_or(next, |event| event.sequence);
                let gap = ("e1:0".to_owned(), first - 1, GapReason::Retention);
                (cursor, (first > 1 && cursor <= first).then_some(gap))
            }
            other => panic!("{other:?}"),
        }
    }

    fn resume(&mut self, slot: usize) {
        if let Some(follower) = self.followers[slot].take() {
            let position = follower.subscription.position().sequence;
            assert_eq!(position, follower.cursor - 1);
            drop(follower.subscription);
            self.subscribe(slot, follower.selectors, &Begin::After(position));
        }
    }

    /// Takes a step and checks that it leads to the right place with the right events.
    fn step(&mut self, slot: usize) {
        let Some(mut follower) = self.followers[slot].take() else {
            return;
        };
        let now_ms = self.now_ms;
        let mut read_log = false;
        let step = match follower.subscription.step(now_ms) {
            Some(Step::Behind(read)) => {
                read_log = true;
                follower.subscription.accept(read.run(), now_ms).unwrap()
            }
            step => step,
        };
        let cursor = follower.subscription.position().sequence + 1;
        let first = self.first();
        match step {
            Some(Step::Frames(frames)) => self.check_frames(&follower, cursor, &frames),
            Some(Step::Gap(gap)) => {
                assert!(follower.cursor < first && cursor == first);
                let from = format!("e1:{}", follower.cursor - 1);
                check_gap(&gap, &from, first - 1, first - 1, GapReason::Retention);
            }
            None => {
                self.check_frames(&follower, cursor, &[]);
                if read_log {
                    assert!(cursor > follower.cursor, "no progress");
                } else {
                    assert_eq!(cursor, self.next(), "there is more");
                }
            }
            Some(step) => panic!("{step:?}"),
        }
        follower.cursor = cursor;
        self.followers[slot] = Some(follower);
    }

    fn check_frames(&self, follower: &Follower, cursor: u64, frames: &[bytes::Bytes]) {
        let expected: Vec<&str> = self
            .wanted(&follower.selectors, follower.cursor)
            .take_while(|event| event.sequence < cursor)
            .map(|event| &*event.frame)
            .collect();
        assert_eq!(frames, expected);
        let bytes: usize = frames.iter().map(bytes::Bytes::len).sum();
        assert!(frames.len() <= self.setup.limits.step_events_max);
        assert!(bytes <= self.setup.limits.step_bytes_max || frames.len() == 1);
    }

    /// Closes and opens again; subscribers resume, and keys are known that the log still holds.
    fn reopen(&mut self) {
        let open: Vec<(usize, Vec<Selector>, u64)> = self
            .followers
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, follower)| {
                let follower = follower.take()?;
                Some((slot, follower.selectors, follower.cursor - 1))
            })
            .collect();
        self.hub.close_to_publishers();
        assert_eq!(self.committer.step(self.now_ms), Progress::Done);
        // A log has one owner at a time.
        let (_, nobody) = open_hub(&Arc::new(MemoryStorage::new()), &self.setup, self.now_ms);
        let before = std::mem::replace(&mut self.committer, nobody);
        before.close().unwrap();
        let (hub, committer) = open_hub(&self.storage, &self.setup, self.now_ms);
        self.committer = committer;
        self.hub = hub;
        assert_eq!(self.hub.epoch(), "e1");
        let first = self.first();
        for request in self.requests.values_mut() {
            request.reopen(first);
        }
        self.requests
            .retain(|_, request| !request.sequences.is_empty());
        for (slot, selectors, position) in open {
            self.subscribe(slot, selectors, &Begin::After(position));
        }
    }
}

impl Request {
    /// What is known of it again from the groups that begin at `first` or later.
    fn reopen(&mut self, first: u64) {
        let groups = std::mem::take(&mut self.groups);
        self.sequences.clear();
        let data_bytes = std::mem::take(&mut self.data_bytes);
        for (at, offset, count) in groups {
            if at >= first && offset == self.sequences.len() {
                self.sequences.extend((at..).take(count));
                self.groups.push((at, offset, count));
                self.data_bytes
                    .extend_from_slice(&data_bytes[offset..offset + count]);
            }
        }
    }
}

impl Begin {
    fn start(&self) -> Start {
        match self {
            Self::Latest => Start::Latest,
            Self::Earliest => Start::Earliest,
            Self::At(sequence) => Start::At(format!("e1:{sequence}")),
            Self::After(sequence) => Start::After(format!("e1:{sequence}")),
            Self::AfterOwn(n) => Start::After(own_id(*n)),
            Self::AfterForeign(sequence) => Start::After(format!("other:{sequence}")),
            Self::Last(n) => Start::Last(*n),
            Self::Time(ms) => Start::Time(*ms),
        }
    }
}

impl Group {
    /// What a request holds follows from its key; a changed one has other data in its first event.
    fn events(&self) -> Vec<EventSpec> {
        let (key, from, count, changed) = match self {
            Self::Plain(events) => return events.clone(),
            Self::Whole {
                key,
                count,
                changed,
            } => (u64::from(*key) + 100, 0, *count, *changed),
            Self::Part {
                key,
                offset,
                count,
                changed,
            } => (u64::from(*key), *offset, *count, *changed),
        };
        let event = |i: u64| EventSpec {
            topics: vec![usize::try_from((key + i) % 5).unwrap()],
            own_id: None,
            ttl_ms: None,
            data_bytes: usize::try_from(key % 7 + i % 7).unwrap(),
        };
        let mut events: Vec<EventSpec> = (from..from + count).map(event).collect();
        if changed {
            events[0].data_bytes += 1;
        }
        events
    }

    /// The part of the request that comes before this group, as its publisher remembers it.
    fn before(&self) -> Vec<EventSpec> {
        match self {
            Self::Part { key, offset, .. } => Self::Part {
                key: *key,
                offset: 0,
                count: *offset,
                changed: false,
            }
            .events(),
            _ => Vec::new(),
        }
    }

    /// The data of the request up to the end of this group, as its publisher says.
    fn claim(&self) -> Vec<usize> {
        let all = self.before().into_iter().chain(self.events());
        all.map(|event| event.data_bytes).collect()
    }

    fn publish(&self) -> Publish {
        let mut publish = publish(&self.events());
        publish.idempotency = match self {
            Self::Plain(_) => None,
            Self::Whole { key, .. } => Some(Idempotency {
                key: format!("whole{key}").into(),
                offset: 0,
                fingerprint: 0,
                whole: true,
            }),
            Self::Part { key, offset, .. } => Some(Idempotency {
                key: format!("part{key}").into(),
                offset: *offset,
                fingerprint: fingerprint(&self.before()),
                whole: false,
            }),
        };
        publish
    }
}

impl EventSpec {
    fn data(&self) -> String {
        "x".repeat(self.data_bytes)
    }

    fn event(&self) -> NewEvent {
        let topics = self.topics.iter().map(|t| TOPICS[*t].parse().unwrap());
        let mut event = NewEvent::with(topics, None, None, &self.data());
        if let Some(n) = self.own_id {
            event = event.id(EventId::new(&own_id(n)).unwrap()).unwrap();
        }
        if let Some(ttl_ms) = self.ttl_ms {
            event = event.ttl_ms(ttl_ms);
        }
        event
    }
}

fn publish(events: &[EventSpec]) -> Publish {
    Publish::new(events.iter().map(EventSpec::event).collect())
}

fn fingerprint(events: &[EventSpec]) -> u64 {
    publish(events).fingerprint()
}

fn own_id(n: u8) -> String {
    format!("order-{n}")
}

fn check_gap(gap: &Gap, from: &str, to: u64, resumes_after: u64, reason: GapReason) {
    let expected = format!(
        "id: e1:{resumes_after}\nevent: tidings.gap\n\
         data: {{\"from\":\"{from}\",\"to\":\"e1:{to}\",\"reason\":\"{}\"}}\n\n",
        reason.as_str()
    );
    assert_eq!(gap.frame(), expected);
}

proptest! {
    #[test]
    fn the_engine_is_a_vector_of_events(setup in some_setup(), ops in vec(some_op(), 1..60)) {
        let mut world = World::new(setup);
        for op in ops {
            world.run(op);
        }
        // In the end everyone gets all that is left.
        for slot in 0..SLOTS {
            while world.followers[slot].as_ref().is_some_and(|f| f.cursor < world.next()) {
                world.step(slot);
            }
        }
    }
}
