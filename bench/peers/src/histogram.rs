use std::time::Duration;

/// Times, all kept: exact, and small beside the sockets.
#[derive(Debug, Default)]
pub struct Histogram {
    us: Vec<u32>,
}

impl Histogram {
    pub fn add(&mut self, time: Duration) {
        self.us
            .push(u32::try_from(time.as_micros()).unwrap_or(u32::MAX));
    }

    pub fn merge(&mut self, other: Self) {
        self.us.extend(other.us);
    }

    /// In microseconds; 0 where there is nothing.
    pub fn percentile(&mut self, percent: usize) -> u32 {
        let place = (self.us.len() * percent / 100).min(self.us.len().saturating_sub(1));
        if self.us.is_empty() {
            0
        } else {
            *self.us.select_nth_unstable(place).1
        }
    }
}
