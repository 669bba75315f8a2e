//! What a publish costs depends on the subscribers that it reaches and not on how many there are,
//! and what an idle subscriber costs is a few hundred bytes. Counted, not timed.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(
    unsafe_code,
    reason = "an allocator that counts is the only way to see what is allocated"
)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
};

use tidings::{
    Committer, Crowd, CrowdStep, Hub, Limits, NewEvent, Publish, Selector, Start, Step,
    Subscription, Topic,
};
use tidings_log::{MemoryStorage, Options, open};

/// Counts the bytes and calls of the thread that allocates, so that tests do not disturb each
/// other.
struct Counting;

thread_local! {
    static BYTES: Cell<usize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: it hands every call to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.set(BYTES.get().wrapping_add(layout.size()));
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller upholds what `GlobalAlloc::alloc` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get().wrapping_sub(layout.size()));
        // SAFETY: the caller got `block` from `alloc` above with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

struct CountWakes(AtomicUsize);

impl Wake for CountWakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn hub() -> (Hub, Committer) {
    let storage = Arc::new(MemoryStorage::new());
    let (writer, reader, _) = open(storage, Options::default(), "e1", 0).unwrap();
    Hub::new(writer, reader, Limits::default(), 0).unwrap()
}

fn topic(text: &str) -> Selector {
    Selector::Topic(text.parse().unwrap())
}

fn pattern(text: &str) -> Selector {
    Selector::Pattern(text.parse().unwrap())
}

fn waiting(hub: &Hub, selectors: &[Selector], waker: &Waker) -> Subscription {
    let mut subscription = hub.subscribe(selectors, &Start::Latest, 0).unwrap();
    let mut context = Context::from_waker(waker);
    assert!(subscription.poll_step(&mut context, 0).is_pending());
    subscription
}

/// A crowd that counts how often it is woken.
fn crowd(hub: &Hub) -> (Crowd, Arc<AtomicUsize>) {
    let wakes = Arc::new(AtomicUsize::new(0));
    let count = wakes.clone();
    let wake = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    (
        hub.crowd(|piece, out| out.extend_from_slice(piece), wake),
        wakes,
    )
}

fn join(hub: &Hub, crowd: &mut Crowd, selectors: &[Selector]) -> u32 {
    let located = hub.locate(selectors, &Start::Latest, 0).unwrap();
    let number = crowd.join(located).unwrap();
    assert!(crowd.step(number, 0).is_none());
    number
}

fn publish(hub: &Hub, committer: &mut Committer, topics: &[&str]) {
    let topics = topics.iter().map(|text| text.parse::<Topic>().unwrap());
    let event = NewEvent::with(topics, None, None, "x");
    let ticket = hub.publish(Publish::new(vec![event])).unwrap();
    committer.step(0);
    ticket.wait().unwrap();
}

#[test]
fn a_publish_rings_those_whom_it_reaches_and_nobody_else() {
    let (hub, mut committer) = hub();
    let [count, disturbed] = [(); 2].map(|()| Arc::new(CountWakes(AtomicUsize::new(0))));
    let waker = Waker::from(disturbed.clone());
    let _strangers: Vec<Subscription> = (0..10_000)
        .map(|i| match i % 3 {
            0 => topic(&format!("orders/{i}")),
            1 => pattern(&format!("orders/{i}/:what")),
            _ => pattern(&format!("shops/{i}/*")),
        })
        .map(|selector| waiting(&hub, &[selector], &waker))
        .collect();
    let waker = Waker::from(count.clone());
    let mut reached = [
        vec![topic("orders/paid")],
        vec![pattern("orders/:id")],
        vec![pattern("orders/*")],
        vec![pattern("*"), topic("orders/paid"), topic("other")],
    ]
    .map(|selectors| waiting(&hub, &selectors, &waker));

    // Rung once, also by an event of two topics that both match, and by a commit of two events.
    publish(&hub, &mut committer, &["orders/paid", "orders/late"]);
    assert_eq!(count.0.load(Ordering::Relaxed), reached.len());
    assert_eq!(disturbed.0.load(Ordering::Relaxed), 0);
    for subscription in &mut reached {
        let step = subscription.step(0);
        assert!(matches!(step, Some(Step::Frames(frames)) if frames.len() == 1));
    }
}

/// The allocations of a publish stand for its work: as many among 10,000 as among none.
#[test]
fn strangers_cost_a_publish_nothing() {
    let cost = |strangers: usize| {
        let (hub, mut committer) = hub();
        let waker = Waker::noop();
        let _strangers: Vec<Subscription> = (0..strangers)
            .map(|i| match i % 2 {
                0 => topic(&format!("t{i}")),
                _ => pattern(&format!("t{i}/:x")),
            })
            .map(|selector| waiting(&hub, &[selector], waker))
            .collect();
        let _reached = waiting(&hub, &[pattern("orders/:id")], waker);
        publish(&hub, &mut committer, &["orders/1"]);
        let before = ALLOCATIONS.get();
        publish(&hub, &mut committer, &["orders/1"]);
        ALLOCATIONS.get() - before
    };
    assert_eq!(cost(0), cost(10_000));
}

#[test]
fn an_idle_subscriber_costs_a_few_hundred_bytes_and_leaves_nothing() {
    const SUBSCRIBERS: usize = 1 << 14;
    for selector in [topic("prices"), pattern("prices/:symbol")] {
        let (hub, mut committer) = hub();
        publish(&hub, &mut committer, &["prices", "prices/1"]);
        let mut subscriptions = Vec::with_capacity(SUBSCRIBERS);
        let before = BYTES.get();
        for _ in 0..SUBSCRIBERS {
            let selectors = std::slice::from_ref(&selector);
            subscriptions.push(waiting(&hub, selectors, Waker::noop()));
        }
        let heap = BYTES.get().wrapping_sub(before) / SUBSCRIBERS;
        let bytes = heap + size_of::<Subscription>();
        println!(
            "an idle subscriber of {selector} costs {bytes} bytes, {heap} of them on the heap"
        );
        assert!(bytes <= 512, "{bytes} bytes");

        subscriptions.clear();
        let left = BYTES.get().wrapping_sub(before);
        assert!(left < 1024, "{left} bytes stayed behind");
        assert_eq!(hub.stats().subscribers, 0);
    }
}

/// Of ten thousand that one commit reaches, none costs the publisher anything: their crowd is woken
/// once, and not again before it has looked.
#[test]
fn a_commit_wakes_a_crowd_once() {
    const MEMBERS: usize = 10_000;
    let (hub, mut committer) = hub();
    let (mut all, wakes) = crowd(&hub);
    let (_strangers, not_woken) = {
        let (mut strangers, wakes) = crowd(&hub);
        join(&hub, &mut strangers, &[topic("other")]);
        (strangers, wakes)
    };
    let reached = [
        vec![topic("orders/paid")],
        vec![pattern("orders/:id")],
        vec![pattern("*"), topic("orders/paid"), topic("other")],
    ];
    for i in 0..MEMBERS {
        join(&hub, &mut all, &reached[i % reached.len()]);
    }
    for round in 1..3 {
        for _ in 0..3 {
            publish(&hub, &mut committer, &["orders/paid", "orders/late"]);
        }
        assert_eq!(wakes.load(Ordering::Relaxed), round);
        let mut news = Vec::new();
        all.take_news(&mut news);
        news.sort_unstable();
        news.dedup();
        assert_eq!(news.len(), MEMBERS);
        for number in news {
            let Some(CrowdStep::Span(span)) = all.step(number, 0) else {
                panic!("no news for {number}");
            };
            assert!(all.took(number, &span, span.bytes().len()).is_empty());
            assert!(all.step(number, 0).is_none());
        }
    }
    assert_eq!(not_woken.load(Ordering::Relaxed), 0);
}

#[test]
fn strangers_in_a_crowd_cost_a_publish_nothing() {
    let cost = |strangers: usize| {
        let (hub, mut committer) = hub();
        let (mut crowd, _) = crowd(&hub);
        let reached = join(&hub, &mut crowd, &[pattern("orders/:id")]);
        for i in 0..strangers {
            let selector = match i % 2 {
                0 => topic(&format!("t{i}")),
                _ => pattern(&format!("t{i}/:x")),
            };
            join(&hub, &mut crowd, &[selector]);
        }
        publish(&hub, &mut committer, &["orders/1"]);
        let mut news = Vec::new();
        crowd.take_news(&mut news);
        assert_eq!(news, [reached]);
        let before = ALLOCATIONS.get();
        publish(&hub, &mut committer, &["orders/1"]);
        ALLOCATIONS.get() - before
    };
    assert_eq!(cost(0), cost(10_000));
}

#[test]
fn an_idle_member_of_a_crowd_costs_about_a_hundred_bytes_and_leaves_nothing() {
    const MEMBERS: usize = 1 << 14;
    for selector in [topic("prices"), pattern("prices/:symbol")] {
        let (hub, mut committer) = hub();
        publish(&hub, &mut committer, &["prices", "prices/1"]);
        let (mut crowd, _) = crowd(&hub);
        let before = BYTES.get();
        for _ in 0..MEMBERS {
            join(&hub, &mut crowd, std::slice::from_ref(&selector));
        }
        let bytes = BYTES.get().wrapping_sub(before) / MEMBERS;
        println!("an idle member of {selector} costs {bytes} bytes");
        assert!(bytes <= 100, "{bytes} bytes");

        let mut news = Vec::with_capacity(MEMBERS);
        publish(&hub, &mut committer, &["prices", "prices/1"]);
        crowd.take_news(&mut news);
        for number in news {
            crowd.leave(number);
        }
        let left = BYTES.get().wrapping_sub(before);
        // Some is that event's, in the window and in the log.
        assert!(left < 8 << 10, "{left} bytes stayed behind");
        assert_eq!(hub.stats().subscribers, 0);
    }
}
