//! A compacted segment does not say how many records it holds, but its index does: what is lost of its end
//! is missed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

mod support;

use support::{commit, small_segments, try_open};
use tidings_log::{
    Call, FaultStorage, OpenError, Options, Retention, TopicRetention, Topics, inspect, repair,
};

/// What the last record of the topic that is kept takes: a head, a topic and a frame. Bytes.
const RECORD_BYTES: usize = 56 + 2 + 5 + 44;

fn options(events_max: u64) -> Options {
    Options {
        retention: Retention {
            events_max: Some(8),
            topics: vec![TopicRetention {
                topics: Topics::new("daily", |topic| topic == "daily"),
                bytes_max: None,
                events_max: Some(events_max),
                age_ms_max: None,
            }],
            ..Retention::default()
        },
        ..small_segments(1000)
    }
}

/// A log with a compacted segment, and that segment's name.
fn compacted() -> (FaultStorage, String) {
    let disk = FaultStorage::new(1);
    let (mut writer, ..) = try_open(&disk, &options(100)).unwrap();
    for round in 0..40_u8 {
        commit(&mut writer, "busy", &[&[round; 200]]).unwrap();
        if round.is_multiple_of(5) {
            commit(&mut writer, "daily", &[&[round; 44]]).unwrap();
        }
    }
    writer.retain(1000).unwrap();
    writer.close().unwrap();
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    let compacted = report.segments.iter().find(|it| it.compacted).unwrap();
    assert!(compacted.records > 2 && report.is_sound());
    (disk, compacted.name.clone())
}

/// The same log, with the segment as `change` leaves it.
fn changed(disk: &FaultStorage, segment: &str, change: impl Fn(&mut Vec<u8>)) -> FaultStorage {
    let changed = FaultStorage::new(2);
    for (name, mut bytes) in disk.files() {
        if name == segment {
            change(&mut bytes);
        }
        changed.put(&name, bytes);
    }
    changed
}

#[test]
fn one_that_lost_its_last_records_is_damaged_and_can_be_repaired() {
    let (disk, name) = compacted();
    let cut = changed(&disk, &name, |bytes| {
        bytes.truncate(bytes.len() - RECORD_BYTES);
    });
    assert!(!inspect::verify(&cut, &mut |_| {}).unwrap().is_sound());
    let dumped = inspect::dump(&cut).unwrap();
    assert_eq!(dumped.filter(Result::is_err).count(), 1);
    match try_open(&cut, &options(100)) {
        Err(OpenError::Damaged(damage)) => assert_eq!(damage.segment, name),
        other => panic!("{:?}", other.err()),
    }
    assert_eq!(repair(&cut, false, &mut |_| {}, &mut |_| {}).unwrap(), 1);
    assert!(inspect::verify(&cut, &mut |_| {}).unwrap().is_sound());
    try_open(&cut, &options(100)).unwrap();
}

#[test]
fn one_whose_index_tells_nothing_is_sound() {
    let (disk, name) = compacted();
    let broken = changed(&disk, &name.replace(".log", ".idx"), |bytes| {
        bytes.truncate(bytes.len() - 1);
    });
    assert!(inspect::verify(&broken, &mut |_| {}).unwrap().is_sound());
    let (.., found) = try_open(&broken, &options(100)).unwrap();
    assert_eq!(found.indexes_rebuilt, 1);
}

#[test]
fn no_trouble_in_a_compaction_leaves_an_index_that_tells_of_more() {
    let mut met = 0;
    for calls in 0..60 {
        for is_cut in [true, false] {
            let disk = FaultStorage::new(calls);
            let (mut writer, ..) = try_open(&disk, &options(3)).unwrap();
            for round in 0..40_u8 {
                if round == 20 {
                    writer.retain(1000).unwrap();
                }
                commit(&mut writer, "busy", &[&[round; 200]]).unwrap();
                commit(&mut writer, "daily", &[&[round; 44]]).unwrap();
            }
            if is_cut {
                disk.cut_power_after(calls);
            } else {
                disk.fail(Call::Remove, calls);
            }
            met += usize::from(writer.retain(1_000_000).is_err());
            drop(writer);
            let disk = disk.crash();
            let report = inspect::verify(&disk, &mut |_| {}).unwrap();
            assert!(report.is_sound(), "after {calls} calls: {report:#?}");
            try_open(&disk, &options(3)).unwrap();
        }
    }
    assert!(met > 10, "{met}");
}

#[test]
fn a_repair_that_is_killed_leaves_no_log_that_hides_the_loss() {
    let (disk, name) = compacted();
    for calls in 0..400 {
        let short = changed(&disk, &name, |bytes| {
            bytes.truncate(bytes.len() - RECORD_BYTES);
        });
        short.cut_power_after(calls);
        if repair(&short, false, &mut |_| {}, &mut |_| {}).is_ok() {
            assert!(calls > 20, "it was never killed");
            return;
        }
        let after = short.crash();
        let files = after.files();
        let (_, bytes) = files.iter().find(|file| file.0 == name).unwrap();
        let is_repaired = bytes.get(24..32) == Some(&[0xff; 8][..]);
        let sound = inspect::verify(&after, &mut |_| {}).unwrap().is_sound();
        let opens = try_open(&after, &options(100)).is_ok();
        assert!(
            is_repaired || !(sound || opens),
            "killed after {calls} calls"
        );
        repair(&after, false, &mut |_| {}, &mut |_| {}).unwrap();
        assert!(inspect::verify(&after, &mut |_| {}).unwrap().is_sound());
        try_open(&after, &options(100)).unwrap();
    }
    panic!("a repair without end");
}

#[test]
fn what_it_was_copied_from_is_not_removed_beside_a_damaged_copy() {
    let disk = FaultStorage::new(5);
    let (mut writer, ..) = try_open(&disk, &options(100)).unwrap();
    for round in 0..40_u8 {
        commit(&mut writer, "busy", &[&[round; 200]]).unwrap();
        commit(&mut writer, "daily", &[&[round; 44]]).unwrap();
    }
    let sources = disk.files();
    writer.retain(1000).unwrap();
    let copies = disk.files();
    // As a crash leaves it right behind the rename.
    let both = FaultStorage::new(6);
    for (name, bytes) in sources.into_iter().chain(copies) {
        if name.ends_with("log") {
            both.put(&name, bytes);
        }
    }
    let damaged = changed(&both, "00000000000000000001.log", |bytes| {
        let at = bytes.len() - 20;
        *bytes.get_mut(at).unwrap() ^= 1;
    });
    let before = damaged.files();
    let refused = try_open(&damaged, &options(100)).map(drop);
    assert!(matches!(refused, Err(OpenError::Damaged(_))), "{refused:?}");
    assert_eq!(damaged.files(), before);
}
