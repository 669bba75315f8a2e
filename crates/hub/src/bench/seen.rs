//! What one subscriber has had, and so what it lacks.

use std::ops::Range;

/// Beyond so many separate holes in one lane the oldest is taken for lost for good.
const HOLES_MAX: usize = 1024;

/// The events of one topic, by lane: what several publishers send has no order between them, but
/// each publisher's own must hold.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    lanes: Vec<Lane>,
    /// Its stream has ended: what it misses from there on is not lost, since it could resume.
    pub(crate) is_cut: bool,
}

#[derive(Debug, Default, Clone)]
struct Lane {
    /// One past the highest number that came.
    next: u64,
    /// Numbers below that have not come.
    holes: Vec<Range<u64>>,
    /// How many were in holes that are not kept any more.
    forgotten: u64,
}

/// How an event came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    InOrder,
    /// After a later one.
    OutOfOrder,
    /// Once more.
    Doubled,
    /// Of a publisher that is not ours.
    Foreign,
}

impl Seen {
    pub(crate) fn new(lanes: usize) -> Self {
        Self {
            lanes: vec![Lane::default(); lanes],
            is_cut: false,
        }
    }

    pub(crate) fn take(&mut self, lane: usize, number: u64) -> Arrival {
        match self.lanes.get_mut(lane) {
            Some(lane) => lane.take(number),
            None => Arrival::Foreign,
        }
    }

    /// How many of the first `owed` events of a lane have not come.
    pub(crate) fn lost(&self, lane: usize, owed: u64) -> u64 {
        let Some(lane) = self.lanes.get(lane) else {
            return owed;
        };
        let holes = lane.holes.iter();
        let in_holes: u64 = holes
            .map(|hole| hole.end.min(owed).saturating_sub(hole.start))
            .sum();
        owed.saturating_sub(lane.next) + in_holes + lane.forgotten
    }
}

impl Lane {
    fn take(&mut self, number: u64) -> Arrival {
        if number >= self.next {
            if number > self.next {
                self.leave_hole(self.next..number);
            }
            self.next = number.saturating_add(1);
            return Arrival::InOrder;
        }
        let place = self.holes.iter().position(|hole| hole.contains(&number));
        let Some(place) = place else {
            return Arrival::Doubled;
        };
        let hole = self.holes.remove(place);
        let parts = [hole.start..number, number + 1..hole.end];
        let parts = parts.into_iter().filter(|part| !part.is_empty());
        self.holes.splice(place..place, parts);
        Arrival::OutOfOrder
    }

    fn leave_hole(&mut self, hole: Range<u64>) {
        if self.holes.len() == HOLES_MAX {
            let oldest = self.holes.remove(0);
            self.forgotten += oldest.end - oldest.start;
        }
        self.holes.push(hole);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_told_from_the_others() {
        let mut seen = Seen::new(2);
        let mut take = |number| seen.take(1, number);
        assert_eq!(take(0), Arrival::InOrder);
        assert_eq!(take(0), Arrival::Doubled);
        assert_eq!(take(4), Arrival::InOrder);
        assert_eq!(take(2), Arrival::OutOfOrder);
        assert_eq!(take(2), Arrival::Doubled);
        assert_eq!(seen.take(2, 0), Arrival::Foreign);
        // 1 and 3 are missing, and 5 to 9 of ten.
        assert_eq!(seen.lost(1, 10), 7);
        assert_eq!(seen.lost(1, 3), 1);
        assert_eq!(seen.lost(0, 10), 10);
        assert_eq!(seen.take(1, 1), Arrival::OutOfOrder);
        assert_eq!(seen.lost(1, 5), 1);
    }

    #[test]
    fn more_than_was_owed_is_no_loss() {
        let mut seen = Seen::new(1);
        assert_eq!(seen.take(0, 0), Arrival::InOrder);
        assert_eq!(seen.take(0, 1), Arrival::InOrder);
        assert_eq!(seen.lost(0, 1), 0);
        assert_eq!(seen.take(0, u64::MAX), Arrival::InOrder);
        assert_eq!(seen.lost(0, 3), 1);
    }

    #[test]
    fn holes_are_bounded_and_still_lost() {
        let mut seen = Seen::new(1);
        let holes = HOLES_MAX as u64 + 10;
        for number in 0..holes {
            seen.take(0, number * 2 + 1);
        }
        assert_eq!(seen.lanes[0].holes.len(), HOLES_MAX);
        assert_eq!(seen.lost(0, holes * 2), holes);
    }
}
