//! What a publisher is told: each limit by its own error, a full queue, a disk that is full or
//! broken, a hub that closes. Nothing is acknowledged that is not in the log, and what was
//! acknowledged stays so.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
};

use tidings::{
    Committer, EndReason, EventId, EventType, GapReason, Hub, Idempotency, Limits, NewEvent,
    Progress, Publish, PublishError, Receipt, Report, Selector, Start, Step, SubscribeError, Topic,
};
use tidings_log::{Durability, MemoryStorage, Options, Storage, StorageFile, open};

fn hub_on(storage: Arc<dyn Storage>, limits: Limits) -> (Hub, Committer) {
    let (writer, reader, _) = open(storage, Options::default(), "e1", 0).unwrap();
    Hub::new(writer, reader, limits, 0).unwrap()
}

fn hub_with(change: impl FnOnce(&mut Limits)) -> (Hub, Committer) {
    let mut limits = Limits::default();
    change(&mut limits);
    hub_on(Arc::new(MemoryStorage::new()), limits)
}

fn topic(text: &str) -> Topic {
    text.parse().unwrap()
}

fn event(data: &str) -> NewEvent {
    NewEvent::new(topic("t"), data)
}

fn group(data: &[&str]) -> Publish {
    Publish::new(data.iter().map(|data| event(data)).collect())
}

fn keyed(key: &str, data: &[&str]) -> Publish {
    let mut publish = group(data);
    publish.idempotency = Some(Idempotency {
        key: key.into(),
        offset: 0,
        fingerprint: 0,
        whole: true,
    });
    publish
}

/// A group that goes on from `before` in a streamed request.
fn streamed(key: &str, before: &[&str], data: &[&str]) -> Publish {
    let mut publish = group(data);
    publish.idempotency = Some(Idempotency {
        key: key.into(),
        offset: before.len() as u64,
        fingerprint: group(before).fingerprint(),
        whole: false,
    });
    publish
}

fn commit(hub: &Hub, committer: &mut Committer, publish: Publish) -> Result<Receipt, PublishError> {
    let ticket = hub.publish(publish)?;
    committer.step(0);
    ticket.wait()
}

fn sequences(receipt: &Receipt) -> Vec<u64> {
    receipt.sequences().collect()
}

/// All that a subscriber from the start gets.
fn everything(hub: &Hub) -> String {
    let all = [Selector::Pattern("*".parse().unwrap())];
    let mut subscription = hub.subscribe(&all, &Start::Earliest, 0).unwrap();
    let mut got = Vec::new();
    while let Some(step) = subscription.step(0) {
        let step = match step {
            Step::Behind(read) => subscription.accept(read.run(), 0).unwrap(),
            step => Some(step),
        };
        if let Some(Step::Frames(frames)) = step {
            got.extend(frames.concat());
        }
    }
    String::from_utf8(got).unwrap()
}

#[test]
fn each_limit_has_its_error() {
    let (hub, _committer) = hub_with(|limits| {
        limits.event_bytes_max = 20;
        limits.event_topics_max = 2;
        limits.text_bytes_max = 4;
        limits.group_events_max = 3;
        limits.group_bytes_max = 40;
        limits.selectors_max = 2;
    });
    let refused = |publish: Publish| match hub.publish(publish) {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            error
        }
        Ok(_) => unreachable!("it was accepted"),
    };
    let one = |event: NewEvent| Publish::new(vec![event]);
    let own = |id: &str| event("x").id(EventId::new(id).unwrap());

    assert!(matches!(refused(group(&[])), PublishError::Empty));
    let none = NewEvent::with([], None, None, "x");
    assert!(matches!(refused(one(none)), PublishError::NoTopic));
    let three = NewEvent::with(["a", "b", "c"].map(topic), None, None, "x");
    assert!(matches!(
        refused(one(three)),
        PublishError::TooManyTopics { max: 2 }
    ));
    // `data: `, 13 bytes of data, and two newlines.
    assert!(matches!(
        refused(group(&["1234567890123"])),
        PublishError::EventTooLarge { bytes: 21, max: 20 }
    ));
    assert!(hub.publish(group(&["123456789012"])).is_ok());
    let too_large = |publish| matches!(refused(publish), PublishError::GroupTooLarge { .. });
    assert!(too_large(group(&["1", "2", "3", "4"])));
    assert!(too_large(group(&["123456", "123456", "123456"])));
    for publish in [
        one(own("12345").unwrap()),
        one(event("x").key("12345")),
        keyed("12345", &["x"]),
    ] {
        let error = refused(publish);
        assert!(matches!(error, PublishError::TextTooLong { max: 4, .. }));
    }
    for id in ["", " a", "a ", "a\tb", "a\u{7f}"] {
        assert!(matches!(own(id), Err(PublishError::BadId)), "{id:?}");
    }
    // An ID that this log gives, now or later, would make a resume ambiguous.
    assert!(matches!(
        refused(one(own("e1:7").unwrap())),
        PublishError::ReservedId
    ));
    assert!(hub.publish(one(own("e2:7").unwrap())).is_ok());

    // A page has to be able to trust what the hub itself says.
    let typed = |name| NewEvent::with([topic("t")], Some(EventType::new(name).unwrap()), None, "");
    assert!(matches!(
        refused(one(typed("tidings.gap"))),
        PublishError::ReservedEventType
    ));
    let (roomy, _committer) = hub_with(|_| {});
    assert!(roomy.publish(one(typed("tidingsgap"))).is_ok());

    let topics = ["a", "b", "c"].map(|text| Selector::Topic(topic(text)));
    let subscribe = |selectors: &[Selector]| hub.subscribe(selectors, &Start::Latest, 0);
    assert!(matches!(subscribe(&[]), Err(SubscribeError::NoSelector)));
    assert!(matches!(
        subscribe(&topics),
        Err(SubscribeError::TooManySelectors { max: 2 })
    ));
    assert_eq!(hub.subscribers(), 0);
}

#[test]
fn a_full_queue_says_so_and_an_empty_one_takes_any_group() {
    let (hub, mut committer) = hub_with(|limits| limits.queue_bytes_max = 1);
    let first = hub.publish(group(&["larger than the queue"])).unwrap();
    assert!(matches!(
        hub.publish(group(&["x"])),
        Err(PublishError::Busy)
    ));
    assert_eq!(committer.step(0), Progress::Answered(1));
    first.wait().unwrap();
    let second = hub.publish(group(&["x"])).unwrap();
    committer.step(0);
    assert_eq!(sequences(&second.wait().unwrap()), [2]);
    assert_eq!(hub.stats().refused_busy, 1);

    let (hub, _committer) = hub_with(|limits| limits.queue_groups_max = 2);
    let _tickets = [(); 2].map(|()| hub.publish(group(&["x"])).unwrap());
    assert!(matches!(
        hub.publish(group(&["x"])),
        Err(PublishError::Busy)
    ));
    assert_eq!(hub.stats().queue_groups, 2);
}

#[test]
fn a_commit_takes_what_fits_and_the_rest_waits() {
    let (hub, mut committer) = hub_with(|limits| limits.commit_bytes_max = 1);
    let tickets = [(); 3].map(|()| hub.publish(group(&["a", "b"])).unwrap());
    for _ in 0..3 {
        assert_eq!(committer.step(0), Progress::Answered(1));
    }
    assert_eq!(committer.step(0), Progress::Idle);
    let given = tickets.map(|ticket| sequences(&ticket.wait().unwrap()));
    assert_eq!(given, [[1, 2], [3, 4], [5, 6]]);
    assert_eq!(hub.stats().commits, 3);
}

/// A storage whose writes and syncs fail when told to, and which returns damaged bytes.
#[derive(Default)]
struct Faulty {
    memory: MemoryStorage,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    write: Mutex<Option<io::ErrorKind>>,
    sync: AtomicBool,
    /// Reads that return these bytes return them broken.
    damage: Mutex<Option<&'static [u8]>>,
}

struct FaultyFile(Arc<dyn StorageFile>, Arc<Faults>);

impl Faulty {
    fn wrap(&self, file: io::Result<Arc<dyn StorageFile>>) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(FaultyFile(file?, self.faults.clone())))
    }
}

impl Storage for Faulty {
    fn list(&self) -> io::Result<Vec<String>> {
        self.memory.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.wrap(self.memory.create(name))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn StorageFile>> {
        self.wrap(self.memory.open(name))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.memory.remove(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.memory.rename(from, to)
    }
    fn sync_directory(&self) -> io::Result<()> {
        self.memory.sync_directory()
    }
}

impl StorageFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let count = self.0.read_at(buffer, offset)?;
        if let Some(needle) = *self.1.damage.lock().unwrap() {
            let found = buffer.windows(needle.len()).position(|w| w == needle);
            if let Some(byte) = found.and_then(|at| buffer.get_mut(at)) {
                *byte ^= 1;
            }
        }
        Ok(count)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match *self.1.write.lock().unwrap() {
            Some(kind) => Err(kind.into()),
            None => self.0.write_at(bytes, offset),
        }
    }
    fn sync_data(&self) -> io::Result<()> {
        if self.1.sync.load(Ordering::Relaxed) {
            return Err(io::Error::other("the sync failed"));
        }
        self.0.sync_data()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

fn faulty_hub(change: impl FnOnce(&mut Limits)) -> (Hub, Committer, Arc<Faults>) {
    let storage = Faulty::default();
    let faults = storage.faults.clone();
    let mut limits = Limits::default();
    change(&mut limits);
    let (hub, committer) = hub_on(Arc::new(storage), limits);
    (hub, committer, faults)
}

/// A key of a stream is used in two groups next to each other in the log, and the second one's
/// commit fails. It was remembered all the same, and its repetition was answered with the
/// sequence of an event that did not exist.
#[test]
fn after_a_full_disk_the_log_goes_on_and_a_repetition_is_written() {
    let (hub, mut committer, faults) = faulty_hub(|_| {});
    let one = commit(&hub, &mut committer, streamed("k", &[], &["a", "b"])).unwrap();
    assert_eq!(sequences(&one), [1, 2]);

    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
        *faults.write.lock().unwrap() = Some(kind);
        let plain = hub.publish(group(&["lost"])).unwrap();
        let two = hub.publish(streamed("k", &["a", "b"], &["c"])).unwrap();
        let new_key = hub.publish(keyed("l", &["z"])).unwrap();
        let repeated = hub.publish(streamed("k", &["a"], &["b"])).unwrap();
        committer.step(0);
        for ticket in [plain, two, new_key] {
            match ticket.wait().unwrap_err() {
                PublishError::StorageFull(_) => assert_eq!(kind, io::ErrorKind::StorageFull),
                PublishError::WriteFailed(_) => assert_eq!(kind, io::ErrorKind::Other),
                other => unreachable!("{other}"),
            }
        }
        // What was acknowledged stays so, whatever happens to its neighbours.
        assert_eq!(sequences(&repeated.wait().unwrap()), [2]);
    }

    *faults.write.lock().unwrap() = None;
    let two = commit(&hub, &mut committer, streamed("k", &["a", "b"], &["c"])).unwrap();
    assert_eq!((sequences(&two), two.repeated), (vec![3], false));
    let other = commit(&hub, &mut committer, keyed("l", &["z"])).unwrap();
    assert_eq!((sequences(&other), other.repeated), (vec![4], false));
    let again = streamed("k", &[], &["a", "b", "c"]);
    let again = commit(&hub, &mut committer, again).unwrap();
    assert_eq!((sequences(&again), again.repeated), (vec![1, 2, 3], true));
    assert_eq!(
        everything(&hub),
        "id: e1:1\ndata: a\n\nid: e1:2\ndata: b\n\nid: e1:3\ndata: c\n\nid: e1:4\ndata: z\n\n"
    );
    assert_eq!(hub.stats().refused_storage, 6);
}

/// After a failed sync nothing is accepted any more; reads go on, and so do the answers to
/// repetitions of what was acknowledged before.
#[test]
fn a_failed_sync_stops_the_log_and_nothing_else() {
    let (hub, mut committer, faults) = faulty_hub(|limits| limits.window_bytes_max = 0);
    commit(&hub, &mut committer, keyed("k", &["a"])).unwrap();
    faults.sync.store(true, Ordering::Relaxed);
    let failed = commit(&hub, &mut committer, keyed("l", &["b"]));
    assert!(matches!(failed, Err(PublishError::LogFailed(_))));
    faults.sync.store(false, Ordering::Relaxed);
    for publish in [group(&["c"]), keyed("l", &["b"]), keyed("k", &["other"])] {
        let failed = commit(&hub, &mut committer, publish);
        assert!(matches!(failed, Err(PublishError::LogFailed(_))));
    }
    let repeated = commit(&hub, &mut committer, keyed("k", &["a"])).unwrap();
    assert_eq!((sequences(&repeated), repeated.repeated), (vec![1], true));
    // From the disk: the window is empty.
    assert_eq!(everything(&hub), "id: e1:1\ndata: a\n\n");
    assert_eq!(hub.stats().log_failed, 1);
}

#[test]
fn the_operator_is_told_why_a_commit_failed() {
    let (hub, committer, faults) = faulty_hub(|_| {});
    *faults.write.lock().unwrap() = Some(io::ErrorKind::StorageFull);
    let ticket = hub.publish(group(&["a"])).unwrap();
    hub.close_to_publishers();
    let mut reports = 0;
    committer
        .run(
            || 0,
            |report| reports += usize::from(matches!(report, Report::CommitFailed(_))),
        )
        .unwrap();
    assert!(matches!(ticket.wait(), Err(PublishError::StorageFull(_))));
    assert_eq!(reports, 1);
}

/// A record that the disk returns broken stops nobody for ever: it is told as a gap.
#[test]
fn a_damaged_event_is_a_gap() {
    let (hub, mut committer, faults) = faulty_hub(|limits| limits.window_bytes_max = 0);
    commit(&hub, &mut committer, group(&["a", "broken", "c"])).unwrap();
    *faults.damage.lock().unwrap() = Some(b"broken");
    for selector in [
        Selector::Topic(topic("t")),
        Selector::Pattern(":any".parse().unwrap()),
    ] {
        let mut subscription = hub.subscribe(&[selector], &Start::Earliest, 0).unwrap();
        let (mut frames, mut gaps) = (Vec::new(), Vec::new());
        while let Some(Step::Behind(read)) = subscription.step(0) {
            match subscription.accept(read.run(), 0).unwrap() {
                Some(Step::Frames(new)) => frames.extend(new),
                Some(Step::Gap(gap)) => gaps.push(gap),
                other => assert!(other.is_none()),
            }
        }
        assert_eq!(frames, ["id: e1:1\ndata: a\n\n", "id: e1:3\ndata: c\n\n"]);
        let told: Vec<_> = gaps
            .iter()
            .map(|g| (&*g.from, g.to.sequence, g.reason))
            .collect();
        assert_eq!(told, [("e1:1", 2, GapReason::Damaged)]);
    }
}

#[test]
fn a_page_that_comes_twice_counts_once() {
    let (hub, mut committer) = hub_with(|limits| limits.window_bytes_max = 0);
    commit(&hub, &mut committer, group(&["a", "b"])).unwrap();
    let selectors = [Selector::Topic(topic("t"))];
    let mut subscription = hub.subscribe(&selectors, &Start::Earliest, 0).unwrap();
    let mut read = || match subscription.step(0) {
        Some(Step::Behind(read)) => read,
        other => unreachable!("{other:?}"),
    };
    let (first, second) = (read(), read());
    let got = subscription.accept(first.run(), 0).unwrap();
    assert!(matches!(got, Some(Step::Frames(frames)) if frames.len() == 2));
    assert!(subscription.accept(second.run(), 0).unwrap().is_none());
    assert!(subscription.step(0).is_none());
}

#[test]
fn a_group_is_whole_or_absent() {
    let (hub, mut committer) = hub_with(|limits| limits.group_events_max = 2);
    assert!(hub.publish(group(&["1", "2", "3"])).is_err());
    let ok = commit(&hub, &mut committer, group(&["4", "5"])).unwrap();
    assert_eq!(sequences(&ok), [1, 2]);
    assert_eq!(
        everything(&hub),
        "id: e1:1\ndata: 4\n\nid: e1:2\ndata: 5\n\n"
    );
}

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_ticket_can_be_awaited_waited_on_and_dropped() {
    let (hub, mut committer) = hub_with(|_| {});
    let count = Arc::new(CountWakes(AtomicUsize::new(0)));
    let waker = Waker::from(count.clone());
    let mut context = Context::from_waker(&waker);

    drop(hub.publish(group(&["dropped, and committed all the same"])));
    let mut awaited = pin!(hub.publish(group(&["awaited"])).unwrap());
    assert!(awaited.as_mut().poll(&mut context).is_pending());
    let waited = hub.publish(group(&["waited on"])).unwrap();
    let waiting = thread::spawn(move || waited.wait());
    committer.step(0);
    assert_eq!(count.0.load(Ordering::Relaxed), 1);
    let Poll::Ready(Ok(receipt)) = awaited.as_mut().poll(&mut context) else {
        unreachable!("it was answered");
    };
    assert_eq!(sequences(&receipt), [2]);
    assert_eq!(sequences(&waiting.join().unwrap().unwrap()), [3]);
}

#[test]
fn a_closed_hub_answers_what_it_accepted_and_refuses_the_rest() {
    let (hub, mut committer) = hub_with(|_| {});
    let accepted = hub.publish(group(&["a"])).unwrap();
    hub.close_to_publishers();
    assert!(matches!(
        hub.publish(group(&["b"])),
        Err(PublishError::Closed)
    ));
    assert_eq!(committer.step(0), Progress::Answered(1));
    assert_eq!(committer.step(0), Progress::Done);
    accepted.wait().unwrap();
    committer.close().unwrap();
}

/// A publisher waited for ever when the committer went without taking what was in the queue.
#[test]
fn without_a_committer_no_publisher_waits() {
    let (hub, committer) = hub_with(|_| {});
    let waiting = hub.publish(group(&["a"])).unwrap();
    drop(committer);
    assert!(matches!(waiting.wait(), Err(PublishError::Closed)));
    assert!(matches!(
        hub.publish(group(&["b"])),
        Err(PublishError::Closed)
    ));
}

/// A waker may run anything. One that drops subscriptions of the channel that is being rung, as
/// an executor does that drops a task, deadlocked while bells were rung under the channel's lock.
#[test]
fn a_waker_may_drop_subscriptions() {
    struct Owner(Mutex<Vec<tidings::Subscription>>);
    impl Wake for Owner {
        fn wake(self: Arc<Self>) {
            self.0.lock().unwrap().clear();
        }
    }
    let (hub, mut committer) = hub_with(|_| {});
    let owner = Arc::new(Owner(Mutex::default()));
    let waker = Waker::from(owner.clone());
    for _ in 0..3 {
        let selectors = [Selector::Topic(topic("t"))];
        let mut subscription = hub.subscribe(&selectors, &Start::Latest, 0).unwrap();
        let poll = subscription.poll_step(&mut Context::from_waker(&waker), 0);
        assert!(poll.is_pending());
        owner.0.lock().unwrap().push(subscription);
    }
    commit(&hub, &mut committer, group(&["a"])).unwrap();
    assert_eq!(hub.subscribers(), 0);
    hub.end(1, EndReason::Drain);
}

/// A publisher waits while the complex patterns below its topic are tried. A stranger who could
/// have any number of them tried could stop the hub.
#[test]
fn a_hub_tries_only_so_many_complex_patterns() {
    let (hub, _committer) = hub_with(|limits| limits.complex_patterns_max = 2);
    let follow = |pattern: &str| {
        let selector = Selector::Pattern(pattern.parse().unwrap());
        hub.subscribe(&[selector], &Start::Latest, 0)
    };
    let first = follow("a/:b?").unwrap();
    let _second = follow("a*c").unwrap();
    let _same = follow("a*c").unwrap();
    let _plain = follow("a/:b").unwrap();
    assert!(matches!(
        follow("a{b}?"),
        Err(SubscribeError::TooManyComplexPatterns { max: 2 })
    ));
    assert_eq!(hub.stats().subscribers, 4);
    drop(first);
    follow("a{b}?").unwrap();
}

/// With an interval an event is acknowledged before it is synced, and the sync comes by itself,
/// also when nothing follows; if it fails, the hub stops and says so.
#[test]
fn with_an_interval_an_idle_hub_still_syncs() {
    let storage = Faulty::default();
    let faults = storage.faults.clone();
    let options = Options {
        durability: Durability::Interval {
            unsynced_ms_max: 100,
        },
        ..Options::default()
    };
    let (writer, reader, _) = open(Arc::new(storage), options, "e1", 0).unwrap();
    let (hub, mut committer) = Hub::new(writer, reader, Limits::default(), 0).unwrap();
    faults.sync.store(true, Ordering::Relaxed);
    let ticket = hub.publish(group(&["soon safe"])).unwrap();
    committer.step(1000);
    ticket.wait().unwrap();
    committer.step(1099);
    assert_eq!(hub.stats().log_failed, 0, "it is not time yet");
    committer.step(1100);
    assert_eq!(hub.stats().log_failed, 1);
    let ticket = hub.publish(group(&["late"])).unwrap();
    committer.step(1101);
    assert!(matches!(ticket.wait(), Err(PublishError::LogFailed(_))));
}
