//! The engine under many schedules: subscribers come, fall behind, go, resume and wait at the tail
//! while publishers publish, the window drops what it just got and retention forgets.
//!
//! The bugs these guard against are the ones that no run by hand shows: an event lost between the
//! replay and the live stream, or delivered by both; a subscriber that sleeps while its event lies
//! there (shuttle reports it as a deadlock); a subscription that leaves something behind.
//!
//! Every choice comes from shuttle, so a failure prints a schedule that `shuttle::replay` repeats.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::{HashMap, HashSet},
    future::poll_fn,
};

use bytes::Bytes;
use shuttle::{
    future::block_on,
    rand::{Rng, thread_rng},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};
use tidings::{
    Committer, Crowd, CrowdStep, EndReason, Gap, GapReason, Hub, Idempotency, Limits, Located,
    LogPage, NewEvent, Publish, PublishError, Selector, Start, Step, SubscribeError, Subscription,
};
use tidings_log::{MemoryStorage, Options, Retention};

const TOPICS: [&str; 4] = ["a", "b", "c/1", "c/2"];

/// An event that was acknowledged.
#[derive(Clone, Debug, PartialEq)]
struct Truth {
    sequence: u64,
    topics: Vec<usize>,
    frame: Vec<u8>,
}

/// A hub that is running: its committer has a thread.
struct World {
    hub: Hub,
    truth: Arc<Mutex<Vec<Truth>>>,
    committer: thread::JoinHandle<()>,
}

impl World {
    /// With `events_max`, retention runs after every commit and each event has its own segment.
    fn begin(events_max: Option<u64>) -> Self {
        let (hub, committer) = some_hub(events_max);
        let clock = AtomicU64::new(0);
        let committer = thread::spawn(move || {
            let tick = || clock.fetch_add(1000, Ordering::Relaxed);
            committer.run(tick, |_| {}).unwrap();
        });
        let truth = Arc::default();
        Self {
            hub,
            truth,
            committer,
        }
    }

    /// A thread that publishes `groups` groups of one or two events each.
    fn publisher(&self, name: &'static str, groups: usize) -> thread::JoinHandle<()> {
        let (hub, truth) = (self.hub.clone(), self.truth.clone());
        thread::spawn(move || {
            for group in 0..groups {
                let events = (0..thread_rng().gen_range(1..3))
                    .map(|i| (some_topics(), format!("{name}{group}.{i}")))
                    .collect();
                publish(&hub, &truth, events);
            }
        })
    }

    /// Publishes an event that reaches every subscriber and ends it.
    fn publish_end(&self) {
        let all = (0..TOPICS.len()).collect();
        publish(&self.hub, &self.truth, vec![(all, "end".to_owned())]);
    }

    /// Closes the hub, and checks that nothing stayed behind.
    fn finish(self) -> Vec<Truth> {
        self.hub.close_to_publishers();
        self.committer.join().unwrap();
        let mut truth = std::mem::take(&mut *self.truth.lock().unwrap());
        truth.sort_by_key(|event| event.sequence);
        let stats = self.hub.stats();
        assert_eq!((self.hub.subscribers(), stats.subscribers), (0, 0));
        let window = usize::try_from(stats.window_events).unwrap();
        let held = truth.split_at(truth.len() - window).1;
        let topics: HashSet<usize> = held.iter().flat_map(|e| e.topics.clone()).collect();
        assert_eq!(stats.window_topics, topics.len() as u64, "idle topics stay");
        truth
    }
}

/// A new hub with some limits that make it hard.
fn some_hub(events_max: Option<u64>) -> (Hub, Committer) {
    let options = Options {
        retention: Retention {
            events_max,
            ..Retention::default()
        },
        ..Options::default()
    };
    let storage = std::sync::Arc::new(MemoryStorage::new());
    let (writer, reader, _) = tidings_log::open(storage, options, "e", 0).unwrap();
    let mut limits = Limits::default();
    // One event takes about 150 bytes: no window, one event, some, all.
    limits.window_bytes_max = *pick(&[0, 200, 500, 1 << 20]);
    limits.step_events_max = *pick(&[1, 2, 100]);
    limits.step_bytes_max = *pick(&[1, 60, 1 << 16]);
    limits.commit_bytes_max = *pick(&[1, 1 << 20]);
    Hub::new(writer, reader, limits, 0).unwrap()
}

fn publish(hub: &Hub, truth: &Mutex<Vec<Truth>>, events: Vec<(Vec<usize>, String)>) {
    let new = events.iter().map(|(topics, data)| {
        let topics = topics.iter().filter_map(|t| TOPICS.get(*t)?.parse().ok());
        NewEvent::with(topics, None, None, data)
    });
    let mut group = Publish::new(new.collect());
    if thread_rng().gen_bool(0.3) {
        group.idempotency = Some(Idempotency {
            key: format!("key of {events:?}").into(),
            offset: 0,
            fingerprint: 0,
            whole: true,
        });
        // A repetition may stand in the same batch, in a later one, or come before its original.
        let twin = (hub.clone(), group.clone());
        let twin = thread::spawn(move || twin.0.publish(twin.1).unwrap().wait().unwrap());
        let receipt = hub.publish(group).unwrap().wait().unwrap();
        let other = twin.join().unwrap();
        assert_eq!(receipt.runs, other.runs);
        assert!(receipt.repeated ^ other.repeated);
        return note(truth, events, receipt.sequences());
    }
    let ticket = hub.publish(group).unwrap();
    let receipt = if thread_rng().gen_bool(0.5) {
        ticket.wait()
    } else {
        block_on(ticket)
    };
    note(truth, events, receipt.unwrap().sequences());
}

fn note(
    truth: &Mutex<Vec<Truth>>,
    events: Vec<(Vec<usize>, String)>,
    sequences: impl Iterator<Item = u64>,
) {
    let noted: Vec<Truth> = sequences
        .zip(events)
        .map(|(sequence, (topics, data))| Truth {
            sequence,
            topics,
            frame: format!("id: e:{sequence}\ndata: {data}\n\n").into_bytes(),
        })
        .collect();
    truth.lock().unwrap().extend(noted);
}

/// A subscriber: what it asked for and what it got.
struct Follower {
    hub: Hub,
    selectors: Vec<Selector>,
    /// The sequence after which it started.
    after: u64,
    /// The sequence up to which it got everything.
    at: u64,
    frames: Vec<Vec<u8>>,
    gaps: Vec<Gap>,
    end: Option<EndReason>,
}

/// What a subscriber chose, and what bounds it: the log's end before and after it subscribed.
struct Opened {
    start: Start,
    before: u64,
    after: u64,
}

impl Follower {
    fn new(hub: &Hub) -> Self {
        Self {
            hub: hub.clone(),
            selectors: some_selectors(),
            after: 0,
            at: 0,
            frames: Vec::new(),
            gaps: Vec::new(),
            end: None,
        }
    }

    /// A thread that follows, and says so on `there` once it does.
    fn spawn(hub: &Hub, there: &mpsc::Sender<()>) -> thread::JoinHandle<(Self, Option<Opened>)> {
        let mut follower = Self::new(hub);
        let there = there.clone();
        thread::spawn(move || {
            let opened = follower.follow(&there);
            (follower, opened)
        })
    }

    /// Subscribes at a random place, and reads until the end; leaves and resumes now and then.
    fn follow(&mut self, there: &mpsc::Sender<()>) -> Option<Opened> {
        let start = match thread_rng().gen_range(0..4) {
            0 => Start::Latest,
            1 => Start::Earliest,
            2 => Start::Last(thread_rng().gen_range(0..4)),
            _ => Start::After("e:0".to_owned()),
        };
        let before = self.hub.stats().log_next;
        let mut subscription = self.subscribe(&start)?;
        let after = self.hub.stats().log_next;
        self.after = subscription.position().sequence;
        there.send(()).unwrap();
        let opened = Opened {
            start,
            before,
            after,
        };
        while !self.step(&mut subscription) {
            if thread_rng().gen_bool(0.3) {
                // Often the old connection is noticed to be gone only after the new one is there.
                let old = thread_rng().gen_bool(0.5).then_some(subscription);
                let position = format!("e:{}", self.at);
                let Some(new) = self.subscribe(&Start::After(position)) else {
                    break;
                };
                drop(old);
                subscription = new;
            }
        }
        Some(opened)
    }

    /// `None`: the hub is closed.
    fn subscribe(&mut self, start: &Start) -> Option<Subscription> {
        match self.hub.subscribe(&self.selectors, start, 0) {
            Ok(subscription) => Some(subscription),
            Err(SubscribeError::Closed) => {
                self.end = Some(EndReason::Drain);
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for a step and takes it. True: that was the last.
    fn step(&mut self, subscription: &mut Subscription) -> bool {
        let last = self.take(subscription);
        self.at = subscription.position().sequence;
        last
    }

    fn take(&mut self, subscription: &mut Subscription) -> bool {
        let step = block_on(poll_fn(|cx| subscription.poll_step(cx, 0)));
        let step = match step {
            Step::Behind(read) => {
                let page = read.run();
                thread::yield_now();
                subscription.accept(page, 0).unwrap()
            }
            step => Some(step),
        };
        match step {
            Some(Step::Frames(frames)) => {
                assert!(!frames.is_empty());
                self.frames.extend(frames.iter().map(|f| f.to_vec()));
                is_end(&frames)
            }
            Some(Step::Gap(gap)) => {
                assert_eq!(gap.resumes_after, subscription.position());
                self.gaps.push(gap);
                false
            }
            Some(Step::End(reason)) => {
                self.end = Some(reason);
                true
            }
            Some(step) => panic!("{step:?}"),
            None => false,
        }
    }

    /// Takes the pieces of a crowd's bytes, which are whole events here.
    fn receive(&mut self, mut bytes: &[u8]) {
        while let Some((length, rest)) = bytes.split_first() {
            let (piece, rest) = rest.split_at(usize::from(*length));
            self.frames.push(piece.to_vec());
            bytes = rest;
        }
    }

    fn wants(&self, event: &Truth) -> bool {
        let topics = || event.topics.iter().filter_map(|t| TOPICS.get(*t));
        self.selectors.iter().any(|selector| match selector {
            Selector::Topic(topic) => topics().any(|t| *t == topic.as_str()),
            Selector::Pattern(pattern) => topics().any(|t| pattern.matches(t)),
            _ => false,
        })
    }

    /// Each wanted event once, in order, from its start on, but for what gaps were told of.
    fn check(&self, truth: &[Truth]) {
        let expected: Vec<&[u8]> = truth
            .iter()
            .filter(|event| self.after < event.sequence && event.sequence <= self.at)
            .filter(|event| self.wants(event))
            .filter(|event| !self.gaps.iter().any(|gap| covers(gap, event.sequence)))
            .map(|event| &*event.frame)
            .collect();
        let got: Vec<&[u8]> = self.frames.iter().map(Vec::as_slice).collect();
        assert_eq!(got, expected, "{}", self.story(&expected));
    }

    fn story(&self, expected: &[&[u8]]) -> String {
        let text = |frames: Vec<&[u8]>| String::from_utf8(frames.concat()).unwrap();
        format!(
            "{:?} after {} with gaps {:?}\nexpected\n{}got\n{}",
            self.selectors,
            self.after,
            self.gaps,
            text(expected.to_vec()),
            text(self.frames.iter().map(Vec::as_slice).collect()),
        )
    }

    /// Whether it began where it asked to.
    fn check_start(&self, opened: &Opened, truth: &[Truth]) {
        let wanted_in = |from: u64, to: u64| {
            let range = from..to.max(from);
            let inside = |event: &&Truth| range.contains(&event.sequence) && self.wants(event);
            truth.iter().filter(inside).count() as u64
        };
        match &opened.start {
            Start::Latest => {
                assert!((opened.before..=opened.after).contains(&(self.after + 1)));
            }
            Start::Earliest | Start::After(_) => assert_eq!(self.after, 0),
            Start::Last(n) => {
                let least = wanted_in(1, opened.before).min(*n);
                assert!(wanted_in(self.after + 1, opened.after) >= least);
                assert!(wanted_in(self.after + 1, opened.before) <= *n);
            }
            _ => {}
        }
    }
}

/// What a crowd's thread is told, beside the crowd's own bell.
enum Message {
    Join(Located, Box<Follower>),
    Page(LogPage),
}

/// What a crowd's thread sleeps on.
#[derive(Default)]
struct Inbox {
    rung: Mutex<(bool, Vec<Message>)>,
    bell: Condvar,
}

impl Inbox {
    fn ring(&self, message: Option<Message>) {
        let mut rung = self.rung.lock().unwrap();
        rung.0 = true;
        rung.1.extend(message);
        drop(rung);
        self.bell.notify_one();
    }

    /// Sleeps until it rings. Without a ring it sleeps for ever.
    fn wait(&self) -> Vec<Message> {
        let mut rung = self.rung.lock().unwrap();
        while !rung.0 {
            rung = self.bell.wait(rung).unwrap();
        }
        rung.0 = false;
        std::mem::take(&mut rung.1)
    }

    /// A thread that finds a place for a new member, and sends it in.
    fn joiner(self: &Arc<Self>, hub: &Hub) -> thread::JoinHandle<()> {
        let (inbox, hub) = (self.clone(), hub.clone());
        thread::spawn(move || {
            let follower = Box::new(Follower::new(&hub));
            let start = pick(&[Start::Latest, Start::Earliest, Start::Last(2)]).clone();
            let located = hub.locate(&follower.selectors, &start, 0).unwrap();
            inbox.ring(Some(Message::Join(located, follower)));
        })
    }
}

/// A crowd on a thread of its own.
struct Crowded {
    hub: Hub,
    inbox: Arc<Inbox>,
    crowd: Crowd,
    members: HashMap<u32, Follower>,
    there: mpsc::Sender<()>,
    done: Vec<Follower>,
}

impl Crowded {
    /// Serves until `count` members came to their end. Gives them back, and the thread's inbox.
    fn spawn(
        hub: &Hub,
        there: &mpsc::Sender<()>,
        count: usize,
    ) -> (Arc<Inbox>, thread::JoinHandle<Vec<Follower>>) {
        let inbox = Arc::<Inbox>::default();
        let woken = inbox.clone();
        let crowd = hub.crowd(
            |piece, out| {
                out.push(u8::try_from(piece.len()).unwrap());
                out.extend_from_slice(piece);
            },
            move || woken.ring(None),
        );
        let mut crowded = Self {
            hub: hub.clone(),
            inbox: inbox.clone(),
            crowd,
            members: HashMap::new(),
            there: there.clone(),
            done: Vec::new(),
        };
        let serving = thread::spawn(move || {
            while crowded.done.len() < count {
                crowded.turn();
            }
            crowded.done
        });
        (inbox, serving)
    }

    fn turn(&mut self) {
        for message in self.inbox.wait() {
            match message {
                Message::Join(located, follower) => {
                    self.join(located, *follower, true);
                    let _ = self.there.send(());
                }
                Message::Page(page) => {
                    let mut ready = Vec::new();
                    self.crowd.accept(page, 0, &mut ready).unwrap();
                    for number in ready {
                        self.serve(number);
                    }
                }
            }
        }
        let mut news = Vec::new();
        self.crowd.take_news(&mut news);
        for number in news {
            self.serve(number);
        }
    }

    fn join(&mut self, located: Located, mut follower: Follower, is_new: bool) {
        match self.crowd.join(located) {
            Ok(number) => {
                follower.at = self.crowd.position(number).sequence;
                if is_new {
                    follower.after = follower.at;
                }
                self.members.insert(number, follower);
                self.serve(number);
            }
            Err(SubscribeError::Closed) => {
                follower.end = Some(EndReason::Drain);
                self.done.push(follower);
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Has a member take all that there is, in parts.
    fn serve(&mut self, number: u32) {
        while let Some(mut follower) = self.members.remove(&number) {
            let step = self.crowd.step(number, 0);
            let is_over = match &step {
                Some(CrowdStep::Span(span)) => {
                    let bytes = span.bytes();
                    let written = thread_rng().gen_range(0..bytes.len() + 1);
                    let written = *pick(&[bytes.len(), bytes.len(), written]);
                    let rest = self.crowd.took(number, span, written);
                    follower.receive(&[bytes.get(..written).unwrap(), rest].concat());
                    follower
                        .frames
                        .last()
                        .is_some_and(|f| f.ends_with(b"data: end\n\n"))
                }
                Some(CrowdStep::Gap(gap)) => {
                    follower.gaps.push(gap.clone());
                    false
                }
                Some(CrowdStep::End(reason)) => {
                    follower.end = Some(*reason);
                    true
                }
                Some(CrowdStep::Behind(_) | CrowdStep::Waiting) | None => false,
                Some(step) => panic!("{step:?}"),
            };
            follower.at = self.crowd.position(number).sequence;
            if is_over {
                self.crowd.leave(number);
                self.done.push(follower);
                return;
            }
            match step {
                Some(CrowdStep::Span(_)) if thread_rng().gen_bool(0.2) => {
                    return self.resume(number, follower);
                }
                Some(CrowdStep::Span(_) | CrowdStep::Gap(_)) => {
                    self.members.insert(number, follower);
                }
                waits => {
                    self.members.insert(number, follower);
                    if let Some(CrowdStep::Behind(read)) = waits {
                        let inbox = self.inbox.clone();
                        thread::spawn(move || inbox.ring(Some(Message::Page(read.run()))));
                    }
                    return;
                }
            }
        }
    }

    fn resume(&mut self, number: u32, follower: Follower) {
        let start = Start::After(format!("e:{}", follower.at));
        self.crowd.leave(number);
        let located = self.hub.locate(&follower.selectors, &start, 0).unwrap();
        self.join(located, follower, false);
    }
}

/// Waits for a step; frames if it had any.
fn next_frames(subscription: &mut Subscription) -> Vec<Bytes> {
    let step = block_on(poll_fn(|cx| subscription.poll_step(cx, 0)));
    let step = match step {
        Step::Behind(read) => subscription.accept(read.run(), 0).unwrap(),
        step => Some(step),
    };
    match step {
        Some(Step::Frames(frames)) => frames,
        None => Vec::new(),
        Some(step) => panic!("{step:?}"),
    }
}

fn is_end(frames: &[Bytes]) -> bool {
    frames
        .last()
        .is_some_and(|frame| frame.ends_with(b"data: end\n\n"))
}

fn covers(gap: &Gap, sequence: u64) -> bool {
    let from: u64 = gap.from.strip_prefix("e:").unwrap().parse().unwrap();
    from < sequence && sequence <= gap.to.sequence
}

fn pick<T>(of: &[T]) -> &T {
    of.get(thread_rng().gen_range(0..of.len())).unwrap()
}

fn some_topics() -> Vec<usize> {
    pick(&[
        vec![0],
        vec![1],
        vec![2],
        vec![3],
        vec![0, 1],
        vec![2, 3],
        vec![0, 2],
    ])
    .clone()
}

fn some_selectors() -> Vec<Selector> {
    let topic = |text: &str| Selector::Topic(text.parse().unwrap());
    let pattern = |text: &str| Selector::Pattern(text.parse().unwrap());
    pick(&[
        vec![topic("a")],
        vec![topic("c/1")],
        vec![topic("a"), topic("b")],
        vec![pattern("c/:id")],
        vec![pattern("c/*")],
        vec![pattern("*"), topic("a")],
        vec![pattern("{c/}?:id"), topic("c/2")],
        vec![topic("b"), pattern("c/:id")],
    ])
    .clone()
}

/// Half the schedules are random, half prefer few but nasty switches.
fn explore(iterations: usize, world: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(world, iterations / 2);
    shuttle::check_pct(world, iterations / 2, 3);
}

#[test]
fn the_seam_between_replay_and_live_neither_loses_nor_doubles() {
    explore(4000, || {
        let world = World::begin(None);
        let (there, here) = mpsc::channel();
        let early = Follower::spawn(&world.hub, &there);
        let publishers = [world.publisher("p", 3), world.publisher("q", 2)];
        let late = Follower::spawn(&world.hub, &there);
        for publisher in publishers {
            publisher.join().unwrap();
        }
        // Whoever comes after the last event waits for ever, and rightly.
        for _ in 0..2 {
            here.recv().unwrap();
        }
        world.publish_end();
        let followers = [early, late].map(|follower| follower.join().unwrap());
        let truth = world.finish();
        for (follower, opened) in followers {
            follower.check(&truth);
            assert!(follower.gaps.is_empty(), "{:?}", follower.gaps);
            assert_eq!(follower.end, None);
            follower.check_start(&opened.unwrap(), &truth);
        }
    });
}

#[test]
fn what_retention_forgets_in_the_middle_is_told() {
    explore(3000, || {
        let world = World::begin(Some(2));
        let (there, here) = mpsc::channel();
        let followers = [(); 2].map(|()| Follower::spawn(&world.hub, &there));
        world.publisher("p", 4).join().unwrap();
        for _ in 0..2 {
            here.recv().unwrap();
        }
        world.publish_end();
        let followers = followers.map(|follower| follower.join().unwrap().0);
        let first = world.hub.stats().log_first;
        let truth = world.finish();
        for follower in followers {
            follower.check(&truth);
            for gap in &follower.gaps {
                assert_eq!(gap.reason, GapReason::Retention);
                assert!(gap.to.sequence < first, "{gap:?} is held from {first} on");
                assert!((1..first).any(|sequence| covers(gap, sequence)), "{gap:?}");
            }
        }
    });
}

#[test]
fn a_drain_ends_every_subscriber_and_lets_none_slip_in() {
    explore(3000, || {
        let world = World::begin(None);
        let (there, _here) = mpsc::channel();
        let early = Follower::spawn(&world.hub, &there);
        let publisher = world.publisher("p", 2);
        let late = Follower::spawn(&world.hub, &there);
        world.hub.close_to_subscribers();
        while world.hub.end(1, EndReason::Drain) > 0 {}
        publisher.join().unwrap();
        // Nothing more comes: one that was not ended would wait for ever.
        let followers = [early, late].map(|follower| follower.join().unwrap().0);
        let truth = world.finish();
        for follower in followers {
            follower.check(&truth);
            assert_eq!(follower.end, Some(EndReason::Drain));
        }
    });
}

/// The smallest world with a wait in it, without a thread for the committer, so that many of its
/// schedules are tried.
#[test]
fn one_who_waits_at_the_tail_is_woken() {
    explore(20_000, || {
        let (hub, mut committer) = some_hub(None);
        let selectors = some_selectors();
        let mut subscription = hub.subscribe(&selectors, &Start::Latest, 0).unwrap();
        let waiting = thread::spawn(move || while !is_end(&next_frames(&mut subscription)) {});
        let topics = TOPICS.iter().map(|topic| topic.parse().unwrap());
        let end = Publish::new(vec![NewEvent::with(topics, None, None, "end")]);
        let ticket = hub.publish(end).unwrap();
        committer.step(0);
        waiting.join().unwrap();
        ticket.wait().unwrap();
    });
}

/// Closing while publishers publish: each is answered, and what was acknowledged is there.
#[test]
fn a_closing_hub_answers_every_publisher() {
    explore(2000, || {
        let world = World::begin(None);
        let publishers = ["p", "q"].map(|name| {
            let hub = world.hub.clone();
            thread::spawn(move || {
                let event = NewEvent::new("a".parse().unwrap(), name);
                match hub.publish(Publish::new(vec![event])) {
                    Ok(ticket) => Some(ticket.wait().unwrap()),
                    Err(PublishError::Closed) => None,
                    Err(error) => panic!("{error}"),
                }
            })
        });
        world.hub.close_to_publishers();
        let receipts = publishers.map(|publisher| publisher.join().unwrap());
        world.committer.join().unwrap();
        let acknowledged = receipts.iter().flatten().count() as u64;
        assert_eq!(world.hub.stats().log_next, 1 + acknowledged);
    });
}

#[test]
fn the_seam_is_as_tight_in_a_crowd() {
    explore(3000, || {
        let world = World::begin(None);
        let (there, here) = mpsc::channel();
        let (inbox, serving) = Crowded::spawn(&world.hub, &there, 2);
        let early = inbox.joiner(&world.hub);
        let publishers = [world.publisher("p", 3), world.publisher("q", 2)];
        let late = inbox.joiner(&world.hub);
        for thread in publishers.into_iter().chain([early, late]) {
            thread.join().unwrap();
        }
        for _ in 0..2 {
            here.recv().unwrap();
        }
        world.publish_end();
        let followers = serving.join().unwrap();
        let truth = world.finish();
        for follower in followers {
            follower.check(&truth);
            assert!(follower.gaps.is_empty(), "{:?}", follower.gaps);
            assert_eq!(follower.end, None);
        }
    });
}

#[test]
fn a_drain_ends_every_member_of_a_crowd() {
    explore(3000, || {
        let world = World::begin(None);
        let (there, _here) = mpsc::channel();
        let (inbox, serving) = Crowded::spawn(&world.hub, &there, 3);
        let joiners = [(); 2].map(|()| inbox.joiner(&world.hub));
        let publisher = world.publisher("p", 2);
        let late = inbox.joiner(&world.hub);
        world.hub.close_to_subscribers();
        while world.hub.end(1, EndReason::Drain) > 0 {}
        for thread in joiners.into_iter().chain([publisher, late]) {
            thread.join().unwrap();
        }
        let followers = serving.join().unwrap();
        let truth = world.finish();
        for follower in followers {
            follower.check(&truth);
            assert_eq!(follower.end, Some(EndReason::Drain));
        }
    });
}

/// As [`one_who_waits_at_the_tail_is_woken`].
#[test]
fn a_crowd_that_waits_at_the_tail_is_woken() {
    explore(20_000, || {
        let (hub, mut committer) = some_hub(None);
        let (there, here) = mpsc::channel();
        let (inbox, serving) = Crowded::spawn(&hub, &there, 1);
        inbox.joiner(&hub).join().unwrap();
        here.recv().unwrap();
        let all = || TOPICS.iter().map(|topic| topic.parse().unwrap());
        for data in ["one", "end"] {
            let event = NewEvent::with(all(), None, None, data);
            let ticket = hub.publish(Publish::new(vec![event])).unwrap();
            committer.step(0);
            ticket.wait().unwrap();
        }
        let followers = serving.join().unwrap();
        assert_eq!(followers.iter().map(|f| f.frames.len()).sum::<usize>(), 2);
    });
}
