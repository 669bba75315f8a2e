//! Every bound of the engine, by name.

/// What the engine accepts and holds. Every field's name ends in its unit.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Limits {
    /// The encoded size of one event without its ID. Beyond: [`EventTooLarge`](crate::PublishError::EventTooLarge).
    /// Default 1 MiB.
    pub event_bytes_max: usize,
    /// Topics that one event is published under. Beyond: [`TooManyTopics`](crate::PublishError::TooManyTopics).
    /// Default 64.
    pub event_topics_max: usize,
    /// Bytes of a publisher's own ID, of a `key` and of an idempotency key.
    /// Beyond: [`TextTooLong`](crate::PublishError::TextTooLong). Default 256.
    pub text_bytes_max: usize,
    /// Events in one group, which is committed whole or not at all.
    /// Beyond: [`GroupTooLarge`](crate::PublishError::GroupTooLarge). Default 10,000.
    pub group_events_max: usize,
    /// Bytes in one group. Beyond: [`GroupTooLarge`](crate::PublishError::GroupTooLarge). Default 16 MiB.
    pub group_bytes_max: usize,
    /// Bytes waiting for the committer; a group may exceed it when the queue is empty.
    /// Beyond: [`Busy`](crate::PublishError::Busy). Default 32 MiB.
    pub queue_bytes_max: usize,
    /// Groups waiting for the committer. Beyond: [`Busy`](crate::PublishError::Busy). Default 16,384.
    pub queue_groups_max: usize,
    /// Bytes that one commit writes before it syncs; one group may exceed it. What is over waits
    /// for the next commit. Default 4 MiB.
    pub commit_bytes_max: usize,
    /// Topics and patterns of one subscriber. Beyond: [`TooManySelectors`](crate::SubscribeError::TooManySelectors).
    /// Default 100.
    pub selectors_max: usize,
    /// Patterns of all subscribers together that are more than whole segments, names and a `*` at
    /// the end: each is tried at every publish below its literal beginning. Beyond:
    /// [`TooManyComplexPatterns`](crate::SubscribeError::TooManyComplexPatterns). Default 256.
    pub complex_patterns_max: usize,
    /// Bytes of events, with their bookkeeping, held in memory for all subscribers together.
    /// Beyond: the oldest are dropped and read from the log. Default 64 MiB.
    pub window_bytes_max: usize,
    /// Bytes of events handed to a subscriber in one step; one event may exceed it.
    /// Default 64 KiB.
    pub step_bytes_max: usize,
    /// Events handed to a subscriber in one step. Default 512.
    pub step_events_max: usize,
    /// Idempotency keys remembered. Beyond: the oldest are forgotten. Default 100,000.
    pub idempotency_keys_max: usize,
    /// How long an idempotency key is remembered, also over a restart, in milliseconds.
    /// Default 24 hours.
    pub idempotency_ms_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            event_bytes_max: 1 << 20,
            event_topics_max: 64,
            text_bytes_max: 256,
            group_events_max: 10_000,
            group_bytes_max: 16 << 20,
            queue_bytes_max: 32 << 20,
            queue_groups_max: 16_384,
            commit_bytes_max: 4 << 20,
            selectors_max: 100,
            complex_patterns_max: 256,
            window_bytes_max: 64 << 20,
            step_bytes_max: 64 << 10,
            step_events_max: 512,
            idempotency_keys_max: 100_000,
            idempotency_ms_max: 24 * 60 * 60 * 1000,
        }
    }
}
