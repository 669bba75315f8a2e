use serde_json::{Value, json};

use crate::{Histogram, now_ns};

/// How sequences are handed out, and so which each follower is owed.
///
/// With one topic, publisher P of N sends P, P + N, P + 2N, …: what several publishers send has no
/// order between them, but each publisher's own must hold. With T topics, topic K gets K, K + T, …
#[derive(Debug, Clone, Copy)]
pub struct Numbering {
    pub topics: u64,
    pub publishers: u64,
}

impl Numbering {
    /// One publisher of one topic.
    pub const ONE: Self = Self {
        topics: 1,
        publishers: 1,
    };

    /// Sequences of one kind are so far apart.
    fn stride(self) -> u64 {
        if self.topics > 1 {
            self.topics
        } else {
            self.publishers
        }
    }

    fn kinds(self) -> u64 {
        if self.topics > 1 { 1 } else { self.publishers }
    }
}

/// What one follower has had.
#[derive(Debug)]
pub struct Progress {
    /// For each kind of sequence, how many there have been: the number that is next.
    next: Box<[u32]>,
}

impl Progress {
    #[must_use]
    pub fn new(numbering: Numbering) -> Self {
        Self {
            next: vec![0; numbering.kinds() as usize].into(),
        }
    }
}

/// What all followers together have had.
#[derive(Debug)]
pub struct Tally {
    numbering: Numbering,
    /// In order, each once.
    pub delivered: u64,
    /// What came though it, or something after it, had come before.
    pub doubled: u64,
    pub latency: Histogram,
}

impl Tally {
    #[must_use]
    pub fn new(numbering: Numbering) -> Self {
        Self {
            numbering,
            delivered: 0,
            doubled: 0,
            latency: Histogram::default(),
        }
    }

    #[must_use]
    pub fn numbering(&self) -> Numbering {
        self.numbering
    }

    /// Event `sequence` came to a follower; `now_ns` is when it was read.
    pub fn take(&mut self, progress: &mut Progress, sequence: u64, sent_ns: u64, now_ns: u64) {
        let kind = sequence % self.numbering.kinds();
        let number = (sequence / self.numbering.stride()) as u32;
        let Some(next) = progress.next.get_mut(kind as usize) else {
            return;
        };
        if number < *next {
            self.doubled += 1;
            return;
        }
        *next = number + 1;
        self.delivered += 1;
        self.latency.add(now_ns.saturating_sub(sent_ns));
    }

    /// Reads a piece of a follower's stream.
    pub fn read(&mut self, scanner: &mut crate::Scanner, progress: &mut Progress, piece: &[u8]) {
        let now = now_ns();
        scanner.scan(piece, |sequence, sent_ns| {
            self.take(progress, sequence, sent_ns, now);
        });
    }

    /// What it came to, where `expected` deliveries were owed, after `seconds`.
    #[must_use]
    pub fn json(&self, expected: u64, seconds: f64) -> Value {
        json!({
            "delivered": self.delivered, "lost": expected.saturating_sub(self.delivered),
            "dups": self.doubled, "secs": seconds, "per_s": self.delivered as f64 / seconds,
            "lat_us": self.latency.json(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Numbering, Progress, Tally};

    fn after(numbering: Numbering, sequences: &[u64]) -> (u64, u64) {
        let (mut tally, mut progress) = (Tally::new(numbering), Progress::new(numbering));
        for sequence in sequences {
            tally.take(&mut progress, *sequence, 0, 0);
        }
        (tally.delivered, tally.doubled)
    }

    #[test]
    fn each_publishers_own_order_must_hold() {
        let two = Numbering {
            topics: 1,
            publishers: 2,
        };
        assert_eq!(after(two, &[1, 0, 3, 5, 2, 4]), (6, 0));
        assert_eq!(after(two, &[0, 2, 2, 1]), (3, 1));
        // 2 is late: what is not in order counts as not delivered, and as one too many.
        assert_eq!(after(two, &[0, 4, 2]), (2, 1));
    }

    #[test]
    fn a_topics_follower_is_owed_its_own() {
        let many = Numbering {
            topics: 3,
            publishers: 2,
        };
        assert_eq!(after(many, &[1, 4, 7]), (3, 0));
        assert_eq!(after(many, &[1, 1]), (1, 1));
    }
}
