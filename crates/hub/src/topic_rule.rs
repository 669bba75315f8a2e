//! What is kept of some topics, as people write it: `orders/* age=7d bytes=1GiB events=1000`.

use std::{str::FromStr, time::Duration};

use tidings::Pattern;

use crate::{size, span};

/// A pattern of topics, and what is kept of each topic that it matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicRule {
    pub(crate) pattern: Pattern,
    pub(crate) age: Option<Duration>,
    pub(crate) bytes: Option<u64>,
    pub(crate) events: Option<u64>,
}

const EXPECTED: &str =
    "write a pattern and what is kept, like `orders/* age=7d bytes=1GiB events=1000`";

impl FromStr for TopicRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A pattern may hold spaces, limits do not: they are what is left at the end.
        let mut rest = text.trim();
        let mut rule = Self {
            pattern: "*".parse().map_err(|_| EXPECTED)?,
            age: None,
            bytes: None,
            events: None,
        };
        while let Some((before, word)) = rest.rsplit_once(' ') {
            let Some((name, value)) = word.split_once('=') else {
                break;
            };
            if !rule.limit(name, value)? {
                break;
            }
            rest = before.trim_end();
        }
        if rule.age.is_none() && rule.bytes.is_none() && rule.events.is_none() {
            return Err(EXPECTED.to_owned());
        }
        rule.pattern = rest.parse().map_err(|error| format!("`{rest}`: {error}"))?;
        Ok(rule)
    }
}

impl TopicRule {
    /// Takes a limit; false if it has no such name.
    fn limit(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let told = |problem: String| format!("`{name}={value}`: {problem}");
        match name {
            "age" => self.age = Some(span::parse_positive(value).map_err(told)?),
            "bytes" => self.bytes = Some(size::parse(value).map_err(told)?),
            "events" => {
                let events = value.parse().ok().filter(|events| *events > 0);
                let events = events.ok_or_else(|| told("write a number of at least 1".to_owned()));
                self.events = Some(events?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_a_pattern_and_its_limits() {
        let rule: TopicRule = "orders/* age=7d events=1000".parse().unwrap();
        assert_eq!(rule.pattern.as_str(), "orders/*");
        assert_eq!(rule.age, Some(Duration::from_hours(7 * 24)));
        assert_eq!((rule.bytes, rule.events), (None, Some(1000)));
        let rule: TopicRule = "a b=c/* bytes=1KiB".parse().unwrap();
        assert_eq!(rule.pattern.as_str(), "a b=c/*");
        assert_eq!(rule.bytes, Some(1024));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (text, words) in [
            ("orders/*", "what is kept"),
            ("age=7d", "what is kept"),
            ("orders/* age=never", "`age=never`: write a number"),
            ("orders/* events=0", "at least 1"),
            ("orders/* ages=7d", "what is kept"),
            ("orders/{ age=7d", "`orders/{`"),
        ] {
            let problem = text.parse::<TopicRule>().unwrap_err();
            assert!(problem.contains(words), "{text}: {problem}");
        }
    }
}
