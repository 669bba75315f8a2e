//! The topics of the models, what can be asked of them, and which events that means.

use proptest::{collection::vec, prelude::*};
use tidings::Selector;

pub(crate) const TOPICS: [&str; 5] = ["a", "b", "c/1", "c/2", "c/2/x"];
pub(crate) const PATTERNS: [&str; 5] = ["*", "c/:id", "c/*", "{c/}?:id", ":one"];

/// How many [`selector`]s there are.
pub(crate) const SELECTORS: usize = TOPICS.len() + PATTERNS.len();

/// A topic by its number, or a pattern by one behind those.
pub(crate) fn selector(n: usize) -> Selector {
    match TOPICS.get(n) {
        Some(topic) => Selector::Topic(topic.parse().unwrap()),
        None => Selector::Pattern(PATTERNS[n - TOPICS.len()].parse().unwrap()),
    }
}

/// Selectors by number. Most follow one topic, and many the same: those share what is read for one.
pub(crate) fn some_selectors() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        3 => (0..2_usize).prop_map(|topic| vec![topic]),
        2 => (0..SELECTORS).prop_map(|selector| vec![selector]),
        2 => vec(0..SELECTORS, 2..4),
    ]
}

/// Whether a topic is among what is followed.
pub(crate) fn names(selectors: &[Selector], topic: &str) -> bool {
    selectors.iter().any(|selector| match selector {
        Selector::Topic(named) => named.as_str() == topic,
        Selector::Pattern(pattern) => pattern.matches(topic),
        other => panic!("{other:?}"),
    })
}

/// Whether an event of these topics is.
pub(crate) fn wants(selectors: &[Selector], topics: &[&str]) -> bool {
    topics.iter().any(|topic| names(selectors, topic))
}
