//! Times, kept so that millions of them take no room.

use std::time::Duration;

/// A power of two is so many classes: each is at most a thirty-second wide.
const CLASSES_PER_POWER: u64 = 32;

#[derive(Debug, Clone, Default)]
pub(crate) struct Histogram {
    /// How many times there are in each class, up to the highest that has any.
    classes: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Histogram {
    pub(crate) fn add(&mut self, ns: u64) {
        let class = usize::try_from(class(ns)).unwrap_or(usize::MAX);
        if class >= self.classes.len() {
            self.classes.resize(class + 1, 0);
        }
        if let Some(count) = self.classes.get_mut(class) {
            *count += 1;
        }
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// The time that so many of a thousand were within; nothing where there are none.
    pub(crate) fn within(&self, per_mille: u64) -> Duration {
        let wanted = self.count.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut seen = 0;
        let class = self.classes.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        let bound = class.map_or(0, |class| lower_bound(class as u64));
        Duration::from_nanos(bound.min(self.max_ns))
    }

    pub(crate) fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }
}

fn class(ns: u64) -> u64 {
    let power = u64::from(ns.max(1).ilog2());
    if power < 5 {
        return ns;
    }
    (power - 4) * CLASSES_PER_POWER + (ns >> (power - 5)) - CLASSES_PER_POWER
}

fn lower_bound(class: u64) -> u64 {
    let (power, place) = (class / CLASSES_PER_POWER, class % CLASSES_PER_POWER);
    if power == 0 {
        return place;
    }
    (place + CLASSES_PER_POWER) << (power - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_at_most_a_thirty_second_wide() {
        for ns in (0..100_000).chain([u64::MAX, 1 << 40, (1 << 40) - 1]) {
            let bound = lower_bound(class(ns));
            assert!(bound <= ns && ns - bound <= ns / 32, "{ns}: {bound}");
        }
    }

    #[test]
    fn shares_are_those_of_the_times() {
        let mut times = Histogram::default();
        assert_eq!(times.within(500), Duration::ZERO);
        (1..=1000).for_each(|ms| times.add(ms * 1_000_000));
        for (per_mille, ms) in [(500, 500), (990, 990), (999, 999)] {
            let within = times.within(per_mille).as_millis();
            assert!(
                within <= ms && ms - within <= ms / 32 + 1,
                "{per_mille}: {within}"
            );
        }
        assert_eq!(times.max(), Duration::from_secs(1));
    }
}
