//! The block that nearly every stream is made of, taken in one go.

use core::ops::Range;

use crate::limits::Limits;
use crate::scan;

/// An event of at most an `id` and an `event`, then one line of `data`, all of it in the chunk; or
/// such an event of which the chunk's end splits the data.
///
/// What the decoder does with it line by line comes to the same, but takes twice the time: here
/// there is no state between lines, the text is checked once, and nothing but the ID is copied.
pub(crate) struct PlainBlock<'c> {
    /// The block up to where its data ends, which all else is a place in.
    pub(crate) bytes: &'c [u8],
    pub(crate) id: Option<Range<usize>>,
    /// Empty if there is none.
    pub(crate) event_type: Range<usize>,
    /// Where the line of data begins, with its name.
    pub(crate) data_line: usize,
    /// Where the data begins.
    pub(crate) data: usize,
    /// What follows the block, or `None` if the chunk ends in its data.
    pub(crate) rest: Option<&'c [u8]>,
}

impl<'c> PlainBlock<'c> {
    /// The block at the beginning of `input`, or `None` if it is anything else, or exceeds a limit.
    #[expect(clippy::inline_always, reason = "see `Decoder::plain_block`")]
    #[inline(always)]
    pub(crate) fn parse(input: &'c [u8], limits: &Limits) -> Option<Self> {
        let (mut id, mut event_type) = (None, 0..0);
        let mut rest = input;
        let after = loop {
            let at = input.len() - rest.len();
            match rest {
                [b'd', b'a', b't', b'a', b':', after @ ..] => break after,
                [b'i', b'd', b':', value @ ..] if id.is_none() => {
                    let (range, next) = short_value(value, at + 3)?;
                    if range.end - at > limits.line_bytes_max || range.len() > limits.id_bytes_max {
                        return None;
                    }
                    (id, rest) = (Some(range), next);
                }
                // A second one is for the careful path, which checks the limits of both.
                [b'e', b'v', b'e', b'n', b't', b':', value @ ..] if event_type.end == 0 => {
                    let (range, next) = short_value(value, at + 6)?;
                    if range.end - at > limits.line_bytes_max {
                        return None;
                    }
                    (event_type, rest) = (range, next);
                }
                _ => return None,
            }
        };
        let data_line = input.len() - rest.len();
        let (value, end) = match scan::line_end(after) {
            Some(at) => after.split_at_checked(at)?,
            None => (after, &[][..]),
        };
        let (bytes, _) = input.split_at_checked(input.len() - end.len())?;
        let data = bytes.len() - value.len() + usize::from(value.first() == Some(&b' '));
        if bytes.len() - data_line > limits.line_bytes_max
            || bytes.len() - data + event_type.len() > limits.event_bytes_max
        {
            return None;
        }
        let rest = match end {
            [] => None,
            [b'\n', b'\n', rest @ ..] | [b'\r', b'\n', b'\r', b'\n', rest @ ..] => Some(rest),
            _ => return None,
        };
        Some(Self {
            bytes,
            id,
            event_type,
            data_line,
            data,
            rest,
        })
    }
}

/// Where the value is that follows a colon, which `start` is the place after, and the next line.
#[inline]
fn short_value(value: &[u8], start: usize) -> Option<(Range<usize>, &[u8])> {
    let (value, end) = value.split_at_checked(scan::first_control(value)?)?;
    let space = usize::from(value.first() == Some(&b' '));
    let range = start + space..start + value.len();
    match end {
        [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => Some((range, rest)),
        _ => None, // such as a NUL, with which an ID is none
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is not plain is for the careful path, which is tested on its own.
    #[test]
    fn only_plain_blocks_are_taken() {
        let limits = Limits::default();
        let parse = |text: &'static str| PlainBlock::parse(text.as_bytes(), &limits);
        for plain in [
            "data:\n\n",
            "id: 1\ndata: a\tb\n\nrest",
            "event:x\r\nid\u{3a}1\r\ndata:a\r\n\r\n",
        ] {
            let block = parse(plain).unwrap_or_else(|| panic!("{plain:?}"));
            assert!(block.rest.is_some(), "{plain:?}");
        }
        for split in ["data:", "data: ", "id: 1\ndata: a", "event:\r\ndata:a"] {
            let block = parse(split).unwrap_or_else(|| panic!("{split:?}"));
            assert!(block.rest.is_none(), "{split:?}");
        }
        for other in [
            "",
            "\n",
            "data",
            "data\n\n",
            "data:a\n",
            "data:a\ndata:b\n\n",
            "data:a\r",
            "data:a\r\r",
            ":c\ndata:a\n\n",
            "retry:1\ndata:a\n\n",
            "id:\0\ndata:a\n\n",
            "id:1\rdata:a\n\n",
            "id:1",
            "id:1\nid:2\ndata:a\n\n",
            "event:x\nevent:y\ndata:a\n\n",
            "data:a\nid:1\n\n",
            "id\ndata:a\n\n",
        ] {
            assert!(parse(other).is_none(), "{other:?}");
        }
    }
}
