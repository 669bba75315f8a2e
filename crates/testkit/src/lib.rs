//! What the tests of several Tidings crates share: a hub in the same process, and clients that
//! send bytes.
//!
//! A [`Kit`] is a hub over files in memory with its HTTP server. Connections are pipes, the
//! committer is stepped by a task, and the clock is tokio's: under
//! `#[tokio::test(start_paused = true)]` nothing is slept for, and hours pass in milliseconds.
//!
//! A [`Client`] is no HTTP library on purpose: it sends what it is told to, however wrong, and
//! stops reading where it is told to.
//!
//! Everything here panics where something goes wrong. In a test, that is the report.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a panic here is a failed test"
)]

mod client;
mod clock;
mod disk;
mod events;
mod kit;
mod patience;

pub use client::{Client, Head, Response};
pub use clock::{EPOCH_MS, now_ms, random};
pub use disk::{Disk, Fault};
pub use events::Events;
pub use kit::{EPOCH, Kit, Setup, on_hyper};
pub use patience::{PATIENCE, soon};
