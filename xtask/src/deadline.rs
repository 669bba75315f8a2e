//! Waiting for a condition, never for a time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(2);

/// Asks until the answer is there; an error once `limit` has passed without one.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() > end {
            bail!("waited {} s for {what}, in vain", limit.as_secs());
        }
        thread::sleep(BETWEEN_LOOKS);
    }
}
