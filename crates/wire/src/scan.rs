//! Where lines end: the one thing that looks at every byte.

use memchr::memchr2;

/// The place of the first CR or LF.
#[inline]
pub(crate) fn line_end(bytes: &[u8]) -> Option<usize> {
    let end = memchr2(b'\n', b'\r', bytes);
    count(end.map_or(bytes.len(), |at| at + 1));
    end
}

/// The place of the first byte up to CR: a line end, NUL or another control character, such as tab.
///
/// For IDs and event types, which are too short for `memchr` to pay: eight bytes at a time.
#[inline]
pub(crate) fn first_control(bytes: &[u8]) -> Option<usize> {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let marks = control_marks(u64::from_le_bytes(*word));
        if marks != 0 {
            at += marks.trailing_zeros() as usize / 8;
            count(at);
            return Some(at);
        }
        at += 8;
    }
    count(bytes.len());
    let in_tail = tail.iter().position(|byte| *byte <= b'\r')?;
    Some(at + in_tail)
}

/// Marks the highest bit of each byte up to CR, and perhaps of some above the lowest such.
#[inline]
const fn control_marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    word.wrapping_sub(ONES * (b'\r' as u64 + 1)) & !word & (ONES << 7)
}

/// Tells the tests that so many bytes were looked at or copied; otherwise nothing.
#[inline]
pub(crate) fn count(bytes: usize) {
    #[cfg(test)]
    tests::WORK.with(|work| work.set(work.get() + bytes));
    #[cfg(not(test))]
    let _ = bytes;
}

#[cfg(test)]
mod tests {
    //! Work is linear in any chunking. A parser that looks again at the line it has so far
    //! whenever a chunk comes is quadratic, and a peer that sends byte by byte owns its CPU. Time
    //! says little in a test, so bytes are counted.

    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;
    use core::cell::Cell;

    use crate::{Decoder, Event, EventId, Limits};

    std::thread_local! {
        pub(super) static WORK: Cell<usize> = const { Cell::new(0) };
    }

    /// The bytes looked at or copied to decode `stream` in chunks of `chunk_bytes`.
    fn work(stream: &[u8], chunk_bytes: usize, limits: Limits) -> usize {
        WORK.set(0);
        let mut decoder = Decoder::with_limits(limits);
        for chunk in stream.chunks(chunk_bytes) {
            let mut input = chunk;
            while decoder.next(&mut input).is_some() {}
        }
        WORK.get()
    }

    fn streams() -> Vec<Vec<u8>> {
        let mut events = Vec::new();
        for index in 0..200 {
            let id = format!("{index}");
            let data: String = "line of data\n".repeat(index % 7) + &"x".repeat(index);
            Event::new()
                .id(EventId::new(&id).unwrap())
                .data(&data)
                .encode_into(&mut events);
        }
        let text = |parts: &[(&str, usize)]| -> Vec<u8> {
            parts
                .iter()
                .flat_map(|(text, times)| text.repeat(*times).into_bytes())
                .collect()
        };
        alloc::vec![
            events,
            text(&[("data: ", 1), ("x", 60_000), ("\n\n", 1)]),
            text(&[("x", 60_000)]),
            text(&[("data\n", 12_000), ("\n", 1)]),
            text(&[("id: 1\nevent: x\n", 4_000), ("\n", 1)]),
            text(&[("\r\n", 30_000)]),
            text(&[(": c\r", 15_000)]),
            text(&[("data: ä\u{0}\n\n", 6_000)]),
            text(&[("id: 1\n\n", 8_000)]),
        ]
    }

    #[test]
    fn a_control_character_is_found_wherever_it_is() {
        for len in 0..40 {
            for other in [14, b' ', b'a', 0x7F, 0x80, 0x8D, 0xFF] {
                let mut bytes = alloc::vec![other; len];
                assert_eq!(super::first_control(&bytes), None);
                for at in (0..len).rev() {
                    for control in 0..14 {
                        bytes[at] = control;
                        assert_eq!(super::first_control(&bytes), Some(at), "{control} in {len}");
                    }
                }
            }
        }
    }

    #[test]
    fn work_is_linear_in_any_chunking() {
        let small = Limits {
            line_bytes_max: 100,
            event_bytes_max: 100,
            ..Limits::default()
        };
        for limits in [Limits::default(), small] {
            for (index, stream) in streams().iter().enumerate() {
                for chunk_bytes in [1, 2, 3, 7, 64, 1_000, 1_460, 16_384, usize::MAX] {
                    let work = work(stream, chunk_bytes, limits);
                    let bound = 4 * stream.len();
                    assert!(
                        work <= bound,
                        "stream {index} of {} in chunks of {chunk_bytes}: {work} > {bound}",
                        stream.len(),
                    );
                }
            }
        }
    }

    /// What the decoder holds is bounded by its limits, whatever comes.
    #[test]
    fn memory_is_bounded_by_the_limits() {
        let limits = Limits {
            line_bytes_max: 1_000,
            event_bytes_max: 2_000,
            id_bytes_max: 100,
        };
        for stream in streams() {
            let mut decoder = Decoder::with_limits(limits);
            for chunk in stream.chunks(10) {
                let mut input = chunk;
                while decoder.next(&mut input).is_some() {}
                assert!(decoder.capacity() <= 2 * (1_000 + 2_000 + 2 * 100) + 64);
            }
        }
    }
}
