//! Server-sent events that never miss.
//!
//! A [`Hub`] keeps every event in a log. A subscriber is a cursor over that log: one that is live,
//! one that resumes after a lost connection and one whose network is slow are the same thing, a
//! cursor at some place, on one code path. There is no queue per subscriber; not reading costs
//! nothing.
//!
//! This crate has no sockets, no clock (time is an argument) and no runtime: a publish is a
//! [`Ticket`] that can be awaited or waited on, a [`Subscription`] is polled.
//!
//! ```
//! use std::sync::Arc;
//! use tidings::{Hub, Limits, NewEvent, Publish, Selector, Start, Step};
//! use tidings_log::{MemoryStorage, Options, open};
//!
//! let (writer, reader, _) = open(Arc::new(MemoryStorage::new()), Options::default(), "e1", 0)?;
//! let (hub, mut committer) = Hub::new(writer, reader, Limits::default(), 0)?;
//! let topic: tidings::Topic = "orders/42".parse()?;
//!
//! let mut orders = hub.subscribe(&[Selector::Pattern("orders/:id".parse()?)], &Start::Latest, 0)?;
//! let ticket = hub.publish(Publish::new(vec![NewEvent::new(topic, "paid")]))?;
//! committer.step(0); // elsewhere: a thread in `Committer::run`
//! ticket.wait()?;
//!
//! let Some(Step::Frames(frames)) = orders.step(0) else { panic!("nothing came") };
//! assert_eq!(frames[0], "id: e1:1\ndata: paid\n\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What always holds
//!
//! - A receipt means that the events are as durable as the log was told to make them.
//! - There is one order; every subscriber sees its events in it, each once.
//! - What cannot be delivered is announced by a [`Gap`].
//! - A subscriber that does not read holds a cursor and a bell, and slows nobody.

mod bell;
mod committer;
mod control;
mod crowd;
mod forgotten;
mod hub;
mod id;
mod idempotency;
mod limits;
mod pattern;
mod pattern_index;
mod publish;
mod queue;
mod reading;
mod selection;
mod signal;
mod span;
mod start;
mod stats;
mod subscription;
mod sync;
mod window;

pub use committer::{Committer, Progress, Report};
pub use control::{Gap, GapReason, end_frame, heartbeat_frame, opening_frame};
pub use crowd::{Crowd, CrowdStep};
pub use hub::{Hub, Located};
pub use id::{Position, is_epoch};
pub use limits::Limits;
pub use pattern::{
    COMPLEX_PATTERN_BYTES_MAX, COMPLEX_PATTERN_WILD_MAX, PATTERN_BYTES_MAX, Pattern, PatternError,
};
pub use publish::{
    Answers, Idempotency, NewEvent, Publish, PublishError, Receipt, Refused, Run, Ticket,
};
pub use selection::Selector;
pub use signal::EndReason;
pub use span::{Framing, PIECE_BYTES_MAX, Span};
pub use start::Start;
pub use stats::Stats;
pub use subscription::{LogPage, LogRead, Step, SubscribeError, Subscription};
pub use tidings_wire::{EventId, EventIdError, EventType, EventTypeError, Topic, TopicError};
