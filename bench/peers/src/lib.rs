//! What the programs of the benchmark share: followers and publishers on sockets that never block,
//! the check of every delivery, and what a server's process has used.

mod clock;
mod exchange;
mod follower;
mod histogram;
mod lines;
mod load;
mod mark;
mod publisher;
mod report;
mod request;
mod server;
mod tally;
mod target;
mod turns;
mod usage;

pub use clock::now_ns;
pub use exchange::Exchange;
pub use histogram::Histogram;
pub use lines::Lines;
pub use load::{Load, Plan};
pub use mark::{DATA_BYTES, Scanner, write_data};
pub use publisher::{Manner, Publisher};
pub use report::Report;
pub use request::{fill, post};
pub use server::Server;
pub use tally::{Numbering, Progress, Tally};
pub use target::Target;
pub use turns::{Turn, Turns};
pub use usage::{Usage, memory_kib};
