//! The log through its public door.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use std::sync::Arc;

use std::path::Path;

use support::{Everything, Only, commit, commit_at, open_on, read_from, small_segments, try_open};
use tidings_log::{
    AppendError, Call, CommitError, Durability, FaultStorage, Head, MemoryStorage, Options,
    ReadError, ReadLimits, Retention, inspect,
};

fn head<'a>(topics: &'a [&'a str]) -> Head<'a> {
    Head {
        topics,
        ..Head::default()
    }
}

#[test]
fn sequences_begin_with_one_and_survive_reopening() {
    let disk = FaultStorage::new(1);
    let options = Options::default();
    let (mut writer, reader, found) = try_open(&disk, &options).unwrap();
    assert!(found.created);
    assert_eq!(
        (reader.first(), reader.next(), writer.next_sequence()),
        (1, 1, 1)
    );
    let committed = commit(&mut writer, "a", &[b"one", b"two"]).unwrap();
    assert_eq!((committed.first, committed.last), (1, 2));
    assert_eq!(committed.frames, [&b"one"[..], b"two"]);
    writer.close().unwrap();
    let (writer, reader, found) = try_open(&disk, &options).unwrap();
    assert!(!found.created && found.cut.is_none());
    assert_eq!(
        (found.records, writer.next_sequence(), reader.epoch()),
        (2, 3, "Etest")
    );
}

#[test]
fn an_empty_batch_changes_nothing() {
    let disk = FaultStorage::new(1);
    let (mut writer, _, _) = try_open(&disk, &Options::default()).unwrap();
    let calls = disk.calls();
    let batch = writer.begin(5);
    let committed = writer.commit(batch).unwrap();
    assert_eq!(
        (committed.first, committed.last, disk.calls()),
        (1, 0, calls)
    );
}

#[test]
fn what_does_not_fit_is_refused_and_leaves_the_batch_as_it_was() {
    let options = Options {
        record_bytes_max: 200,
        ..Options::default()
    };
    let (mut writer, reader) = open_on(Arc::new(MemoryStorage::new()), &options);
    let mut batch = writer.begin(5);
    batch
        .push(&head(&["a"]), |_, out| out.extend_from_slice(b"kept"))
        .unwrap();
    let refused = batch.push(&head(&["a"]), |_, out| out.resize(out.len() + 200, 0));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    assert_eq!(batch.push(&head(&[]), |_, _| {}), Err(AppendError::Topics));
    let long = "x".repeat(1 << 16);
    assert_eq!(
        batch.push(&head(&[&long]), |_, _| {}),
        Err(AppendError::TooLong)
    );
    writer.commit(batch).unwrap();
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), [b"kept"]);
}

#[test]
fn a_group_can_be_taken_back() {
    let (mut writer, reader) = open_on(Arc::new(MemoryStorage::new()), &Options::default());
    let mut batch = writer.begin(5);
    batch.push(&head(&["a"]), |_, out| out.push(b'1')).unwrap();
    let checkpoint = batch.checkpoint();
    let open = Head {
        continues: true,
        ..head(&["a"])
    };
    batch.push(&open, |_, out| out.push(b'2')).unwrap();
    batch.rewind(checkpoint);
    assert_eq!(batch.push(&head(&["a"]), |_, out| out.push(b'3')), Ok(2));
    writer.commit(batch).unwrap();
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), [b"1", b"3"]);
}

#[test]
fn an_open_group_and_a_stale_batch_are_refused() {
    let (mut writer, _) = open_on(Arc::new(MemoryStorage::new()), &Options::default());
    let mut open = writer.begin(5);
    open.push(
        &Head {
            continues: true,
            ..head(&["a"])
        },
        |_, _| {},
    )
    .unwrap();
    let stale = writer.begin(5);
    assert!(matches!(writer.commit(open), Err(CommitError::GroupOpen)));
    commit(&mut writer, "a", &[b"x"]).unwrap();
    assert!(matches!(writer.commit(stale), Err(CommitError::Stale)));
}

#[test]
fn a_frame_writer_that_removes_bytes_spoils_only_its_batch() {
    let (mut writer, _) = open_on(Arc::new(MemoryStorage::new()), &Options::default());
    let mut batch = writer.begin(5);
    assert_eq!(
        batch.push(&head(&["a"]), |_, out| out.clear()),
        Err(AppendError::Shrank)
    );
    assert!(writer.commit(batch).is_err());
    commit(&mut writer, "a", &[b"x"]).unwrap();
}

#[test]
fn time_does_not_go_back() {
    let (mut writer, reader) = open_on(Arc::new(MemoryStorage::new()), &Options::default());
    for time_ms in [500, 400, 600] {
        let mut batch = writer.begin(time_ms);
        batch.push(&head(&["a"]), |_, _| {}).unwrap();
        writer.commit(batch).unwrap();
    }
    let found: Vec<_> = [0, 500, 501, 600, 601]
        .map(|ms| reader.at_time(ms).unwrap())
        .into();
    assert_eq!(found, [1, 1, 3, 3, 4]);
}

#[test]
fn a_failed_sync_stops_the_log_and_reads_go_on() {
    let disk = FaultStorage::new(3);
    let (mut writer, reader, _) = try_open(&disk, &Options::default()).unwrap();
    commit(&mut writer, "a", &[b"one"]).unwrap();
    disk.fail(Call::Sync, 0);
    let error = commit(&mut writer, "a", &[b"two"]).unwrap_err();
    assert!(error.is_poisoned(), "{error}");
    // The disk is well again, but what it holds is not known.
    let again = commit(&mut writer, "a", &[b"three"]).unwrap_err();
    assert!(again.is_poisoned() && writer.poisoned().is_some());
    assert!(writer.retain(1).is_err());
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), [b"one"]);
    assert!(writer.close().is_err());
}

/// The sync that failed was due at once for ever, and who waits for so long took a whole core.
#[test]
fn a_log_that_has_stopped_has_nothing_to_sync() {
    let disk = FaultStorage::new(1);
    let options = Options {
        durability: Durability::Interval {
            unsynced_ms_max: 100,
        },
        ..Options::default()
    };
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "a", &[b"x"]).unwrap();
    assert_eq!(writer.sync_due_in_ms(1040), Some(60));
    disk.fail(Call::Sync, 0);
    assert!(writer.sync_if_due(2000).unwrap_err().is_poisoned());
    assert_eq!(writer.sync_due_in_ms(3000), None);
}

#[test]
fn what_a_failed_sync_left_in_memory_is_durable_once_it_was_shown() {
    // The sync fails, the process is restarted, and the record is still in the page cache. It is
    // read by a subscriber. Then the power goes: the record must be there.
    for seed in 0..50 {
        let disk = FaultStorage::new(seed);
        let (mut writer, _, _) = try_open(&disk, &Options::default()).unwrap();
        commit(&mut writer, "a", &[b"one"]).unwrap();
        disk.fail(Call::Sync, 0);
        commit(&mut writer, "a", &[b"two"]).unwrap_err();
        drop(writer);
        let (_, reader, _) = try_open(&disk, &Options::default()).unwrap();
        let shown = read_from(&reader, &Everything, 1).unwrap();
        let (_, reader, _) = try_open(&disk.crash(), &Options::default()).unwrap();
        assert_eq!(read_from(&reader, &Everything, 1).unwrap(), shown);
    }
}

#[test]
fn a_full_disk_is_said_and_survived() {
    let disk = FaultStorage::new(3);
    let (mut writer, reader, _) = try_open(&disk, &small_segments(400)).unwrap();
    commit(&mut writer, "a", &[b"one"]).unwrap();
    for room in [0, 10, 60, 200] {
        disk.leave_room(room);
        let error = commit(&mut writer, "a", &[&[2; 600]]).unwrap_err();
        assert!(matches!(error, CommitError::Full(_)), "{error}");
        assert_eq!(reader.next(), 2);
    }
    disk.mend();
    assert_eq!(commit(&mut writer, "a", &[b"two"]).unwrap().first, 2);
    let (_, reader, _) = try_open(&disk.crash(), &small_segments(400)).unwrap();
    assert_eq!(
        read_from(&reader, &Everything, 1).unwrap(),
        [b"one", b"two"]
    );
}

#[test]
fn a_refused_batch_does_not_come_back_after_a_crash() {
    for seed in 0..50 {
        let disk = FaultStorage::new(seed);
        let (mut writer, _, _) = try_open(&disk, &Options::default()).unwrap();
        commit(&mut writer, "a", &[b"one"]).unwrap();
        disk.fail(Call::Write, 0);
        let refused = commit(&mut writer, "a", &[b"refused"]).unwrap_err();
        assert!(matches!(refused, CommitError::Write(_)));
        let (_, reader, _) = try_open(&disk.crash(), &Options::default()).unwrap();
        assert_eq!(read_from(&reader, &Everything, 1).unwrap(), [b"one"]);
    }
}

#[test]
fn several_topics_come_in_one_order_and_once() {
    let (mut writer, reader) = open_on(Arc::new(MemoryStorage::new()), &small_segments(2000));
    for number in 0..200_u32 {
        let names = [
            format!("t{}", number % 3),
            format!("t{}", number % 5),
            "t0".to_owned(),
        ];
        let topics: Vec<_> = names.iter().map(String::as_str).collect();
        let mut batch = writer.begin(1);
        batch
            .push(&head(&topics), |_, out| out.extend(number.to_le_bytes()))
            .unwrap();
        writer.commit(batch).unwrap();
    }
    let expected = |wanted: &[u32]| -> Vec<Vec<u8>> {
        let is_wanted =
            |number: &u32| wanted.contains(&(number % 3)) || wanted.contains(&(number % 5));
        (0..200_u32)
            .filter(is_wanted)
            .map(|number| number.to_le_bytes().to_vec())
            .collect()
    };
    assert_eq!(
        read_from(&reader, &Only(&["t1", "t4"]), 1).unwrap(),
        expected(&[1, 4])
    );
    assert_eq!(
        read_from(&reader, &Only(&["t1", "t1"]), 1).unwrap(),
        expected(&[1])
    );
    assert_eq!(read_from(&reader, &Only(&["t0"]), 1).unwrap().len(), 200);
    assert_eq!(read_from(&reader, &Only(&["none"]), 1).unwrap().len(), 0);
    let many: Vec<String> = (0..300).map(|number| format!("t{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    assert_eq!(
        read_from(&reader, &Only(&many), 1).unwrap().len(),
        200,
        "by a scan"
    );
}

#[test]
fn a_cursor_ahead_of_the_log_waits_there() {
    let (mut writer, reader) = open_on(Arc::new(MemoryStorage::new()), &Options::default());
    commit(&mut writer, "a", &[b"one"]).unwrap();
    for cursor in [2, 3, u64::MAX] {
        let page = reader
            .read(&Everything, cursor, ReadLimits::default())
            .unwrap();
        assert_eq!((page.frames.len(), page.next), (0, cursor));
    }
    let refused = reader.read(&Everything, 0, ReadLimits::default());
    assert!(matches!(refused, Err(ReadError::Forgotten { first: 1 })));
}

#[test]
fn retention_by_bytes_count_and_age() {
    let limits = [
        Retention {
            bytes_max: Some(600_000),
            ..Retention::default()
        },
        Retention {
            events_max: Some(80),
            ..Retention::default()
        },
        Retention {
            age_ms_max: Some(8000),
            ..Retention::default()
        },
    ];
    for (kind, retention) in limits.into_iter().enumerate() {
        let disk = FaultStorage::new(1);
        let options = Options {
            retention,
            ..Options::default()
        };
        let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
        for second in 0..400_u64 {
            let mut batch = writer.begin(second * 100);
            batch
                .push(&head(&["a"]), |_, out| out.resize(out.len() + 4000, 7))
                .unwrap();
            writer.commit(batch).unwrap();
            writer.retain(second * 100).unwrap();
        }
        let stats = reader.stats();
        match kind {
            0 => assert!((500_000..=600_000).contains(&stats.bytes), "{stats:?}"),
            1 => assert!((80..=91).contains(&stats.records), "{stats:?}"),
            _ => assert!((81..=92).contains(&stats.records), "{stats:?}"),
        }
        let on_disk: usize = disk.files().iter().map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(on_disk as u64, stats.bytes);
        let refused = reader.read(&Everything, stats.first - 1, ReadLimits::default());
        assert!(matches!(refused, Err(ReadError::Forgotten { .. })));
        let (_, reader, _) = try_open(&disk.crash(), &options).unwrap();
        assert_eq!(reader.first(), stats.first);
    }
}

#[test]
fn a_log_that_forgot_everything_goes_on_counting() {
    let disk = FaultStorage::new(1);
    let retention = Retention {
        age_ms_max: Some(1000),
        ..Retention::default()
    };
    let options = Options {
        retention,
        ..Options::default()
    };
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "a", &[b"one"]).unwrap();
    writer.retain(1_000_000).unwrap();
    assert_eq!(
        (reader.first(), reader.next(), reader.stats().records),
        (2, 2, 0)
    );
    drop((writer, reader));
    let (mut writer, reader, _) = try_open(&disk.crash(), &options).unwrap();
    assert_eq!((reader.first(), reader.epoch()), (2, "Etest"));
    assert_eq!(commit(&mut writer, "a", &[b"two"]).unwrap().first, 2);
}

#[test]
fn marks_and_aliases_are_found_in_all_segments_and_after_reopening() {
    let disk = FaultStorage::new(1);
    let options = small_segments(500);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    for number in 0..40_u64 {
        let alias = format!("order-{}", number % 10);
        let mark = number.to_le_bytes();
        let mut batch = writer.begin(number * 10);
        let head = Head {
            alias: Some(&alias),
            mark: Some(&mark),
            ..head(&["a"])
        };
        batch.push(&head, |_, _| {}).unwrap();
        writer.commit(batch).unwrap();
    }
    drop(writer);
    let (_, reader, _) = try_open(&disk, &options).unwrap();
    assert!(reader.stats().segments > 5);
    assert_eq!(reader.find_alias("order-3").unwrap().sequence, Some(34));
    assert_eq!(reader.find_alias("order-x").unwrap().sequence, None);
    let marks = reader.marks(300, 5).unwrap().marks;
    let sequences: Vec<_> = marks.iter().map(|mark| mark.sequence).collect();
    assert_eq!(sequences, [36, 37, 38, 39, 40]);
    assert_eq!(reader.marks(300, 100).unwrap().marks.len(), 10);
    assert_eq!(marks[0].bytes, 35_u64.to_le_bytes()[..]);
}

#[test]
fn verify_and_dump_tell_what_is_there() {
    let disk = FaultStorage::new(1);
    let (mut writer, _, _) = try_open(&disk, &small_segments(500)).unwrap();
    for number in 0..10_u8 {
        commit(&mut writer, "a", &[&[number; 50]]).unwrap();
    }
    let mut seen = 0;
    let report = inspect::verify(&disk, &mut |_| seen += 1).unwrap();
    assert!(report.is_sound());
    assert_eq!(
        (report.epoch.as_deref(), report.segments.len()),
        (Some("Etest"), seen)
    );
    assert_eq!(
        report
            .segments
            .iter()
            .map(|segment| segment.records)
            .sum::<u64>(),
        10
    );
    let dumped: Vec<_> = inspect::dump(&disk).unwrap().map(Result::unwrap).collect();
    assert_eq!(dumped.len(), 10);
    assert_eq!(
        (dumped[3].sequence, &dumped[3].topics[..]),
        (4, &["a".to_owned()][..])
    );
    // While a commit is being written.
    let mut files = disk.files();
    files.last_mut().unwrap().1.extend_from_slice(&[1; 40]);
    let torn = FaultStorage::new(2);
    for (name, bytes) in files {
        torn.put(&name, bytes);
    }
    let report = inspect::verify(&torn, &mut |_| {}).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.segments.last().unwrap().unfinished_bytes, 40);
    assert_eq!(inspect::dump(&torn).unwrap().count(), 10);
}

#[test]
fn segments_that_are_written_ahead_hold_the_same() {
    let disk = FaultStorage::new(1);
    let options = small_segments(2000);
    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    let upkeep = writer.upkeep();
    let mut expected = Vec::new();
    for number in 0..40_u8 {
        while upkeep.step() {}
        let frame = vec![b'a' + number % 26; 100];
        commit(&mut writer, "a", &[&frame]).unwrap();
        expected.push(frame);
    }
    let longest = disk.files().iter().map(|(_, bytes)| bytes.len()).max();
    assert_eq!(
        longest,
        Some(2000),
        "the active segment is as long as it will be"
    );
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), expected);
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
    let dumped = inspect::dump(&disk).unwrap().map(Result::unwrap).count();
    assert_eq!(dumped, expected.len());
    // What is empty is neither damage nor torn.
    let (_, reader, found) = try_open(&disk.crash(), &options).unwrap();
    assert_eq!(found.cut, None);
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), expected);
}

#[test]
fn what_is_cut_off_after_a_refusal_is_not_counted() {
    let disk = FaultStorage::new(1);
    let (mut writer, reader, _) = try_open(&disk, &small_segments(2000)).unwrap();
    let upkeep = writer.upkeep();
    while upkeep.step() {}
    for number in 0..20_u8 {
        commit(&mut writer, "a", &[&[number; 100]]).unwrap();
        while upkeep.step() {}
    }
    disk.fail(Call::Write, 0);
    commit(&mut writer, "a", &[b"refused"]).unwrap_err();
    let kept = |name: &str| {
        Path::new(name)
            .extension()
            .is_some_and(|it| it == "log" || it == "idx")
    };
    let files = disk.files();
    let segments = files.iter().filter(|(name, _)| kept(name));
    let bytes: usize = segments.map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(reader.stats().bytes, bytes as u64);
}

#[test]
fn a_commit_waits_for_nothing_that_is_not_its_own() {
    // Sealing a segment writes its index; preparing one writes all of it. With somebody to do that
    // beside it, a commit that begins a new segment names what is there.
    let disk = FaultStorage::new(1);
    let options = small_segments(4000);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    let upkeep = writer.upkeep();
    let mut calls = Vec::new();
    for _ in 0..200 {
        while upkeep.step() {}
        let before = disk.calls();
        commit(&mut writer, "a", &[&[b'x'; 100]]).unwrap();
        calls.push(disk.calls() - before);
    }
    // Write and sync; for a new segment its header, written and synced, its name, synced.
    assert!(
        calls.iter().all(|calls| [2, 6].contains(calls)),
        "{calls:?}"
    );
    assert!(calls.iter().filter(|calls| **calls == 6).count() >= 8);
}

#[test]
fn with_an_interval_power_loss_takes_the_end_and_no_sequence_comes_back() {
    let options = Options {
        durability: Durability::Interval {
            unsynced_ms_max: 50,
        },
        ..Options::default()
    };
    let mut lost = 0;
    for seed in 0..40 {
        let disk = FaultStorage::new(seed);
        let (mut writer, _, _) = try_open(&disk, &options).unwrap();
        for frame in [&b"one"[..], b"two"] {
            commit(&mut writer, "a", &[frame]).unwrap();
        }
        assert_eq!(writer.sync_due_in_ms(1040), Some(10));
        writer.sync_if_due(1050).unwrap();
        assert_eq!(writer.sync_due_in_ms(1050), None);
        for frame in [&b"three"[..], b"four"] {
            commit(&mut writer, "a", &[frame]).unwrap();
        }
        let seen = writer.next_sequence();
        let (mut writer, reader, found) = try_open(&disk.crash(), &options).unwrap();
        let hole = found.left_out.unwrap();
        assert!((3..=5).contains(&hole.start), "what was synced is there");
        assert!(writer.next_sequence() >= seen);
        lost += 5 - hole.start;
        let after = commit(&mut writer, "a", &[b"five"]).unwrap().first;
        assert_eq!(after, hole.end);
        let told = reader.read(&Everything, hole.start, ReadLimits::default());
        assert!(matches!(told, Err(ReadError::Lost { next }) if next == after));
        let frames = reader.read(&Everything, 1, ReadLimits::default()).unwrap();
        assert_eq!(
            frames.next, hole.start,
            "a page ends where something is missing"
        );
    }
    assert!(lost > 0, "no crash took anything");
}

#[test]
fn with_an_interval_a_crash_of_the_process_takes_nothing() {
    let options = Options {
        durability: Durability::Interval {
            unsynced_ms_max: 50,
        },
        ..Options::default()
    };
    let disk = FaultStorage::new(1);
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "a", &[b"one", b"two"]).unwrap();
    drop(writer);
    let (writer, reader, _) = try_open(&disk, &options).unwrap();
    let page = reader.read(&Everything, 1, ReadLimits::default()).unwrap();
    assert_eq!(page.frames.len(), 2);
    // Closed in order nothing can be missing, so nothing is left out.
    writer.close().unwrap();
    let (_, _, found) = try_open(&disk, &options).unwrap();
    assert_eq!(found.left_out, None);
}

#[test]
fn a_log_that_was_closed_is_opened_without_reading_it() {
    let disk = FaultStorage::new(1);
    let options = Options::default();
    let (mut writer, _, _) = try_open(&disk, &options).unwrap();
    let mut batch = writer.begin(1000);
    for number in 0..500 {
        let alias = format!("alias-{number}");
        let head = Head {
            topics: &["a", if number % 7 == 0 { "b" } else { "c" }],
            alias: Some(&alias),
            expires_ms: (number % 3 == 0).then_some(2000),
            mark: (number % 100 == 0).then_some(b"mark"),
            ..Head::default()
        };
        batch
            .push(&head, |_, out| out.resize(out.len() + 300, b'x'))
            .unwrap();
    }
    writer.commit(batch).unwrap();
    writer.close().unwrap();
    // Damage of a record is met when it is read, and opening does not.
    let damaged = FaultStorage::new(2);
    for (name, mut bytes) in disk.files() {
        if name.ends_with("log") {
            bytes[20_000] ^= 1;
        }
        damaged.put(&name, bytes);
    }
    let (_, reader, _) = try_open(&damaged, &options).unwrap();
    let read = read_from(&reader, &Everything, 1);
    assert!(matches!(read, Err(ReadError::Damaged { .. })));

    let (mut writer, reader, _) = try_open(&disk, &options).unwrap();
    assert_eq!(reader.stats().records, 500);
    assert_eq!(reader.find_alias("alias-77").unwrap().sequence, Some(78));
    assert_eq!(reader.marks(0, 10).unwrap().marks.len(), 5);
    assert_eq!(reader.last(&Only(&["b"]), 1, 0).unwrap(), 498);
    commit(&mut writer, "b", &[b"more"]).unwrap();
    drop(writer);
    let (_, reader, _) = try_open(&disk.crash(), &options).unwrap();
    assert_eq!(
        reader.stats().records,
        501,
        "the index of before is not believed"
    );
}

/// Under `Interval`, a log whose newest events the power took: three are left, and twenty were seen.
fn after_a_loss(seed: u64) -> (FaultStorage, Options, u64) {
    let options = Options {
        durability: Durability::Interval {
            unsynced_ms_max: 1_000_000,
        },
        ..Options::default()
    };
    let disk = FaultStorage::new(seed);
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    for ms in 1000..1003 {
        commit_at(&mut writer, ms, "a", &[b"kept"]).unwrap();
    }
    writer.sync().unwrap();
    for ms in 2000..2020 {
        commit_at(&mut writer, ms, "a", &[b"lost"]).unwrap();
    }
    (disk.crash(), options, writer.next_sequence())
}

#[test]
fn a_time_whose_events_the_power_took_is_where_they_were() {
    let (disk, options, _) = after_a_loss(1);
    let (mut writer, reader, found) = try_open(&disk, &options).unwrap();
    let lost = found.left_out.unwrap();
    commit_at(&mut writer, 5000, "a", &[b"after"]).unwrap();
    let at = reader.at_time(4000).unwrap();
    assert_eq!(at, lost.start);
    let read = reader.read(&Everything, at, ReadLimits::default());
    assert!(matches!(read, Err(ReadError::Lost { next }) if next == lost.end));
}

#[test]
fn no_sequence_is_given_again_though_opening_stops_anywhere() {
    let (disk, options, seen) = after_a_loss(7);
    drop(try_open(&disk, &options).unwrap());
    let mut files = disk.files();
    let newest = files.iter_mut().rfind(|(name, _)| name.ends_with("log"));
    // Its header tells no more from where on sequences are free; its name does.
    newest.unwrap().1[20] ^= 1;
    for calls in 0..60 {
        let disk = FaultStorage::new(calls);
        for (name, bytes) in &files {
            disk.put(name, bytes.clone());
        }
        disk.cut_power_after(calls);
        drop(try_open(&disk, &options));
        let (writer, ..) = try_open(&disk.crash(), &options).unwrap();
        assert!(writer.next_sequence() >= seen, "after {calls} calls");
    }
}
