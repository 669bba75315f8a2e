//! What the log holds and ever held, put together from one dump after the other.

use std::ops::Range;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::plan::{Event, MANNERS, Plan};
use super::publisher::Receipt;
use crate::hub::Setup;
use crate::process;

#[derive(Debug)]
pub(super) struct Ledger {
    plan: Plan,
    /// Whether sequences are left out when the hub was killed.
    leaves_out: bool,
    epoch: String,
    /// Which sequence each event has, in order.
    placed: Vec<(u64, Event)>,
    /// The sequences of each publisher's events, by their numbers; 0: none is known.
    sequences: Vec<Vec<u64>>,
    /// The oldest that was held at the last look.
    first: u64,
    /// One past the newest that was given, or left out.
    next: u64,
}

/// A record, as `tidings log dump --json` tells it.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    pub(super) sequence: u64,
    pub(super) topics: Vec<String>,
    pub(super) id: String,
    pub(super) data: String,
    pub(super) continues: bool,
}

/// A line of `tidings log verify --json`: a segment, or the verdict at the end.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Verified {
    Segment { first: u64, records: u64 },
    Verdict { epoch: Option<String>, sound: bool },
}

/// What is on disk after a death.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) epoch: String,
    /// The sequences in each segment.
    pub(super) segments: Vec<Range<u64>>,
    pub(super) records: Vec<Record>,
}

impl Look {
    /// Has the log's own tools look through it; they fail where anything is wrong.
    pub(super) fn take(setup: &Setup) -> Result<Self> {
        let tool = |verb: &str| {
            let mut command = Command::new(&setup.binary);
            command.args(["log", verb, "--json"]).arg(setup.data());
            process::stdout(&mut command)
        };
        let (mut segments, mut epoch) = (Vec::new(), None);
        for line in tool("verify")?.lines() {
            match serde_json::from_str(line).with_context(|| format!("verify said {line}"))? {
                Verified::Segment { first, records } => segments.push(first..first + records),
                Verified::Verdict { epoch: said, sound } => {
                    ensure!(sound, "the log is not sound");
                    epoch = said;
                }
            }
        }
        let dump = tool("dump")?;
        let records = dump
            .lines()
            .map(|line| serde_json::from_str(line).with_context(|| format!("dump said {line}")));
        Ok(Self {
            epoch: epoch.context("the log has no epoch")?,
            segments,
            records: records.collect::<Result<_>>()?,
        })
    }

    /// From the oldest sequence that is held to one past the newest.
    fn held(&self) -> Result<Range<u64>> {
        let ends = self.segments.first().zip(self.segments.last());
        let (first, last) = ends.context("the log has no segment")?;
        Ok(first.start..last.end)
    }

    /// Whether each segment begins where the one before ends.
    fn is_dense(&self) -> bool {
        let pairs = self.segments.iter().zip(self.segments.iter().skip(1));
        pairs.into_iter().all(|(one, next)| one.end == next.start)
    }
}

impl Ledger {
    pub(super) fn new(plan: Plan, leaves_out: bool) -> Self {
        Self {
            plan,
            leaves_out,
            epoch: String::new(),
            placed: Vec::new(),
            sequences: vec![Vec::new(); MANNERS.len()],
            first: 1,
            next: 1,
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// One past the newest sequence that was seen.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn leaves_out(&self) -> bool {
        self.leaves_out
    }

    /// How many events were ever in the log, and how many of them are forgotten.
    pub(super) fn count(&self) -> (usize, usize) {
        (self.placed.len(), self.before(self.first))
    }

    pub(super) fn at(&self, sequence: u64) -> Option<Event> {
        let (_, event) = self.between(sequence..sequence + 1).first()?;
        Some(*event)
    }

    /// The events with these sequences.
    pub(super) fn between(&self, sequences: Range<u64>) -> &[(u64, Event)] {
        let places = self.before(sequences.start)..self.before(sequences.end);
        self.placed.get(places).unwrap_or_default()
    }

    fn before(&self, sequence: u64) -> usize {
        self.placed.partition_point(|(other, _)| *other < sequence)
    }

    pub(super) fn sequence(&self, event: Event) -> Option<u64> {
        let sequences = self.sequences.get(event.publisher)?;
        let sequence = sequences.get(event.number).copied();
        sequence.filter(|sequence| *sequence > 0)
    }

    /// The ID that an event has to have.
    pub(super) fn id(&self, event: Event, sequence: u64) -> String {
        let own = self.plan.own_id(event);
        own.unwrap_or_else(|| format!("{}:{sequence}", self.epoch))
    }

    /// The sequence in an ID of this log.
    pub(super) fn place(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&*self.epoch)?
            .strip_prefix(':')?
            .parse()
            .ok()
    }

    /// Compares what is on disk with what is known, and learns what is new. Of each publisher,
    /// events with numbers below `sent` may have been sent.
    pub(super) fn learn(&mut self, look: &Look, sent: &[usize]) -> Result<()> {
        if self.epoch.is_empty() {
            look.epoch.clone_into(&mut self.epoch);
        }
        ensure!(self.epoch == look.epoch, "the log has another epoch");
        let held = look.held()?;
        ensure!(
            self.leaves_out || look.is_dense(),
            "sequences are left out between segments: {:?}",
            look.segments
        );
        ensure!(held.start >= self.first, "what was forgotten came back");
        ensure!(
            held.end >= self.next(),
            "the log ends at {}, but it went up to {} before",
            held.end - 1,
            self.next() - 1
        );
        ensure!(
            held.start <= self.next(),
            "retention is too tight for this test: it forgot {} to {} before anybody looked",
            self.next(),
            held.start - 1
        );
        self.first = held.start;
        self.next = held.end;
        let mut expected = look.segments.iter().cloned().flatten();
        // The event whose group goes on.
        let mut before: Option<Event> = None;
        for record in &look.records {
            let sequence = record.sequence;
            ensure!(
                expected.next() == Some(sequence),
                "the dump has {sequence} where another is due"
            );
            let event = self.check(record, sent)?;
            if let Some(before) = before {
                let follows =
                    (before.publisher, before.number + 1) == (event.publisher, event.number);
                ensure!(
                    follows,
                    "sequence {sequence} stands amid a group of {before:?}"
                );
            }
            before = record.continues.then_some(event);
            self.place_at(sequence, event)?;
        }
        let lacking = expected.next();
        ensure!(lacking.is_none(), "the dump lacks {lacking:?}");
        ensure!(before.is_none(), "the log ends amid a group");
        Ok(())
    }

    /// Whether a record is what was sent.
    fn check(&self, record: &Record, sent: &[usize]) -> Result<Event> {
        let sequence = record.sequence;
        let event = Event::parse(&record.data)
            .filter(|event| self.plan.data(*event) == record.data)
            .with_context(|| format!("sequence {sequence} was never sent: {}", record.data))?;
        let sent = sent.get(event.publisher).copied().unwrap_or(0);
        ensure!(event.number < sent, "{event:?} was not sent yet");
        ensure!(
            record.topics == self.plan.topics(event),
            "{event:?} at {sequence} has the topics {:?}",
            record.topics
        );
        let id = self.id(event, sequence);
        ensure!(
            record.id == id,
            "{event:?} has the ID {:?}, not {id:?}",
            record.id
        );
        ensure!(
            event
                .continues()
                .is_none_or(|continues| continues == record.continues),
            "{event:?} at {sequence} is not grouped as it was sent"
        );
        Ok(event)
    }

    fn place_at(&mut self, sequence: u64, event: Event) -> Result<()> {
        if let Some(known) = self.at(sequence) {
            ensure!(
                known == event,
                "sequence {sequence} was {known:?} and is {event:?}: it was given twice"
            );
            return Ok(());
        }
        if let Some(other) = self.sequence(event) {
            bail!("{event:?} is in the log twice: at {other} and {sequence}");
        }
        let sequences = self
            .sequences
            .get_mut(event.publisher)
            .context("no such publisher")?;
        ensure!(
            sequences.len() <= event.number,
            "{event:?} at {sequence} stands behind a later one of its publisher"
        );
        sequences.resize(event.number, 0);
        sequences.push(sequence);
        let last = self.placed.last().map_or(0, |(last, _)| *last);
        ensure!(sequence > last, "{event:?} is new, and at {sequence}");
        self.placed.push((sequence, event));
        Ok(())
    }

    /// What was refused for want of room was not stored.
    pub(super) fn check_refused(&self, refused: &[Event]) -> Result<()> {
        for event in refused {
            if let Some(sequence) = self.sequence(*event) {
                bail!("{event:?} was refused with 507, and is in the log at {sequence}");
            }
        }
        Ok(())
    }

    /// Whether what was acknowledged is there, under the ID that was given.
    pub(super) fn check_receipts(&self, receipts: &[Receipt]) -> Result<()> {
        for (event, id) in receipts {
            let sequence = self.sequence(*event).with_context(|| {
                format!("LOST: {event:?} was acknowledged as {id} and is not in the log")
            })?;
            let expected = self.id(*event, sequence);
            ensure!(
                *id == expected,
                "{event:?} was acknowledged as {id}, but is {expected}"
            );
        }
        Ok(())
    }
}
