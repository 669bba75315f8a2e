//! The Tidings HTTP contract on hyper: `GET /events` subscribes, `POST /events` publishes.
//!
//! HTTP/1.1 and cleartext HTTP/2 share one port; the first bytes of a connection tell which it is.
//! [`Server`] drives a [`tidings::Hub`] that somebody else opened; it reads neither the clock nor
//! the environment but through what it was given in [`Environment`].
//!
//! The layers, from the socket inwards:
//!
//! | module | what it does |
//! | --- | --- |
//! | `server` | accepts, counts, drains |
//! | `connection`, `http2` | a connection of each protocol |
//! | `sniff`, `patience`, `hangup` | its bytes: which protocol, who takes nothing, who has gone |
//! | `route` | from a request to a handler; `Host` and `Origin` |
//! | `shard` | the hot path: plain HTTP/1.1 streams, on sockets that it owns |
//! | `subscribe`, `stream` | all other `GET /events`: a subscription as a response body |
//! | `publish` | `POST /events`: plain, form, JSON, streamed NDJSON |
//! | `problem` | errors, as RFC 9457 has them |

mod config;
mod connection;
mod console;
mod counters;
mod hangup;
mod health;
mod http2;
mod metrics;
mod origin;
mod patience;
mod problem;
mod publish;
mod query;
mod reply;
mod route;
mod server;
mod shard;
mod sniff;
mod stream;
mod subscribe;

pub use config::{Config, Environment};
pub use server::Server;
