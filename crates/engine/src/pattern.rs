//! Patterns: the path syntax of the [URLPattern standard], matched against whole topics.
//!
//! [URLPattern standard]: https://urlpattern.spec.whatwg.org/

use std::{
    fmt::{self, Write},
    str::FromStr,
};

use regex::{Regex, RegexBuilder};

use crate::sync::Arc;

/// The longest pattern accepted, in bytes of UTF-8.
pub const PATTERN_BYTES_MAX: usize = 1024;

/// The longest pattern accepted that is not plain, in bytes.
pub const COMPLEX_PATTERN_BYTES_MAX: usize = 256;

/// Names, wildcards and groups with a modifier in a pattern that is not plain.
pub const COMPLEX_PATTERN_WILD_MAX: usize = 8;

/// Memory for one compiled pattern, and for its matching.
const REGEX_BYTES_MAX: usize = 64 << 10;

/// A set of topics, written in the path syntax of the URLPattern standard.
///
/// | syntax | matches |
/// | --- | --- |
/// | `orders/42` | exactly that text |
/// | `:name` | one or more characters other than `/` |
/// | `*` | anything, `/` and nothing included |
/// | `{…}` | a group; as in the standard, `?`, `+` and `*` may follow it, or a `:name` |
/// | `\` | takes the next character as it is |
///
/// A `/` in front of a `:name` or `*` with a modifier belongs to it, as in the standard:
/// `orders/:id?` matches `orders` and `orders/42`. A topic has no leading `/`, so a pattern needs
/// none. Regular expression groups `(…)` are not supported: they could not be indexed.
///
/// Most patterns are plain: literal segments, whole-segment names, and perhaps a `*` at the end.
/// Those are matched segment by segment; the rest by a regular expression in linear time, within
/// [`COMPLEX_PATTERN_BYTES_MAX`] and [`COMPLEX_PATTERN_WILD_MAX`].
#[derive(Clone)]
pub struct Pattern {
    source: Arc<str>,
    shape: Shape,
}

/// How a pattern is matched and where the index keeps it.
#[derive(Clone)]
pub(crate) enum Shape {
    /// Whole segments, and whether a `*` follows the last `/`.
    Plain {
        segments: Arc<[Segment]>,
        tail: bool,
    },
    /// Anything else: literal segments that every match begins with, and the whole as a regex.
    Complex {
        prefix: Arc<[Segment]>,
        regex: Arc<Regex>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<str>),
    /// One or more characters other than `/`.
    Name,
}

/// Why a pattern was refused. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// The pattern is empty.
    Empty,
    /// The pattern is longer than [`PATTERN_BYTES_MAX`].
    TooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The pattern is not plain, and longer or more involved than
    /// [`COMPLEX_PATTERN_BYTES_MAX`] and [`COMPLEX_PATTERN_WILD_MAX`] allow.
    TooComplicated,
    /// The pattern's syntax is wrong.
    Syntax {
        /// Where, in bytes from the start.
        at: usize,
        /// What is wrong and what to do.
        problem: &'static str,
    },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the pattern is empty; `*` matches every topic"),
            Self::TooLong { bytes } => write!(
                f,
                "the pattern has {bytes} bytes and may have {PATTERN_BYTES_MAX}; \
                 follow several shorter ones"
            ),
            Self::TooComplicated => write!(
                f,
                "a pattern that is more than whole segments, `:names` and a `*` at the end may \
                 have {COMPLEX_PATTERN_BYTES_MAX} bytes and {COMPLEX_PATTERN_WILD_MAX} names, \
                 wildcards and modifiers; follow several simpler ones"
            ),
            Self::Syntax { at, problem } => write!(f, "at byte {at} of the pattern: {problem}"),
        }
    }
}

impl std::error::Error for PatternError {}

impl Pattern {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// Whether the whole of `topic` matches.
    pub fn matches(&self, topic: &str) -> bool {
        match &self.shape {
            Shape::Plain { segments, tail } => plain_matches(segments, *tail, topic),
            Shape::Complex { regex, .. } => regex.is_match(topic),
        }
    }

    /// Whether matching takes more than a walk along the topic's segments.
    pub(crate) fn is_complex(&self) -> bool {
        matches!(self.shape, Shape::Complex { .. })
    }

    pub(crate) fn shape(&self) -> &Shape {
        &self.shape
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.as_str()).finish()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for Pattern {}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(source: &str) -> Result<Self, PatternError> {
        if source.is_empty() {
            return Err(PatternError::Empty);
        }
        if source.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong {
                bytes: source.len(),
            });
        }
        let parts = Parser::new(source).parts()?;
        let shape = match plain(&parts) {
            Some(plain) => plain,
            None => complex(source, &parts)?,
        };
        Ok(Self {
            source: source.into(),
            shape,
        })
    }
}

fn plain_matches(segments: &[Segment], tail: bool, topic: &str) -> bool {
    let mut rest = topic.split('/');
    for segment in segments {
        let matched = match (segment, rest.next()) {
            (Segment::Literal(text), Some(part)) => **text == *part,
            (Segment::Name, Some(part)) => !part.is_empty(),
            (_, None) => false,
        };
        if !matched {
            return false;
        }
    }
    // A `*` stands after a `/`, so there has to be a segment, however empty.
    rest.next().is_some() == tail || (tail && segments.is_empty())
}

/// One piece of a pattern, as the standard's "part list" has it.
#[derive(Debug, PartialEq)]
struct Part {
    prefix: String,
    kind: Kind,
    suffix: String,
    modifier: Modifier,
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Kind {
    Text,
    Name,
    Any,
}

#[derive(Debug, PartialEq, Clone, Copy)]
enum Modifier {
    Once,
    Optional,
    OneOrMore,
    ZeroOrMore,
}

impl Part {
    fn is_plain_text(&self) -> bool {
        self.kind == Kind::Text && self.modifier == Modifier::Once
    }

    fn text(text: String) -> Self {
        Self {
            prefix: text,
            kind: Kind::Text,
            suffix: String::new(),
            modifier: Modifier::Once,
        }
    }
}

/// Reads a pattern into parts, as "parse a pattern string" in the standard does.
struct Parser<'a> {
    source: &'a str,
    at: usize,
    parts: Vec<Part>,
    /// Literal text not yet in a part.
    text: String,
    names: Vec<&'a str>,
}

impl<'a> Parser<'a> {
    fn new(source: &'a str) -> Self {
        Self {
            source,
            at: 0,
            parts: Vec::new(),
            text: String::new(),
            names: Vec::new(),
        }
    }

    fn parts(mut self) -> Result<Vec<Part>, PatternError> {
        while let Some(c) = self.peek() {
            match c {
                ':' => {
                    self.name()?;
                    self.wild(Kind::Name);
                }
                '*' => {
                    self.bump(c);
                    self.wild(Kind::Any);
                }
                '{' => self.group()?,
                _ => {
                    let c = self.literal()?;
                    self.text.push(c);
                }
            }
        }
        self.flush();
        Ok(self.parts)
    }

    fn peek(&self) -> Option<char> {
        self.source.get(self.at..)?.chars().next()
    }

    fn bump(&mut self, c: char) {
        self.at += c.len_utf8();
    }

    fn wrong<T>(&self, problem: &'static str) -> Result<T, PatternError> {
        Err(PatternError::Syntax {
            at: self.at,
            problem,
        })
    }

    fn flush(&mut self) {
        if !self.text.is_empty() {
            self.parts.push(Part::text(std::mem::take(&mut self.text)));
        }
    }

    /// A name or wildcard: a `/` just before it belongs to it, so that a modifier covers both.
    fn wild(&mut self, kind: Kind) {
        let modifier = self.modifier();
        let prefix = if self.text.ends_with('/') {
            self.text.pop();
            "/".to_owned()
        } else {
            String::new()
        };
        self.flush();
        self.parts.push(Part {
            prefix,
            kind,
            suffix: String::new(),
            modifier,
        });
    }

    fn modifier(&mut self) -> Modifier {
        let modifier = match self.peek() {
            Some('?') => Modifier::Optional,
            Some('+') => Modifier::OneOrMore,
            Some('*') => Modifier::ZeroOrMore,
            _ => return Modifier::Once,
        };
        self.at += 1;
        modifier
    }

    /// `:name`, at the colon.
    fn name(&mut self) -> Result<(), PatternError> {
        let rest = self.source.get(self.at + 1..).unwrap_or_default();
        let length = rest
            .char_indices()
            .find(|(i, c)| {
                !(c.is_alphanumeric() && (*i > 0 || !c.is_numeric()) || "_$".contains(*c))
            })
            .map_or(rest.len(), |(i, _)| i);
        let name = rest.get(..length).unwrap_or_default();
        if name.is_empty() {
            return self.wrong("a name must follow the `:`; for a colon itself write `\\:`");
        }
        if self.names.contains(&name) {
            return self.wrong("this name was used before; give each `:name` its own");
        }
        self.names.push(name);
        self.at += 1 + length;
        Ok(())
    }

    /// `{prefix :name suffix}modifier`, at the brace.
    fn group(&mut self) -> Result<(), PatternError> {
        self.bump('{');
        self.flush();
        let prefix = self.run()?;
        let kind = match self.peek() {
            Some(':') => {
                self.name()?;
                Kind::Name
            }
            Some('*') => {
                self.bump('*');
                Kind::Any
            }
            _ => Kind::Text,
        };
        let suffix = self.run()?;
        if self.peek() != Some('}') {
            return self.wrong("a group `{…}` holds at most one `:name` or `*` and ends in `}`");
        }
        self.bump('}');
        let modifier = self.modifier();
        self.parts.push(Part {
            prefix,
            kind,
            suffix,
            modifier,
        });
        Ok(())
    }

    /// Literal text inside a group.
    fn run(&mut self) -> Result<String, PatternError> {
        let mut run = String::new();
        while self
            .peek()
            .is_some_and(|c| !matches!(c, ':' | '*' | '{' | '}'))
        {
            run.push(self.literal()?);
        }
        Ok(run)
    }

    fn literal(&mut self) -> Result<char, PatternError> {
        let Some(mut c) = self.peek() else {
            return self.wrong("the pattern ends too soon");
        };
        match c {
            '(' | ')' => {
                return self
                    .wrong("regular expression groups are not supported; use `:name` or `*`");
            }
            '}' => return self.wrong("this `}` closes nothing; for a brace itself write `\\}`"),
            '?' | '+' => return self.wrong("a modifier must follow a `:name` or a `{group}`"),
            '\\' => {
                self.bump(c);
                let Some(escaped) = self.peek() else {
                    return self.wrong("a `\\` must be followed by the character that it escapes");
                };
                c = escaped;
            }
            _ => {}
        }
        self.bump(c);
        Ok(c)
    }
}

/// The parts as whole segments with perhaps a `*` at the end, if that is what they are.
fn plain(parts: &[Part]) -> Option<Shape> {
    let mut tail = false;
    let mut flat: Vec<Result<char, ()>> = Vec::new(); // Err: a name
    for part in parts {
        if tail || part.modifier != Modifier::Once {
            return None;
        }
        flat.extend(part.prefix.chars().map(Ok));
        match part.kind {
            Kind::Text => {}
            Kind::Name => flat.push(Err(())),
            Kind::Any => tail = true,
        }
        flat.extend(part.suffix.chars().map(Ok));
        if tail && !part.suffix.is_empty() {
            return None;
        }
    }
    if tail {
        match flat.pop() {
            Some(Ok('/')) => {}
            None => {
                return Some(Shape::Plain {
                    segments: Arc::new([]),
                    tail,
                });
            }
            Some(_) => return None,
        }
    }
    let segments: Option<Vec<Segment>> = flat.split(|c| *c == Ok('/')).map(segment).collect();
    Some(Shape::Plain {
        segments: segments?.into(),
        tail,
    })
}

fn segment(piece: &[Result<char, ()>]) -> Option<Segment> {
    if piece == [Err(())] {
        return Some(Segment::Name);
    }
    let text: Result<String, ()> = piece.iter().copied().collect();
    text.ok().map(|text| Segment::Literal(text.into()))
}

/// Publishers wait while a complex pattern is tried, so it must be cheap whatever it is.
fn complex(source: &str, parts: &[Part]) -> Result<Shape, PatternError> {
    let too_complicated = PatternError::TooComplicated;
    let wild = parts.iter().filter(|part| !part.is_plain_text()).count();
    if source.len() > COMPLEX_PATTERN_BYTES_MAX || wild > COMPLEX_PATTERN_WILD_MAX {
        return Err(too_complicated);
    }
    let mut regex = String::from("(?s)^");
    for part in parts {
        let inner = match part.kind {
            Kind::Text => "",
            Kind::Name => "[^/]+",
            Kind::Any => ".*",
        };
        let repeat = match part.modifier {
            Modifier::Once => "",
            Modifier::Optional => "?",
            Modifier::OneOrMore => "+",
            Modifier::ZeroOrMore => "*",
        };
        let (prefix, suffix) = (regex::escape(&part.prefix), regex::escape(&part.suffix));
        let _ = write!(regex, "(?:{prefix}{inner}{suffix}){repeat}");
    }
    regex.push('$');
    let regex = RegexBuilder::new(&regex)
        .size_limit(REGEX_BYTES_MAX)
        .dfa_size_limit(REGEX_BYTES_MAX)
        .build()
        .map_err(|_| too_complicated)?;
    Ok(Shape::Complex {
        prefix: literal_prefix(parts),
        regex: Arc::new(regex),
    })
}

/// The whole literal segments that every match begins with.
fn literal_prefix(parts: &[Part]) -> Arc<[Segment]> {
    let mut text = match parts.first() {
        Some(Part {
            prefix,
            kind: Kind::Text,
            suffix,
            modifier: Modifier::Once,
        }) => {
            format!("{prefix}{suffix}")
        }
        _ => String::new(),
    };
    text.truncate(text.rfind('/').unwrap_or(0));
    if text.is_empty() {
        return Arc::new([]);
    }
    text.split('/')
        .map(|s| Segment::Literal(s.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, topic: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(topic)
    }

    #[test]
    fn as_the_urlpattern_standard_matches() {
        for (pattern, yes, no) in [
            (
                "orders/42",
                &["orders/42"][..],
                &["orders/421", "orders", "x/orders/42"][..],
            ),
            (
                "orders/:id",
                &["orders/1", "orders/a.b"],
                &["orders/", "orders", "orders/1/x"],
            ),
            (
                "orders/*",
                &["orders/", "orders/1", "orders/1/x"],
                &["orders", "order/1"],
            ),
            ("*", &["a", "a/b", "/"], &[]),
            (":a/:b", &["x/y"], &["x", "x/", "/y", "x/y/z"]),
            (
                "orders/:id?",
                &["orders", "orders/1"],
                &["orders/", "orders/1/2"],
            ),
            (
                "orders/:id+",
                &["orders/1", "orders/1/2"],
                &["orders", "orders/"],
            ),
            ("orders/:id*", &["orders", "orders/1/2"], &["orders/1/"]),
            ("a*c", &["ac", "abc", "a/c"], &["ab", "acd"]),
            (
                "file-:name.txt",
                &["file-x.txt"],
                &["file-.txt", "file-a/b.txt"],
            ),
            ("a{b}?c", &["ac", "abc"], &["abbc"]),
            ("a{/:x-}+b", &["a/1-b", "a/1-/2-b"], &["ab"]),
            ("a\\:b", &["a:b"], &["ab", "a/b"]),
            ("a/*/b", &["a//b", "a/x/b", "a/x/y/b"], &["a/b"]),
            ("a/b/c{d}?", &["a/b/c", "a/b/cd"], &["a/b", "a/b/cdd"]),
            ("größe/:ü", &["größe/1"], &["größe/"]),
        ] {
            for topic in yes {
                assert!(matches(pattern, topic), "{pattern} should match {topic}");
            }
            for topic in no {
                assert!(
                    !matches(pattern, topic),
                    "{pattern} should not match {topic}"
                );
            }
        }
    }

    #[test]
    fn bad_syntax_says_where_and_what_to_do() {
        for (pattern, at, word) in [
            ("a(b)", 1, "regular expression"),
            ("a/:", 2, "name"),
            (":a/:a", 3, "used before"),
            ("a{b", 3, "group"),
            ("a}", 1, "closes nothing"),
            ("a?", 1, "modifier"),
            ("a\\", 2, "escapes"),
            (":9", 0, "name"),
        ] {
            match pattern.parse::<Pattern>() {
                Err(PatternError::Syntax { at: found, problem }) => {
                    assert_eq!(found, at, "{pattern}");
                    assert!(problem.contains(word), "{pattern}: {problem}");
                }
                other => panic!("{pattern}: {other:?}"),
            }
        }
        assert_eq!("".parse::<Pattern>(), Err(PatternError::Empty));
        let eight = format!(
            "a{}",
            ["/:a?/:b?", "/:c?/:d?", "/:e?/:f?", "/:g?/:h?"].concat()
        );
        assert!(eight.parse::<Pattern>().is_ok());
        assert_eq!(
            format!("{eight}/:i?").parse::<Pattern>(),
            Err(PatternError::TooComplicated)
        );
        let long = format!("{}:b?", "a".repeat(COMPLEX_PATTERN_BYTES_MAX));
        assert_eq!(long.parse::<Pattern>(), Err(PatternError::TooComplicated));
        assert!(
            "a".repeat(PATTERN_BYTES_MAX + 1)
                .parse::<Pattern>()
                .is_err()
        );
    }
}
