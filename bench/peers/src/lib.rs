//! What the programs of the benchmark share: followers on non-blocking sockets, a publisher, and
//! what a server's process has used.
//!
//! Each event's data begins with a tilde, and nothing else in a stream has one. So deliveries can
//! be counted without parsing, however the stream is cut into chunks.

mod followers;
mod histogram;
mod publisher;
mod target;
mod usage;

pub use followers::Followers;
pub use histogram::Histogram;
pub use publisher::Publisher;
pub use target::Target;
pub use usage::Usage;

/// What each event's data begins with.
pub const MARK: u8 = b'~';

/// `bytes` of data.
#[must_use]
pub fn data(bytes: usize) -> String {
    let mut data = "x".repeat(bytes.max(1));
    data.replace_range(..1, "~");
    data
}
