//! The log and the vector side by side.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use tidings_log::{
    CommitError, FaultStorage, Head, OpenError, Options, ReadError, ReadLimits, Reader, Recovery,
    Upkeep, Writer, inspect, open,
};

use super::{Choice, Op, Rule, Setup, Spec, TOPICS};
use tidings_log::Select;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rec {
    pub(super) sequence: u64,
    time_ms: u64,
    expires_ms: Option<u64>,
    topics: Vec<&'static str>,
    alias: Option<String>,
    mark: Option<Vec<u8>>,
    frame: Vec<u8>,
    ends_group: bool,
    /// Which records were synced together, as far as is known: no fewer than these.
    pub(super) unit: usize,
    /// Whether it may be gone, and readers be told so.
    pub(super) may_be_gone: bool,
}

impl Rec {
    /// What it takes on disk.
    pub(super) fn bytes(&self) -> u64 {
        let topics: usize = self.topics.iter().map(|topic| 2 + topic.len()).sum();
        let alias = self.alias.as_ref().map_or(0, String::len);
        let mark = self.mark.as_ref().map_or(0, Vec::len);
        (56 + topics + alias + KEY.len() + mark + self.frame.len()) as u64
    }
}

const KEY: &str = "key";

/// One run of so many asks a second reader too, before and after each opening: with all of them the
/// runs take three times as long.
const JUDGED_EVERY: u64 = 11;

/// What there was, at any time so far.
#[derive(Default)]
pub(super) struct Past {
    /// A rule for single topics: some of what stands before other records may be gone.
    ruled: bool,
    /// Something to repair.
    pub(super) repaired: bool,
    /// A loss of power, since it was opened: only what is on the disk is there.
    crashed: bool,
}

/// The log and the vector side by side.
pub(crate) struct Run {
    pub(crate) disk: FaultStorage,
    setup: Setup,
    attended: bool,
    seed: u64,
    pub(super) log: Option<(Writer, Reader)>,
    upkeep: Option<Upkeep>,
    epoch: Option<String>,
    /// All that was ever acknowledged, also what retention took away.
    pub(super) records: Vec<Rec>,
    /// How many of them a loss of power cannot take.
    pub(super) synced: usize,
    unit: usize,
    /// Sequences that were left out, since they may have been given before.
    pub(super) holes: Vec<Range<u64>>,
    /// One past the newest sequence that anybody has seen.
    pub(super) seen: u64,
    pub(super) past: Past,
    /// A batch of which nobody knows whether it was stored.
    pub(super) uncertain: Vec<Rec>,
    /// Of the newest segment when it was opened.
    newest_first: u64,
    /// Whether what is uncertain was not there when it was opened.
    may_come_back: bool,
    pub(super) first: u64,
    /// Where what was left out in front of `first` begins, if a repair since may count it as held: an empty
    /// segment that was replaced is still there, and the header that said so is what was damaged.
    pub(super) first_bridged: Option<u64>,
    /// Whether forgetting was interrupted: what was not said to be forgotten may be gone.
    forgetting: bool,
    now_ms: u64,
    /// When the log looked at the clock for the rules of single topics since it was opened, and what
    /// came next then: nothing behind that is too old.
    looks: Vec<(u64, u64)>,
}

impl Run {
    pub(crate) fn new(seed: u64, setup: Setup, attended: bool) -> Self {
        let mut run = Self {
            disk: FaultStorage::new(seed),
            setup,
            attended,
            seed,
            log: None,
            upkeep: None,
            epoch: None,
            records: Vec::new(),
            synced: 0,
            unit: 0,
            holes: Vec::new(),
            seen: 1,
            past: Past::default(),
            uncertain: Vec::new(),
            newest_first: 1,
            may_come_back: false,
            first: 1,
            first_bridged: None,
            forgetting: false,
            now_ms: 1000,
            looks: Vec::new(),
        };
        run.open();
        run
    }

    /// Opens, at the second attempt at the latest on a disk that works.
    pub(crate) fn open(&mut self) {
        self.stop();
        self.past.ruled |= !self.setup.rules.is_empty();
        let mut dumped = self.dump();
        let opened = self.try_open().or_else(|error| {
            assert!(
                matches!(error, OpenError::Storage(_) | OpenError::Begin(_)),
                "refused after a crash: {error}"
            );
            if self.disk.is_dead() {
                self.lose_power();
            }
            self.disk.mend();
            dumped = self.dump();
            self.try_open()
        });
        let (mut writer, reader, found) = opened.expect("a log opens on a disk that works");
        self.looks = vec![(self.now_ms, reader.next())];
        let end = self.look_for_holes(&reader);
        self.check_recovered(&writer, &reader, &found, end);
        self.check_dumped(&dumped);
        self.upkeep = self.attended.then(|| writer.upkeep());
        self.log = Some((writer, reader));
        self.judge(&self.disk.files());
        self.check_all();
    }

    /// Where sequences are left out, by the segments' headers. Returns one past the last before those
    /// that are left out behind all records.
    fn look_for_holes(&mut self, reader: &Reader) -> u64 {
        let copy = super::damage::disk_of(&self.disk.files(), 0);
        let report = inspect::verify(&copy, &mut |_| {}).unwrap();
        let holes = report.segments.iter().map(|it| it.follows..it.first);
        self.holes = holes.filter(|hole| !hole.is_empty()).collect();
        self.newest_first = report.segments.last().map_or(0, |newest| newest.first);
        let empty = |it: &&inspect::SegmentReport| it.records == 0 && !it.compacted;
        let newest = report.segments.last().filter(empty);
        newest.map_or(reader.next(), |newest| newest.follows)
    }

    pub(super) fn options(&self) -> Options {
        self.setup.options()
    }

    /// Whether a second reader is asked.
    pub(super) fn is_judged(&self) -> bool {
        self.seed.is_multiple_of(JUDGED_EVERY)
    }

    /// A second reader finds the same, and refuses nothing of it.
    fn judge(&self, files: &[(String, Vec<u8>)]) {
        if self.is_judged() {
            super::judge::judge(files).unwrap();
        }
    }

    /// As a kill does.
    pub(super) fn stop(&mut self) {
        self.log = None;
        self.upkeep = None;
    }

    /// What a dump shows beforehand, opening must keep, and nothing else.
    fn dump(&self) -> Vec<(u64, Vec<u8>)> {
        // Beside the disk, whose failures are for the log.
        let files = self.disk.files();
        self.judge(&files);
        let copy = super::damage::disk_of(&files, 0);
        let dumped = inspect::dump(&copy).unwrap().map(|record| record.unwrap());
        dumped.map(|it| (it.sequence, it.frame.to_vec())).collect()
    }

    fn try_open(&self) -> Result<(Writer, Reader, Recovery), OpenError> {
        let storage = Arc::new(self.disk.clone());
        open(storage, self.setup.options(), "Enew", self.now_ms)
    }

    fn check_recovered(&mut self, writer: &Writer, reader: &Reader, found: &Recovery, end: u64) {
        if self.synced == 0 && found.created {
            // Nothing was acknowledged: the log may never have come to be.
            self.epoch = None;
        }
        let epoch = self.epoch.get_or_insert_with(|| writer.epoch().to_owned());
        assert_eq!(epoch, writer.epoch(), "another epoch");
        if let Some(hole) = &found.left_out {
            assert_eq!(*hole, end..reader.next());
        }
        let mut survived = std::mem::take(&mut self.records);
        let is_left_out = |record: &Rec| self.behind_hole(record.sequence).is_some();
        let is_there = |it: &Rec| it.sequence < end || (it.may_be_gone && is_left_out(it));
        let (there, gone) = self.uncertain.iter().cloned().partition(&is_there);
        survived.extend::<Vec<_>>(there);
        survived.retain(is_there);
        // What is not there may yet come back from the disk, until something is stored behind its
        // segment, or in the place of that.
        let holds_any = survived
            .last()
            .is_some_and(|last| last.sequence >= self.newest_first);
        self.may_come_back = !std::mem::take(&mut self.past.crashed) && holds_any;
        self.uncertain = if self.may_come_back { gone } else { Vec::new() };
        assert!(
            survived.len() >= self.synced,
            "of {} records {} are left",
            self.synced,
            survived.len()
        );
        let whole = survived
            .last()
            .is_none_or(|last| last.ends_group || last.may_be_gone);
        assert!(whole, "a part of a group survived");
        assert!(
            writer.next_sequence() >= self.seen,
            "a sequence is given again"
        );
        self.records = survived;
        self.synced = self.records.len();
        // Of a log that lost all that it had, the first sequence is one behind what it lost.
        let first = self.behind_hole(self.first).unwrap_or(self.first);
        let forgot = std::mem::take(&mut self.forgetting);
        assert!(
            reader.first() <= first || forgot,
            "forgot more than it said"
        );
        let bridged = self.first_bridged.take() == Some(reader.first());
        assert!(
            reader.first() >= self.first || bridged,
            "what was forgotten came back"
        );
        self.first = reader.first();
        assert_eq!(reader.next(), writer.next_sequence());
    }

    fn check_dumped(&self, dumped: &[(u64, Vec<u8>)]) {
        let dumped: HashMap<_, _> = dumped
            .iter()
            .map(|(sequence, it)| (*sequence, it))
            .collect();
        let mut held = 0;
        for record in self.held() {
            match dumped.get(&record.sequence) {
                Some(frame) => assert_eq!(**frame, record.frame),
                None => assert!(record.may_be_gone, "a dump lacks {}", record.sequence),
            }
            held += usize::from(dumped.contains_key(&record.sequence));
        }
        assert_eq!(held, dumped.len(), "a dump shows more than opening");
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        match op {
            Op::Append(groups) => self.append(groups),
            Op::Read {
                choice,
                from,
                limits,
            } => self.read(choice, self.place(*from), *limits),
            Op::Last { choice, n } => self.last(choice, *n),
            Op::AtTime(percent) => self.at_time(*percent),
            Op::FindAlias(alias) => self.find_alias(*alias),
            Op::Marks { ago_ms, max } => self.marks(self.now_ms.saturating_sub(*ago_ms), *max),
            Op::Tick(ms) => self.now_ms += ms,
            Op::TickBack(ms) => self.now_ms = self.now_ms.saturating_sub(*ms).max(1000),
            Op::Retain => self.retain(),
            Op::Upkeep(steps) => self.upkeep(*steps),
            Op::SyncIfDue => self.sync_if_due(),
            Op::Close => self.close(),
            // With what is armed: opening fails too, and is tried again.
            Op::Reopen => self.open(),
            Op::Reconfigure(setup) => {
                self.setup = setup.clone();
                self.open();
            }
            Op::Damage {
                closes,
                segment,
                millionth,
                bit,
                trouble,
            } => self.damage(*closes, (*segment, *millionth, *bit), trouble.as_ref()),
            Op::Crash => self.crash(),
            Op::Fail(call, skip) => self.disk.fail(*call, *skip),
            Op::CutPower(calls) => self.disk.cut_power_after(*calls),
            Op::LeaveRoom(bytes) => self.disk.leave_room(*bytes),
            Op::Mend => self.disk.mend(),
        }
        self.note_synced();
        if self.disk.is_dead() {
            self.crash();
        }
    }

    fn upkeep(&mut self, steps: usize) {
        if let Some(upkeep) = &self.upkeep {
            let _done = (0..steps).take_while(|_| upkeep.step()).count();
        }
    }

    fn sync_if_due(&mut self) {
        let now_ms = self.now_ms;
        let (writer, _) = self.log.as_mut().unwrap();
        let done = writer.sync_if_due(now_ms);
        assert!(matches!(done, Ok(()) | Err(CommitError::Poisoned(_))));
        assert!(done.is_err() || writer.sync_due_in_ms(now_ms) != Some(0));
    }

    fn close(&mut self) {
        self.shut();
        if self.disk.is_dead() {
            self.lose_power();
        }
        self.open();
    }

    /// Closes in good order, if it can.
    pub(super) fn shut(&mut self) {
        let (writer, _) = self.log.take().unwrap();
        if writer.close().is_ok() {
            self.synced = self.records.len();
        }
        self.upkeep(usize::MAX);
    }

    pub(super) fn record(&self, sequence: u64) -> &Rec {
        let place = self
            .records
            .binary_search_by_key(&sequence, |record| record.sequence);
        &self.records[place.expect("a record that was never written")]
    }

    /// All that the writer does not hold for unsynced can be counted on.
    fn note_synced(&mut self) {
        let (writer, _) = self.log.as_ref().unwrap();
        if writer.poisoned().is_none() && writer.sync_due_in_ms(self.now_ms).is_none() {
            self.synced = self.records.len();
        }
    }

    fn lose_power(&mut self) {
        self.disk = self.disk.crash();
        self.past.crashed = true;
    }

    pub(crate) fn crash(&mut self) {
        self.lose_power();
        self.open();
    }

    /// A sequence this far into the log, or a little beyond.
    fn place(&self, percent: u64) -> u64 {
        let (_, reader) = self.log.as_ref().unwrap();
        let records = self.records.len() as u64;
        let place = usize::try_from(records * percent / 100).unwrap();
        let sequence = self.records.get(place).map(|record| record.sequence);
        sequence.unwrap_or(reader.next() + percent % 3)
    }

    /// Where reading goes on, if this is in a hole.
    fn behind_hole(&self, sequence: u64) -> Option<u64> {
        self.behind_holes(sequence).last()
    }

    /// The same, if it stops wherever a hole ends. One may begin there: nothing was stored between two
    /// openings.
    fn behind_holes(&self, sequence: u64) -> impl Iterator<Item = u64> {
        let hole_at = |sequence: u64| {
            let mut holes = self.holes.iter();
            holes
                .find(|hole| hole.contains(&sequence))
                .map(|hole| hole.end)
        };
        std::iter::successors(hole_at(sequence), move |end| hole_at(*end))
    }

    /// What may come back does so at the end of the newest segment only.
    fn note_newest(&mut self) {
        if !self.may_come_back || self.uncertain.is_empty() {
            return;
        }
        let files = self.disk.files();
        let logs = files
            .iter()
            .filter_map(|(name, _)| name.strip_suffix(".log"));
        let newest = logs.filter_map(|first| first.parse().ok()).max();
        if newest.is_some_and(|newest: u64| newest > self.newest_first) {
            self.uncertain.clear();
        }
    }

    fn append(&mut self, groups: &[Vec<Spec>]) {
        let (writer, reader) = self.log.as_mut().unwrap();
        let segments = reader.stats().segments;
        self.unit += usize::from(writer.sync_due_in_ms(self.now_ms).is_none());
        let mut batch = writer.begin(self.now_ms);
        let mut records = Vec::new();
        for group in groups {
            for (place, spec) in group.iter().enumerate() {
                let alias = spec.alias.map(|alias| format!("alias-{alias}"));
                let mark = spec.mark.map(|mark| vec![mark; 5]);
                let expires_ms = spec.expires_in_ms.map(|ms| self.now_ms + ms);
                let ends_group = place + 1 == group.len();
                let head = Head {
                    topics: &spec.topics,
                    alias: alias.as_deref(),
                    key: Some(KEY),
                    expires_ms,
                    mark: mark.as_deref(),
                    continues: !ends_group,
                };
                let mut frame = Vec::new();
                let sequence = batch.push(&head, |sequence, out| {
                    frame = format!("{sequence}:").into_bytes();
                    frame.resize(spec.frame_bytes.max(frame.len()), b'x');
                    out.extend_from_slice(&frame);
                });
                let sequence = sequence.unwrap();
                let topics = spec.topics.clone();
                records.push(Rec {
                    sequence,
                    time_ms: batch.time_ms(),
                    expires_ms,
                    topics,
                    alias,
                    mark,
                    frame,
                    ends_group,
                    unit: self.unit,
                    may_be_gone: false,
                });
            }
        }
        let before = reader.next();
        match writer.commit(batch) {
            Ok(committed) => {
                let frames: Vec<_> = committed
                    .frames
                    .iter()
                    .map(|frame| frame.to_vec())
                    .collect();
                let expected: Vec<_> = records.iter().map(|record| record.frame.clone()).collect();
                assert_eq!(frames, expected);
                assert_eq!(committed.first, before);
                assert_eq!(committed.last + 1, reader.next());
                self.seen = reader.next();
                self.uncertain.clear();
                if reader.stats().segments != segments {
                    self.unit += 1;
                    for record in &mut records {
                        record.unit = self.unit;
                    }
                }
                self.records.extend(records);
            }
            Err(CommitError::Poisoned(_)) => {
                assert_eq!(reader.next(), before, "shown though not durable");
                self.note_newest();
                // A later attempt did not reach the disk.
                if self.uncertain.is_empty() {
                    self.uncertain = records;
                    self.may_come_back = false;
                }
            }
            Err(CommitError::Full(_) | CommitError::Write(_)) => assert_eq!(reader.next(), before),
            Err(error) => panic!("{error}"),
        }
    }

    fn held(&self) -> impl DoubleEndedIterator<Item = &Rec> {
        let first = self.first;
        self.records
            .iter()
            .filter(move |record| record.sequence >= first)
    }

    /// Whether nothing is hidden, and nothing left out.
    fn is_plain(&self) -> bool {
        !self.past.ruled && !self.past.repaired
    }

    fn is_chosen(choice: &Choice, record: &Rec) -> bool {
        record.topics.iter().any(|topic| choice.matches(topic))
    }

    /// What is held of the wanted records, and whether each has to be there.
    fn wanted<'a>(
        &'a self,
        choice: &'a Choice,
    ) -> impl DoubleEndedIterator<Item = (&'a Rec, bool)> {
        let kept: Vec<_> = TOPICS.iter().map(|topic| self.kept_from(topic)).collect();
        self.held().filter_map(move |record| {
            let chosen = TOPICS.iter().zip(&kept);
            let chosen =
                chosen.filter(|(topic, _)| record.topics.contains(topic) && choice.matches(topic));
            let from = chosen.map(|(_, from)| *from);
            let (least, most) =
                from.reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)))?;
            let surely = record.sequence >= most && !record.may_be_gone;
            (record.sequence >= least).then_some((record, surely))
        })
    }

    /// From which sequence on a topic may be shown, and from which on it has to be, where it is held.
    fn kept_from(&self, topic: &str) -> (u64, u64) {
        let Some(rule) = self.setup.rule(topic) else {
            let (_, reader) = self.log.as_ref().unwrap();
            let whole_from = if self.past.ruled {
                reader.stats().whole_from
            } else {
                self.first
            };
            // What is damaged and was compacted before does not say any more that it was.
            let least = if self.past.repaired {
                self.first
            } else {
                whole_from
            };
            return (least, whole_from);
        };
        // What is gone takes no room, and is no longer the first that is not too old.
        let is_there = |record: &Rec| !record.may_be_gone;
        let least = self.kept_by(rule, topic, is_there, |_| true);
        (least, self.kept_by(rule, topic, |_| true, is_there))
    }

    fn kept_by(
        &self,
        rule: &Rule,
        topic: &str,
        counts: impl Fn(&Rec) -> bool,
        tells_time: impl Fn(&Rec) -> bool,
    ) -> u64 {
        let (bytes_max, events_max, age_ms_max) = rule.limits;
        let young = |record: &Rec| {
            let is_young = |(looked_ms, next): &(u64, u64)| {
                let age_ms = looked_ms.saturating_sub(record.time_ms);
                record.sequence >= *next || age_ms_max.is_none_or(|max| age_ms <= max)
            };
            self.looks.iter().all(is_young)
        };
        let of_topic = self
            .records
            .iter()
            .rev()
            .filter(|it| it.topics.contains(&topic));
        let young_from = self.held().find(|it| tells_time(it) && young(it));
        let young_from = young_from.map_or(u64::MAX, |record| record.sequence);
        let mut bytes = 0;
        for (place, record) in of_topic.filter(|it| counts(it)).enumerate() {
            let too_large = place > 0 && bytes_max.is_some_and(|max| bytes >= max);
            bytes += record.bytes();
            let too_many = events_max.is_some_and(|max| place as u64 >= max);
            if too_large || too_many {
                return young_from.max(record.sequence + 1);
            }
        }
        young_from
    }

    /// Notes what a compaction may take away now; one that was `interrupted` may have come further than
    /// is seen.
    fn note_forgettable(&mut self, interrupted: bool) {
        if !self.past.ruled {
            return;
        }
        let everything = Choice::Prefix("");
        let (bytes_max, events_max, age_ms_max) = self.setup.limits;
        let newest = self
            .records
            .len()
            .saturating_sub(events_max.map_or(usize::MAX, |max| usize::try_from(max).unwrap()));
        let newest = self
            .records
            .get(newest)
            .map_or(u64::MAX, |record| record.sequence);
        let now_ms = self.now_ms;
        let ruled = TOPICS
            .iter()
            .filter(|topic| self.setup.rule(topic).is_some());
        let ruled: Vec<_> = ruled
            .map(|topic| (topic, self.kept_from(topic).1))
            .collect();
        let is_ruled = |record: &Rec| {
            let mut topics = ruled.iter();
            topics.any(|(topic, from)| record.topics.contains(topic) && record.sequence >= *from)
        };
        let is_kept = |record: &Rec| {
            let young = age_ms_max.is_none_or(|max| now_ms.saturating_sub(record.time_ms) <= max);
            is_ruled(record) || (bytes_max.is_none() && record.sequence >= newest && young)
        };
        let kept: HashSet<u64> = self
            .wanted(&everything)
            .filter(|(record, surely)| *surely && (!interrupted || is_kept(record)))
            .map(|(record, _)| record.sequence)
            .collect();
        for record in &mut self.records {
            record.may_be_gone |= !kept.contains(&record.sequence);
        }
    }

    fn read(
        &self,
        choice: &Choice,
        from: u64,
        (bytes_max, records_max, scan_bytes_max): (usize, usize, u64),
    ) {
        let (_, reader) = self.log.as_ref().unwrap();
        let limits = ReadLimits {
            bytes_max,
            records_max,
            scan_bytes_max,
        };
        let page = match reader.read(choice, from, limits) {
            Ok(page) => page,
            Err(ReadError::Forgotten { first }) => {
                assert!(from < self.first && first == self.first);
                return;
            }
            Err(ReadError::Lost { next }) => {
                assert!(self.behind_holes(from).any(|end| end == next));
                return;
            }
            Err(ReadError::Io(_)) => return,
            Err(error) => panic!("{error}"),
        };
        assert!(from >= self.first);
        assert!(
            page.next >= from && (page.next > from || from >= reader.next()),
            "no progress"
        );
        let read = from..page.next;
        let found: Vec<_> = page.frames.iter().map(|stored| stored.sequence).collect();
        let in_page = |record: &Rec| read.contains(&record.sequence);
        let wanted = self.wanted(choice).filter(|(record, _)| in_page(record));
        let expected = Self::expected(wanted, &found);
        let mut all = self.held().filter(|it| Self::is_chosen(choice, it));
        let gone = all.rfind(|it| in_page(it) && !found.contains(&it.sequence));
        let told = page.forgotten_before.unwrap_or(0);
        assert!(
            gone.is_none_or(|gone| gone.sequence < told),
            "a gap is hidden"
        );
        assert!(told == 0 || !self.is_plain());
        let bytes: usize = expected.iter().map(|record| record.frame.len()).sum();
        assert!(expected.len() <= 1 || (bytes <= bytes_max && expected.len() <= records_max));
        for (found, expected) in page.frames.iter().zip(expected) {
            assert_eq!(found.sequence, expected.sequence);
            assert_eq!(found.time_ms, expected.time_ms);
            assert_eq!(found.expires_ms, expected.expires_ms);
            assert_eq!(found.frame, expected.frame);
        }
    }

    /// The wanted records that were found; none is lacking, and there are no others.
    fn expected<'a>(wanted: impl Iterator<Item = (&'a Rec, bool)>, found: &[u64]) -> Vec<&'a Rec> {
        let is_found = |record: &Rec| found.binary_search(&record.sequence).is_ok();
        let wanted = wanted.filter(|(record, must)| *must || is_found(record));
        let expected: Vec<_> = wanted.map(|(record, _)| record).collect();
        let sequences = expected.iter().map(|record| record.sequence);
        assert_eq!(sequences.collect::<Vec<_>>(), found);
        expected
    }

    fn last(&self, choice: &Choice, n: u64) {
        let (_, reader) = self.log.as_ref().unwrap();
        let found = match reader.last(choice, n, self.now_ms) {
            Ok(found) => found,
            Err(ReadError::Io(_)) => return,
            Err(error) => panic!("{error}"),
        };
        let now_ms = self.now_ms;
        let live = |record: &Rec| {
            record
                .expires_ms
                .is_none_or(|expires_ms| expires_ms > now_ms)
        };
        let wanted: Vec<_> = self.wanted(choice).filter(|(it, _)| live(it)).collect();
        let surely = wanted.iter().filter(|(_, must)| *must);
        let behind = |(record, _): &&(&Rec, bool)| record.sequence >= found;
        let surely_behind = surely.clone().filter(behind).count() as u64;
        let behind = wanted.iter().filter(behind).count() as u64;
        assert!(surely_behind <= n, "more than asked for");
        assert!(behind >= n.min(surely.count() as u64), "less than there is");
    }

    fn at_time(&self, percent: u64) {
        let (_, reader) = self.log.as_ref().unwrap();
        let ms = 1000 + (self.now_ms - 1000) * percent / 100;
        if !self.is_plain() {
            // It may be a record that is hidden, or one before what is left.
            if let Ok(found) = reader.at_time(ms) {
                let everything = Choice::Prefix("");
                let mut young = self.wanted(&everything).filter(|(it, _)| it.time_ms >= ms);
                assert!(young.all(|(record, must)| record.sequence >= found || !must));
            }
            return;
        }
        let expected = self.held().find(|record| record.time_ms >= ms);
        let mut expected = expected.map_or(reader.next(), |record| record.sequence);
        // What was left out in front of it may not be older either.
        let in_front = |end: u64| self.holes.iter().find(|hole| hole.end == end);
        while let Some(hole) = in_front(expected).filter(|_| expected > self.first) {
            expected = hole.start;
        }
        match reader.at_time(ms) {
            Ok(found) => assert_eq!(found, expected),
            Err(ReadError::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn find_alias(&self, alias: u8) {
        let (_, reader) = self.log.as_ref().unwrap();
        if !self.is_plain() {
            // What is hidden can be found, and what was left out cannot.
            return;
        }
        let alias = format!("alias-{alias}");
        let mut expected = self.held().rev();
        let expected = expected.find(|record| record.alias.as_ref() == Some(&alias));
        match reader.find_alias(&alias) {
            Ok(found) => {
                assert_eq!(found.sequence, expected.map(|record| record.sequence));
                assert_eq!(found.doubt, None);
            }
            Err(ReadError::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn marks(&self, since_ms: u64, max: usize) {
        let (_, reader) = self.log.as_ref().unwrap();
        if !self.is_plain() {
            return;
        }
        let mut expected: Vec<_> = self
            .held()
            .rev()
            .filter(|record| record.time_ms >= since_ms)
            .filter_map(|record| Some((record.sequence, record.mark.clone()?)))
            .take(max)
            .collect();
        expected.reverse();
        match reader.marks(since_ms, max) {
            Ok(found) => {
                assert_eq!(found.unread, []);
                let marks = found.marks.into_iter();
                let found = marks.map(|mark| (mark.sequence, mark.bytes.to_vec()));
                assert_eq!(found.collect::<Vec<_>>(), expected);
            }
            Err(ReadError::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn retain(&mut self) {
        let now_ms = self.now_ms;
        let (writer, reader) = self.log.as_mut().unwrap();
        let before = reader.stats();
        let poisoned = writer.poisoned().is_some();
        let done = writer.retain(now_ms);
        let (first, next) = (reader.first(), reader.next());
        self.forgetting |= done.is_err();
        if self.past.ruled && done.is_err() && !poisoned {
            // Whether it came so far as to look at the clock is not known; an opening does.
            self.first = first;
            self.note_forgettable(true);
            self.looks.push((now_ms, next));
            self.note_forgettable(true);
            return self.open();
        }
        if !poisoned {
            self.looks.push((now_ms, reader.next()));
        }
        self.note_forgettable(false);
        let (_, reader) = self.log.as_ref().unwrap();
        let after = reader.stats();
        assert!(after.first >= before.first && after.next == before.next);
        self.first = after.first;
        let Ok(retained) = done else { return };
        if !self.is_plain() {
            return;
        }
        assert_eq!(retained.first, after.first);
        assert_eq!(retained.records, before.records - after.records);
        let (bytes_max, events_max, age_ms_max) = self.setup.limits;
        if let Some(bytes_max) = bytes_max {
            assert!(
                after.bytes <= bytes_max || after.segments == 1,
                "holds too many bytes"
            );
        }
        if let (Some(events_max), None, None) = (events_max, age_ms_max, bytes_max) {
            assert!(
                after.records >= events_max.min(before.records),
                "forgot too much"
            );
        }
        if let (Some(age_ms_max), None, None) = (age_ms_max, bytes_max, events_max) {
            let forgotten = before.first..after.first;
            let forgotten = self
                .records
                .iter()
                .filter(|record| forgotten.contains(&record.sequence));
            let oldest_ms = self.now_ms.saturating_sub(age_ms_max);
            assert!(
                forgotten
                    .into_iter()
                    .all(|record| record.time_ms < oldest_ms),
                "forgot too early"
            );
        }
    }

    /// Reads everything, a page at a time.
    pub(crate) fn check_all(&self) {
        let (_, reader) = self.log.as_ref().unwrap();
        for choice in [Choice::Prefix(""), Choice::Exact(TOPICS.to_vec())] {
            let mut cursor = self.first;
            let (mut found, mut frames) = (Vec::new(), Vec::new());
            loop {
                let page = match reader.read(&choice, cursor, ReadLimits::default()) {
                    Ok(page) => page,
                    Err(ReadError::Lost { next }) => {
                        assert!(self.behind_holes(cursor).any(|end| end == next));
                        cursor = next;
                        continue;
                    }
                    Err(ReadError::Io(_)) => return,
                    Err(error) => panic!("{error}"),
                };
                found.extend(page.frames.iter().map(|stored| stored.sequence));
                frames.extend(page.frames.iter().map(|stored| stored.frame.to_vec()));
                if page.next == cursor {
                    break;
                }
                cursor = page.next;
            }
            let expected = Self::expected(self.wanted(&choice), &found);
            let expected: Vec<_> = expected.iter().map(|record| &record.frame).collect();
            assert_eq!(frames.iter().collect::<Vec<_>>(), expected);
        }
    }
}
