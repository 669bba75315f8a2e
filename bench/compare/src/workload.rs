//! What every store is given: the same events, each made from its sequence alone.

pub const FRAME_BYTES: usize = 256;
/// Topics that share nine tenths of all events evenly.
pub const TOPICS: usize = 10_000;
/// The topic of every tenth event.
pub const BUSY: &str = "busy";
const NOISE_BYTES: usize = 1 << 20;

#[derive(Clone, Copy)]
pub struct Event<'a> {
    pub topic: &'a str,
    pub frame: &'a [u8],
}

pub struct Workload {
    noise: Vec<u8>,
    topics: Vec<String>,
}

impl Workload {
    pub fn new() -> Self {
        // Letters in no order: text, but nothing that a store could make smaller.
        let letter = |place| b'@' + (mix(place) % 64) as u8;
        Self {
            noise: (0..NOISE_BYTES as u64).map(letter).collect(),
            topics: (0..TOPICS).map(|n| format!("topic/{n:05}")).collect(),
        }
    }

    /// The event with this sequence; they begin with 1.
    pub fn event(&self, sequence: u64) -> Event<'_> {
        let random = mix(sequence);
        let at = (random >> 32) as usize % (NOISE_BYTES - FRAME_BYTES);
        let topic = match sequence % 10 {
            0 => BUSY,
            _ => &self.topics[random as usize % TOPICS],
        };
        Event {
            topic,
            frame: &self.noise[at..at + FRAME_BYTES],
        }
    }

    pub fn events(&self, first: u64, count: usize) -> Vec<Event<'_>> {
        (first..first + count as u64)
            .map(|sequence| self.event(sequence))
            .collect()
    }

    /// Some topics of the many, far from each other.
    pub fn some_topics(&self, count: usize) -> Vec<&str> {
        let step = TOPICS / count;
        let topics = self.topics.iter().skip(step / 2).step_by(step);
        topics.map(String::as_str).take(count).collect()
    }
}

/// What a reader saw: two readers that saw the same events have the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub events: u64,
    sum: u64,
}

impl Seen {
    pub fn look(&mut self, frame: &[u8]) {
        assert_eq!(frame.len(), FRAME_BYTES);
        let head = frame.first_chunk().copied().map_or(0, u64::from_le_bytes);
        self.events += 1;
        // The order counts.
        self.sum = self.sum.rotate_left(5).wrapping_add(head);
    }

    /// What was seen after it.
    pub fn add(&mut self, other: Self) {
        self.events += other.events;
        self.sum = self.sum.rotate_left(5).wrapping_add(other.sum);
    }
}

/// splitmix64.
fn mix(value: u64) -> u64 {
    let mixed = value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
