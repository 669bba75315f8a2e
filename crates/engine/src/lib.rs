//! Server-sent events that never miss: every subscriber is a cursor over a log.
