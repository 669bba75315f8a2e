//! Time and chance as a test wants them: the first follows tokio's clock, the second a fixed course.

use std::sync::{
    OnceLock,
    atomic::{AtomicU64, Ordering},
};

/// When every test begins, about: 2026-01-01T00:00:00Z in Unix milliseconds.
pub const EPOCH_MS: u64 = 1_767_225_600_000;

static BEGIN: OnceLock<std::time::Instant> = OnceLock::new();

/// Unix time in milliseconds. It stands still and jumps with tokio's clock.
pub fn now_ms() -> u64 {
    let begin = *BEGIN.get_or_init(std::time::Instant::now);
    let now = tokio::time::Instant::now().into_std();
    let passed = now.saturating_duration_since(begin).as_millis();
    EPOCH_MS + u64::try_from(passed).unwrap_or(u64::MAX)
}

/// Another number each time, the same ones in every run of one test.
pub fn random() -> u64 {
    static STATE: AtomicU64 = AtomicU64::new(0);
    let state = STATE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 1
}
