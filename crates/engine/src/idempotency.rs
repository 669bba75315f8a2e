//! Which requests were committed already, by their idempotency key.
//!
//! The first record of each group carries a mark in the log, so the table is rebuilt when the log
//! is opened. A key is remembered for [`Limits::idempotency_ms_max`] and while there are at most
//! [`Limits::idempotency_keys_max`] of them.

use std::collections::{HashMap, VecDeque};

use smallvec::SmallVec;

use crate::{
    limits::Limits,
    publish::{Idempotency, NewEvent, Publish, PublishError, Run},
    sync::Arc,
};

/// Groups remembered for one key; a request of more must use several keys.
const GROUPS_PER_KEY_MAX: usize = 65_536;

#[derive(Debug, Default)]
pub(crate) struct Table {
    keys: HashMap<Arc<str>, Entry>,
    /// Every key once for each time that it was touched, oldest first.
    by_age: VecDeque<(u64, Arc<str>)>,
    keys_max: usize,
    age_ms_max: u64,
}

#[derive(Debug)]
struct Entry {
    runs: SmallVec<[Run; 1]>,
    /// How many events of the request are committed: always its first ones.
    events: u64,
    /// The fingerprint of those.
    fingerprint: u64,
    whole: bool,
    touched_ms: u64,
}

/// What of a group is in the log already.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Known {
    /// Nothing.
    New,
    /// Its first events, and where.
    Prefix(SmallVec<[Run; 1]>),
}

impl Table {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            keys_max: limits.idempotency_keys_max,
            age_ms_max: limits.idempotency_ms_max,
            ..Self::default()
        }
    }

    /// What is known of a group that is about to be committed.
    pub(crate) fn look_up(&self, publish: &Publish) -> Result<Known, PublishError> {
        let Some(request) = &publish.idempotency else {
            return Ok(Known::New);
        };
        let Some(entry) = self.keys.get(&request.key) else {
            return if request.offset == 0 {
                Ok(Known::New)
            } else {
                Err(PublishError::OutOfTurn)
            };
        };
        let events = publish.events.len() as u64;
        if entry.whole != request.whole || (entry.whole && entry.events != events) {
            return Err(PublishError::KeyReused);
        }
        if request.offset > entry.events {
            return Err(PublishError::OutOfTurn);
        }
        if entry.runs.len() >= GROUPS_PER_KEY_MAX && request.offset + events > entry.events {
            return Err(PublishError::KeyReused);
        }
        let known = (entry.events - request.offset).min(events);
        if request.offset + known == entry.events && !entry.agrees(request, &publish.events, known)
        {
            return Err(PublishError::KeyReused);
        }
        Ok(Known::Prefix(entry.slice(request.offset, known)))
    }

    /// Remembers that the events of `request` from `mark.offset` on are at `run`.
    pub(crate) fn record(&mut self, mark: &Mark, run: Run, now_ms: u64) {
        let known = self.keys.get(mark.key).map_or(0, |entry| entry.events);
        if mark.offset == 0 {
            // The key was forgotten and used again; at opening both uses are read.
            self.keys.remove(mark.key);
        } else if mark.offset != known {
            return; // The request's beginning is forgotten, and so is the request.
        }
        let key: Arc<str> = mark.key.into();
        let mut is_new = false;
        let entry = self.keys.entry(key.clone()).or_insert_with(|| {
            is_new = true;
            Entry {
                runs: SmallVec::new(),
                events: 0,
                fingerprint: 0,
                whole: mark.whole,
                touched_ms: now_ms,
            }
        });
        entry.append(run);
        entry.fingerprint = mark.fingerprint;
        // Often enough that a long stream is not forgotten, seldom enough to cost nothing.
        if is_new || now_ms >= entry.touched_ms.saturating_add(self.age_ms_max / 8 + 1) {
            entry.touched_ms = now_ms;
            self.by_age.push_back((now_ms, key));
        }
        self.forget(now_ms);
    }

    /// Takes back what a commit that failed had recorded: all from `sequence` on.
    pub(crate) fn undo_from(&mut self, sequence: u64) {
        self.keys.retain(|_, entry| {
            if entry.cut(sequence) {
                entry.fingerprint = UNKNOWN;
            }
            entry.events > 0
        });
    }

    fn forget(&mut self, now_ms: u64) {
        while let Some((touched_ms, _)) = self.by_age.front() {
            let expired = touched_ms.saturating_add(self.age_ms_max) < now_ms;
            if !expired && self.keys.len() <= self.keys_max {
                break;
            }
            let Some((touched_ms, key)) = self.by_age.pop_front() else {
                break;
            };
            if self
                .keys
                .get(&key)
                .is_some_and(|entry| entry.touched_ms == touched_ms)
            {
                self.keys.remove(&key);
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }
}

/// The fingerprint after a failed commit: it agrees with anything.
const UNKNOWN: u64 = 0;

impl Entry {
    /// Whether the request's events up to where this entry ends are those that were committed.
    fn agrees(&self, request: &Idempotency, events: &[NewEvent], known: u64) -> bool {
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let fingerprint = events
            .iter()
            .take(known)
            .fold(request.fingerprint, |seed, event| event.fingerprint(seed));
        self.fingerprint == UNKNOWN || fingerprint == self.fingerprint
    }

    /// Takes away all from `sequence` on, and says whether there was any. Groups of this key that
    /// were in the log before stay known, though a run may go on from one of them into what is cut.
    fn cut(&mut self, sequence: u64) -> bool {
        let before = self.events;
        for run in &mut self.runs {
            run.count = run.count.min(sequence.saturating_sub(run.first));
        }
        self.runs.retain(|run| run.count > 0);
        self.events = self.runs.iter().map(|run| run.count).sum();
        self.events < before
    }

    fn append(&mut self, run: Run) {
        self.events += run.count;
        match self.runs.last_mut() {
            Some(last) if last.first + last.count == run.first => last.count += run.count,
            _ => self.runs.push(run),
        }
    }

    /// The runs of `count` events from `offset` on.
    fn slice(&self, offset: u64, count: u64) -> SmallVec<[Run; 1]> {
        let (mut skip, mut want) = (offset, count);
        let mut slice = SmallVec::new();
        for run in &self.runs {
            let skipped = skip.min(run.count);
            skip -= skipped;
            let taken = (run.count - skipped).min(want);
            want -= taken;
            if taken > 0 {
                slice.push(Run {
                    first: run.first + skipped,
                    count: taken,
                });
            }
        }
        slice
    }
}

/// What the log keeps of a request, in the first record of each of its groups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mark<'a> {
    pub(crate) key: &'a str,
    pub(crate) offset: u64,
    pub(crate) count: u64,
    /// Of this group and all before it.
    pub(crate) fingerprint: u64,
    pub(crate) whole: bool,
}

const MARK_VERSION: u8 = 1;

impl<'a> Mark<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![MARK_VERSION, u8::from(self.whole)];
        for number in [self.offset, self.count, self.fingerprint] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(self.key.as_bytes());
        bytes
    }

    /// `None` for a mark of another version, or one that this code did not write.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&[MARK_VERSION, whole], rest) = bytes.split_first_chunk()? else {
            return None;
        };
        let (offset, rest) = rest.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (fingerprint, key) = rest.split_first_chunk()?;
        Some(Self {
            key: std::str::from_utf8(key).ok()?,
            offset: u64::from_le_bytes(*offset),
            count: u64::from_le_bytes(*count),
            fingerprint: u64::from_le_bytes(*fingerprint),
            whole: whole == 1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(key: &str, offset: u64, fingerprint: u64, whole: bool, data: &[&str]) -> Publish {
        let events = data
            .iter()
            .map(|data| NewEvent::new("t".parse().unwrap(), data))
            .collect();
        let idempotency = Some(Idempotency {
            key: key.into(),
            offset,
            fingerprint,
            whole,
        });
        Publish {
            events,
            idempotency,
        }
    }

    fn record(table: &mut Table, publish: &Publish, first: u64, now_ms: u64) {
        let request = publish.idempotency.as_ref().unwrap();
        let count = publish.events.len() as u64;
        let mark = Mark {
            key: &request.key,
            offset: request.offset,
            count,
            fingerprint: publish.fingerprint(),
            whole: request.whole,
        };
        let encoded = mark.encode();
        assert_eq!(Mark::decode(&encoded), Some(Mark { ..mark }));
        table.record(
            &Mark::decode(&encoded).unwrap(),
            Run { first, count },
            now_ms,
        );
    }

    fn prefix(runs: &[(u64, u64)]) -> Known {
        let run = |&(first, count): &(u64, u64)| Run { first, count };
        Known::Prefix(runs.iter().map(run).collect())
    }

    fn look_up(table: &Table, publish: &Publish) -> Known {
        table.look_up(publish).unwrap()
    }

    #[test]
    fn a_repeated_whole_request_gets_its_first_receipt() {
        let mut table = Table::new(&Limits::default());
        let first = request("k", 0, 0, true, &["a", "b"]);
        assert_eq!(look_up(&table, &first), Known::New);
        record(&mut table, &first, 7, 0);
        assert_eq!(look_up(&table, &first), prefix(&[(7, 2)]));
        for changed in [&["a", "c"][..], &["a"], &["a", "b", "c"]] {
            let changed = request("k", 0, 0, true, changed);
            assert!(matches!(
                table.look_up(&changed),
                Err(PublishError::KeyReused)
            ));
        }
        assert_eq!(
            look_up(&table, &request("other", 0, 0, true, &["a"])),
            Known::New
        );
    }

    #[test]
    fn a_repeated_stream_goes_on_where_it_broke_off_however_it_is_split() {
        let mut table = Table::new(&Limits::default());
        let one = request("k", 0, 0, false, &["a", "b"]);
        let two = request("k", 2, one.fingerprint(), false, &["c"]);
        record(&mut table, &one, 1, 0);
        record(&mut table, &two, 10, 0);
        let all = request("k", 0, 0, false, &["a", "b", "c", "d"]);
        assert_eq!(look_up(&table, &all), prefix(&[(1, 2), (10, 1)]));
        let middle = request(
            "k",
            1,
            request("k", 0, 0, false, &["a"]).fingerprint(),
            false,
            &["b", "c"],
        );
        assert_eq!(look_up(&table, &middle), prefix(&[(2, 1), (10, 1)]));
        let after = request("k", 3, two.fingerprint(), false, &["d"]);
        assert_eq!(look_up(&table, &after), prefix(&[]));
        let changed = request("k", 0, 0, false, &["a", "b", "x", "d"]);
        assert!(matches!(
            table.look_up(&changed),
            Err(PublishError::KeyReused)
        ));
        let hole = request("k", 4, 0, false, &["e"]);
        assert!(matches!(table.look_up(&hole), Err(PublishError::OutOfTurn)));
    }

    #[test]
    fn keys_are_forgotten_by_age_and_by_number() {
        let limits = Limits {
            idempotency_keys_max: 2,
            idempotency_ms_max: 1000,
            ..Limits::default()
        };
        let mut table = Table::new(&limits);
        for (i, key) in ["a", "b", "c"].into_iter().enumerate() {
            record(
                &mut table,
                &request(key, 0, 0, true, &["x"]),
                i as u64 + 1,
                0,
            );
        }
        assert_eq!(
            look_up(&table, &request("a", 0, 0, true, &["x"])),
            Known::New
        );
        assert_eq!(
            look_up(&table, &request("b", 0, 0, true, &["x"])),
            prefix(&[(2, 1)])
        );
        record(&mut table, &request("d", 0, 0, true, &["x"]), 9, 1001);
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn a_failed_commit_is_taken_back() {
        let mut table = Table::new(&Limits::default());
        let one = request("k", 0, 0, false, &["a", "b"]);
        record(&mut table, &one, 1, 0);
        let two = request("k", 2, one.fingerprint(), false, &["c"]);
        record(&mut table, &two, 9, 0);
        record(&mut table, &request("l", 0, 0, true, &["z"]), 10, 0);
        table.undo_from(9);
        assert_eq!(look_up(&table, &two), prefix(&[]));
        assert_eq!(
            look_up(&table, &request("l", 0, 0, true, &["z"])),
            Known::New
        );
    }
    /// The group that failed followed the one before it in the log too, so both were one run.
    #[test]
    fn a_failed_commit_is_taken_back_from_the_middle_of_a_run() {
        let mut table = Table::new(&Limits::default());
        let one = request("k", 0, 0, false, &["a", "b"]);
        record(&mut table, &one, 1, 0);
        let two = request("k", 2, one.fingerprint(), false, &["c"]);
        record(&mut table, &two, 3, 0);
        table.undo_from(3);
        assert_eq!(look_up(&table, &two), prefix(&[]));
        let all = request("k", 0, 0, false, &["a", "b", "c"]);
        assert_eq!(look_up(&table, &all), prefix(&[(1, 2)]));
    }

    /// At opening all marks in the log are read, those of a use that was forgotten too.
    #[test]
    fn a_key_that_is_used_again_stands_for_its_newer_request() {
        let mut table = Table::new(&Limits::default());
        record(&mut table, &request("k", 0, 0, true, &["a"]), 1, 0);
        let newer = request("k", 0, 0, true, &["x", "y"]);
        record(&mut table, &newer, 5, 0);
        assert_eq!(look_up(&table, &newer), prefix(&[(5, 2)]));
        let lost = request("l", 2, 7, false, &["z"]);
        record(&mut table, &lost, 9, 0);
        assert!(matches!(table.look_up(&lost), Err(PublishError::OutOfTurn)));
        let begun_anew = request("l", 0, 0, false, &["z"]);
        assert_eq!(look_up(&table, &begun_anew), Known::New);
    }
}
