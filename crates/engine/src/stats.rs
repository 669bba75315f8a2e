//! What the engine counts.

use crate::sync::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Running totals since the hub was opened, and gauges.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        /// A reading of all counters, each exact but not all of one instant.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct Stats {
            $($(#[$doc])* pub $name: u64,)*
            /// Groups waiting for the committer.
            pub queue_groups: u64,
            /// Bytes waiting for the committer.
            pub queue_bytes: u64,
            /// Events held in memory.
            pub window_events: u64,
            /// Bytes that they take with their bookkeeping.
            pub window_bytes: u64,
            /// Topics that have events in memory or subscribers.
            pub window_topics: u64,
            /// Idempotency keys remembered.
            pub idempotency_keys: u64,
            /// Segments of the log.
            pub log_segments: u64,
            /// Bytes that they take.
            pub log_bytes: u64,
            /// Events in the log.
            pub log_events: u64,
            /// The oldest sequence in the log.
            pub log_first: u64,
            /// One past the newest sequence in the log.
            pub log_next: u64,
        }

        impl Counters {
            pub(crate) fn read(&self) -> Stats {
                Stats {
                    $($name: self.$name.load(Ordering::Relaxed),)*
                    ..Stats::default()
                }
            }
        }
    };
}

counters! {
    /// Events committed.
    published_events,
    /// Bytes of frames committed.
    published_bytes,
    /// Commits: one write and one sync each.
    commits,
    /// Microseconds spent in them.
    commit_us,
    /// Groups answered with an earlier receipt.
    repeated_groups,
    /// Groups refused because the queue was full.
    refused_busy,
    /// Groups refused because the disk was full or the log had failed.
    refused_storage,
    /// Events handed to subscribers.
    delivered_events,
    /// Bytes of frames handed to subscribers.
    delivered_bytes,
    /// Reads of the log for subscribers behind the window.
    log_reads,
    /// Gaps announced.
    gaps,
    /// Subscriptions open now.
    subscribers,
    /// Subscriptions opened.
    subscriptions,
    /// Subscriptions ended by a drain.
    ended_drain,
    /// Subscriptions ended by an operator.
    ended_evicted,
    /// Subscriptions ended because their subscriber was too slow.
    ended_too_slow,
    /// 1 once the log has failed and accepts nothing more.
    log_failed,
    /// 1 while there is no room for what is published.
    log_full,
    /// 1 while what is published cannot be written.
    log_unwritable,
}

/// Adds to a counter.
pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
