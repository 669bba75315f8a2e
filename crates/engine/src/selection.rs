//! What a subscriber follows: topics and patterns.

use std::fmt;

use tidings_wire::Topic;

use crate::pattern::Pattern;

/// One topic, or all that match a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// Exactly this topic.
    Topic(Topic),
    /// Every topic that matches.
    Pattern(Pattern),
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => f.write_str(topic.as_str()),
            Self::Pattern(pattern) => f.write_str(pattern.as_str()),
        }
    }
}

/// All that one subscriber follows, as the log wants to be asked.
#[derive(Debug)]
pub(crate) struct Selection {
    topics: Vec<Topic>,
    patterns: Vec<Pattern>,
}

impl Selection {
    pub(crate) fn new(selectors: &[Selector]) -> Self {
        let mut selection = Self {
            topics: Vec::new(),
            patterns: Vec::new(),
        };
        for selector in selectors {
            match selector {
                Selector::Topic(topic) if !selection.topics.contains(topic) => {
                    selection.topics.push(topic.clone());
                }
                Selector::Pattern(pattern) if !selection.patterns.contains(pattern) => {
                    selection.patterns.push(pattern.clone());
                }
                _ => {}
            }
        }
        selection
    }

    /// How many topics and patterns there are.
    pub(crate) fn len(&self) -> usize {
        self.topics.len() + self.patterns.len()
    }

    pub(crate) fn is_one_topic(&self) -> bool {
        self.topics.len() == 1 && self.patterns.is_empty()
    }

    pub(crate) fn topics(&self) -> &[Topic] {
        &self.topics
    }

    pub(crate) fn patterns(&self) -> &[Pattern] {
        &self.patterns
    }

    /// Runs `ask` with this selection in the form that the log reads by.
    pub(crate) fn with<R>(&self, ask: impl FnOnce(&dyn tidings_log::Select) -> R) -> R {
        let names: Vec<&str> = self.topics.iter().map(Topic::as_str).collect();
        ask(&Borrowed {
            selection: self,
            names: &names,
        })
    }
}

struct Borrowed<'a> {
    selection: &'a Selection,
    names: &'a [&'a str],
}

impl tidings_log::Select for Borrowed<'_> {
    fn exact(&self) -> Option<&[&str]> {
        self.selection.patterns.is_empty().then_some(self.names)
    }

    fn matches(&self, topic: &str) -> bool {
        self.names.contains(&topic) || self.selection.patterns.iter().any(|p| p.matches(topic))
    }
}
