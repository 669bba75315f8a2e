/// Times in classes that are at most a thirty-second wide, so that millions take no room.
#[derive(Debug, Clone)]
pub struct Histogram {
    classes: Vec<u64>,
    count: u64,
}

const CLASSES_PER_POWER: usize = 32;

impl Default for Histogram {
    fn default() -> Self {
        Self {
            classes: vec![0; 64 * CLASSES_PER_POWER],
            count: 0,
        }
    }
}

impl Histogram {
    pub fn add(&mut self, ns: u64) {
        self.classes[class(ns)] += 1;
        self.count += 1;
    }

    /// Adds what another has counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, others) in self.classes.iter_mut().zip(other.classes.iter()) {
            *own += others;
        }
        self.count += other.count;
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The time in microseconds that this share of all was within; 0 where there is nothing.
    #[must_use]
    pub fn us(&self, share: f64) -> f64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.classes.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        found.map_or(0.0, |class| lower_bound(class) as f64 / 1000.0)
    }

    /// As all reports have it.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "p50": self.us(0.5), "p99": self.us(0.99), "p999": self.us(0.999) })
    }
}

fn class(ns: u64) -> usize {
    let power = ns.max(1).ilog2() as usize;
    if power < 5 {
        return ns as usize;
    }
    (power - 4) * CLASSES_PER_POWER + (ns >> (power - 5)) as usize - CLASSES_PER_POWER
}

fn lower_bound(class: usize) -> u64 {
    let (power, place) = (class / CLASSES_PER_POWER, class % CLASSES_PER_POWER);
    if power == 0 {
        return place as u64;
    }
    ((place + CLASSES_PER_POWER) as u64) << (power - 1)
}

#[cfg(test)]
mod tests {
    use super::{Histogram, class, lower_bound};

    #[test]
    fn a_class_is_at_most_a_thirty_second_wide() {
        for ns in (0..100_000).chain([u64::MAX >> 1, 1 << 40, (1 << 40) - 1]) {
            let bound = lower_bound(class(ns));
            assert!(bound <= ns && ns - bound <= ns / 32, "{ns}: {bound}");
        }
    }

    #[test]
    fn shares_are_those_of_the_times() {
        let mut times = Histogram::default();
        (1..=100).for_each(|ms| times.add(ms * 1_000_000));
        assert!((times.us(0.5) / 50_000.0 - 1.0).abs() < 0.04);
        assert!((times.us(0.99) / 99_000.0 - 1.0).abs() < 0.04);
    }
}
