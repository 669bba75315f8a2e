use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds on the clock that all processes of a machine share, and that never goes back.
#[must_use]
pub fn now_ns() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
