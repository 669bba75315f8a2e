//! Damage in an older segment: the hub starts, and whoever needs what cannot be read is told.

// Shuttle's primitives work only in its own tests.
#![cfg(not(feature = "shuttle"))]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use tidings::{
    Committer, EventId, Gap, GapReason, Hub, Idempotency, Limits, NewEvent, Publish, Report,
    Selector, Start, Step,
};
use tidings_log::{FaultStorage, Options, Retention, TopicRetention, Topics, Unread, open};

const FIRST: &str = "00000000000000000001.log";
const EVENTS: u64 = 12;

/// What an event is published with, as a key and as its own ID.
fn name(number: u64) -> String {
    format!("order-{number}")
}

fn keyed(number: u64) -> Publish {
    let event = NewEvent::new("a".parse().unwrap(), &"x".repeat(100));
    let event = event.id(EventId::new(&name(number)).unwrap()).unwrap();
    let mut publish = Publish::new(vec![event]);
    publish.idempotency = Some(Idempotency {
        key: name(number).into(),
        offset: 0,
        fingerprint: 0,
        whole: true,
    });
    publish
}

fn hub_on(disk: &FaultStorage) -> (Hub, Committer) {
    let options = Options {
        segment_bytes_max: 800,
        ..Options::default()
    };
    let (writer, reader, _) = open(Arc::new(disk.clone()), options, "e1", 1000).unwrap();
    let mut limits = Limits::default();
    limits.window_bytes_max = 1;
    Hub::new(writer, reader, limits, 1000).unwrap()
}

/// Publishes one, and says whether it was in the log already.
fn publish(hub: &Hub, committer: &mut Committer, number: u64) -> bool {
    let ticket = hub.publish(keyed(number)).unwrap();
    committer.step(1000);
    ticket.wait().unwrap().repeated
}

/// A hub over a log whose second event cannot be read, in the oldest of several segments.
fn damaged() -> (Hub, Committer) {
    let disk = FaultStorage::new(1);
    let (hub, mut committer) = hub_on(&disk);
    for number in 1..=EVENTS {
        assert!(!publish(&hub, &mut committer, number));
    }
    committer.close().unwrap();
    let again = FaultStorage::new(2);
    for (file, mut bytes) in disk.files() {
        if file == FIRST {
            let at = bytes
                .windows(name(2).len())
                .position(|part| part == name(2).as_bytes());
            *bytes.get_mut(at.unwrap()).unwrap() ^= 1;
        }
        again.put(&file, bytes);
    }
    hub_on(&again)
}

/// A hub with a rule of its own for the topic, over a log whose second segment can neither be looked
/// into nor read in full; and the first sequences of all segments.
fn without_index() -> (Hub, Vec<u64>) {
    let disk = FaultStorage::new(1);
    let options = Options {
        segment_bytes_max: 120_000,
        retention: Retention {
            topics: vec![TopicRetention {
                topics: Topics::new("a", |topic| topic == "a"),
                bytes_max: None,
                events_max: Some(1_000_000),
                age_ms_max: None,
            }],
            ..Retention::default()
        },
        ..Options::default()
    };
    let open = |disk: &FaultStorage| {
        let storage = Arc::new(disk.clone());
        let (writer, reader, _) = open(storage, options.clone(), "e1", 1000).unwrap();
        let mut limits = Limits::default();
        limits.window_bytes_max = 1;
        Hub::new(writer, reader, limits, 1000).unwrap()
    };
    let (hub, mut committer) = open(&disk);
    for number in 1..=1500 {
        assert!(!publish(&hub, &mut committer, number));
    }
    committer.close().unwrap();
    let again = FaultStorage::new(2);
    let files = disk.files();
    let firsts = files.iter().filter_map(|(file, _)| {
        let digits = file.strip_suffix(".log")?;
        digits.parse().ok()
    });
    let mut firsts: Vec<u64> = firsts.collect();
    firsts.sort_unstable();
    let damaged = format!("{:020}", firsts.get(1).unwrap());
    for (file, mut bytes) in files {
        if let Some(ending) = file.strip_prefix(&damaged) {
            // Of the index all but its first block.
            let from = if ending == ".idx" { 4096 } else { 20_000 };
            bytes.iter_mut().skip(from).for_each(|byte| *byte ^= 1);
        }
        again.put(&file, bytes);
    }
    (open(&again).0, firsts)
}

/// What a subscriber gets: the numbers of events, and the gaps.
fn follow(hub: &Hub, start: &Start) -> (Vec<u64>, Vec<Gap>) {
    let topic = [Selector::Topic("a".parse().unwrap())];
    let mut subscription = hub.subscribe(&topic, start, 1000).unwrap();
    let (mut numbers, mut gaps) = (Vec::new(), Vec::new());
    while let Some(step) = subscription.step(1000) {
        let step = match step {
            Step::Behind(read) => subscription.accept(read.run(), 1000).unwrap(),
            step => Some(step),
        };
        match step {
            Some(Step::Frames(frames)) => numbers.extend(frames.iter().map(|frame| {
                let text = String::from_utf8(frame.to_vec()).unwrap();
                let id = text.lines().next().unwrap().strip_prefix("id: order-");
                id.unwrap().parse::<u64>().unwrap()
            })),
            Some(Step::Gap(gap)) => gaps.push(gap),
            _ => {}
        }
    }
    (numbers, gaps)
}

/// One damaged record with a key, and the hub did not start.
#[test]
fn a_hub_starts_beside_damage_and_says_which_keys_it_lacks() {
    let (hub, mut committer) = damaged();
    for number in (1..=EVENTS).filter(|number| *number != 2) {
        assert!(publish(&hub, &mut committer, number), "{number}");
    }
    // What nobody can know: it is stored again.
    assert!(!publish(&hub, &mut committer, 2));
    assert!(publish(&hub, &mut committer, 2));
    hub.close_to_publishers();
    let mut reports = Vec::new();
    let run = committer.run(|| 1000, |report| reports.push(report));
    run.unwrap();
    let [Report::KeysUnread(Unread { damage, marks })] = &*reports else {
        unreachable!("{reports:?}");
    };
    assert_eq!((damage.segment.as_str(), *marks), (FIRST, Some(1)));
    assert!(damage.offset > 0);
}

/// Who resumes after an own ID whose event cannot be read was refused; and so was everyone whose ID
/// is older.
#[test]
fn an_own_id_is_found_beside_damage_and_doubt_is_told() {
    let (hub, _committer) = damaged();
    for number in [1, 3, 7] {
        let (numbers, gaps) = follow(&hub, &Start::At(name(number)));
        assert!(
            numbers
                .iter()
                .copied()
                .eq((number..=EVENTS).filter(|it| *it != 2))
        );
        assert_eq!(gaps.len(), usize::from(number < 2));
    }
    let (numbers, gaps) = follow(&hub, &Start::After(name(2)));
    assert!(numbers.iter().copied().eq(3..=EVENTS));
    let [gap] = &*gaps else {
        unreachable!("{gaps:?}");
    };
    assert_eq!((&*gap.from, gap.reason), ("order-2", GapReason::Damaged));
    assert_eq!(gap.resumes_after.to_string(), "e1:2");
    let (_, gaps) = follow(&hub, &Start::After(name(0)));
    assert_eq!(gaps.first().unwrap().reason, GapReason::Unknown);
}

/// Where they begin could not be counted, and they were refused until nobody remembers the segment.
#[test]
fn who_asks_for_the_last_or_from_a_time_gets_what_there_is_beside_damage() {
    let (hub, firsts) = without_index();
    let after = *firsts.get(2).unwrap();
    for start in [Start::Earliest, Start::Last(1400), Start::Time(1000)] {
        let (numbers, gaps) = follow(&hub, &start);
        assert!(numbers.iter().copied().eq(after..=1500), "{start:?}");
        let [gap] = &*gaps else {
            unreachable!("{gaps:?}");
        };
        assert_eq!(gap.reason, GapReason::Damaged, "{start:?}");
        assert_eq!(gap.to.to_string(), format!("e1:{}", after - 1));
    }
    let newest = 1501 - after;
    let (numbers, gaps) = follow(&hub, &Start::Last(newest));
    assert!(numbers.iter().copied().eq(after..=1500) && gaps.is_empty());
}
