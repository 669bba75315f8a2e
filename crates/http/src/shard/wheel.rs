//! When to look at a connection again.

/// A tick of the wheel. Heartbeats and stalls are seconds; nobody notices this.
pub(crate) const TICK_MS: u64 = 50;

/// How far ahead the wheel reaches: 25.6 s. What is later is looked at then, and put off again.
const SLOTS: u64 = 512;

/// Slots of connections by the tick at which they are due.
///
/// Nothing is ever taken out before its time: who is not due any more when its tick comes is put
/// where it is due now, so that a write moves no timer.
#[derive(Debug)]
pub(crate) struct Wheel {
    slots: Vec<Vec<u32>>,
    /// The first tick that was not looked at.
    now: u64,
    waiting: usize,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            now: 0,
            waiting: 0,
        }
    }

    /// The tick at which something due at `ms` is looked at: never before it.
    pub(crate) fn tick(ms: u64) -> u64 {
        ms.div_ceil(TICK_MS)
    }

    /// Has `slot` looked at when `tick` comes, or as late before it as the wheel reaches. Returns
    /// when that is.
    pub(crate) fn add(&mut self, slot: u32, tick: u64) -> u64 {
        let tick = tick.clamp(self.now, self.now + SLOTS - 1);
        if let Some(list) = self.at(tick) {
            list.push(slot);
            self.waiting += 1;
        }
        tick
    }

    /// Moves those that are due at `ms` to `due`, with the tick that they were due at.
    pub(crate) fn advance(&mut self, ms: u64, due: &mut Vec<(u32, u64)>) {
        let end = ms / TICK_MS + 1;
        if self.waiting == 0 {
            self.now = self.now.max(end);
            return;
        }
        // After a long sleep each list is looked at once.
        let first = self.now.max(end.saturating_sub(SLOTS));
        for tick in first..end {
            let Some(list) = self.at(tick) else { continue };
            let count = list.len();
            due.extend(list.drain(..).map(|slot| (slot, tick)));
            // A burst that connected at once must not leave its capacity behind.
            list.shrink_to(64);
            self.waiting -= count;
        }
        self.now = self.now.max(end);
    }

    /// When the next one is due, in milliseconds.
    pub(crate) fn next_ms(&self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let ticks = self.now..self.now + SLOTS;
        let mut busy =
            ticks.filter(|tick| self.slots.get(place(*tick)).is_some_and(|l| !l.is_empty()));
        busy.next().map(|tick| tick * TICK_MS)
    }

    fn at(&mut self, tick: u64) -> Option<&mut Vec<u32>> {
        self.slots.get_mut(place(tick))
    }
}

fn place(tick: u64) -> usize {
    (tick % SLOTS) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Each is due once, not before its time, and within a tick of it, however the clock jumps.
        #[test]
        fn each_is_due_once_and_in_time(
            dues in prop::collection::vec(0_u64..20_000, 0..50),
            steps in prop::collection::vec(1_u64..4_000, 1..200),
        ) {
            let mut wheel = Wheel::new();
            for (slot, ms) in dues.iter().enumerate() {
                let slot = u32::try_from(slot).unwrap();
                wheel.add(slot, Wheel::tick(*ms));
            }
            let (mut now, mut before) = (0, 0);
            let mut seen = vec![false; dues.len()];
            for step in steps {
                let next = wheel.next_ms();
                let open = dues.iter().zip(&seen).filter(|(_, seen)| !**seen).map(|(ms, _)| *ms);
                prop_assert_eq!(next, open.min().map(|ms| Wheel::tick(ms) * TICK_MS));
                now += step;
                let mut due = Vec::new();
                wheel.advance(now, &mut due);
                for (slot, tick) in due {
                    let slot = slot as usize;
                    prop_assert!(!std::mem::replace(&mut seen[slot], true));
                    prop_assert!(dues[slot] <= now && tick == Wheel::tick(dues[slot]));
                }
                for (ms, seen) in dues.iter().zip(&seen) {
                    prop_assert!(*seen || *ms + TICK_MS > before, "{ms} was due at {before}");
                }
                before = now;
            }
        }
    }

    #[test]
    fn what_is_far_off_is_looked_at_as_late_as_can_be() {
        let mut wheel = Wheel::new();
        let tick = wheel.add(7, Wheel::tick(3_600_000));
        assert_eq!(tick, SLOTS - 1);
        let mut due = Vec::new();
        wheel.advance(tick * TICK_MS - 1, &mut due);
        assert!(due.is_empty());
        wheel.advance(tick * TICK_MS, &mut due);
        assert_eq!(due, [(7, tick)]);
        assert_eq!(wheel.next_ms(), None);
    }
}
