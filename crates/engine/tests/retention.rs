//! What is kept of single topics, as subscribers see it.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use tidings::{
    Committer, Gap, GapReason, Hub, Limits, NewEvent, Publish, PublishError, Report, Selector,
    Start, Step, Subscription,
};
use tidings_log::{
    Call, FaultStorage, MemoryStorage, Options, Retention, TopicRetention, Topics, open,
};

/// A hub that keeps about 100 events, and of `daily` all, and nothing in memory.
fn hub() -> (Hub, Committer) {
    let retention = Retention {
        events_max: Some(100),
        topics: vec![TopicRetention {
            topics: Topics::new("daily", |topic| topic == "daily"),
            bytes_max: None,
            events_max: None,
            age_ms_max: None,
        }],
        ..Retention::default()
    };
    let options = Options {
        retention,
        ..Options::default()
    };
    let (writer, reader, _) = open(Arc::new(MemoryStorage::new()), options, "e1", 0).unwrap();
    let mut limits = Limits::default();
    limits.window_bytes_max = 1;
    Hub::new(writer, reader, limits, 0).unwrap()
}

/// One event of `daily` and fifty of `busy`, so many times.
fn publish(hub: &Hub, committer: &mut Committer, rounds: usize) {
    for _ in 0..rounds {
        for (topic, count) in [("daily", 1), ("busy", 50)] {
            let event = NewEvent::new(topic.parse().unwrap(), topic);
            let ticket = hub.publish(Publish::new(vec![event; count])).unwrap();
            committer.step(0);
            ticket.wait().unwrap();
        }
        committer.retain(0).unwrap();
    }
}

fn follow(hub: &Hub, topic: &str, start: &Start) -> Subscription {
    let selector = match topic {
        "*" => Selector::Pattern("*".parse().unwrap()),
        topic => Selector::Topic(topic.parse().unwrap()),
    };
    hub.subscribe(&[selector], start, 0).unwrap()
}

/// All that a subscriber gets, and the gaps that it is told.
fn drain(subscription: &mut Subscription) -> (Vec<String>, Vec<Gap>) {
    let (mut frames, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let step = match subscription.step(0) {
            Some(Step::Behind(read)) => subscription.accept(read.run(), 0).unwrap(),
            None => return (frames, gaps),
            step => step,
        };
        match step {
            Some(Step::Frames(some)) => frames.extend(some.iter().map(|frame| {
                let text = String::from_utf8(frame.to_vec()).unwrap();
                text.lines().next().unwrap().to_owned()
            })),
            Some(Step::Gap(gap)) => gaps.push(gap),
            _ => {}
        }
    }
}

#[test]
fn a_quiet_topic_keeps_its_own_and_tells_no_gap() {
    let (hub, mut committer) = hub();
    publish(&hub, &mut committer, 20);
    for start in [
        Start::After("e1:1".to_owned()),
        Start::At("e1:2".to_owned()),
    ] {
        let (frames, gaps) = drain(&mut follow(&hub, "daily", &start));
        assert_eq!((frames.len(), gaps.len()), (19, 0));
        assert_eq!(frames.first().unwrap(), "id: e1:52");
    }
    for start in [Start::Earliest, Start::Last(100)] {
        let (frames, gaps) = drain(&mut follow(&hub, "daily", &start));
        assert_eq!((frames.len(), gaps.len()), (20, 0));
    }
}

#[test]
fn what_is_gone_beside_it_is_told_once_and_the_rest_follows() {
    let (hub, mut committer) = hub();
    publish(&hub, &mut committer, 20);
    for topic in ["busy", "*"] {
        let start = Start::After("e1:3".to_owned());
        let (frames, gaps) = drain(&mut follow(&hub, topic, &start));
        assert_eq!(gaps.len(), 1, "{topic}");
        let gap = gaps.first().unwrap();
        assert_eq!((&*gap.from, gap.reason), ("e1:3", GapReason::Retention));
        let least = if topic == "busy" { 90 } else { 90 + 19 };
        assert!(frames.len() >= least, "{topic}: {}", frames.len());
        // Who begins with what is there misses nothing.
        let (_, gaps) = drain(&mut follow(&hub, topic, &Start::Earliest));
        assert_eq!(gaps.len(), 0, "{topic}");
    }
}

#[test]
fn a_subscriber_that_retention_overtakes_is_told() {
    let (hub, mut committer) = hub();
    publish(&hub, &mut committer, 1);
    let mut subscriptions = ["busy", "*"].map(|topic| follow(&hub, topic, &Start::Earliest));
    publish(&hub, &mut committer, 20);
    for subscription in &mut subscriptions {
        let (_, gaps) = drain(subscription);
        assert_eq!(gaps.len(), 1);
    }
}

/// A hub that is about to forget most of what it holds, and whose disk fails at it.
fn failing() -> (Hub, Committer) {
    let disk = FaultStorage::new(1);
    let options = Options {
        retention: Retention {
            events_max: Some(8),
            ..Retention::default()
        },
        ..Options::default()
    };
    let (writer, reader, _) = open(Arc::new(disk.clone()), options, "e1", 0).unwrap();
    let mut limits = Limits::default();
    limits.window_bytes_max = 1;
    let (hub, mut committer) = Hub::new(writer, reader, limits, 0).unwrap();
    for _ in 0..20 {
        let event = NewEvent::new("a".parse().unwrap(), "x");
        let ticket = hub.publish(Publish::new(vec![event])).unwrap();
        committer.step(0);
        ticket.wait().unwrap();
    }
    disk.fail(Call::SyncDirectory, 0);
    (hub, committer)
}

/// Until somebody published, a log that had stopped while it forgot said that it was ready.
#[test]
fn a_log_that_stops_while_it_forgets_says_so_at_once() {
    let (hub, mut committer) = failing();
    assert!(committer.retain(0).unwrap_err().is_poisoned());
    assert_eq!(hub.stats().log_failed, 1);
    let (frames, gaps) = drain(&mut follow(&hub, "a", &Start::Earliest));
    assert_eq!((frames.len(), gaps.len()), (20, 0));
    let event = NewEvent::new("a".parse().unwrap(), "x");
    let ticket = hub.publish(Publish::new(vec![event])).unwrap();
    committer.step(0);
    assert!(matches!(ticket.wait(), Err(PublishError::LogFailed(_))));
}

/// The operator reads of it once, and not that it is tried again, which it is not.
#[test]
fn a_log_that_stops_while_it_forgets_is_reported_once() {
    let (hub, committer) = failing();
    hub.close_to_publishers();
    let mut reports = Vec::new();
    let closed = committer.run(|| 5000, |report| reports.push(report));
    assert!(closed.unwrap_err().is_poisoned());
    assert!(matches!(&*reports, [Report::LogFailed(_)]), "{reports:?}");
}
