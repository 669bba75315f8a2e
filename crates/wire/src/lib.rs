//! An exact, fast codec for server-sent event streams.
