//! The crate and a second reader, side by side on the same files: they find the same, or refuse the same.

#![allow(dead_code, reason = "each test takes what it needs")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a panic in a test is a failed test"
)]

#[path = "../second/mod.rs"]
pub(crate) mod second;

use std::sync::Arc;

use second::{Fault, Files, Log, Record, Segment};
use tidings_log::inspect::{self, Dumped, IndexReport, SegmentReport};
use tidings_log::{FaultStorage, OpenError, Options, open};

/// Names and bytes.
pub(crate) type Disk = [(String, Vec<u8>)];

pub(crate) fn files(disk: &Disk) -> Files<'_> {
    let files = disk
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
    files.collect()
}

pub(crate) fn storage(disk: &Disk) -> FaultStorage {
    let storage = FaultStorage::new(1);
    for (name, bytes) in disk {
        storage.put(name, bytes.clone());
    }
    storage
}

/// What the second reader finds, after the crate's inspection said that it is the same.
pub(crate) fn judge(disk: &Disk) -> Result<Log<'_>, Fault> {
    let storage = storage(disk);
    let report = inspect::verify(&storage, &mut |_| {}).unwrap();
    let log = second::open(&files(disk));
    let Ok(log) = log else {
        let refused = log.unwrap_err();
        assert!(
            !report.is_sound(),
            "sound, and the second reader refuses {refused}"
        );
        return Err(refused);
    };
    let fault = log
        .segments
        .iter()
        .find_map(|segment| segment.fault.as_ref());
    assert_eq!(
        report.is_sound(),
        fault.is_none(),
        "{fault:?}, and {report:?}"
    );
    let dumped: Vec<_> = inspect::dump(&storage)
        .unwrap()
        .filter_map(Result::ok)
        .collect();
    let records: Vec<_> = log.records().collect();
    for (record, dumped) in records.iter().zip(&dumped) {
        assert_same(record, dumped);
    }
    assert_eq!(records.len(), dumped.len());
    if fault.is_none() {
        assert_eq!(report.epoch, log.epoch);
        for segment in &log.segments {
            let mut reports = report.segments.iter();
            let report = reports.find(|report| report.name == segment.name);
            assert_reported(segment, report.unwrap());
            segment.audit().unwrap();
        }
    }
    Ok(log)
}

fn assert_same(record: &Record, dumped: &Dumped) {
    assert_eq!(record.sequence, dumped.sequence);
    assert_eq!(record.time_ms, dumped.time_ms);
    assert_eq!(record.topics, dumped.topics);
    assert_eq!(record.alias, dumped.alias.as_deref());
    assert_eq!(record.key, dumped.key.as_deref());
    assert_eq!(record.expires_ms, dumped.expires_ms);
    assert_eq!(record.mark, dumped.mark.as_deref());
    assert_eq!(record.continues, dumped.continues);
    assert_eq!(record.frame, dumped.frame);
}

fn assert_reported(segment: &Segment, report: &SegmentReport) {
    let time = |record: Option<&Record>| record.map_or(0, |it| it.time_ms);
    assert_eq!(segment.header.first, report.first);
    assert_eq!(segment.header.follows, report.follows);
    assert_eq!(segment.header.sparse_end.is_some(), report.compacted);
    assert_eq!(segment.records.len() as u64, report.records);
    assert_eq!(time(segment.records.first()), report.first_time_ms);
    assert_eq!(time(segment.records.last()), report.last_time_ms);
    let is_good = report.index == IndexReport::Good;
    assert_eq!(is_good, segment.index.is_some(), "{report:?}");
}

/// Opens what was judged with the crate, and judges what it leaves. Returns what is refused by both.
pub(crate) fn judge_opening(disk: &Disk, options: &Options) -> Option<OpenError> {
    let log = judge(disk);
    let storage = storage(disk);
    let opened = open(Arc::new(storage.clone()), options.clone(), "Ejudge", 1000);
    let (log, (writer, reader, found)) = match (log, opened) {
        (Ok(log), Ok(opened)) => (log, opened),
        (Err(_), Err(error)) => return Some(error),
        (Ok(_), Err(error)) => panic!("the second reader opens what is refused: {error}"),
        (Err(fault), Ok(_)) => panic!("what the second reader refuses is opened: {fault}"),
    };
    let left_out = found.left_out.map(|hole| hole.end);
    assert_eq!(writer.next_sequence(), left_out.unwrap_or(log.next));
    assert!(log.epoch.as_deref().is_none_or(|it| it == reader.epoch()));
    drop((writer, reader));
    let left = storage.files();
    let again = judge(&left).unwrap();
    assert_eq!(again.next, left_out.unwrap_or(log.next));
    assert!(log.records().eq(again.records()), "opening keeps all");
    let sealed = again.segments.len().saturating_sub(1);
    assert!(
        again
            .segments
            .iter()
            .take(sealed)
            .all(|it| it.index.is_some())
    );
    None
}
