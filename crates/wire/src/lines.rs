//! Text as the stream sees it: lines that each end in CR, LF or CRLF.

use alloc::vec::Vec;

use memchr::memchr2;

/// Appends `prefix`, a line and LF for each line of `text`; text that is empty is one empty line.
pub(crate) fn encode_lines(prefix: &[u8], text: &[u8], out: &mut Vec<u8>) {
    // Enough for one line, which most text is; more lines let `out` grow as a `Vec` does.
    out.reserve(prefix.len() + text.len() + 2);
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (line, after) = split_line(text);
        out.extend_from_slice(prefix);
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = after;
    }
}

/// How many bytes [`encode_lines`] appends.
pub(crate) fn lines_len(prefix: &[u8], text: &[u8]) -> usize {
    let mut len = 0;
    let mut rest = Some(text);
    while let Some(text) = rest {
        let (line, after) = split_line(text);
        len += prefix.len() + line.len() + 1;
        rest = after;
    }
    len
}

/// The first line, without its end, and what comes after its end, if it has one.
fn split_line(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let end = memchr2(b'\n', b'\r', text).and_then(|at| text.split_at_checked(at));
    match end {
        None => (text, None),
        Some((line, [b'\r', b'\n', after @ ..] | [_, after @ ..])) => (line, Some(after)),
        Some((line, [])) => (line, None),
    }
}
