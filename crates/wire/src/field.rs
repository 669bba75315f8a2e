//! One line of the stream, as the standard interprets it.

/// A line, by what the standard does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field<'l> {
    /// The empty line: the block ends.
    Blank,
    Data(&'l [u8]),
    EventType(&'l [u8]),
    Id(&'l [u8]),
    Retry(u64),
    Comment(&'l [u8]),
    /// A field with another name, or a `retry` that is not a number.
    Ignored,
}

impl<'l> Field<'l> {
    /// `line` is without its end.
    ///
    /// The standard looks for a colon and compares the name before it. Looking for the four names
    /// and then for a colon comes to the same, and never scans the value.
    #[inline]
    pub(crate) fn parse(line: &'l [u8]) -> Self {
        match line {
            [] => Self::Blank,
            [b'd', b'a', b't', b'a', rest @ ..] => value(rest).map_or(Self::Ignored, Self::Data),
            [b'i', b'd', rest @ ..] => value(rest).map_or(Self::Ignored, Self::Id),
            [b'e', b'v', b'e', b'n', b't', rest @ ..] => {
                value(rest).map_or(Self::Ignored, Self::EventType)
            }
            [b'r', b'e', b't', b'r', b'y', rest @ ..] => {
                let number = value(rest).and_then(parse_retry);
                number.map_or(Self::Ignored, Self::Retry)
            }
            [b':', text @ ..] => Self::Comment(without_space(text)),
            _ => Self::Ignored,
        }
    }
}

/// The value after a field's name, or `None` if the name goes on.
#[inline]
fn value(rest: &[u8]) -> Option<&[u8]> {
    match rest {
        [] => Some(rest),
        [b':', value @ ..] => Some(without_space(value)),
        _ => None,
    }
}

/// One space after the colon is not part of the value; a second one is.
#[inline]
pub(crate) fn without_space(value: &[u8]) -> &[u8] {
    match value {
        [b' ', rest @ ..] => rest,
        _ => value,
    }
}

/// ASCII digits, at least one, and nothing else; of any size, so what is too large is the largest.
fn parse_retry(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        for line in [
            "Data: a",
            "dat",
            "dataa",
            "data : a",
            " data: a",
            "ids",
            "eventual:",
            "\u{feff}data: a",
        ] {
            assert_eq!(Field::parse(line.as_bytes()), Field::Ignored, "{line:?}");
        }
    }

    #[test]
    fn one_space_is_dropped() {
        for (line, value) in [
            ("data", ""),
            ("data:", ""),
            ("data: ", ""),
            ("data:  ", " "),
            ("data::", ":"),
            ("data:\ta", "\ta"),
        ] {
            assert_eq!(
                Field::parse(line.as_bytes()),
                Field::Data(value.as_bytes()),
                "{line:?}"
            );
        }
    }

    #[test]
    fn retry_is_digits_only() {
        for (value, number) in [
            ("0", Some(0)),
            ("007", Some(7)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", Some(u64::MAX)),
            ("99999999999999999999999999", Some(u64::MAX)),
            ("00000000000000000000000001", Some(1)),
            ("", None),
            ("+1", None),
            ("1 ", None),
            ("1e3", None),
            ("٣", None),
        ] {
            assert_eq!(parse_retry(value.as_bytes()), number, "{value:?}");
        }
    }
}
