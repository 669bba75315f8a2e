//! Whether what a follower was told is all that it wanted, once and in order, but for gaps that it
//! was told of and that retention explains.

use anyhow::{Context, Result, bail, ensure};

use super::follower::{Manner, Told};
use super::ledger::Ledger;
use super::plan::{Event, Plan};

#[derive(Debug, Default)]
pub(super) struct Judge {
    /// All that is wanted up to this sequence was told, or its loss was.
    cursor: u64,
    /// What the stream was resumed after.
    resumed: String,
    pub(super) events: usize,
    pub(super) gaps: usize,
    pub(super) resumes: usize,
}

impl Judge {
    /// Goes through what a follower was told, all of it before the ledger's last look.
    pub(super) fn hear(
        &mut self,
        told: &[Told],
        manner: &Manner,
        ledger: &Ledger,
        plan: Plan,
    ) -> Result<()> {
        let wants = |event: Event| manner.wants(&plan.topics(event));
        for told in told {
            self.hear_one(told, ledger, &wants)
                .with_context(|| format!("the follower of {}: {told:?}", manner.name))?;
        }
        Ok(())
    }

    fn hear_one(
        &mut self,
        told: &Told,
        ledger: &Ledger,
        wants: &dyn Fn(Event) -> bool,
    ) -> Result<()> {
        match told {
            Told::Resumed(id) => {
                self.resumes += 1;
                id.clone_into(&mut self.resumed);
                Ok(())
            }
            Told::Event(event, id) => self.event(*event, id, ledger, wants),
            Told::Place(id) => {
                // After an event with an ID of its own a heartbeat names the place as well.
                let sequence = ledger.place(id).context("a place of another log")?;
                self.advance(sequence, ledger, wants)
            }
            Told::Gap {
                id,
                from,
                to,
                reason,
            } => {
                self.gaps += 1;
                ensure!(id == to, "it resumes at {id}");
                let to = ledger.place(to).context("a gap to another log")?;
                match &**reason {
                    "retention" => self.forgotten(from, to, ledger, wants),
                    "unknown" => self.unknown(from, to, ledger),
                    "lost" if ledger.leaves_out() => self.left_out(from, to, ledger, wants),
                    _ => bail!("a gap for a reason that there is not"),
                }
            }
            Told::Alien(_) => bail!("this was never published"),
        }
    }

    fn event(
        &mut self,
        event: Event,
        id: &str,
        ledger: &Ledger,
        wants: &dyn Fn(Event) -> bool,
    ) -> Result<()> {
        let sequence = ledger
            .sequence(event)
            .context("it is not in the log: a crash took back what was seen")?;
        let expected = ledger.id(event, sequence);
        ensure!(id == expected, "its ID is {expected}");
        ensure!(wants(event), "nobody asked for it");
        ensure!(
            sequence > self.cursor,
            "doubled or out of order: it has sequence {sequence}, and all up to {} was told",
            self.cursor
        );
        self.advance(sequence - 1, ledger, wants)?;
        self.cursor = sequence;
        self.events += 1;
        Ok(())
    }

    /// Up to here there must be nothing more that is wanted.
    fn advance(&mut self, to: u64, ledger: &Ledger, wants: &dyn Fn(Event) -> bool) -> Result<()> {
        ensure!(to < ledger.next(), "the log ends before {to}");
        let mut skipped = ledger.between(self.cursor + 1..to + 1).iter();
        if let Some((sequence, event)) = skipped.find(|(_, event)| wants(*event)) {
            bail!("LOST: {event:?}, sequence {sequence}, was skipped silently");
        }
        self.cursor = self.cursor.max(to);
        Ok(())
    }

    /// A gap must begin where the follower is, and all in it must be forgotten.
    fn forgotten(
        &mut self,
        from: &str,
        to: u64,
        ledger: &Ledger,
        wants: &dyn Fn(Event) -> bool,
    ) -> Result<()> {
        self.begin_gap(from, to, ledger, wants)?;
        Self::must_be_gone(to, ledger)?;
        self.cursor = self.cursor.max(to);
        Ok(())
    }

    /// Sequences that may have been given before the hub was killed: a kill takes nothing that was
    /// written, so none of them was.
    fn left_out(
        &mut self,
        from: &str,
        to: u64,
        ledger: &Ledger,
        wants: &dyn Fn(Event) -> bool,
    ) -> Result<()> {
        let from = self.begin_gap(from, to, ledger, wants)?;
        let given = ledger.between(from + 1..to + 1);
        ensure!(given.is_empty(), "{given:?} is in the log");
        self.advance(to, ledger, wants)
    }

    /// Goes to where a gap up to `to` begins, and answers the place.
    fn begin_gap(
        &mut self,
        from: &str,
        to: u64,
        ledger: &Ledger,
        wants: &dyn Fn(Event) -> bool,
    ) -> Result<u64> {
        let from = ledger.place(from).context("a gap from another log")?;
        self.advance(from, ledger, wants)?;
        ensure!(to > from, "an empty gap");
        Ok(from)
    }

    /// What a gap says to be forgotten is gone for good before anybody is told.
    fn must_be_gone(to: u64, ledger: &Ledger) -> Result<()> {
        ensure!(to < ledger.next(), "the log ends before {to}");
        ensure!(
            to < ledger.first(),
            "it is held, from {} on",
            ledger.first()
        );
        Ok(())
    }

    /// A publisher's own ID that is not held any more tells no place: all that is held comes again.
    fn unknown(&mut self, from: &str, to: u64, ledger: &Ledger) -> Result<()> {
        ensure!(from == self.resumed, "it resumed after {}", self.resumed);
        ensure!(ledger.place(from).is_none(), "this ID names its place");
        Self::must_be_gone(to, ledger)?;
        let last = ledger.at(self.cursor).context("it had seen nothing")?;
        ensure!(
            ledger.id(last, self.cursor) == *from && self.cursor <= to,
            "the event of this ID is held"
        );
        // What lies between is forgotten, what comes is told again from the oldest held on.
        self.cursor = to;
        Ok(())
    }

    /// At the end: nothing that is wanted may be missing.
    pub(super) fn conclude(&mut self, manner: &Manner, ledger: &Ledger, plan: Plan) -> Result<()> {
        let wants = |event: Event| manner.wants(&plan.topics(event));
        self.advance(ledger.next() - 1, ledger, &wants)
            .with_context(|| format!("the follower of {}, at the end", manner.name))
    }
}
