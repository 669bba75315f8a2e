//! A durable, segmented, append-only event log with group commit.
