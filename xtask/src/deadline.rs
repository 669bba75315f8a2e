//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// What counts at the most between two looks. A machine that stood still meanwhile, or gave others all
/// its time, gave none to whom is waited for.
const STEP_MAX: Duration = Duration::from_secs(1);

/// Asks until the answer is there; an error once `limit` has passed without one.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let (mut waited, mut looked) = (Duration::ZERO, Instant::now());
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if waited > limit {
            bail!("waited {} s for {what}, in vain", limit.as_secs());
        }
        thread::sleep(BETWEEN_LOOKS);
        waited += looked.elapsed().min(STEP_MAX);
        looked = Instant::now();
    }
}
