//! A crowd against a vector of events.
//!
//! Random members of one crowd, step by step and on one thread: they follow topics, patterns and
//! several of both; their sockets take any part of what they are given; events are longer than a
//! piece and longer than a span; the log is read late, for several at once, and forgets meanwhile;
//! members come, are told to end, go, and their numbers are given to others. What each received,
//! with its framing taken off, must be what the vector says: every event once, in order, whole, and
//! gaps exactly where something was forgotten. And whoever sleeps while there is something for it
//! must be named as having news.
//!
//! `PROPTEST_CASES=10000 cargo test -p tidings --test crowd` runs more cases.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::expect_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::indexing_slicing, reason = "a test fails by panicking")]

mod topics;

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::{Index, select},
};
use tidings::{
    Committer, Crowd, CrowdStep, EndReason, Gap, GapReason, Hub, Limits, LogPage, LogRead,
    NewEvent, PIECE_BYTES_MAX, Progress, Publish, Selector, Span, Start,
};
use tidings_log::{MemoryStorage, Options, Retention, open};
use topics::{TOPICS, selector, some_selectors, wants};

const SLOTS: usize = 6;

/// Bytes that [`framed`] puts in front of a piece.
const FRAMING_BYTES: usize = 4;

/// A framing that can be taken off again.
fn framed(piece: &[u8], out: &mut Vec<u8>) {
    out.extend(u32::try_from(piece.len()).unwrap().to_be_bytes());
    out.extend_from_slice(piece);
}

/// The pieces that whole framed bytes are made of.
fn unframed(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<FRAMING_BYTES>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        let (piece, rest) = rest.split_at_checked(length).expect("a whole piece");
        pieces.push(piece);
        bytes = rest;
    }
    assert!(bytes.is_empty(), "half of a length");
    pieces
}

/// Where the pieces of framed bytes begin, and where the last of them ends.
fn boundaries(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![0];
    for piece in unframed(bytes) {
        ends.push(ends.last().unwrap() + FRAMING_BYTES + piece.len());
    }
    ends
}

/// How much of the bytes a socket takes: any number, or whole pieces.
fn part(bytes: &[u8], taken: Index) -> usize {
    let any = taken.index(2 * (bytes.len() + 1));
    let boundaries = boundaries(bytes);
    if any <= bytes.len() {
        any
    } else {
        boundaries[any % boundaries.len()]
    }
}

#[derive(Clone, Debug)]
struct Setup {
    limits: Limits,
    retention: Retention,
}

#[derive(Clone, Debug)]
struct EventSpec {
    topics: Vec<usize>,
    ttl_ms: Option<u64>,
    data_bytes: usize,
}

#[derive(Clone, Debug)]
enum Begin {
    Latest,
    Earliest,
    After(u64),
    Last(u64),
}

#[derive(Clone, Debug)]
enum Op {
    Publish(Vec<EventSpec>),
    /// Joins at a place, which was found before something else was published.
    Join {
        slot: usize,
        selectors: Vec<usize>,
        from: Begin,
        meanwhile: Vec<EventSpec>,
        gap_first: bool,
    },
    /// What a thread does that was woken: all who have news take it all.
    Serve,
    /// A step, of whose bytes the socket takes a part. `None`: all.
    Step {
        slot: usize,
        times: usize,
        taken: Option<Index>,
    },
    /// Runs one of the reads of the log that wait for it.
    Read(Index),
    /// Hands the crowd one of the pages that were read, and may serve those who wait for it.
    Accept {
        page: Index,
        taken: Option<Index>,
        at_once: bool,
    },
    Resume(usize),
    Leave(usize),
    End(usize),
    Advance(u64),
    Retain,
}

fn some_setup() -> impl Strategy<Value = Setup> {
    (
        select(vec![0, 300, 3000, 1 << 20]),
        select(vec![1, 80, 5000, 1 << 16]),
        select(vec![1, 3, 512]),
        option::weighted(0.7, select(vec![1, 8, 32])),
    )
        .prop_map(|(window, step_bytes, step_events, events_max)| {
            let mut limits = Limits::default();
            limits.window_bytes_max = window;
            limits.step_bytes_max = step_bytes;
            limits.step_events_max = step_events;
            let retention = Retention {
                events_max,
                ..Retention::default()
            };
            Setup { limits, retention }
        })
}

fn some_event() -> impl Strategy<Value = EventSpec> {
    let data_bytes = prop_oneof![
        60 => 0..40_usize,
        // About one piece, two, and several.
        15 => 4060..4110_usize,
        15 => 8150..8210_usize,
        10 => 0..20_000_usize,
        // More pieces than a crowd keeps spans.
        1 => Just(90_000_usize),
    ];
    (
        vec(0..TOPICS.len(), 1..3),
        option::weighted(0.2, 0..3000_u64),
        data_bytes,
    )
        .prop_map(|(topics, ttl_ms, data_bytes)| EventSpec {
            topics,
            ttl_ms,
            data_bytes,
        })
}

fn some_begin() -> impl Strategy<Value = Begin> {
    prop_oneof![
        2 => Just(Begin::Latest),
        3 => Just(Begin::Earliest),
        2 => (0..40_u64).prop_map(Begin::After),
        1 => (0..6_u64).prop_map(Begin::Last),
    ]
}

fn some_op() -> impl Strategy<Value = Op> {
    let slot = || 0..SLOTS;
    let taken = || option::weighted(0.6, any::<Index>());
    let meanwhile = prop_oneof![3 => Just(Vec::new()), 1 => vec(some_event(), 1..3)];
    prop_oneof![
        8 => vec(some_event(), 1..4).prop_map(Op::Publish),
        5 => (slot(), some_selectors(), some_begin(), meanwhile, any::<bool>()).prop_map(
            |(slot, selectors, from, meanwhile, gap_first)| Op::Join {
                slot,
                selectors,
                from,
                meanwhile,
                gap_first,
            }
        ),
        6 => Just(Op::Serve),
        9 => (slot(), 1..5_usize, taken())
            .prop_map(|(slot, times, taken)| Op::Step { slot, times, taken }),
        4 => any::<Index>().prop_map(Op::Read),
        4 => (any::<Index>(), taken(), any::<bool>())
            .prop_map(|(page, taken, at_once)| Op::Accept { page, taken, at_once }),
        2 => slot().prop_map(Op::Resume),
        2 => slot().prop_map(Op::Leave),
        1 => (1..3_usize).prop_map(Op::End),
        2 => (0..2500_u64).prop_map(Op::Advance),
        2 => Just(Op::Retain),
    ]
}

/// An event that was acknowledged.
struct Truth {
    sequence: u64,
    topics: Vec<&'static str>,
    expires_ms: u64,
    frame: Vec<u8>,
}

/// A member, and how far what it received reaches.
#[expect(
    clippy::struct_excessive_bools,
    reason = "what it was told, each thing by itself"
)]
struct Member {
    number: u32,
    selectors: Vec<Selector>,
    /// The next sequence that it wants, and how much of it came.
    next: u64,
    offset: usize,
    /// It was last told that there is nothing, and was not named since.
    is_idle: bool,
    /// It was told to wait for a page.
    is_waiting: bool,
    is_ended: bool,
    is_broken: bool,
}

/// What the crowd and the hub must have counted in the end.
#[derive(Default)]
struct Counted {
    events: u64,
    bytes: u64,
    gaps: u64,
    joined: u64,
    ended: u64,
}

struct World {
    setup: Setup,
    hub: Hub,
    committer: Committer,
    crowd: Crowd,
    wakes: Arc<AtomicUsize>,
    /// How many of the wakes were heard.
    heard: usize,
    now_ms: u64,
    truth: Vec<Truth>,
    members: [Option<Member>; SLOTS],
    reads: Vec<LogRead>,
    pages: Vec<LogPage>,
    /// Of the members, those that were chosen to end; of these, the crowd has not heard of some.
    ended: usize,
    ending: usize,
    counted: Counted,
}

impl World {
    fn new(setup: Setup) -> Self {
        let options = Options {
            retention: setup.retention.clone(),
            ..Options::default()
        };
        let storage = Arc::new(MemoryStorage::new());
        let (writer, reader, _) = open(storage, options, "e1", 1000).unwrap();
        let (hub, committer) = Hub::new(writer, reader, setup.limits.clone(), 1000).unwrap();
        let wakes = Arc::new(AtomicUsize::new(0));
        let woken = wakes.clone();
        let crowd = hub.crowd(framed, move || {
            woken.fetch_add(1, Ordering::Relaxed);
        });
        Self {
            setup,
            hub,
            committer,
            crowd,
            wakes,
            heard: 0,
            now_ms: 1000,
            truth: Vec::new(),
            members: [const { None }; SLOTS],
            reads: Vec::new(),
            pages: Vec::new(),
            ended: 0,
            ending: 0,
            counted: Counted::default(),
        }
    }

    fn run(&mut self, op: Op) {
        match op {
            Op::Publish(events) => self.publish(&events),
            Op::Join {
                slot,
                selectors,
                from,
                meanwhile,
                gap_first,
            } => {
                self.leave(slot);
                let selectors = selectors.into_iter().map(selector).collect();
                self.join(slot, selectors, &from, &meanwhile, gap_first);
            }
            Op::Serve => self.serve(),
            Op::Step { slot, times, taken } => {
                for _ in 0..times {
                    self.step(slot, taken);
                }
            }
            Op::Read(which) => self.read(which),
            Op::Accept {
                page,
                taken,
                at_once,
            } => {
                if !self.pages.is_empty() {
                    let page = self.pages.remove(page.index(self.pages.len()));
                    self.accept(page, taken, at_once);
                }
            }
            Op::Resume(slot) => self.resume(slot),
            Op::Leave(slot) => self.leave(slot),
            Op::End(count) => self.end(count),
            Op::Advance(ms) => self.now_ms += ms,
            Op::Retain => drop(self.committer.retain(self.now_ms).unwrap()),
        }
        let open = self.members.iter().flatten().count();
        assert_eq!(self.hub.subscribers(), open);
        assert_eq!(self.hub.stats().subscribers, open as u64);
        assert_eq!(self.hub.stats().gaps, self.counted.gaps);
        let wakes = self.wakes.load(Ordering::Relaxed) - self.heard;
        assert!(wakes <= 1, "woken {wakes} times without having looked");
        let overdue = self.members.iter().flatten();
        let overdue = overdue.filter(|m| m.is_idle && self.expected(m).next().is_some());
        assert!(wakes == 1 || overdue.count() == 0, "it sleeps on");
    }

    fn first(&self) -> u64 {
        self.hub.stats().log_first
    }

    fn next(&self) -> u64 {
        self.truth.last().map_or(1, |event| event.sequence + 1)
    }

    fn publish(&mut self, events: &[EventSpec]) {
        let first = self.next();
        let data: Vec<String> = (first..).zip(events).map(EventSpec::data).collect();
        let new = events.iter().zip(&data).map(|(spec, data)| {
            let topics = spec.topics.iter().map(|t| TOPICS[*t].parse().unwrap());
            let event = NewEvent::with(topics, None, None, data);
            match spec.ttl_ms {
                Some(ttl_ms) => event.ttl_ms(ttl_ms),
                None => event,
            }
        });
        let ticket = self.hub.publish(Publish::new(new.collect())).unwrap();
        while self.committer.step(self.now_ms) != Progress::Idle {}
        ticket.wait().unwrap();
        for ((sequence, spec), data) in (first..).zip(events).zip(data) {
            self.truth.push(Truth {
                sequence,
                topics: spec.topics.iter().map(|t| TOPICS[*t]).collect(),
                expires_ms: spec.ttl_ms.map_or(u64::MAX, |ttl| self.now_ms + ttl),
                frame: format!("id: e1:{sequence}\ndata: {data}\n\n").into_bytes(),
            });
        }
    }

    /// What is still to come for a member: what it was given a part of, and what it wants that has
    /// not expired.
    fn expected<'a>(&'a self, member: &'a Member) -> impl Iterator<Item = &'a Truth> {
        let begun = |event: &Truth| member.offset > 0 && event.sequence == member.next;
        self.truth[from(&self.truth, member.next)..]
            .iter()
            .filter(move |e| {
                begun(e) || e.expires_ms > self.now_ms && wants(&member.selectors, &e.topics)
            })
    }

    fn join(
        &mut self,
        slot: usize,
        selectors: Vec<Selector>,
        begin: &Begin,
        meanwhile: &[EventSpec],
        gap_first: bool,
    ) {
        let (next, gap) = self.place(&selectors, begin);
        let start = begin.start();
        let located = self.hub.locate(&selectors, &start, self.now_ms).unwrap();
        if !meanwhile.is_empty() {
            self.publish(meanwhile);
        }
        let number = self.crowd.join(located).unwrap();
        self.counted.joined += 1;
        let live = self.members.iter().flatten();
        assert!(live.clone().all(|member| member.number != number));
        assert_eq!(self.crowd.position(number).to_string(), id(next - 1));
        if let Some((from, to, reason)) = gap {
            let told = if gap_first {
                self.crowd.take_gap(number)
            } else {
                match self.crowd.step(number, self.now_ms) {
                    Some(CrowdStep::Gap(gap)) => Some(gap),
                    _ => None,
                }
            };
            self.counted.gaps += 1;
            check_gap(&told.expect("a gap"), &from, &id(to), &id(next - 1), reason);
        }
        assert_eq!(self.crowd.take_gap(number), None);
        self.members[slot] = Some(Member {
            number,
            selectors,
            next,
            offset: 0,
            is_idle: false,
            is_waiting: false,
            is_ended: false,
            is_broken: false,
        });
        self.step(slot, None);
    }

    /// The cursor that a start means, and the gap in front of it.
    fn place(&self, of: &[Selector], begin: &Begin) -> (u64, Option<(String, u64, GapReason)>) {
        let (first, next) = (self.first(), self.next());
        match begin {
            Begin::Latest | Begin::Last(0) => (next, None),
            Begin::Earliest => (first, None),
            Begin::After(n) if n + 1 > next => (next, Some((id(next - 1), *n, GapReason::Future))),
            Begin::After(n) if n + 1 < first => {
                (first, Some((id(*n), first - 1, GapReason::Retention)))
            }
            Begin::After(n) => (n + 1, None),
            Begin::Last(n) => {
                let held = &self.truth[from(&self.truth, first)..];
                let wanted = held
                    .iter()
                    .filter(|e| e.expires_ms > self.now_ms && wants(of, &e.topics));
                let nth = wanted.rev().nth(usize::try_from(n - 1).unwrap());
                (nth.map_or(first, |event| event.sequence), None)
            }
        }
    }

    fn leave(&mut self, slot: usize) {
        let Some(member) = self.members[slot].take() else {
            return;
        };
        let before = self.hub.stats().ended_evicted;
        self.crowd.leave(member.number);
        let was_ended = self.hub.stats().ended_evicted - before;
        assert!(was_ended == 1 || !member.is_ended);
        self.counted.ended += was_ended;
        self.ended -= usize::try_from(was_ended).unwrap();
        // Its number is nobody's now.
        self.crowd.leave(member.number);
        assert!(self.crowd.step(member.number, self.now_ms).is_none());
    }

    /// Goes and comes back where it was. What was cut off comes again, whole.
    fn resume(&mut self, slot: usize) {
        let Some(member) = &self.members[slot] else {
            return;
        };
        let position = self.crowd.position(member.number).sequence;
        let missed = self.expected(member).next();
        let position = match missed {
            // There is a gap to tell of in front of that place, and the subscriber goes without.
            Some(event) if event.sequence <= position => member.next - 1,
            _ => position,
        };
        let selectors = member.selectors.clone();
        self.leave(slot);
        self.join(slot, selectors, &Begin::After(position), &[], false);
    }

    fn end(&mut self, count: usize) {
        let open = self.members.iter().flatten().count();
        let due = count.min(open.saturating_sub(self.ended + self.ending));
        assert_eq!(self.hub.end(count, EndReason::Evicted), due);
        self.ending += due;
    }

    /// Asks who has news. All who sleep while there is something for them must be named.
    fn take_news(&mut self) -> Vec<usize> {
        let mut news = Vec::new();
        self.crowd.take_news(&mut news);
        self.heard = self.wakes.load(Ordering::Relaxed);
        let open = self.members.iter().flatten().count();
        self.ended += self.ending.min(open - self.ended);
        self.ending = 0;
        for member in self.members.iter().flatten().filter(|m| m.is_idle) {
            let pending = self.expected(member).next().is_some();
            assert!(!pending || news.contains(&member.number), "it sleeps on");
        }
        let mut named = Vec::new();
        for number in news {
            let slot = self.slot(number).expect("a member");
            if !named.contains(&slot) {
                named.push(slot);
            }
        }
        for slot in &named {
            self.members[*slot].as_mut().unwrap().is_idle = false;
        }
        named
    }

    fn slot(&self, number: u32) -> Option<usize> {
        let is = |member: &Option<Member>| member.as_ref().is_some_and(|m| m.number == number);
        self.members.iter().position(is)
    }

    fn serve(&mut self) {
        for slot in self.take_news() {
            self.step_until_done(slot);
        }
    }

    /// Takes steps until there is nothing for now. True: at least one led somewhere.
    fn step_until_done(&mut self, slot: usize) -> bool {
        let steps_max = 5_000;
        for taken in 0..steps_max {
            if !self.step(slot, None) {
                return taken > 0;
            }
        }
        panic!("{steps_max} steps, and no end");
    }

    /// Takes a step and checks that it is the right one. True: there may be another.
    fn step(&mut self, slot: usize, taken: Option<Index>) -> bool {
        let Some(mut member) = self.members[slot].take() else {
            return false;
        };
        let more = self.take(&mut member, taken);
        self.catch_up(&mut member);
        self.members[slot] = Some(member);
        more
    }

    fn take(&mut self, member: &mut Member, taken: Option<Index>) -> bool {
        let step = self.crowd.step(member.number, self.now_ms);
        let is_over = matches!(step, Some(CrowdStep::End(_) | CrowdStep::Broken));
        assert!(is_over || !member.is_ended && !member.is_broken);
        let is_wait = matches!(step, Some(CrowdStep::Waiting));
        assert!(is_over || is_wait || !member.is_waiting);
        match step {
            None => {
                assert!(self.expected(member).next().is_none(), "there is more");
                member.is_idle = true;
                return false;
            }
            Some(CrowdStep::Span(span)) => {
                self.write(member, &span, taken);
                return true;
            }
            Some(CrowdStep::Gap(gap)) => {
                self.counted.gaps += 1;
                self.pass(member, &gap);
                return true;
            }
            Some(CrowdStep::Behind(read)) => {
                self.reads.push(read);
                member.is_waiting = true;
            }
            Some(CrowdStep::Waiting) => {
                assert!(!self.reads.is_empty() || !self.pages.is_empty());
                member.is_waiting = true;
            }
            Some(CrowdStep::End(reason)) => {
                assert_eq!((reason, member.offset), (EndReason::Evicted, 0));
                assert!(self.ended > 0);
                member.is_ended = true;
            }
            Some(CrowdStep::Broken) => {
                // It was within an event that is gone, or that there is no time to finish.
                assert!(member.offset > 0);
                assert!(self.ended > 0 || member.next < self.first());
                member.is_broken = true;
            }
            Some(step) => panic!("{step:?}"),
        }
        false
    }

    fn write(&mut self, member: &mut Member, span: &Span, taken: Option<Index>) {
        let bytes = span.bytes();
        let room = self.setup.limits.step_bytes_max;
        assert!(!bytes.is_empty() && bytes.len() < room + PIECE_BYTES_MAX + FRAMING_BYTES);
        assert!(unframed(bytes).len() <= self.setup.limits.step_events_max);
        let written = taken.map_or(bytes.len(), |taken| part(bytes, taken));
        let rest = self.crowd.took(member.number, span, written);
        assert!(rest.len() < PIECE_BYTES_MAX + FRAMING_BYTES);
        assert!(rest.is_empty() || !boundaries(bytes).contains(&written));
        let received = [&bytes[..written], rest].concat();
        for piece in unframed(&received) {
            self.receive(member, piece);
        }
        // Nobody asks again behind a span that is not full.
        let is_all = written == bytes.len() && !span.is_full();
        assert!(
            !is_all || self.expected(member).next().is_none(),
            "there is more"
        );
    }

    fn receive(&mut self, member: &mut Member, piece: &[u8]) {
        let event = self.expected(member).next().expect("an event");
        let offset = if event.sequence == member.next {
            member.offset
        } else {
            0
        };
        let rest = &event.frame[offset..];
        let text = String::from_utf8_lossy;
        assert_eq!(text(piece), text(&rest[..rest.len().min(PIECE_BYTES_MAX)]));
        let is_whole = piece.len() == rest.len();
        (member.next, member.offset) = if is_whole {
            (event.sequence + 1, 0)
        } else {
            (event.sequence, offset + piece.len())
        };
        self.counted.events += u64::from(is_whole);
        self.counted.bytes += piece.len() as u64;
    }

    /// A gap on the way: it begins where the member is and ends where the log begins.
    fn pass(&self, member: &mut Member, gap: &Gap) {
        let before: u64 = gap.from.strip_prefix("e1:").unwrap().parse().unwrap();
        let to = gap.to.sequence;
        let missed = self.expected(member).next();
        assert!(missed.is_none_or(|event| event.sequence > before));
        assert!(member.offset == 0 && member.next <= before + 1);
        assert!(before < to && to < self.first());
        check_gap(gap, &gap.from, &id(to), &id(to), GapReason::Retention);
        member.next = to + 1;
    }

    /// Where the crowd sees a member: nothing that it wants lies between that and what it has.
    fn catch_up(&self, member: &mut Member) {
        assert_eq!(self.crowd.is_within_event(member.number), member.offset > 0);
        let position = self.crowd.position(member.number).sequence;
        assert!(position < self.next());
        if member.offset > 0 {
            assert_eq!(position, member.next - 1);
            return;
        }
        if member.is_ended {
            return; // it may end in front of a gap, and resumes there
        }
        assert!(position + 1 >= member.next);
        let missed = self.expected(member).next();
        assert!(missed.is_none_or(|event| event.sequence > position));
        member.next = position + 1;
    }

    fn read(&mut self, which: Index) {
        if !self.reads.is_empty() {
            let read = self.reads.remove(which.index(self.reads.len()));
            self.pages.push(read.run());
        }
    }

    fn accept(&mut self, page: LogPage, taken: Option<Index>, at_once: bool) {
        let mut ready = Vec::new();
        self.crowd.accept(page, self.now_ms, &mut ready).unwrap();
        for number in ready {
            let slot = self.slot(number).expect("a member");
            let member = self.members[slot].as_mut().unwrap();
            let can_wait = member.is_ended || member.is_broken;
            assert!(member.is_waiting || can_wait, "it waited for nothing");
            member.is_waiting = false;
            if at_once {
                self.step(slot, taken);
            }
        }
    }

    /// Everyone takes all that there is, and all reads are done.
    fn finish(mut self) {
        let rounds_max = 2_000;
        for _ in 0..rounds_max {
            let mut moved = !self.take_news().is_empty();
            for slot in 0..SLOTS {
                moved |= self.step_until_done(slot);
            }
            while let Some(read) = self.reads.pop() {
                self.pages.push(read.run());
            }
            while let Some(page) = self.pages.pop() {
                self.accept(page, None, true);
                moved = true;
            }
            if !moved {
                self.check_done();
                return;
            }
        }
        panic!("{rounds_max} rounds, and no end");
    }

    fn check_done(mut self) {
        for member in self.members.iter().flatten() {
            let number = member.number;
            assert!(
                !member.is_waiting || member.is_ended,
                "{number} waits for ever"
            );
            assert!(member.is_idle || member.is_ended || member.is_broken);
        }
        for slot in 0..SLOTS / 2 {
            self.leave(slot);
        }
        assert_eq!(self.ending, 0);
        self.counted.ended += self.ended as u64;
        let Self {
            hub,
            crowd,
            counted,
            truth,
            ..
        } = self;
        drop(crowd);
        let stats = hub.stats();
        assert_eq!((hub.subscribers(), stats.subscribers), (0, 0));
        let delivered = (stats.delivered_events, stats.delivered_bytes);
        assert_eq!(delivered, (counted.events, counted.bytes));
        assert_eq!(stats.subscriptions, counted.joined);
        assert_eq!(stats.ended_evicted, counted.ended);
        let held = usize::try_from(stats.window_events).unwrap();
        let mut topics: Vec<&str> = truth[truth.len() - held..]
            .iter()
            .flat_map(|event| event.topics.iter().copied())
            .collect();
        topics.sort_unstable();
        topics.dedup();
        assert_eq!(stats.window_topics, topics.len() as u64, "idle topics stay");
    }
}

/// Where the event with this sequence is, or the one after it.
fn from(truth: &[Truth], sequence: u64) -> usize {
    truth.partition_point(|event| event.sequence < sequence)
}

fn id(sequence: u64) -> String {
    format!("e1:{sequence}")
}

fn check_gap(gap: &Gap, from: &str, to: &str, resumes_after: &str, reason: GapReason) {
    assert_eq!(gap.from, from);
    assert_eq!(gap.to.to_string(), to);
    assert_eq!(gap.resumes_after.to_string(), resumes_after);
    assert_eq!(gap.reason, reason);
}

impl Begin {
    fn start(&self) -> Start {
        match self {
            Self::Latest => Start::Latest,
            Self::Earliest => Start::Earliest,
            Self::After(sequence) => Start::After(id(*sequence)),
            Self::Last(n) => Start::Last(*n),
        }
    }
}

impl EventSpec {
    /// Other bytes in each event and at each place, so that nothing can stand for anything else.
    fn data((sequence, spec): (u64, &Self)) -> String {
        let mut data = String::with_capacity(spec.data_bytes + 16);
        for at in 0.. {
            if data.len() >= spec.data_bytes {
                break;
            }
            write!(data, "{sequence}.{at} ").unwrap();
        }
        data.truncate(spec.data_bytes);
        data
    }
}

/// It was begun before it expired, is not in the window any more, and longer than a span: what was
/// read of it was as expired as the event, and was read again for ever.
#[test]
fn an_event_that_expires_while_it_is_sent_is_finished() {
    let mut limits = Limits::default();
    limits.window_bytes_max = 0;
    limits.step_bytes_max = 1;
    let retention = Retention::default();
    let mut world = World::new(Setup { limits, retention });
    world.join(0, vec![selector(0)], &Begin::Latest, &[], false);
    let long = EventSpec {
        topics: vec![0],
        ttl_ms: Some(1000),
        data_bytes: 20_000,
    };
    world.publish(&[long]);
    world.serve();
    let page = world.reads.remove(0).run();
    world.accept(page, None, true);
    assert_eq!(world.counted.bytes, PIECE_BYTES_MAX as u64);
    world.run(Op::Advance(5000));
    assert!(world.counted.events == 0);
    world.finish();
}

proptest! {
    #[test]
    fn a_crowd_is_a_vector_of_events(setup in some_setup(), ops in vec(some_op(), 1..80)) {
        let mut world = World::new(setup);
        for op in ops {
            world.run(op);
        }
        world.finish();
    }
}
