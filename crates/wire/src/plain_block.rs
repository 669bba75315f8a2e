//! The block that nearly every stream is made of, taken in one go.

use crate::field::without_space;
use crate::limits::Limits;
use crate::scan;

/// An event of at most an `id` and an `event`, then one line of `data`, all of it in the chunk; or
/// such an event of which the chunk's end splits the data.
///
/// What the decoder does with it line by line comes to the same, but takes twice the time: here
/// there is no state between lines, and nothing but the ID is copied.
pub(crate) struct PlainBlock<'c> {
    pub(crate) id: Option<&'c [u8]>,
    /// Empty if there is none.
    pub(crate) event_type: &'c [u8],
    pub(crate) data: Data<'c>,
}

/// The data of a plain block.
pub(crate) enum Data<'c> {
    /// The data, and what follows the block.
    Whole(&'c [u8], &'c [u8]),
    /// The beginning of the line of data, with its name: the chunk ends in it.
    Split(&'c [u8]),
}

impl<'c> Data<'c> {
    /// The data that `input` begins with, or is in the middle of, if the block ends after it. What
    /// is split is without the name here.
    #[expect(clippy::inline_always, reason = "see `Decoder::plain_event`")]
    #[inline(always)]
    pub(crate) fn parse(input: &'c [u8]) -> Option<Self> {
        let Some(at) = scan::line_end(input) else {
            return Some(Self::Split(input));
        };
        match input.split_at_checked(at)? {
            (data, [b'\n', b'\n', after @ ..] | [b'\r', b'\n', b'\r', b'\n', after @ ..]) => {
                Some(Self::Whole(data, after))
            }
            _ => None,
        }
    }
}

impl<'c> PlainBlock<'c> {
    /// The block at the beginning of `input`, or `None` if it is anything else, or exceeds a limit.
    #[expect(clippy::inline_always, reason = "see `Decoder::plain_event`")]
    #[inline(always)]
    pub(crate) fn parse(input: &'c [u8], limits: &Limits) -> Option<Self> {
        let (mut id, mut event_type) = (None, None);
        let mut rest = input;
        let value = loop {
            match rest {
                [b'd', b'a', b't', b'a', b':', value @ ..] => break value,
                // A second one is for the careful path, which checks the limits of both.
                [b'i', b'd', b':', value @ ..] if id.is_none() => {
                    let (value, next) = short_line(value)?;
                    (id, rest) = (Some(value), next);
                }
                [b'e', b'v', b'e', b'n', b't', b':', value @ ..] if event_type.is_none() => {
                    let (value, next) = short_line(value)?;
                    (event_type, rest) = (Some(value), next);
                }
                _ => return None,
            }
        };
        let data = Data::parse(value)?;
        let (block_bytes, value) = match data {
            Data::Whole(data, after) => (input.len() - after.len(), data),
            Data::Split(data) => (input.len(), data),
        };
        // What is shorter as a whole than the least limit exceeds none.
        if block_bytes > limits.least() && exceeds(limits, id, event_type, value) {
            return None;
        }
        Some(Self {
            id: id.map(without_space),
            event_type: event_type.map_or(&[][..], without_space),
            data: match data {
                Data::Whole(data, after) => Data::Whole(without_space(data), after),
                Data::Split(_) => Data::Split(rest),
            },
        })
    }
}

/// The value that follows a colon, with the space that may come first, and the next line.
#[inline]
fn short_line(value: &[u8]) -> Option<(&[u8], &[u8])> {
    match value.split_at_checked(scan::first_control(value)?)? {
        (value, [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..]) => Some((value, rest)),
        _ => None, // such as a NUL, with which an ID is none
    }
}

/// Whether any limit is exceeded by a block of these values, which may begin with a space.
fn exceeds(limits: &Limits, id: Option<&[u8]>, event_type: Option<&[u8]>, data: &[u8]) -> bool {
    let id = id.unwrap_or(&[]);
    let event_type = event_type.unwrap_or(&[]);
    let line_bytes = (b"id:".len() + id.len())
        .max(b"event:".len() + event_type.len())
        .max(b"data:".len() + data.len());
    let event_bytes = without_space(event_type).len() + without_space(data).len();
    line_bytes > limits.line_bytes_max
        || event_bytes > limits.event_bytes_max
        || without_space(id).len() > limits.id_bytes_max
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
            assert!(matches!(block.data, Data::Whole(..)), "{plain:?}");
        }
        for split in ["data:", "data: ", "id: 1\ndata: a", "event:\r\ndata:a"] {
            let block = parse(split).unwrap_or_else(|| panic!("{split:?}"));
            assert!(matches!(block.data, Data::Split(_)), "{split:?}");
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
