//! What retention takes, against a vector of events.
//!
//! Random rules for the whole log and for single topics, by age, by count and by bytes; subscribers
//! of both kinds, alone and in a crowd, that begin anywhere, fall behind a small window, resume; a
//! log that forgets and compacts meanwhile, and is opened again. Whatever is forgotten when: each
//! subscriber gets every event that it follows and that its rules still keep, once, in order and to
//! the letter, and of all that it does not get it was told a gap. Who follows only topics of which
//! everything is kept is told of none within the log.
//!
//! `PROPTEST_CASES=10000 cargo test -p tidings --test gaps` runs more cases.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod topics;

use std::{collections::BTreeSet, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};
use tidings::{
    Committer, Crowd, CrowdStep, Gap, GapReason, Hub, Limits, NewEvent, Progress, Publish,
    Selector, Start, Step, Subscription,
};
use tidings_log::{MemoryStorage, Options, Retention, TopicRetention, Topics, open};
use topics::{SELECTORS, TOPICS, names, selector, some_selectors, wants};

const SLOTS: usize = 5;

/// More than a record has on disk beside its frame.
const RECORD_BYTES_MORE: usize = 256;

#[derive(Clone, Debug)]
struct Setup {
    limits: Limits,
    events_max: Option<u64>,
    age_ms_max: Option<u64>,
    rules: Vec<Rule>,
}

/// What is kept of each of the topics that a selector names.
#[derive(Clone, Debug)]
struct Rule {
    of: usize,
    events_max: Option<u64>,
    age_ms_max: Option<u64>,
    bytes_max: Option<u64>,
}

#[derive(Clone, Debug)]
struct EventSpec {
    topics: Vec<usize>,
    ttl_ms: Option<u64>,
    data_bytes: usize,
}

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<EventSpec>),
    Subscribe {
        slot: usize,
        in_crowd: bool,
        selectors: Vec<usize>,
        start: Start,
    },
    Step {
        slot: usize,
        times: usize,
    },
    Resume(usize),
    Drop(usize),
    Advance(u64),
    Retain,
    Reopen,
}

fn some_rule() -> impl Strategy<Value = Rule> {
    let limits = prop_oneof![
        2 => Just((None, None, None)),
        4 => (1..8_u64).prop_map(|events| (Some(events), None, None)),
        3 => (500..6000_u64).prop_map(|age_ms| (None, Some(age_ms), None)),
        2 => (1..3000_u64).prop_map(|bytes| (None, None, Some(bytes))),
        1 => (1..8_u64, 500..6000_u64, 1..3000_u64)
            .prop_map(|(events, age_ms, bytes)| (Some(events), Some(age_ms), Some(bytes))),
    ];
    (0..SELECTORS, limits).prop_map(|(of, (events_max, age_ms_max, bytes_max))| Rule {
        of,
        events_max,
        age_ms_max,
        bytes_max,
    })
}

fn some_setup() -> impl Strategy<Value = Setup> {
    (
        select(vec![0, 300, 1500, 1 << 20]),
        select(vec![1, 200, 1 << 16]),
        select(vec![1, 3, 512]),
        option::weighted(0.8, select(vec![1, 8, 32])),
        option::weighted(0.3, Just(4000)),
        vec(some_rule(), 0..4),
    )
        .prop_map(
            |(window, step_bytes, step_events, events_max, age_ms_max, rules)| {
                let mut limits = Limits::default();
                limits.window_bytes_max = window;
                limits.step_bytes_max = step_bytes;
                limits.step_events_max = step_events;
                Setup {
                    limits,
                    events_max,
                    age_ms_max,
                    rules,
                }
            },
        )
}

fn some_event() -> impl Strategy<Value = EventSpec> {
    (
        vec(0..TOPICS.len(), 1..3),
        option::weighted(0.1, 0..3000_u64),
        0..200_usize,
    )
        .prop_map(|(topics, ttl_ms, data_bytes)| EventSpec {
            topics,
            ttl_ms,
            data_bytes,
        })
}

fn some_start() -> impl Strategy<Value = Start> {
    prop_oneof![
        1 => Just(Start::Latest),
        3 => Just(Start::Earliest),
        3 => (0..40_u64).prop_map(|sequence| Start::After(id(sequence))),
        1 => (0..40_u64).prop_map(|sequence| Start::At(id(sequence))),
        1 => (0..9_u64).prop_map(Start::Last),
        1 => (0..20_000_u64).prop_map(Start::Time),
    ]
}

fn some_op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let advance = prop_oneof![4 => 0..2500_u64, 1 => Just(70_000_u64)];
    prop_oneof![
        8 => vec(some_event(), 1..8).prop_map(Op::Publish),
        5 => (slot(), any::<bool>(), some_selectors(), some_start()).prop_map(
            |(slot, in_crowd, selectors, start)| Op::Subscribe { slot, in_crowd, selectors, start }
        ),
        8 => (slot(), 1..6_usize).prop_map(|(slot, times)| Op::Step { slot, times }),
        2 => slot().prop_map(Op::Resume),
        1 => slot().prop_map(Op::Drop),
        2 => advance.prop_map(Op::Advance),
        4 => Just(Op::Retain),
        1 => Just(Op::Reopen),
    ]
}

/// An event that was acknowledged.
struct Truth {
    sequence: u64,
    topics: Vec<&'static str>,
    time_ms: u64,
    expires_ms: u64,
    frame: String,
}

enum Door {
    Alone(Subscription),
    Member(u32),
}

struct Follower {
    door: Door,
    selectors: Vec<Selector>,
    /// The next sequence that it wants.
    cursor: u64,
    /// Of the events up to here it was told that some are missing.
    told: u64,
    /// Events that were gone already when it asked for whatever is there.
    excused: BTreeSet<u64>,
}

struct World {
    storage: Arc<MemoryStorage>,
    setup: Setup,
    hub: Hub,
    committer: Committer,
    crowd: Crowd,
    now_ms: u64,
    /// When the log last looked at the clock.
    looked_ms: u64,
    truth: Vec<Truth>,
    followers: [Option<Follower>; SLOTS],
}

fn open_hub(storage: &Arc<MemoryStorage>, setup: &Setup, now_ms: u64) -> (Hub, Committer) {
    let options = Options {
        retention: Retention {
            events_max: setup.events_max,
            age_ms_max: setup.age_ms_max,
            topics: setup.rules.iter().map(Rule::for_log).collect(),
            ..Retention::default()
        },
        ..Options::default()
    };
    let (writer, reader, _) = open(storage.clone(), options, "e1", now_ms).unwrap();
    Hub::new(writer, reader, setup.limits.clone(), now_ms).unwrap()
}

fn crowd(hub: &Hub) -> Crowd {
    hub.crowd(|piece, out| out.extend_from_slice(piece), || {})
}

impl World {
    fn new(setup: Setup) -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let (hub, committer) = open_hub(&storage, &setup, 1000);
        let crowd = crowd(&hub);
        Self {
            storage,
            setup,
            hub,
            committer,
            crowd,
            now_ms: 1000,
            looked_ms: 1000,
            truth: Vec::new(),
            followers: [const { None }; SLOTS],
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Publish(events) => self.publish(&events),
            Op::Subscribe {
                slot,
                in_crowd,
                selectors,
                start,
            } => {
                self.leave(slot);
                let selectors = selectors.into_iter().map(selector).collect();
                self.subscribe(slot, in_crowd, selectors, &start);
            }
            Op::Step { slot, times } => {
                for _ in 0..times {
                    self.step(slot);
                }
            }
            Op::Resume(slot) => self.resume(slot),
            Op::Drop(slot) => {
                self.leave(slot);
            }
            Op::Advance(ms) => self.now_ms += ms,
            Op::Retain => {
                self.committer.retain(self.now_ms).unwrap();
                self.looked_ms = self.now_ms;
            }
            Op::Reopen => self.reopen(),
        }
    }

    fn next(&self) -> u64 {
        self.truth.last().map_or(1, |event| event.sequence + 1)
    }

    fn publish(&mut self, events: &[EventSpec]) {
        let new: Vec<NewEvent> = events.iter().map(EventSpec::event).collect();
        let ticket = self.hub.publish(Publish::new(new)).unwrap();
        while self.committer.step(self.now_ms) != Progress::Idle {}
        ticket.wait().unwrap();
        for spec in events {
            let sequence = self.next();
            self.truth.push(Truth {
                sequence,
                topics: spec.topics.iter().map(|t| TOPICS[*t]).collect(),
                time_ms: self.now_ms,
                expires_ms: spec.ttl_ms.map_or(u64::MAX, |ttl| self.now_ms + ttl),
                frame: format!("id: e1:{sequence}\ndata: {}\n\n", spec.data()),
            });
        }
    }

    /// Whether an event is certain to be there for who follows one of these.
    fn is_kept(&self, event: &Truth, of: &[Selector]) -> bool {
        let mut wanted = event.topics.iter().filter(|topic| names(of, topic));
        wanted.any(|topic| self.is_kept_of(topic, event))
    }

    fn is_kept_of(&self, topic: &str, event: &Truth) -> bool {
        let rule = self.setup.rules.iter().find(|rule| rule.is_of(topic));
        let younger = &self.truth[usize::try_from(event.sequence).unwrap()..];
        let age_ms = self.looked_ms.saturating_sub(event.time_ms);
        let Some(rule) = rule else {
            let is_young = self.setup.age_ms_max.is_none_or(|max| age_ms <= max);
            let is_new = is_fewer(younger.len(), self.setup.events_max);
            return is_young && is_new;
        };
        let younger = younger.iter().filter(|e| e.topics.contains(&topic));
        let bytes = |event: &Truth| event.frame.len() + RECORD_BYTES_MORE;
        let before_it = younger.clone().map(bytes).sum::<usize>() as u64;
        let count = younger.count();
        let has_room = rule
            .bytes_max
            .is_none_or(|max| count == 0 || before_it < max);
        rule.age_ms_max.is_none_or(|max| age_ms <= max)
            && is_fewer(count, rule.events_max)
            && has_room
    }

    fn subscribe(&mut self, slot: usize, in_crowd: bool, selectors: Vec<Selector>, start: &Start) {
        let (door, position) = if in_crowd {
            let located = self.hub.locate(&selectors, start, self.now_ms).unwrap();
            let number = self.crowd.join(located).unwrap();
            (Door::Member(number), self.crowd.position(number))
        } else {
            let subscription = self.hub.subscribe(&selectors, start, self.now_ms);
            let subscription = subscription.unwrap();
            let position = subscription.position();
            (Door::Alone(subscription), position)
        };
        let cursor = position.sequence + 1;
        let takes_what_is_there = matches!(start, Start::Earliest | Start::Last(_));
        let gone = |event: &&Truth| takes_what_is_there && !self.is_kept(event, &selectors);
        let gone = self.truth.iter().filter(gone);
        let mut follower = Follower {
            door,
            cursor,
            told: 0,
            excused: gone.map(|event| event.sequence).collect(),
            selectors,
        };
        self.begin(&mut follower, start);
        self.followers[slot] = Some(follower);
    }

    /// Checks where a subscriber begins, and the gap in front of it.
    fn begin(&mut self, follower: &mut Follower, start: &Start) {
        let asked = match start {
            Start::Latest | Start::Last(0) => self.next(),
            Start::At(id) => sequence(id).max(1),
            Start::After(id) => sequence(id) + 1,
            Start::Time(ms) => {
                let young = self.truth.iter().find(|event| event.time_ms >= *ms);
                young.map_or(self.next(), |event| event.sequence)
            }
            Start::Last(n) => return self.check_last(follower, *n),
            _ => 1,
        };
        if asked >= follower.cursor && asked <= self.next() {
            // Nothing is passed over, and of a time maybe some that was gone is asked for too.
            return;
        }
        let passed = asked..follower.cursor;
        let cursor = follower.cursor;
        let is_time = matches!(start, Start::Time(_));
        if is_time && !self.is_wanted(&follower.selectors, passed.clone()) {
            return; // what is gone of that time is of other topics
        }
        if *start == Start::Earliest {
            self.check(follower, passed, &[]);
            return;
        }
        // The gap is the first step, and tells all of it.
        let Stepped::Gap(gap) = self.take(follower) else {
            panic!("no gap between {asked} and {cursor}");
        };
        assert_eq!(gap.resumes_after.sequence + 1, cursor);
        if asked > self.next() {
            assert_eq!(gap.reason, GapReason::Future);
            assert_eq!(cursor, self.next());
            return;
        }
        assert_eq!(gap.reason, GapReason::Retention);
        assert!(sequence(&gap.from) < asked && gap.to.sequence + 1 == cursor);
        follower.told = gap.to.sequence;
        self.check(follower, passed, &[]);
    }

    /// Whether any event of a range is.
    fn is_wanted(&self, of: &[Selector], range: std::ops::Range<u64>) -> bool {
        let mut within = self.truth.iter().filter(|e| range.contains(&e.sequence));
        within.any(|event| wants(of, &event.topics))
    }

    /// From its cursor on there are so many, or all. More may be there than those that must be.
    fn check_last(&self, follower: &Follower, n: u64) {
        let of = &follower.selectors;
        let live = |e: &&Truth| e.expires_ms > self.now_ms && wants(of, &e.topics);
        let kept = self
            .truth
            .iter()
            .filter(live)
            .filter(|e| self.is_kept(e, of));
        let behind = |e: &&Truth| e.sequence >= follower.cursor;
        assert!(kept.clone().filter(behind).count() as u64 <= n);
        let came = self.truth.iter().filter(live).filter(behind).count() as u64;
        assert!(
            came >= n.min(kept.count() as u64),
            "the last {n} are not all"
        );
    }

    fn leave(&mut self, slot: usize) -> Option<Follower> {
        let follower = self.followers[slot].take()?;
        if let Door::Member(number) = follower.door {
            self.crowd.leave(number);
        }
        Some(follower)
    }

    fn resume(&mut self, slot: usize) {
        if let Some(follower) = self.leave(slot) {
            let in_crowd = matches!(follower.door, Door::Member(_));
            let start = Start::After(id(follower.cursor - 1));
            self.subscribe(slot, in_crowd, follower.selectors, &start);
        }
    }

    fn step(&mut self, slot: usize) {
        let Some(mut follower) = self.followers[slot].take() else {
            return;
        };
        self.advance(&mut follower);
        self.followers[slot] = Some(follower);
    }

    /// Takes a step and checks that it leads to the right place with the right events. False: that
    /// was all for now.
    fn advance(&mut self, follower: &mut Follower) -> bool {
        let before = follower.cursor;
        let step = self.take(follower);
        match step {
            Stepped::Gap(gap) => {
                self.pass(follower, before, &gap);
                return true;
            }
            Stepped::Events(text) => self.check(follower, before..follower.cursor, &events(&text)),
            Stepped::Nothing => {
                self.check(follower, before..follower.cursor, &[]);
                return follower.cursor < self.next();
            }
        }
        true
    }

    fn pass(&self, follower: &mut Follower, before: u64, gap: &Gap) {
        assert_eq!(gap.reason, GapReason::Retention);
        // It may have gone on before it met the gap.
        let begin = sequence(&gap.from) + 1;
        self.check(follower, before..begin, &[]);
        assert_eq!(gap.resumes_after.sequence + 1, follower.cursor);
        assert!(gap.to.sequence < self.next());
        assert!(
            gap.to.sequence > follower.told || follower.cursor > begin,
            "told twice"
        );
        let is_endless = |topic: &str| {
            let rule = self.setup.rules.iter().find(|rule| rule.is_of(topic));
            rule.is_some_and(Rule::is_endless)
        };
        let mut of = follower.selectors.iter();
        let keeps_all = of.all(|s| matches!(s, Selector::Topic(t) if is_endless(t.as_str())));
        // But for the oldest of the log, which it forgets without a look at who follows what.
        let is_oldest = follower.cursor > begin;
        assert!(is_oldest || !keeps_all, "a gap where nothing is forgotten");
        follower.told = follower.told.max(gap.to.sequence);
        self.check(follower, begin..follower.cursor, &[]);
    }

    /// Takes a step, and follows where it leads.
    fn take(&mut self, follower: &mut Follower) -> Stepped {
        let now_ms = self.now_ms;
        let (stepped, position) = match &mut follower.door {
            Door::Alone(subscription) => {
                let step = match subscription.step(now_ms) {
                    Some(Step::Behind(read)) => subscription.accept(read.run(), now_ms).unwrap(),
                    step => step,
                };
                let stepped = match step {
                    Some(Step::Frames(frames)) => Stepped::Events(frames.concat()),
                    Some(Step::Gap(gap)) => Stepped::Gap(gap),
                    None => Stepped::Nothing,
                    Some(step) => panic!("{step:?}"),
                };
                (stepped, subscription.position())
            }
            Door::Member(number) => {
                let stepped = take_member(&mut self.crowd, *number, now_ms);
                (stepped, self.crowd.position(*number))
            }
        };
        follower.cursor = position.sequence + 1;
        stepped
    }

    /// Checks what came of the events of a range.
    fn check(&self, follower: &Follower, range: std::ops::Range<u64>, came: &[&str]) {
        let mut came = came.iter();
        let mut due = came.next();
        let within = |event: &&Truth| range.contains(&event.sequence);
        for event in self.truth.iter().filter(within) {
            if !wants(&follower.selectors, &event.topics) || event.expires_ms <= self.now_ms {
                continue;
            }
            if due == Some(&&*event.frame) {
                due = came.next();
                continue;
            }
            let sequence = event.sequence;
            let is_kept = self.is_kept(event, &follower.selectors);
            assert!(!is_kept, "{sequence} is kept, and did not come");
            let is_known = sequence <= follower.told || follower.excused.contains(&sequence);
            assert!(is_known, "{sequence} did not come, and no gap was told");
        }
        assert_eq!(due, None, "what nobody asked for");
    }

    /// Closes and opens again; subscribers resume.
    fn reopen(&mut self) {
        let open: Vec<_> = (0..SLOTS).map(|slot| self.leave(slot)).collect();
        self.hub.close_to_publishers();
        assert_eq!(self.committer.step(self.now_ms), Progress::Done);
        // A log has one owner at a time.
        let (_, nobody) = open_hub(&Arc::new(MemoryStorage::new()), &self.setup, self.now_ms);
        let before = std::mem::replace(&mut self.committer, nobody);
        before.close().unwrap();
        let (hub, committer) = open_hub(&self.storage, &self.setup, self.now_ms);
        self.committer = committer;
        self.crowd = crowd(&hub);
        self.hub = hub;
        self.looked_ms = self.now_ms;
        for (slot, follower) in open.into_iter().enumerate() {
            let Some(follower) = follower else { continue };
            let in_crowd = matches!(follower.door, Door::Member(_));
            let start = Start::After(id(follower.cursor - 1));
            self.subscribe(slot, in_crowd, follower.selectors, &start);
        }
    }

    /// Everyone gets all that is left.
    fn finish(&mut self) {
        let steps_max = 5000;
        for slot in 0..SLOTS {
            let Some(mut follower) = self.followers[slot].take() else {
                continue;
            };
            let more = (0..steps_max).all(|_| self.advance(&mut follower));
            assert!(!more, "{steps_max} steps, and no end");
            assert_eq!(follower.cursor, self.next());
        }
    }
}

/// What came of a step.
enum Stepped {
    Events(Vec<u8>),
    Gap(Gap),
    /// Nothing, but the cursor may have moved.
    Nothing,
}

fn take_member(crowd: &mut Crowd, number: u32, now_ms: u64) -> Stepped {
    match crowd.step(number, now_ms) {
        Some(CrowdStep::Span(span)) => {
            crowd.took(number, &span, span.bytes().len());
            Stepped::Events(span.bytes().to_vec())
        }
        Some(CrowdStep::Gap(gap)) => Stepped::Gap(gap),
        Some(CrowdStep::Behind(read)) => {
            let mut ready = Vec::new();
            crowd.accept(read.run(), now_ms, &mut ready).unwrap();
            assert_eq!(ready, [number]);
            // It may have moved behind a gap that it has not told yet.
            take_member(crowd, number, now_ms)
        }
        None => Stepped::Nothing,
        Some(step) => panic!("{step:?}"),
    }
}

/// The events of some bytes.
fn events(bytes: &[u8]) -> Vec<&str> {
    let text = std::str::from_utf8(bytes).unwrap();
    text.split_inclusive("\n\n").collect()
}

fn is_fewer(count: usize, max: Option<u64>) -> bool {
    max.is_none_or(|max| (count as u64) < max)
}

fn id(sequence: u64) -> String {
    format!("e1:{sequence}")
}

fn sequence(id: &str) -> u64 {
    id.strip_prefix("e1:").unwrap().parse().unwrap()
}

impl Rule {
    fn is_of(&self, topic: &str) -> bool {
        names(&[selector(self.of)], topic)
    }

    fn is_endless(&self) -> bool {
        self.events_max.is_none() && self.age_ms_max.is_none() && self.bytes_max.is_none()
    }

    fn for_log(&self) -> TopicRetention {
        let of = selector(self.of);
        TopicRetention {
            topics: Topics::new(&of.to_string(), move |topic| {
                names(std::slice::from_ref(&of), topic)
            }),
            bytes_max: self.bytes_max,
            events_max: self.events_max,
            age_ms_max: self.age_ms_max,
        }
    }
}

impl EventSpec {
    fn data(&self) -> String {
        "x".repeat(self.data_bytes)
    }

    fn event(&self) -> NewEvent {
        let topics = self.topics.iter().map(|t| TOPICS[*t].parse().unwrap());
        let event = NewEvent::with(topics, None, None, &self.data());
        match self.ttl_ms {
            Some(ttl_ms) => event.ttl_ms(ttl_ms),
            None => event,
        }
    }
}

/// A hub with nothing in memory, and a rule of three events for one of the topics.
fn of_three(topic: usize, events_max: Option<u64>) -> World {
    let mut limits = Limits::default();
    limits.window_bytes_max = 0;
    World::new(Setup {
        limits,
        events_max,
        age_ms_max: None,
        rules: vec![Rule {
            of: topic,
            events_max: Some(3),
            age_ms_max: None,
            bytes_max: None,
        }],
    })
}

fn event_of(topic: usize) -> EventSpec {
    EventSpec {
        topics: vec![topic],
        ttl_ms: None,
        data_bytes: 0,
    }
}

/// Who began with whatever is there was told of nothing that is forgotten before the place up to
/// which any of its topics had lost something; also not of what one of them lost while it was on
/// its way.
#[test]
fn what_goes_where_others_were_gone_before_is_told() {
    let mut world = of_three(0, Some(1));
    world.publish(&[event_of(0)]);
    world.publish(&[event_of(0), event_of(0)]);
    world.run(Op::Retain);
    let selectors = vec![selector(0), selector(4)];
    world.subscribe(0, false, selectors, &Start::Earliest);
    world.publish(&[event_of(0)]);
    world.finish();
}

/// One of two who stood at the same place was told; the other got what was read for the first one,
/// and no word of what was missing from it.
#[test]
fn who_gets_what_was_read_for_another_is_told_too() {
    let mut world = of_three(1, None);
    world.publish(&[event_of(1), event_of(1), event_of(1)]);
    for slot in [0, 1] {
        world.subscribe(slot, true, vec![selector(1)], &Start::Earliest);
    }
    world.publish(&[event_of(1)]);
    for slot in [0, 1] {
        world.step(slot);
        assert_eq!(world.hub.stats().gaps, slot as u64 + 1);
    }
    world.finish();
}

proptest! {
    #[test]
    fn who_misses_something_is_told(setup in some_setup(), ops in vec(some_op(), 1..60)) {
        let mut world = World::new(setup);
        for op in ops {
            world.run(op);
        }
        world.finish();
    }
}
