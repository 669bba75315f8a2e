//! The crate through its public door: against a model of the standard, and against vectors.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic here is a failed test"
)]

mod base64;
mod decode;
mod encode;
mod model;
mod run;
mod shared_vectors;
mod vectors;
