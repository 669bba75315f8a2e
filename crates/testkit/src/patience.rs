//! How long a test waits for what must happen.

use std::{future::Future, time::Duration};

/// Longer than anything takes that a test waits for without moving the clock itself.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// What `future` comes to, which must be soon; `what` says what was waited for.
pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    let Ok(output) = tokio::time::timeout(PATIENCE, future).await else {
        panic!("waited for {what}, and it did not happen in {PATIENCE:?}");
    };
    output
}
