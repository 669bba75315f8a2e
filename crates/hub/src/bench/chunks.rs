//! The body of an HTTP/1.1 response, out of its chunks (RFC 9112, section 7.1).

/// Takes pieces of the connection's bytes, cut anywhere.
#[derive(Debug)]
pub(crate) struct Chunks {
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No chunks: all is body until the connection ends.
    Plain,
    /// In a chunk's size, which is this so far.
    Size(u64),
    /// Behind the size, up to the end of its line.
    Extension(u64),
    /// In a chunk that has so much left.
    Data(u64),
    /// Behind a chunk, up to the end of the line.
    Behind,
    /// After the last chunk.
    Over,
}

/// Bytes that are no chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

impl Chunks {
    pub(crate) fn new(is_chunked: bool) -> Self {
        let state = if is_chunked {
            State::Size(0)
        } else {
            State::Plain
        };
        Self { state }
    }

    /// Whether the body has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// The next bytes of the body in `input`, of which it removes what it has read; `None` when
    /// nothing is left.
    pub(crate) fn next<'a>(&mut self, input: &mut &'a [u8]) -> Option<Result<&'a [u8], Malformed>> {
        loop {
            let bytes = *input;
            let first = *bytes.first()?;
            match self.state {
                State::Plain => {
                    *input = &[];
                    return Some(Ok(bytes));
                }
                State::Over => return None,
                State::Data(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    let (body, rest) = bytes.split_at(count);
                    *input = rest;
                    let left = left - body.len() as u64;
                    self.state = if left > 0 {
                        State::Data(left)
                    } else {
                        State::Behind
                    };
                    return Some(Ok(body));
                }
                _ => match step(self.state, first) {
                    Some(state) => self.state = state,
                    None => return Some(Err(Malformed)),
                },
            }
            *input = bytes.split_first().map_or(&[], |(_, rest)| rest);
        }
    }
}

/// What a byte between the chunks' data leads to; `None` if it must not stand there.
fn step(state: State, byte: u8) -> Option<State> {
    match (state, byte) {
        (State::Size(size) | State::Extension(size), b'\n') => Some(match size {
            0 => State::Over,
            size => State::Data(size),
        }),
        (State::Size(size) | State::Extension(size), b'\r') => Some(State::Extension(size)),
        (State::Size(size), b';' | b' ' | b'\t') | (State::Extension(size), _) => {
            Some(State::Extension(size))
        }
        (State::Size(size), digit) => {
            let digit = char::from(digit).to_digit(16)?;
            let size = size.checked_mul(16)?.checked_add(digit.into())?;
            Some(State::Size(size))
        }
        (State::Behind, b'\r') => Some(State::Behind),
        (State::Behind, b'\n') => Some(State::Size(0)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(pieces: &[&[u8]], chunks: &mut Chunks) -> Result<Vec<u8>, Malformed> {
        let mut body = Vec::new();
        for piece in pieces {
            let mut input = *piece;
            while let Some(part) = chunks.next(&mut input) {
                body.extend_from_slice(part?);
            }
        }
        Ok(body)
    }

    #[test]
    fn chunks_are_joined_wherever_they_are_cut() {
        let all = b"3\r\nabc\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        for cut in 0..all.len() {
            let mut chunks = Chunks::new(true);
            let (one, two) = all.split_at(cut);
            assert_eq!(body(&[one, two], &mut chunks).unwrap(), b"abc0123456789");
            assert!(chunks.is_over(), "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        for bytes in [&b"x\r\n"[..], b"3\r\nabcd", b"fffffffffffffffff\r\n"] {
            let result = body(&[bytes], &mut Chunks::new(true));
            assert_eq!(result, Err(Malformed), "{bytes:?}");
        }
        assert_eq!(
            body(&[b"3\r\n"], &mut Chunks::new(false)).unwrap(),
            b"3\r\n"
        );
    }
}
