//! Bytes to text, as the Encoding standard's "UTF-8 decode" does it.
//!
//! A line end is never a part of a UTF-8 sequence, so decoding values one by one comes to the same
//! as decoding the whole stream: a sequence that a line end cuts off is malformed either way.

use alloc::string::String;

/// The text of `bytes`. Only what is malformed is copied, into `scratch`.
#[inline]
pub(crate) fn decode<'a>(bytes: &'a [u8], scratch: &'a mut String) -> &'a str {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return text;
    }
    scratch.clear();
    push_replaced(bytes, scratch);
    scratch
}

/// Makes `out` the text of `bytes`.
#[inline]
pub(crate) fn decode_into(bytes: &[u8], out: &mut String) {
    out.clear();
    match core::str::from_utf8(bytes) {
        Ok(text) => out.push_str(text),
        Err(_) => push_replaced(bytes, out),
    }
}

/// U+FFFD for each maximal malformed part, which is what `utf8_chunks` finds.
#[cold]
fn push_replaced(bytes: &[u8], out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        if !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
        }
    }
}
