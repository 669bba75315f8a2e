use crate::Numbering;

/// What a publisher sends next: the sequences that are its own, in order.
#[derive(Debug, Clone)]
pub struct Turns {
    numbering: Numbering,
    publisher: u64,
    events: u64,
    topic: u64,
    round: u64,
}

/// An event that is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    pub sequence: u64,
    pub topic: u64,
}

impl Turns {
    /// Of `events` in all.
    #[must_use]
    pub fn new(numbering: Numbering, publisher: u64, events: u64) -> Self {
        Self {
            numbering,
            publisher,
            events,
            topic: publisher,
            round: 0,
        }
    }

    /// So many more than before.
    pub fn extend(&mut self, events: u64) {
        self.events += events;
    }

    /// The next, which stays so until it is taken.
    #[must_use]
    pub fn peek(&self) -> Option<Turn> {
        let Numbering { topics, publishers } = self.numbering;
        let turn = if topics > 1 {
            Turn {
                sequence: self.round * topics + self.topic,
                topic: self.topic,
            }
        } else {
            Turn {
                sequence: self.round * publishers + self.publisher,
                topic: 0,
            }
        };
        (turn.sequence < self.events).then_some(turn)
    }

    pub fn take(&mut self) {
        let Numbering { topics, publishers } = self.numbering;
        self.topic += publishers;
        if self.topic >= topics {
            self.topic = self.publisher;
            self.round += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Turns;
    use crate::Numbering;

    fn sequences(numbering: Numbering, publisher: u64, events: u64) -> Vec<u64> {
        let mut turns = Turns::new(numbering, publisher, events);
        std::iter::from_fn(|| {
            let turn = turns.peek()?;
            turns.take();
            Some(turn.sequence)
        })
        .collect()
    }

    #[test]
    fn publishers_share_all_sequences() {
        for (topics, publishers) in [(1, 3), (7, 3)] {
            let numbering = Numbering { topics, publishers };
            let events = topics * publishers * 2;
            let mut all: Vec<u64> = (0..publishers)
                .flat_map(|publisher| sequences(numbering, publisher, events))
                .collect();
            all.sort_unstable();
            assert_eq!(all, (0..events).collect::<Vec<_>>());
        }
    }
}
