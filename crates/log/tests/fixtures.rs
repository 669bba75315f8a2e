//! Logs that earlier versions of this program wrote, and that every later one must read.
//!
//! `examples/fixture.rs` wrote them, each as it was in that version; what it wrote is what is expected
//! here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod support;

use std::fs;
use std::path::Path;

use support::{Everything, Only, commit, read_from, try_open};
use tidings_log::{FaultStorage, Options, ReadError, ReadLimits, Reader, Select, Storage, inspect};

/// Commits of version 1, of two records each.
const COMMITS: u64 = 12;

/// Sequences of version 2: of the first segments one topic is kept, and sequences are left out
/// behind a crash.
const KEPT: [u64; 6] = [1, 7, 13, 19, 25, 31];
const WHOLE: std::ops::Range<u64> = 33..97;
const BEHIND: std::ops::Range<u64> = 75_350_400..75_350_412;

/// A fixture's files on a disk that can be written to.
fn load(version: &str) -> FaultStorage {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(version);
    let disk = FaultStorage::new(1);
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        disk.put(&name, fs::read(entry.path()).unwrap());
    }
    disk
}

fn frame(sequence: u64, commit: u64) -> Vec<u8> {
    format!("id: Efixture:{sequence}\ndata: {commit}\n\n").into_bytes()
}

fn frames() -> Vec<Vec<u8>> {
    let frame = |sequence: u64| frame(sequence, (sequence - 1) / 2);
    (1..=2 * COMMITS).map(frame).collect()
}

/// The sequences and frames of version 2.
fn records_2() -> Vec<(u64, Vec<u8>)> {
    let sequences = KEPT.into_iter().chain(WHOLE).chain(BEHIND);
    let record = |sequence: u64| {
        let before_crash = sequence.checked_sub(BEHIND.start).map(|it| it + WHOLE.end);
        (
            sequence,
            frame(sequence, (before_crash.unwrap_or(sequence) - 1) / 2),
        )
    };
    sequences.map(record).collect()
}

/// All that a reader gets, and where it is told of loss.
fn read_over(reader: &Reader, select: &dyn Select) -> (Vec<(u64, Vec<u8>)>, Vec<u64>) {
    let (mut cursor, mut records, mut lost) = (1, Vec::new(), Vec::new());
    while cursor < reader.next() {
        match reader.read(select, cursor, ReadLimits::default()) {
            Ok(page) => {
                let taken = page.frames.iter();
                records.extend(taken.map(|it| (it.sequence, it.frame.to_vec())));
                cursor = page.next;
            }
            Err(ReadError::Lost { next }) => {
                lost.push(cursor);
                cursor = next;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (records, lost)
}

/// The same where only what the crash of the fixture may have taken is lost.
fn held(reader: &Reader, select: &dyn Select) -> Vec<(u64, Vec<u8>)> {
    let (records, lost) = read_over(reader, select);
    assert_eq!(lost, [WHOLE.end]);
    records
}

#[test]
fn version_1_opens_reads_and_verifies() {
    let disk = load("v1");
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    assert!(report.is_sound());
    assert_eq!(report.epoch.as_deref(), Some("Efixture"));
    let dumped: Vec<_> = inspect::dump(&disk)
        .unwrap()
        .map(|record| record.unwrap().frame.to_vec())
        .collect();
    assert_eq!(dumped, frames());

    let (mut writer, reader, found) = try_open(&disk, &Options::default()).unwrap();
    assert_eq!((found.created, found.cut), (false, None));
    assert_eq!(
        found.indexes_rebuilt, 0,
        "the index is read, not built again"
    );
    assert_eq!(reader.epoch(), "Efixture");
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), frames());
    let odd: Vec<_> = frames().into_iter().step_by(2).collect();
    assert_eq!(read_from(&reader, &Only(&["all"]), 1).unwrap(), odd);
    assert_eq!(reader.find_alias("alias-7").unwrap().sequence, Some(15));
    assert_eq!(reader.marks(0, 100).unwrap().marks.len(), 12);

    commit(&mut writer, "all", &[b"and on it goes"]).unwrap();
    writer.close().unwrap();
    let (_, reader, _) = try_open(&disk, &Options::default()).unwrap();
    let mut expected = frames();
    expected.push(b"and on it goes".to_vec());
    assert_eq!(read_from(&reader, &Everything, 1).unwrap(), expected);
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
}

#[test]
fn version_1_torn_by_a_crash_is_cut() {
    let disk = load("v1");
    let (name, bytes) = disk.files().pop().unwrap();
    for cut in [1, 40, 100] {
        disk.put(&name, bytes[..bytes.len() - cut].to_vec());
        let (_, reader, found) = try_open(&disk, &Options::default()).unwrap();
        assert!(found.cut.is_some());
        let held = read_from(&reader, &Everything, 1).unwrap();
        assert_eq!(held, frames()[..frames().len() - 2]);
    }
}

#[test]
fn version_2_opens_reads_and_verifies() {
    let disk = load("v2");
    let report = inspect::verify(&disk, &mut |_| {}).unwrap();
    assert!(report.is_sound());
    let dumped: Vec<_> = inspect::dump(&disk)
        .unwrap()
        .map(|record| record.map(|it| (it.sequence, it.frame.to_vec())).unwrap())
        .collect();
    assert_eq!(dumped, records_2());

    let (mut writer, reader, found) = try_open(&disk, &Options::default()).unwrap();
    assert_eq!((found.created, found.cut), (false, None));
    assert_eq!(
        found.indexes_rebuilt, 0,
        "the indexes are read, not built again"
    );
    assert_eq!(held(&reader, &Everything), records_2()[KEPT.len()..]);
    assert_eq!(
        held(&reader, &Only(&["ünïcode"])).len(),
        WHOLE.chain(BEHIND).count() / 2
    );
    let orders: Vec<u64> = held(&reader, &Only(&["orders/0"]))
        .iter()
        .map(|(sequence, _)| *sequence)
        .collect();
    assert_eq!(orders[0], 37, "without the rule nothing of it is promised");
    assert_eq!(reader.find_alias("alias-45").unwrap().sequence, Some(91));
    assert_eq!(reader.marks(0, 1000).unwrap().marks.len(), KEPT.len() + 38);

    commit(&mut writer, "all", &[b"and on it goes"]).unwrap();
    writer.close().unwrap();
    let (_, reader, _) = try_open(&disk, &Options::default()).unwrap();
    assert_eq!(reader.next(), BEHIND.end + 1);
    assert!(inspect::verify(&disk, &mut |_| {}).unwrap().is_sound());
}

#[test]
fn version_2_torn_by_a_crash_is_cut() {
    let [name, index] = ["log", "idx"].map(|ending| format!("{:020}.{ending}", BEHIND.end - 2));
    for cut in [1, 40, 100] {
        let disk = load("v2");
        let (_, mut torn) = disk.files().into_iter().find(|it| it.0 == name).unwrap();
        let end = torn.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        torn[end - cut..].fill(0);
        disk.put(&name, torn);
        disk.remove(&index).unwrap();
        let (_, reader, found) = try_open(&disk, &Options::default()).unwrap();
        assert!(found.cut.is_some());
        let records = records_2();
        let left = &records[KEPT.len()..records.len() - 2];
        let (records, lost) = read_over(&reader, &Everything);
        assert_eq!(records, left);
        // The hub acknowledged before it synced: what was cut off may have been seen.
        assert_eq!(lost, [WHOLE.end, BEHIND.end - 2]);
    }
}
