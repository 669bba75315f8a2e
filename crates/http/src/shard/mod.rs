//! The hot path: plain HTTP/1.1, on sockets that a shard owns.
//!
//! A shard reads a connection's requests. A plain subscription it answers with events, straight from
//! the engine's window; a plain publish that came whole it gives to the committer; all else it hands
//! to hyper, with the bytes that it read. A subscriber is a slot of about a hundred bytes: its socket,
//! its number in the [`Crowd`](tidings::Crowd), and when it was last written to. It has no task, no
//! timer and no buffer. `docs/adr/0008-shards.md` has the reasons and what was measured.
//!
//! | module | what it does |
//! | --- | --- |
//! | `fanout` | the shard itself, without a clock, a poller or a runtime: start here |
//! | `fanout::{connection, requests, timers}` | a connection; taking and answering requests; what time brings |
//! | `request` | what is kept, what goes to hyper, and the head of the answer |
//! | `wheel` | when to look at a connection again: heartbeats, stalls, slow heads |
//! | `link` | what a shard needs of a socket |
//! | `thread` | a shard on a thread of its own, for TCP: one readiness loop |
//! | `task` | a shard as a task, for pipes and other sockets, and for tests under paused time |

mod fanout;
mod inbox;
mod link;
mod request;
mod task;
mod thread;
mod wheel;

pub(crate) use task::TaskShard;
pub(crate) use thread::ThreadShards;
