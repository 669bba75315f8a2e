//! What is published: every event follows from the seed, its publisher and its number, so that
//! what comes back can be compared byte for byte without anything having been kept.

use std::fmt::Write;

use serde_json::{Value, json};

/// The topics that events are spread over.
pub(super) const TOPICS: [&str; 8] = [
    "orders/1",
    "orders/2",
    "orders/3",
    "sensors/ü",
    "lines",
    "a",
    "b",
    "c",
];
/// The topic of the last event of all, which every follower follows.
pub(super) const FENCE: &str = "fence";
/// Events that an array publisher sends together: all or none.
pub(super) const ARRAY_EVENTS: usize = 7;

/// How a publisher sends its events. Its place in this list is its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// NDJSON, repeated from its first line with the same key until all lines have receipts.
    Stream,
    /// A JSON array with a key: one commit.
    Array,
    /// One event with a key, repeated until there is a receipt.
    Keyed,
    /// One event, tried once: without a receipt nobody knows.
    Plain,
    /// The last event of all.
    Fence,
}

pub(super) const MANNERS: [Manner; 6] = [
    Manner::Stream,
    Manner::Stream,
    Manner::Array,
    Manner::Keyed,
    Manner::Plain,
    Manner::Fence,
];

/// Which event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Event {
    pub(super) publisher: usize,
    pub(super) number: usize,
}

impl Event {
    /// The event whose data begins so.
    pub(super) fn parse(data: &str) -> Option<Self> {
        let mut words = data.split(' ');
        let publisher = words.next()?.parse().ok()?;
        let number = words.next()?.parse().ok()?;
        (publisher < MANNERS.len()).then_some(Self { publisher, number })
    }

    pub(super) fn manner(self) -> Manner {
        MANNERS
            .get(self.publisher)
            .copied()
            .unwrap_or(Manner::Plain)
    }

    /// Whether the next event of its publisher has to be in the same commit; `None`: it may be.
    pub(super) fn continues(self) -> Option<bool> {
        match self.manner() {
            Manner::Stream => None,
            Manner::Array => Some(self.number % ARRAY_EVENTS != ARRAY_EVENTS - 1),
            Manner::Keyed | Manner::Plain | Manner::Fence => Some(false),
        }
    }
}

/// All that is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) seed: u64,
}

impl Plan {
    /// One topic, sometimes two.
    pub(super) fn topics(self, event: Event) -> Vec<&'static str> {
        if event.manner() == Manner::Fence {
            return vec![FENCE];
        }
        let mut random = self.random(event, 1);
        let first = random.below(TOPICS.len());
        let second = (first + 1 + random.below(TOPICS.len() - 1)) % TOPICS.len();
        let count = if random.below(8) == 0 { 2 } else { 1 };
        let chosen = [first, second].into_iter().take(count);
        chosen
            .filter_map(|place| TOPICS.get(place).copied())
            .collect()
    }

    /// The publisher's own ID, which a quarter of all events have.
    pub(super) fn own_id(self, event: Event) -> Option<String> {
        let Event { publisher, number } = event;
        let own = event.manner() != Manner::Fence && self.random(event, 2).below(4) == 0;
        own.then(|| format!("own-{publisher}-{number}"))
    }

    /// `PUBLISHER NUMBER TEXT`; mostly short, sometimes of some KiB, seldom of dozens.
    pub(super) fn data(self, event: Event) -> String {
        let mut random = self.random(event, 3);
        let bytes = match random.below(20) {
            0 => 8_000 + random.below(32_000),
            1..6 => 200 + random.below(1_800),
            _ => random.below(200),
        };
        let mut data = format!("{} {} ", event.publisher, event.number);
        while data.len() < bytes {
            let _ = write!(data, "{:016x}é", random.next()); // a string: this cannot fail
        }
        data
    }

    pub(super) fn json(self, event: Event) -> Value {
        let mut object = json!({ "topics": self.topics(event), "data": self.data(event) });
        if let (Some(id), Some(object)) = (self.own_id(event), object.as_object_mut()) {
            object.insert("id".to_owned(), id.into());
        }
        object
    }

    /// Chance for what is not an event.
    pub(super) fn chance(self, of: u64) -> Random {
        Random(mix(self.seed ^ mix(of)))
    }

    fn random(self, event: Event, of: u64) -> Random {
        let place = (event.publisher as u64) << 48 | event.number as u64;
        Random(mix(self.seed ^ mix(place ^ mix(of))))
    }
}

/// splitmix64.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).unwrap_or(0)
    }
}

fn mix(value: u64) -> u64 {
    let mixed = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_known_by_its_data_and_always_the_same() {
        let plan = Plan { seed: 7 };
        for number in 0..200 {
            let event = Event {
                publisher: number % MANNERS.len(),
                number,
            };
            assert_eq!(Event::parse(&plan.data(event)), Some(event));
            assert_eq!(plan.data(event), plan.data(event));
            assert_ne!(plan.data(event), Plan { seed: 8 }.data(event));
        }
        assert_eq!(Event::parse("9 1 of no publisher"), None);
        assert_eq!(Event::parse("not ours"), None);
    }
}
