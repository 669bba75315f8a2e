//! What one follower got of the lines, and what it was told.

use super::line::Line;

#[derive(Debug, Default, Clone)]
pub(super) struct Tally {
    seen: Vec<bool>,
    last: usize,
    /// Lines, each counted once.
    pub(super) got: usize,
    pub(super) doubled: usize,
    pub(super) out_of_order: usize,
    /// Not a line of ours, or not as it was published.
    pub(super) altered: usize,
    pub(super) gaps: usize,
    pub(super) ends: usize,
    pub(super) last_id: String,
}

impl Tally {
    pub(super) fn new(lines: usize) -> Self {
        Self {
            seen: vec![false; lines],
            ..Self::default()
        }
    }

    /// An event: a line, or something that the hub had to tell.
    pub(super) fn take(&mut self, event: &str, data: &str) {
        match event {
            "tidings.gap" => self.gaps += 1,
            "tidings.end" => self.ends += 1,
            _ => self.take_line(data),
        }
    }

    pub(super) fn lost(&self) -> usize {
        self.seen.len() - self.got
    }

    fn take_line(&mut self, data: &str) {
        let Some(line) = Line::parse(data) else {
            return self.altered += 1;
        };
        let Some(seen) = line
            .number
            .checked_sub(1)
            .and_then(|index| self.seen.get_mut(index))
        else {
            return self.altered += 1;
        };
        if std::mem::replace(seen, true) {
            self.doubled += 1;
        } else {
            self.got += 1;
        }
        self.altered += usize::from(!line.is_whole());
        self.out_of_order += usize::from(line.number < self.last);
        self.last = line.number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_can_go_wrong_is_counted() {
        let mut tally = Tally::new(5);
        let line = |number| Line::new(number, "text").to_string();
        for number in [1, 3, 2, 3, 9] {
            tally.take("message", &line(number));
        }
        tally.take("message", &line(4).replace("text", "test"));
        tally.take("tidings.gap", "{}");
        tally.take("tidings.end", "{}");
        assert_eq!((tally.got, tally.lost()), (4, 1));
        assert_eq!(
            (tally.doubled, tally.out_of_order, tally.altered),
            (1, 1, 2)
        );
        assert_eq!((tally.gaps, tally.ends), (1, 1));
    }
}
