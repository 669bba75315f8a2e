//! What is kept of single topics, while all else is forgotten.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use std::sync::Arc;

use support::{Everything, Only, commit, commit_at, read_from, small_segments, try_open};
use tidings_log::{
    FaultStorage, Options, ReadLimits, Reader, Retention, TopicRetention, Topics, Writer, inspect,
    open,
};

fn rule(topic: &'static str) -> TopicRetention {
    TopicRetention {
        topics: Topics::new(topic, move |it| it == topic),
        bytes_max: None,
        events_max: None,
        age_ms_max: None,
    }
}

fn options(topics: Vec<TopicRetention>) -> Options {
    Options {
        retention: Retention {
            events_max: Some(100),
            topics,
            ..Retention::default()
        },
        ..small_segments(4000)
    }
}

/// One event of a quiet topic, then so many of a busy one, again and again.
fn publish(writer: &mut Writer, rounds: u8, busy: u32) {
    for round in 0..rounds {
        commit(writer, "daily", &[&[b'A' + round]]).unwrap();
        for _ in 0..busy / 10 {
            commit(writer, "busy", &[&b"x"[..]; 10]).unwrap();
        }
        writer.retain(1000).unwrap();
    }
}

fn daily(reader: &Reader, from: u64) -> Vec<Vec<u8>> {
    read_from(reader, &Only(&["daily"]), from).unwrap()
}

#[test]
fn a_topic_with_one_event_a_day_beside_one_with_a_million_keeps_its_own() {
    let disk = FaultStorage::new(1);
    let forever = options(vec![rule("daily")]);
    let (mut writer, reader, _) = try_open(&disk, &forever).unwrap();
    publish(&mut writer, 20, 1000);
    let expected: Vec<Vec<u8>> = (0..20).map(|round| vec![b'A' + round]).collect();
    assert_eq!(daily(&reader, 1), expected);
    let stats = reader.stats();
    assert_eq!(stats.first, 1, "it is as old as its oldest event");
    assert!(stats.records < 20 + 200, "{} are held", stats.records);
    assert!(stats.segments < 12, "in {} segments", stats.segments);
    // Who follows it misses nothing and is told nothing; who follows the other one is told.
    let limits = ReadLimits::default();
    let page = reader.read(&Only(&["daily"]), 5, limits).unwrap();
    assert_eq!(page.forgotten_before, None);
    let page = reader.read(&Only(&["busy"]), 5, limits).unwrap();
    assert_eq!(page.forgotten_before, Some(stats.whole_from));
    let page = reader.read(&Everything, 5, limits).unwrap();
    assert_eq!(page.forgotten_before, Some(stats.whole_from));

    writer.close().unwrap();
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    let dumped = inspect::dump(&disk).unwrap().map(Result::unwrap);
    assert_eq!(dumped.count() as u64, stats.records);
    let (_, reader, found) = try_open(&disk.crash(), &forever).unwrap();
    assert_eq!(found.indexes_rebuilt, 0);
    assert_eq!(daily(&reader, 1), expected);
}

#[test]
fn a_count_is_exact_however_little_is_forgotten() {
    let disk = FaultStorage::new(1);
    let three = TopicRetention {
        events_max: Some(3),
        ..rule("daily")
    };
    let three = options(vec![three]);
    let (mut writer, reader, _) = try_open(&disk, &three).unwrap();
    publish(&mut writer, 3, 10);
    assert_eq!(daily(&reader, 1).len(), 3);
    let page = reader.read(&Only(&["daily"]), 1, ReadLimits::default());
    assert_eq!(page.unwrap().forgotten_before, None, "nothing is lost yet");
    publish(&mut writer, 2, 10);
    assert_eq!(daily(&reader, 1), [&b"C"[..], b"A", b"B"]);
    let third = 1 + 2 * 11;
    let page = reader.read(&Only(&["daily"]), 1, ReadLimits::default());
    let told = page.unwrap().forgotten_before.unwrap();
    assert!((13..=third).contains(&told), "12 is gone: {told}");
    let page = reader.read(&Only(&["daily"]), third, ReadLimits::default());
    assert_eq!(page.unwrap().forgotten_before, None);
    assert_eq!(reader.last(&Only(&["daily"]), 2, 0).unwrap(), 1 + 3 * 11);
    // The same when all but these are gone.
    publish(&mut writer, 1, 3000);
    assert_eq!(daily(&reader, 1), [b"A", b"B", b"A"]);
}

#[test]
fn bytes_and_age_are_kept_to() {
    let disk = FaultStorage::new(1);
    // A record of `daily` takes 56 + 2 + 5 + 1 bytes. The one that reaches the limit is kept.
    let rules = vec![
        TopicRetention {
            bytes_max: Some(64 + 10),
            ..rule("daily")
        },
        TopicRetention {
            age_ms_max: Some(500),
            ..rule("busy")
        },
    ];
    let (mut writer, reader, _) = try_open(&disk, &options(rules)).unwrap();
    publish(&mut writer, 5, 10);
    assert_eq!(daily(&reader, 1), [b"D", b"E"]);
    assert_eq!(read_from(&reader, &Only(&["busy"]), 1).unwrap().len(), 50);
    writer.retain(1501).unwrap();
    assert_eq!(read_from(&reader, &Only(&["busy"]), 1).unwrap().len(), 0);
    let page = reader.read(&Only(&["busy"]), 1, ReadLimits::default());
    assert_eq!(page.unwrap().forgotten_before, Some(56));
    assert_eq!(daily(&reader, 1), [b"D", b"E"]);
}

#[test]
fn under_other_rules_what_was_left_out_before_is_told() {
    let disk = FaultStorage::new(1);
    let (mut writer, _, _) = try_open(&disk, &options(vec![rule("daily")])).unwrap();
    publish(&mut writer, 5, 1000);
    writer.close().unwrap();
    // `busy` was not kept, and is to be from now on: what is gone of it is gone.
    let both = options(vec![rule("daily"), rule("busy")]);
    let (mut writer, reader, _) = try_open(&disk, &both).unwrap();
    let whole_from = reader.stats().whole_from;
    for topic in ["busy", "daily"] {
        let page = reader.read(&Only(&[topic]), 1, ReadLimits::default());
        assert_eq!(page.unwrap().forgotten_before, Some(whole_from));
    }
    publish(&mut writer, 2, 1000);
    let held = read_from(&reader, &Only(&["busy"]), whole_from).unwrap();
    assert!(held.len() >= 2000);
    // Without any rule all that was kept for one is forgotten in the end.
    writer.close().unwrap();
    let (mut writer, reader, _) = try_open(&disk, &options(Vec::new())).unwrap();
    publish(&mut writer, 2, 1000);
    writer.retain(100_000).unwrap();
    assert!(reader.stats().first > whole_from);
}

#[test]
fn what_is_kept_is_copied_beside_the_commits() {
    // With a rule for each of 10,000 topics the thread that commits stood still for 2.3 s while it
    // copied. Now it asks for the copy, and names it once it is there.
    let disk = FaultStorage::new(1);
    let forever = options(vec![rule("daily")]);
    let (mut writer, reader, _) = try_open(&disk, &forever).unwrap();
    let upkeep = writer.upkeep();
    commit(&mut writer, "daily", &[b"kept"]).unwrap();
    for _ in 0..25 {
        commit(&mut writer, "busy", &[&b"x"[..]; 10]).unwrap();
        while upkeep.step() {}
    }
    let held = reader.stats().records;
    assert_eq!(held, 251);
    writer.retain(1000).unwrap();
    assert_eq!(reader.stats().records, held, "nobody has copied yet");
    while upkeep.step() {}
    let copied = disk.files().iter().any(|(name, _)| name == "compacted.new");
    assert!(copied, "it has no name of its own yet");
    // Who is killed here loses the copy, and nothing else.
    let killed = FaultStorage::new(2);
    for (name, bytes) in disk.files() {
        killed.put(&name, bytes);
    }
    let (_, reopened, _) = try_open(&killed, &forever).unwrap();
    assert_eq!(reopened.stats().records, held);
    for _ in 0..20 {
        writer.retain(1000).unwrap();
        while upkeep.step() {}
    }
    let stats = reader.stats();
    assert!(stats.records < 1 + 200, "{} are held", stats.records);
    assert_eq!(daily(&reader, 1), [b"kept"]);
    writer.close().unwrap();
    while upkeep.step() {}
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    let (_, reader, found) = try_open(&disk.crash(), &forever).unwrap();
    assert_eq!(found.indexes_rebuilt, 0);
    assert_eq!(daily(&reader, 1), [b"kept"]);
}

#[test]
fn from_a_time_on_what_is_gone_is_told() {
    let disk = FaultStorage::new(1);
    let newest = TopicRetention {
        events_max: Some(1),
        ..rule("daily")
    };
    let options = options(vec![newest, rule("keep")]);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    for (topic, ms) in [("keep", 10), ("daily", 20), ("daily", 30)] {
        commit_at(&mut writer, ms, topic, &[b"x"]).unwrap();
    }
    assert_eq!(reader.at_time(15).unwrap(), 2);
    for _ in 0..100 {
        commit(&mut writer, "busy", &[&b"x"[..]; 10]).unwrap();
    }
    writer.retain(1000).unwrap();
    assert!(reader.stats().whole_from > 3, "it was compacted");
    // The second event is gone, and was not older.
    let from = reader.at_time(15).unwrap();
    assert_eq!(from, 2);
    let page = reader.read(&Only(&["daily"]), from, ReadLimits::default());
    assert_eq!(page.unwrap().forgotten_before, Some(3));
}

#[test]
fn a_clock_that_is_set_back_hides_no_gap() {
    let disk = FaultStorage::new(1);
    let rules = vec![
        TopicRetention {
            age_ms_max: Some(10_000),
            ..rule("young")
        },
        rule("daily"),
    ];
    let (mut writer, reader, _) = try_open(&disk, &options(rules)).unwrap();
    commit_at(&mut writer, 45_000, "daily", &[b"A"]).unwrap();
    for ms in 46_000..46_020 {
        commit_at(&mut writer, ms, "young", &[b"gone"]).unwrap();
    }
    for ms in 47_000..47_300 {
        commit_at(&mut writer, ms, "busy", &[&[b'x'; 300]]).unwrap();
    }
    let told = || {
        let page = reader.read(&Only(&["young"]), 2, ReadLimits::default());
        page.unwrap().forgotten_before
    };
    writer.retain(100_000).unwrap();
    assert!(told() > Some(20));
    writer.retain(50_000).unwrap();
    assert!(told() > Some(20));
}

/// The records of another topic lie between, and tell when what is gone was there.
#[test]
fn what_age_has_forgotten_is_told_after_a_restart_with_a_clock_that_was_set_back() {
    let disk = FaultStorage::new(1);
    let aged = TopicRetention {
        age_ms_max: Some(100),
        ..rule("aged")
    };
    let options = options(vec![aged, rule("daily")]);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    for ms in 1000..1100 {
        commit_at(&mut writer, ms, "aged", &[b"a"]).unwrap();
        commit_at(&mut writer, ms, "daily", &[b"d"]).unwrap();
    }
    for _ in 0..100 {
        commit_at(&mut writer, 5000, "busy", &[&b"x"[..]; 10]).unwrap();
    }
    writer.retain(5000).unwrap();
    writer.close().unwrap();

    let (_, reader, _) = open(Arc::new(disk), options, "Etest", 1150).unwrap();
    assert_eq!(daily(&reader, 1).len(), 100);
    let page = reader
        .read(&Only(&["aged"]), 150, ReadLimits::default())
        .unwrap();
    assert!(page.frames.is_empty());
    assert!(page.forgotten_before.is_some_and(|before| before >= 200));
}

/// One that holds nothing and is not the oldest has to stay; that is no reason to write it again.
#[test]
fn what_is_compacted_is_left_alone() {
    let disk = FaultStorage::new(1);
    let mut options = options(vec![rule("daily")]);
    options.retention.events_max = Some(8);
    options.segment_bytes_max = 1000;
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    let upkeep = writer.upkeep();
    let retain = |writer: &mut Writer| {
        writer.retain(1000).unwrap();
        while upkeep.step() {}
    };
    // Much that is kept, then nothing.
    for round in 0..40_u8 {
        let topic = if round < 10 { "daily" } else { "busy" };
        commit(&mut writer, topic, &[&[round; 200]]).unwrap();
        retain(&mut writer);
    }
    for _ in 0..20 {
        retain(&mut writer);
    }
    let (segments, calls) = (reader.stats().segments, disk.calls());
    for _ in 0..20 {
        retain(&mut writer);
    }
    assert_eq!(reader.stats().segments, segments);
    assert_eq!(disk.calls(), calls, "calls to the disk for nothing");
}

/// The rules' limit would be one in words only.
#[test]
fn a_log_does_not_outgrow_its_limit_while_nobody_copies() {
    let disk = FaultStorage::new(1);
    let (mut writer, reader, _) = try_open(&disk, &options(vec![rule("daily")])).unwrap();
    let upkeep = writer.upkeep();
    let mut segments_max = 0;
    for round in 0..200_u8 {
        if round % 50 == 0 {
            commit(&mut writer, "daily", &[&[round]]).unwrap();
        }
        commit(&mut writer, "busy", &[&b"x"[..]; 10]).unwrap();
        writer.retain(1000).unwrap();
        segments_max = segments_max.max(reader.stats().segments);
    }
    assert!(segments_max < 40, "{segments_max} segments were held");
    assert_eq!(daily(&reader, 1).len(), 4);
    // It comes late, and finds what there is to do.
    while upkeep.step() {}
    // Also no index is left of what others have taken the name of.
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    while writer.retention_is_due() {
        writer.retain(1000).unwrap();
        while upkeep.step() {}
    }
    assert_eq!(daily(&reader, 1).len(), 4);
    writer.close().unwrap();
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
}

#[test]
fn no_index_is_left_of_what_was_forgotten_before_it_was_sealed() {
    let disk = FaultStorage::new(1);
    let (mut writer, reader, _) = try_open(&disk, &options(Vec::new())).unwrap();
    let upkeep = writer.upkeep();
    for round in 0..200_u8 {
        commit(&mut writer, "busy", &[&[round; 200][..]; 10]).unwrap();
        writer.retain(1000).unwrap();
    }
    // It was slow, and now it is through.
    while upkeep.step() {}
    let files = disk.files();
    let count = |ending| files.iter().filter(|it| it.0.ends_with(ending)).count();
    assert_eq!(count(".log"), reader.stats().segments);
    assert!(count(".idx") < count(".log"), "{} indexes", count(".idx"));
}

/// A damaged record is left out, and that is told; else nothing would be forgotten any more.
#[test]
fn damage_in_an_old_segment_does_not_stop_retention() {
    let mut options = options(vec![rule("daily")]);
    options.retention.events_max = Some(8);
    options.segment_bytes_max = 1000;
    let disk = FaultStorage::new(1);
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "daily", &[&[1; 200]]).unwrap();
    commit(&mut writer, "daily", &[&[2; 200]]).unwrap();
    commit(&mut writer, "busy", &[&[1; 200]]).unwrap();
    writer.close().unwrap();
    let damaged = FaultStorage::new(2);
    for (name, mut bytes) in disk.files() {
        if name == "00000000000000000001.log" {
            bytes[300] ^= 1;
        }
        damaged.put(&name, bytes);
    }

    let (mut writer, reader, _) = try_open(&damaged, &options).unwrap();
    let mut left_out = 0;
    for round in 0..100_u8 {
        commit(&mut writer, "busy", &[&[round; 200]]).unwrap();
        left_out += writer.retain(1000).unwrap().damaged;
    }
    assert_eq!(left_out, 1);
    assert!(reader.stats().segments < 20);
    let page = reader.read(&Only(&["daily"]), 1, ReadLimits::default());
    let page = page.unwrap();
    assert_eq!(page.frames.len(), 1);
    assert!(page.forgotten_before.is_some_and(|before| before > 1));
    writer.close().unwrap();
    assert!(inspect::verify(&damaged, &mut |_| {}).unwrap().is_sound());
}

/// The rule counted it when it left out what was before, and has room again.
#[test]
fn what_a_count_left_out_is_told_also_when_the_newest_was_cut_off() {
    let newest_two = TopicRetention {
        events_max: Some(2),
        ..rule("daily")
    };
    let mut options = options(vec![newest_two]);
    options.retention.events_max = Some(8);
    options.segment_bytes_max = 1000;
    let disk = FaultStorage::new(1);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    for text in [b"one", b"two"] {
        commit(&mut writer, "daily", &[text]).unwrap();
    }
    for round in 0..20_u8 {
        commit(&mut writer, "busy", &[&[round; 200]]).unwrap();
    }
    let last = commit(&mut writer, "daily", &[b"three"]).unwrap().last;
    writer.retain(1000).unwrap();
    let read = |reader: &Reader| {
        let page = reader.read(&Only(&["daily"]), 1, ReadLimits::default());
        let page = page.unwrap();
        let sequences = page.frames.iter().map(|it| it.sequence);
        (
            sequences.collect::<Vec<_>>(),
            page.forgotten_before.is_some(),
        )
    };
    assert_eq!(read(&reader), (vec![2, last], true));
    drop(writer);

    let damaged = FaultStorage::new(2);
    for (name, mut bytes) in disk.files() {
        if name == format!("{last:020}.log") {
            bytes[180] ^= 1;
        }
        damaged.put(&name, bytes);
    }
    let (_, reader, found) = try_open(&damaged, &options).unwrap();
    assert!(found.cut.is_some());
    assert_eq!(read(&reader), (vec![2], true));
}

/// Each segment takes a sync of the directory, for which commits wait.
#[test]
fn one_call_does_not_forget_thousands() {
    for rules in [Vec::new(), vec![rule("daily")]] {
        let disk = FaultStorage::new(1);
        let mut options = options(rules);
        options.retention.events_max = None;
        let (mut writer, ..) = try_open(&disk, &options).unwrap();
        for round in 0..300_u32 {
            commit(
                &mut writer,
                "busy",
                &[&[u8::try_from(round % 256).unwrap(); 4000]],
            )
            .unwrap();
        }
        writer.close().unwrap();
        options.retention.events_max = Some(8);
        let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
        let _upkeep = writer.upkeep();
        let mut calls = 0;
        loop {
            let forgotten = writer.retain(1000).unwrap().segments;
            assert!(forgotten <= 64, "{forgotten} in one call");
            calls += 1;
            if !writer.retention_is_due() {
                break;
            }
        }
        assert!((4..10).contains(&calls), "{calls} calls");
        assert!(reader.stats().segments < 40);
    }
}
