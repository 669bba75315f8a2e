//! The block that nearly every stream is made of, taken in one go.

use core::ops::Range;

use crate::limits::Limits;
use crate::scan;

const ID: &[u8] = b"id:";
const EVENT: &[u8] = b"event:";
const DATA: &[u8] = b"data:";

/// An event of at most an `id` and an `event`, then one line of `data`, all of it in the chunk and
/// all of it good UTF-8.
///
/// What the decoder does with it line by line comes to the same, but takes twice the time: here
/// there is no state between lines, the text is checked once, and nothing but the ID is copied.
pub(crate) struct PlainBlock<'c> {
    pub(crate) id: Option<&'c str>,
    pub(crate) event_type: Option<&'c str>,
    pub(crate) data: &'c str,
    pub(crate) rest: &'c [u8],
}

impl<'c> PlainBlock<'c> {
    /// The block at the beginning of `input`, or `None`, if it is anything else, or not all there.
    #[inline]
    pub(crate) fn parse(input: &'c [u8], limits: &Limits) -> Option<Self> {
        let mut id = None;
        let mut event_type = None;
        let mut rest = input;
        loop {
            if let Some(after) = rest.strip_prefix(DATA) {
                let (value, end) = after.split_at_checked(scan::line_end(after)?)?;
                let ([b'\n', b'\n', rest @ ..] | [b'\r', b'\n', b'\r', b'\n', rest @ ..]) = end
                else {
                    return None;
                };
                let text_end = input.len() - end.len();
                let text = core::str::from_utf8(input.get(..text_end)?).ok()?;
                let block = Self {
                    id: id.and_then(|id| text.get::<Range<usize>>(id)),
                    event_type: event_type
                        .and_then(|event_type| text.get::<Range<usize>>(event_type)),
                    data: text.get(value_start(value, text_end)..)?,
                    rest,
                };
                let is_plain =
                    value.len() + DATA.len() <= limits.line_bytes_max && block.is_within(limits);
                return is_plain.then_some(block);
            }
            let (name_len, range) = if rest.starts_with(ID) {
                (ID.len(), &mut id)
            } else if rest.starts_with(EVENT) {
                (EVENT.len(), &mut event_type)
            } else {
                return None;
            };
            let (line, end) = rest.split_at_checked(scan::line_end(rest)?)?;
            let line_end = input.len() - end.len();
            *range = Some(value_start(line.get(name_len..)?, line_end)..line_end);
            if line.len() > limits.line_bytes_max {
                return None;
            }
            rest = match end {
                [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] => rest,
                _ => return None,
            };
        }
    }

    /// An ID with a NUL is one for the careful path as well.
    #[inline]
    fn is_within(&self, limits: &Limits) -> bool {
        let id = self.id.unwrap_or("");
        let event_type = self.event_type.unwrap_or("");
        id.len() <= limits.id_bytes_max
            && self.data.len() + event_type.len() <= limits.event_bytes_max
            && !has_nul(id.as_bytes())
    }
}

/// Where `value`, which follows a colon and ends at `end`, begins after its one optional space.
#[inline]
fn value_start(value: &[u8], end: usize) -> usize {
    end - value.len() + usize::from(value.first() == Some(&b' '))
}

/// Eight bytes at a time, since IDs are too short for `memchr` to pay.
#[inline]
fn has_nul(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk::<8>() else {
        return bytes.contains(&b'\0');
    };
    // The last eight overlap those before them, so that no byte is looked at alone.
    let (words, _) = bytes.as_chunks::<8>();
    let mut words = words.iter().chain([last]);
    words.any(|word| scan::zero_marks(u64::from_ne_bytes(*word)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_is_found_wherever_it_is() {
        for len in 0..40 {
            let mut bytes = alloc::vec![1; len];
            assert!(!has_nul(&bytes));
            bytes.fill(0xFF);
            assert!(!has_nul(&bytes));
            for at in 0..len {
                bytes[at] = 0;
                assert!(has_nul(&bytes), "{at} of {len}");
                bytes[at] = 0x80;
            }
        }
    }

    /// All that is not plain is for the careful path, which is tested on its own.
    #[test]
    fn only_plain_blocks_are_taken() {
        let limits = Limits::default();
        for plain in [
            "data:\n\n",
            "id: 1\ndata: a\n\nrest",
            "event:x\r\nid\u{3a}1\r\ndata:a\r\n\r\n",
        ] {
            assert!(
                PlainBlock::parse(plain.as_bytes(), &limits).is_some(),
                "{plain:?}"
            );
        }
        for other in [
            "",
            "\n",
            "data\n\n",
            "data:a\n",
            "data:a\ndata:b\n\n",
            "data:a\r\r",
            ":c\ndata:a\n\n",
            "retry:1\ndata:a\n\n",
            "id:\0\ndata:a\n\n",
            "data:a\nid:1\n\n",
            "id\ndata:a\n\n",
        ] {
            assert!(
                PlainBlock::parse(other.as_bytes(), &limits).is_none(),
                "{other:?}"
            );
        }
        assert!(PlainBlock::parse(b"data:\xFF\n\n", &limits).is_none());
    }
}
