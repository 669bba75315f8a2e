//! What the commands that speak with a hub share.

mod backoff;
mod connection;
mod hub_url;
mod patience;
mod refusal;

pub(crate) use backoff::Backoff;
pub(crate) use connection::{ConnectError, Connection, Door, root_cause};
pub(crate) use patience::Patience;
pub(crate) use refusal::{Refusal, foreign};
