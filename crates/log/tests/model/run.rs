//! The log and the vector side by side.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use tidings_log::{
    CommitError, FaultStorage, Head, OpenError, Options, ReadError, ReadLimits, Reader, Recovery,
    Retention, Upkeep, Writer, inspect, open,
};

use super::{Choice, Op, Spec, TOPICS, is_ruled};
use tidings_log::Select;

#[derive(Clone, Debug, PartialEq)]
struct Rec {
    sequence: u64,
    time_ms: u64,
    expires_ms: Option<u64>,
    topics: Vec<&'static str>,
    alias: Option<String>,
    mark: Option<Vec<u8>>,
    frame: Vec<u8>,
    ends_group: bool,
}

/// The log and the vector side by side.
pub(crate) struct Run {
    pub(crate) disk: FaultStorage,
    options: Options,
    attended: bool,
    log: Option<(Writer, Reader)>,
    upkeep: Option<Upkeep>,
    epoch: Option<String>,
    /// All that was ever acknowledged, also what retention took away.
    records: Vec<Rec>,
    /// How many of them a loss of power cannot take.
    synced: usize,
    /// Sequences that were left out, since they may have been given before.
    holes: Vec<Range<u64>>,
    /// One past the newest sequence that anybody has seen.
    seen: u64,
    /// A batch of which nobody knows whether it was stored.
    uncertain: Vec<Rec>,
    first: u64,
    /// Whether forgetting was interrupted: what was not said to be forgotten may be gone.
    forgetting: bool,
    now_ms: u64,
    /// When the log last looked at the clock for the rules of single topics.
    looked_ms: u64,
}

impl Run {
    pub(crate) fn new(seed: u64, options: Options, attended: bool) -> Self {
        let mut run = Self {
            disk: FaultStorage::new(seed),
            options,
            attended,
            log: None,
            upkeep: None,
            epoch: None,
            records: Vec::new(),
            synced: 0,
            holes: Vec::new(),
            seen: 1,
            uncertain: Vec::new(),
            first: 1,
            forgetting: false,
            now_ms: 1000,
            looked_ms: 1000,
        };
        run.open();
        run
    }

    /// Opens, at the second attempt at the latest on a disk that works.
    pub(crate) fn open(&mut self) {
        self.log = None;
        self.upkeep = None;
        let mut dumped = self.dump();
        let opened = self.try_open().or_else(|error| {
            assert!(
                matches!(error, OpenError::Storage(_) | OpenError::Begin(_)),
                "refused after a crash: {error}"
            );
            if self.disk.is_dead() {
                self.disk = self.disk.crash();
            }
            self.disk.mend();
            dumped = self.dump();
            self.try_open()
        });
        self.looked_ms = self.now_ms;
        let (mut writer, reader, found) = opened.expect("a log opens on a disk that works");
        self.check_recovered(&writer, &reader, &found);
        self.check_dumped(&dumped);
        self.upkeep = self.attended.then(|| writer.upkeep());
        self.log = Some((writer, reader));
        self.check_all();
    }

    /// What a dump shows beforehand, opening must keep, and nothing else.
    fn dump(&self) -> Vec<(u64, Vec<u8>)> {
        // Beside the disk, whose failures are for the log.
        let copy = FaultStorage::new(0);
        for (name, bytes) in self.disk.files() {
            copy.put(&name, bytes);
        }
        let dumped = inspect::dump(&copy).unwrap().map(|record| record.unwrap());
        dumped.map(|it| (it.sequence, it.frame.to_vec())).collect()
    }

    fn try_open(&self) -> Result<(Writer, Reader, Recovery), OpenError> {
        let storage = Arc::new(self.disk.clone());
        open(storage, self.options.clone(), "Enew", self.now_ms)
    }

    fn check_recovered(&mut self, writer: &Writer, reader: &Reader, found: &Recovery) {
        if self.synced == 0 && found.created {
            // Nothing was acknowledged: the log may never have come to be.
            self.epoch = None;
        }
        let epoch = self.epoch.get_or_insert_with(|| writer.epoch().to_owned());
        assert_eq!(epoch, writer.epoch(), "another epoch");
        let end = match &found.left_out {
            Some(hole) => {
                self.holes.push(hole.clone());
                hole.start
            }
            None => reader.next(),
        };
        let mut survived = std::mem::take(&mut self.records);
        survived.append(&mut self.uncertain);
        survived.retain(|record| record.sequence < end);
        assert!(
            survived.len() >= self.synced,
            "of {} records {} are left",
            self.synced,
            survived.len()
        );
        let whole = survived.last().is_none_or(|last| last.ends_group);
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
        assert!(reader.first() >= self.first, "what was forgotten came back");
        self.first = reader.first();
        assert_eq!(reader.next(), writer.next_sequence());
    }

    fn check_dumped(&self, dumped: &[(u64, Vec<u8>)]) {
        let held = self.held().map(|record| (record.sequence, &record.frame));
        if self.is_ruled() {
            // Of what is hidden some is there still.
            let held: HashMap<_, _> = held.collect();
            let is_held = |(sequence, frame)| held.get(sequence) == Some(&frame);
            assert!(
                dumped
                    .iter()
                    .map(|(sequence, frame)| (sequence, frame))
                    .all(is_held)
            );
        } else {
            let dumped = dumped.iter().map(|(sequence, frame)| (*sequence, frame));
            assert!(dumped.eq(held), "a dump shows something else than opening");
        }
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
            // What an age has forgotten does not come back with the clock.
            Op::TickBack(_) if self.is_ruled() => {}
            Op::TickBack(ms) => self.now_ms = self.now_ms.saturating_sub(*ms).max(1000),
            Op::Retain => self.retain(),
            Op::Upkeep(steps) => self.upkeep(*steps),
            Op::SyncIfDue => self.sync_if_due(),
            Op::Close => self.close(),
            // With what is armed: opening fails too, and is tried again.
            Op::Reopen => self.open(),
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
        let (writer, _) = self.log.take().unwrap();
        if writer.close().is_ok() {
            self.synced = self.records.len();
        }
        self.upkeep(usize::MAX);
        if self.disk.is_dead() {
            self.disk = self.disk.crash();
        }
        self.open();
    }

    /// All that the writer does not hold for unsynced can be counted on.
    fn note_synced(&mut self) {
        let (writer, _) = self.log.as_ref().unwrap();
        if writer.poisoned().is_none() && writer.sync_due_in_ms(self.now_ms).is_none() {
            self.synced = self.records.len();
        }
    }

    pub(crate) fn crash(&mut self) {
        self.disk = self.disk.crash();
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
        let mut behind = None;
        for hole in &self.holes {
            // One may begin where another ends: nothing was stored between two openings.
            if hole.contains(&behind.unwrap_or(sequence)) {
                behind = Some(hole.end);
            }
        }
        behind
    }

    fn append(&mut self, groups: &[Vec<Spec>]) {
        let (writer, reader) = self.log.as_mut().unwrap();
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
                    key: Some("key"),
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
                self.records.extend(records);
            }
            Err(CommitError::Poisoned(_)) => {
                assert_eq!(reader.next(), before, "shown though not durable");
                // A later attempt did not reach the disk.
                if self.uncertain.is_empty() {
                    self.uncertain = records;
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

    fn is_ruled(&self) -> bool {
        !self.options.retention.topics.is_empty()
    }

    fn is_chosen(choice: &Choice, record: &Rec) -> bool {
        record.topics.iter().any(|topic| choice.matches(topic))
    }

    fn wanted<'a>(&'a self, choice: &'a Choice) -> impl DoubleEndedIterator<Item = &'a Rec> {
        let kept: Vec<_> = TOPICS.iter().map(|topic| self.kept_from(topic)).collect();
        let is_kept = move |topic: &str, sequence: u64| {
            let place = TOPICS.iter().position(|it| *it == topic);
            place.is_some_and(|place| sequence >= kept[place])
        };
        self.held().filter(move |record| {
            let mut topics = record.topics.iter();
            topics.any(|topic| choice.matches(topic) && is_kept(topic, record.sequence))
        })
    }

    /// From which sequence on a topic is kept.
    fn kept_from(&self, topic: &str) -> u64 {
        let (_, reader) = self.log.as_ref().unwrap();
        let rules = &self.options.retention.topics;
        let Some(rule) = rules.first().filter(|_| is_ruled(topic)) else {
            return reader.stats().whole_from;
        };
        let young = |record: &&Rec| {
            let age_ms = self.looked_ms.saturating_sub(record.time_ms);
            rule.age_ms_max.is_none_or(|max| age_ms <= max)
        };
        let mut of_topic = self.records.iter().filter(|it| it.topics.contains(&topic));
        let young_from = self.records.iter().find(young);
        let young_from = young_from.map_or(u64::MAX, |record| record.sequence);
        let skip = rule.events_max.map(|max| usize::try_from(max).unwrap() - 1);
        let newest = skip.and_then(|skip| of_topic.nth_back(skip));
        newest.map_or(0, |record| record.sequence).max(young_from)
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
                assert_eq!(self.behind_hole(from), Some(next));
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
        let expected: Vec<_> = self
            .wanted(choice)
            .filter(|record| read.contains(&record.sequence))
            .collect();
        let mut all = self.held().filter(|it| Self::is_chosen(choice, it));
        let gone = all.rfind(|it| read.contains(&it.sequence) && !expected.contains(it));
        let told = page.forgotten_before.unwrap_or(0);
        assert!(
            gone.is_none_or(|gone| gone.sequence < told),
            "a gap is hidden"
        );
        assert!(told == 0 || self.is_ruled());
        let bytes: usize = expected.iter().map(|record| record.frame.len()).sum();
        assert!(expected.len() <= 1 || (bytes <= bytes_max && expected.len() <= records_max));
        assert_eq!(page.frames.len(), expected.len());
        for (found, expected) in page.frames.iter().zip(expected) {
            assert_eq!(found.sequence, expected.sequence);
            assert_eq!(found.time_ms, expected.time_ms);
            assert_eq!(found.expires_ms, expected.expires_ms);
            assert_eq!(found.frame, expected.frame);
        }
    }

    fn last(&self, choice: &Choice, n: u64) {
        let (_, reader) = self.log.as_ref().unwrap();
        let found = match reader.last(choice, n, self.now_ms) {
            Ok(found) => found,
            Err(ReadError::Io(_)) => return,
            Err(error) => panic!("{error}"),
        };
        let now_ms = self.now_ms;
        let live = |record: &&Rec| {
            record
                .expires_ms
                .is_none_or(|expires_ms| expires_ms > now_ms)
        };
        let total = self.wanted(choice).filter(live).count() as u64;
        let remaining = self
            .wanted(choice)
            .filter(live)
            .filter(|record| record.sequence >= found)
            .count();
        assert_eq!(remaining as u64, n.min(total));
    }

    fn at_time(&self, percent: u64) {
        let (_, reader) = self.log.as_ref().unwrap();
        let ms = 1000 + (self.now_ms - 1000) * percent / 100;
        if self.is_ruled() {
            // It may be a record that is hidden, or one before what is left.
            if let Ok(found) = reader.at_time(ms) {
                let everything = Choice::Prefix("");
                let mut young = self.wanted(&everything).filter(|it| it.time_ms >= ms);
                assert!(young.all(|record| record.sequence >= found));
            }
            return;
        }
        let expected = self.held().find(|record| record.time_ms >= ms);
        let expected = expected.map_or(reader.next(), |record| record.sequence);
        match reader.at_time(ms) {
            Ok(found) => assert_eq!(found, expected),
            Err(ReadError::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn find_alias(&self, alias: u8) {
        let (_, reader) = self.log.as_ref().unwrap();
        if self.is_ruled() {
            // What is hidden can be found, and what was left out cannot.
            return;
        }
        let alias = format!("alias-{alias}");
        let mut expected = self.held().rev();
        let expected = expected.find(|record| record.alias.as_ref() == Some(&alias));
        match reader.find_alias(&alias) {
            Ok(found) => assert_eq!(found, expected.map(|record| record.sequence)),
            Err(ReadError::Io(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn marks(&self, since_ms: u64, max: usize) {
        let (_, reader) = self.log.as_ref().unwrap();
        if self.is_ruled() {
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
                let found = found
                    .into_iter()
                    .map(|mark| (mark.sequence, mark.bytes.to_vec()));
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
        let first = reader.first();
        self.forgetting |= done.is_err();
        if self.is_ruled() && done.is_err() && !poisoned {
            // Whether it came so far as to look at the clock is not known; an opening does.
            self.first = first;
            return self.open();
        }
        self.looked_ms = if poisoned { self.looked_ms } else { now_ms };
        let (_, reader) = self.log.as_ref().unwrap();
        let after = reader.stats();
        assert!(after.first >= before.first && after.next == before.next);
        self.first = after.first;
        let Ok(retained) = done else { return };
        if self.is_ruled() {
            return;
        }
        assert_eq!(retained.first, after.first);
        assert_eq!(retained.records, before.records - after.records);
        if let Some(bytes_max) = self.options.retention.bytes_max {
            assert!(
                after.bytes <= bytes_max || after.segments == 1,
                "holds too many bytes"
            );
        }
        if let Some(events_max) = self.options.retention.events_max {
            let others = &self.options.retention;
            if others.age_ms_max.is_none() && others.bytes_max.is_none() {
                assert!(
                    after.records >= events_max.min(before.records),
                    "forgot too much"
                );
            }
        }
        let Retention {
            bytes_max,
            events_max,
            age_ms_max,
            ..
        } = self.options.retention;
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
            let mut found = Vec::new();
            loop {
                let page = match reader.read(&choice, cursor, ReadLimits::default()) {
                    Ok(page) => page,
                    Err(ReadError::Lost { next }) => {
                        assert_eq!(self.behind_hole(cursor), Some(next));
                        cursor = next;
                        continue;
                    }
                    Err(ReadError::Io(_)) => return,
                    Err(error) => panic!("{error}"),
                };
                found.extend(page.frames.iter().map(|stored| stored.frame.to_vec()));
                if page.next == cursor {
                    break;
                }
                cursor = page.next;
            }
            let expected: Vec<_> = self
                .wanted(&choice)
                .map(|record| record.frame.clone())
                .collect();
            assert_eq!(found, expected);
        }
    }
}
