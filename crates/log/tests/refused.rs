//! A commit that was refused does not come back, though its bytes may be on the disk.
//!
//! Where the cut failed too, what is behind the log's end is not known: the next process begins a segment
//! there before it stores anything, and also before it says that the log was closed in good order.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

mod support;

use support::{Everything, commit, read_from, small_segments, try_open};
use tidings_log::{Call, CommitError, FaultStorage, Head};

/// What is there after it all; `None` if this disk did not fail as it should.
fn what_is_left(seed: u64, closes: bool) -> Option<Vec<Vec<u8>>> {
    let disk = FaultStorage::new(seed);
    let options = small_segments(64 << 10);
    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "a", &[&[1; 200]]).unwrap();
    let mut batch = writer.begin(1000);
    for frame in 0..4 {
        let head = Head {
            topics: &["a"],
            ..Head::default()
        };
        batch
            .push(&head, |_, out| out.extend_from_slice(&[100 + frame; 200]))
            .unwrap();
    }
    disk.fail(Call::Write, 0);
    disk.fail(Call::Sync, 0);
    let refused = writer.commit(batch);
    assert!(matches!(refused, Err(CommitError::Poisoned(_))));
    drop(writer);

    let (writer, reader, _) = try_open(&disk, &options).unwrap();
    if reader.next() != 2 {
        return None;
    }
    if closes {
        writer.close().unwrap();
    } else {
        drop(writer);
    }

    let (mut writer, ..) = try_open(&disk, &options).unwrap();
    commit(&mut writer, "a", &[&[2; 200]]).unwrap();
    drop(writer);

    let (_, reader, _) = try_open(&disk.crash(), &options).unwrap();
    Some(read_from(&reader, &Everything, 1).unwrap())
}

#[test]
fn nothing_of_a_refused_commit_comes_back_behind_one_that_was_acknowledged() {
    for closes in [false, true] {
        for seed in 0..2000 {
            let Some(left) = what_is_left(seed, closes) else {
                continue;
            };
            let first_bytes: Vec<u8> = left.iter().map(|frame| frame[0]).collect();
            assert_eq!(first_bytes, [1, 2], "seed {seed}, closed: {closes}");
        }
    }
}
