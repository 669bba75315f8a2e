//! A bit that flips at rest, and whoever repairs what it damaged.

use std::ops::Range;

use tidings_log::{FaultStorage, Repair, RepairError, inspect, repair};

use super::Trouble;
use super::run::Run;

const HEADER_BYTES: u64 = 128;

type Files = Vec<(String, Vec<u8>)>;

/// What a bit belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hit {
    Nothing,
    Header,
    /// The record with this sequence.
    Record(u64),
}

/// A segment and where its records are, by their lengths alone.
struct Layout {
    name: String,
    first: u64,
    newest: bool,
    records: Vec<(u64, Range<u64>)>,
}

pub(super) fn disk_of(files: &[(String, Vec<u8>)], seed: u64) -> FaultStorage {
    let disk = FaultStorage::new(seed);
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

impl Layout {
    fn at(&self, offset: u64) -> Hit {
        if offset < HEADER_BYTES {
            return Hit::Header;
        }
        let mut records = self.records.iter();
        let hit = records.find(|(_, range)| range.contains(&offset));
        hit.map_or(Hit::Nothing, |(sequence, _)| Hit::Record(*sequence))
    }
}

impl Run {
    pub(super) fn damage(
        &mut self,
        closes: bool,
        (segment, millionth, bit): (usize, usize, u8),
        trouble: Option<&Trouble>,
    ) {
        self.disk.mend();
        let (writer, _) = self.log.as_ref().unwrap();
        if writer.poisoned().is_some() {
            // What is on the disk is known after the next opening.
            return self.open();
        }
        if closes {
            self.shut();
        }
        self.stop();
        let whole = self.disk.files();
        let mut files = whole.clone();
        let logs = files.iter_mut().filter(|(name, _)| name.ends_with("log"));
        let mut logs: Vec<_> = logs.collect();
        let place = segment % logs.len();
        let (name, bytes) = logs.swap_remove(place);
        let offset = bytes.len() * millionth / 1_000_000;
        bytes[offset] ^= 1 << bit;
        let (name, length) = (name.clone(), bytes.len() as u64);
        // It was at rest for a while: all that was written is on the disk by now.
        self.synced = self.records.len();
        self.uncertain.clear();
        let layouts = self.layouts(&disk_of(&whole, 0));
        let layout = layouts.iter().find(|layout| layout.name == name);
        let hit = layout.map_or(Hit::Nothing, |layout| layout.at(offset as u64));
        self.disk = disk_of(&files, millionth as u64);
        if self.is_judged() {
            super::judge::judge_opening(&files, &self.options());
        }
        let sound = inspect::verify(&self.disk, &mut |_| {}).unwrap().is_sound();
        match hit {
            Hit::Nothing => assert!(sound, "{name} is said to be damaged at {offset}"),
            Hit::Header => {
                let newest = layout.is_some_and(|layout| layout.newest);
                // Of an only one it is known whether it was the first.
                let only = layouts.len() == 1 && layouts[0].first > 1;
                let unfinished = newest && length <= HEADER_BYTES && !only;
                assert_eq!(sound, unfinished, "the header of {name}");
            }
            Hit::Record(sequence) if sound => {
                assert!(!closes, "after a close nothing is torn");
                self.expect_cut(sequence);
            }
            Hit::Record(_) => {}
        }
        if !sound {
            assert!(layout.is_some(), "what is damaged is part of the log");
            self.mend(hit, &whole, trouble);
        }
        self.open();
    }

    /// Where each record is.
    fn layouts(&self, disk: &FaultStorage) -> Vec<Layout> {
        let report = inspect::verify(disk, &mut |_| {}).unwrap();
        assert!(report.is_sound());
        let dumped = inspect::dump(disk).unwrap();
        let dumped: Vec<u64> = dumped.map(|record| record.unwrap().sequence).collect();
        let ends = report.segments.iter().skip(1).map(|segment| segment.first);
        let ends = ends.map(Some).chain([None]);
        let layout = |(segment, end): (&inspect::SegmentReport, Option<u64>)| {
            let mut at = HEADER_BYTES;
            let held = segment.first..end.unwrap_or(u64::MAX);
            let held = dumped.iter().filter(|sequence| held.contains(sequence));
            let records = held.map(|sequence| {
                let start = at;
                at += self.record(*sequence).bytes();
                (*sequence, start..at)
            });
            Layout {
                name: segment.name.clone(),
                first: segment.first,
                newest: end.is_none(),
                records: records.collect(),
            }
        };
        report.segments.iter().zip(ends).map(layout).collect()
    }

    /// Damage in the last unit looks like a commit that a crash interrupted, and takes no more.
    fn expect_cut(&mut self, sequence: u64) {
        let unit = self.record(sequence).unit;
        let last = self.records.last().map(|record| record.unit);
        assert_eq!(
            Some(unit),
            last,
            "damage before the last unit is not noticed"
        );
        let kept = self.records.partition_point(|record| record.unit < unit);
        self.synced = kept;
        // This is the one case in which sequences are given again.
        self.seen = self.records[kept].sequence;
    }

    /// Repairs, at the second attempt at the latest.
    fn mend(&mut self, hit: Hit, whole: &Files, trouble: Option<&Trouble>) {
        match trouble {
            Some(Trouble::Fail(call, skip)) => self.disk.fail(*call, *skip),
            Some(Trouble::CutPower(calls)) => self.disk.cut_power_after(*calls),
            None => {}
        }
        let mut told = Vec::new();
        let mut tell = |repair: &Repair| told.push(repair.clone());
        let mut done = repair(&self.disk, false, &mut |_| {}, &mut tell);
        if let Err(RepairError::Storage(_)) = done {
            assert!(trouble.is_some(), "{done:?}");
            if self.disk.is_dead() {
                self.disk = self.disk.crash();
            }
            self.disk.mend();
            done = repair(&self.disk, false, &mut |_| {}, &mut tell);
        }
        self.disk.mend();
        match done {
            Ok(_) => assert!(!told.is_empty()),
            Err(RepairError::Nameless) => {
                assert_eq!(hit, Hit::Header);
                self.disk = disk_of(whole, 1);
                return;
            }
            Err(error) => panic!("{error}"),
        }
        let report = inspect::verify(&self.disk, &mut |_| {}).unwrap();
        assert!(report.is_sound(), "repaired by {told:?}: {report:?}");
        self.past.repaired = true;
        if hit == Hit::Header {
            let mut holes = self.holes.iter();
            let in_front = holes.find(|hole| hole.end == self.first);
            self.first_bridged = in_front.map(|hole| hole.start);
        }
        if let Hit::Record(sequence) = hit {
            let mut records = self.records.iter_mut();
            let record = records.find(|record| record.sequence == sequence);
            record.unwrap().may_be_gone = true;
        }
    }
}
