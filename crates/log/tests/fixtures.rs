//! Logs that earlier versions of this program wrote, and that every later one must read.
//!
//! `examples/fixture.rs` wrote them; what it writes is what is expected here.

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
use tidings_log::{FaultStorage, Options, inspect};

const COMMITS: u64 = 12;

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

fn frames() -> Vec<Vec<u8>> {
    let frame = |sequence: u64| {
        let commit = (sequence - 1) / 2;
        format!("id: Efixture:{sequence}\ndata: {commit}\n\n").into_bytes()
    };
    (1..=2 * COMMITS).map(frame).collect()
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
    assert_eq!(reader.find_alias("alias-7").unwrap(), Some(15));
    assert_eq!(reader.marks(0, 100).unwrap().len(), 12);

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
