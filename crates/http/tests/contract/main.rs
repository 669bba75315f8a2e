//! The HTTP contract through the public door: a hub in memory, clients that send bytes.
//!
//! Time is paused in all tests but those of `sockets`, where the kernel matters. They are one
//! program, so that they are linked once: `cargo test -p tidings-http --test contract drain::`
//! runs a file of them.
//!
//! All of them hold on both paths: here plain streams are on a shard, and `contract_on_hyper` runs
//! the same tests with hyper serving those too.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a panic here is a failed test"
)]
#![expect(clippy::format_collect, reason = "a test's input is no hot path")]

mod browser;
mod drain;
mod gaps;
mod garbage;
mod http2;
mod idempotency;
mod limits;
mod lines;
mod lines_bounds;
mod metrics;
mod publish;
mod publish_errors;
mod replay;
mod shards;
mod sockets;
mod stall;
mod subscribe;
