//! How long to wait before trying again.

/// Exponential back-off with full jitter: a random time of up to a bound that doubles with each
/// failure. Many clients that lost the same hub so come back at different times.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first_ms: u64,
    max_ms: u64,
    failures: u32,
}

impl Backoff {
    /// Up to `first_ms` after the first failure, never more than `max_ms`.
    pub(crate) fn new(first_ms: u64, max_ms: u64) -> Self {
        Self {
            first_ms,
            max_ms,
            failures: 0,
        }
    }

    /// The time to wait after one more failure, and at least `floor_ms`.
    pub(crate) fn next_ms(&mut self, floor_ms: u64, random: u64) -> u64 {
        let factor = 1_u64.checked_shl(self.failures).unwrap_or(u64::MAX);
        let bound = self.first_ms.saturating_mul(factor).min(self.max_ms);
        self.failures = self.failures.saturating_add(1);
        (random % bound.saturating_add(1)).max(floor_ms)
    }

    /// All is well again.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_its_maximum() {
        let mut backoff = Backoff::new(100, 1000);
        for bound in [100, 200, 400, 800, 1000, 1000] {
            let before = backoff.clone();
            assert_eq!(before.clone().next_ms(0, bound), bound);
            assert_eq!(before.clone().next_ms(0, bound + 1), 0);
            backoff.next_ms(0, 0);
        }
        for _ in 0..100 {
            assert!(backoff.next_ms(0, u64::MAX) <= 1000);
        }
        backoff.reset();
        assert!(backoff.next_ms(0, u64::MAX) <= 100);
    }

    #[test]
    fn the_floor_holds() {
        assert_eq!(Backoff::new(100, 1000).next_ms(5000, 7), 5000);
    }
}
