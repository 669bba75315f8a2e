//! Which patterns match a topic, found by walking the topic and not the patterns.

use std::collections::HashMap;

use crate::pattern::{Pattern, Segment, Shape};

/// A map from patterns to values that is looked up by topic.
///
/// A trie over segments. Plain patterns sit where they end; a complex one at the last of the
/// literal segments that it begins with, and is tried only for topics below that. A lookup costs
/// by the segments of the topic and the patterns on its way, not by the number of patterns.
#[derive(Debug)]
pub(crate) struct PatternIndex<V> {
    root: Node<V>,
    len: usize,
    /// How many of them are complex.
    complex: usize,
}

#[derive(Debug)]
struct Node<V> {
    literals: HashMap<Box<str>, Node<V>>,
    name: Option<Box<Node<V>>>,
    here: Vec<(Pattern, V)>,
    tails: Vec<(Pattern, V)>,
    complex: Vec<(Pattern, V)>,
}

impl<V> Default for PatternIndex<V> {
    fn default() -> Self {
        Self {
            root: Node::default(),
            len: 0,
            complex: 0,
        }
    }
}

impl<V> Default for Node<V> {
    fn default() -> Self {
        Self {
            literals: HashMap::new(),
            name: None,
            here: Vec::new(),
            tails: Vec::new(),
            complex: Vec::new(),
        }
    }
}

impl<V> PatternIndex<V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many complex patterns there would be with these.
    pub(crate) fn complex_with(&self, patterns: &[Pattern]) -> usize {
        let new = |pattern: &&Pattern| pattern.is_complex() && !self.contains(pattern);
        self.complex + patterns.iter().filter(new).count()
    }

    fn contains(&self, pattern: &Pattern) -> bool {
        let mut node = Some(&self.root);
        for segment in segments(pattern) {
            node = node.and_then(|node| match segment {
                Segment::Literal(text) => node.literals.get(text),
                Segment::Name => node.name.as_deref(),
            });
        }
        node.is_some_and(|node| node.complex.iter().any(|(p, _)| p == pattern))
    }

    /// The pattern's value, made first if there is none.
    pub(crate) fn get_or_insert_with(
        &mut self,
        pattern: &Pattern,
        make: impl FnOnce() -> V,
    ) -> &mut V {
        let slot = self.root.walk(segments(pattern)).slot(pattern);
        let at = slot
            .iter()
            .position(|(p, _)| p == pattern)
            .unwrap_or_else(|| {
                slot.push((pattern.clone(), make()));
                self.len += 1;
                self.complex += usize::from(pattern.is_complex());
                slot.len() - 1
            });
        #[expect(clippy::indexing_slicing, reason = "`at` was found or made just above")]
        &mut slot[at].1
    }

    pub(crate) fn remove(&mut self, pattern: &Pattern) {
        if self.root.remove(segments(pattern), pattern) {
            self.len -= 1;
            self.complex -= usize::from(pattern.is_complex());
        }
    }

    /// Calls `found` with the value of every pattern that matches `topic`, once each.
    pub(crate) fn for_each_match(&self, topic: &str, found: &mut impl FnMut(&V)) {
        if !self.is_empty() {
            self.root.for_each_match(topic, Some(topic), found);
        }
    }
}

fn segments(pattern: &Pattern) -> &[Segment] {
    match pattern.shape() {
        Shape::Plain { segments, .. } => segments,
        Shape::Complex { prefix, .. } => prefix,
    }
}

impl<V> Node<V> {
    fn walk(&mut self, segments: &[Segment]) -> &mut Self {
        segments.iter().fold(self, |node, segment| match segment {
            Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
            Segment::Name => node.name.get_or_insert_default(),
        })
    }

    fn slot(&mut self, pattern: &Pattern) -> &mut Vec<(Pattern, V)> {
        match pattern.shape() {
            Shape::Plain { tail: false, .. } => &mut self.here,
            Shape::Plain { tail: true, .. } => &mut self.tails,
            Shape::Complex { .. } => &mut self.complex,
        }
    }

    /// Removes the pattern, and every node that this leaves empty.
    fn remove(&mut self, segments: &[Segment], pattern: &Pattern) -> bool {
        let Some((segment, rest)) = segments.split_first() else {
            let slot = self.slot(pattern);
            let before = slot.len();
            slot.retain(|(p, _)| p != pattern);
            return slot.len() < before;
        };
        match segment {
            Segment::Literal(text) => {
                let Some(child) = self.literals.get_mut(text) else {
                    return false;
                };
                let removed = child.remove(rest, pattern);
                if child.is_bare() {
                    self.literals.remove(text);
                }
                removed
            }
            Segment::Name => {
                let Some(child) = &mut self.name else {
                    return false;
                };
                let removed = child.remove(rest, pattern);
                if child.is_bare() {
                    self.name = None;
                }
                removed
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.literals.is_empty()
            && self.name.is_none()
            && self.here.is_empty()
            && self.tails.is_empty()
            && self.complex.is_empty()
    }

    /// `rest` is what of the topic is still to be walked: `None` when its last segment is behind.
    fn for_each_match(&self, topic: &str, rest: Option<&str>, found: &mut impl FnMut(&V)) {
        #[cfg(test)]
        tests::VISITED.set(tests::VISITED.get() + 1 + self.complex.len());
        for (pattern, value) in &self.complex {
            if pattern.matches(topic) {
                found(value);
            }
        }
        let Some(rest) = rest else {
            self.here.iter().for_each(|(_, value)| found(value));
            return;
        };
        self.tails.iter().for_each(|(_, value)| found(value));
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        if let Some(child) = self.literals.get(segment) {
            child.for_each_match(topic, rest, found);
        }
        if let Some(child) = self.name.as_ref().filter(|_| !segment.is_empty()) {
            child.for_each_match(topic, rest, found);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// Nodes and regular expressions that lookups of this thread have tried.
        pub(super) static VISITED: Cell<usize> = const { Cell::new(0) };
    }

    /// A lookup costs by the topic and by the patterns on its way, and not by the number of them.
    #[test]
    fn strangers_are_not_visited() {
        let mut index = PatternIndex::default();
        for i in 0..10_000 {
            for pattern in [
                format!("orders/{i}/:what"),
                format!("shops/{i}/*"),
                format!("users/{i}/v{{x}}?"),
            ] {
                index.get_or_insert_with(&pattern.parse().unwrap(), || i);
            }
        }
        index.get_or_insert_with(&"orders/:id/:what".parse().unwrap(), || 0);
        assert_eq!(found(&index, "orders/7/paid"), [0, 7]);
        assert_eq!(found(&index, "users/7/vx"), [7]);
        // For each topic: the root, its first segment, and two branches of two, or one and a regex.
        assert!(VISITED.get() <= 12, "{}", VISITED.get());
    }

    fn found(index: &PatternIndex<usize>, topic: &str) -> Vec<usize> {
        let mut all = Vec::new();
        index.for_each_match(topic, &mut |v| all.push(*v));
        all.sort_unstable();
        all
    }

    fn some_patterns() -> impl Strategy<Value = Vec<Pattern>> {
        let piece = prop::sample::select(vec!["a", "b", ":x", ":y?", "*", "c{d}?", "", "e*"]);
        let pattern = prop::collection::vec(piece, 1..4)
            .prop_filter_map("valid", |pieces| pieces.join("/").parse::<Pattern>().ok());
        prop::collection::vec(pattern, 0..12)
    }

    fn some_topic() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec!["a", "b", "c", "cd", "", "e", "ef", "z"]);
        prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.join("/"))
    }

    proptest! {
        /// The index finds just what asking each pattern would, also after some were removed.
        #[test]
        fn finds_what_a_scan_finds(patterns in some_patterns(), topic in some_topic(), gone in any::<u16>()) {
            let mut unique: Vec<Pattern> = Vec::new();
            for pattern in patterns {
                if !unique.contains(&pattern) {
                    unique.push(pattern);
                }
            }
            let mut index = PatternIndex::default();
            for (i, pattern) in unique.iter().enumerate() {
                index.get_or_insert_with(pattern, || i);
            }
            let complex = unique.iter().filter(|pattern| pattern.is_complex()).count();
            prop_assert_eq!((index.complex, index.complex_with(&unique)), (complex, complex));
            let mut expected: Vec<usize> = Vec::new();
            for (i, pattern) in unique.iter().enumerate() {
                if gone >> (i % 16) & 1 == 1 {
                    index.remove(pattern);
                } else if pattern.matches(&topic) {
                    expected.push(i);
                }
            }
            prop_assert_eq!(found(&index, &topic), expected);
            for pattern in &unique {
                index.remove(pattern);
            }
            prop_assert_eq!(index.complex, 0);
            prop_assert!(index.is_empty() && index.root.is_bare());
        }
    }
}
