//! The decoder against the model of the standard, over any bytes in any chunks.

use proptest::collection::vec;
use proptest::prelude::*;
use tidings_wire::{Decoder, Limits};

use crate::model::{Bounds, Exceeded, Said, interpret, interpret_within};
use crate::run::{cut, outcome};

/// Bytes that mean something to the stream come far more often than in arbitrary bytes.
fn biased_stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => prop::sample::select(vec![
            &b"data"[..], b"data:", b"data: ", b"data:  ", b"event", b"event: ", b"id", b"id:",
            b"id: ", b"retry:", b"retry: 10", b":", b": ", b"dat", b"datas:", b"Data:", b"\0",
        ]),
        8 => prop::sample::select(vec![&b"\n"[..], b"\r", b"\r\n", b"\n\n", b"\r\r", b"\n\r"]),
        3 => prop::sample::select(vec![&b"a"[..], b" ", b"7", b"99999999999999999999", b"xyz"]),
        2 => prop::sample::select(vec![
            &b"\xEF\xBB\xBF"[..], b"\xEF", b"\xEF\xBB", b"\xF0\x9F\xA6\x80", b"\xF0\x9F\xA6",
            b"\xC3\xA4", b"\xC3", b"\x80", b"\xED\xA0\x80", b"\xF4\x90\x80\x80", b"\xC0\xAF",
            b"\xE0\x80", b"\xFF",
        ]),
    ]
    .prop_map(<[u8]>::to_vec);
    let any_byte = any::<u8>().prop_map(|byte| vec![byte]);
    vec(prop_oneof![20 => piece, 1 => any_byte], 0..60).prop_map(|pieces| pieces.concat())
}

fn any_stream() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![4 => biased_stream(), 1 => vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn any_chunking_is_what_the_standard_says(
        stream in any_stream(),
        places in vec(any::<usize>(), 0..12),
        seed in "[a-z]{0,3}",
    ) {
        let expected = interpret(&stream, &seed);
        for chunks in [vec![&*stream], cut(&stream, &places), stream.chunks(1).collect()] {
            let mut decoder = Decoder::new();
            decoder.set_last_event_id(&seed);
            prop_assert_eq!(&outcome(&mut decoder, chunks), &expected);
            prop_assert_eq!(decoder.skipped(), 0);
        }
    }

    /// Where limits count bytes and where the model counts characters is the same in ASCII.
    #[test]
    fn limits_do_not_depend_on_the_chunking(
        stream in biased_stream(),
        places in vec(any::<usize>(), 0..12),
        line in 0_usize..20,
        event in 0_usize..12,
        id in 0_usize..4,
    ) {
        let stream: Vec<u8> = stream.into_iter().filter(u8::is_ascii).collect();
        let text = std::str::from_utf8(&stream).expect("ASCII");
        let expected = interpret_within(text, "", Bounds { line, event, id });
        let mut limits = Limits::default();
        limits.line_bytes_max = line;
        limits.event_bytes_max = event;
        limits.id_bytes_max = id;
        for chunks in [vec![&*stream], cut(&stream, &places), stream.chunks(1).collect()] {
            let mut decoder = Decoder::with_limits(limits);
            prop_assert_eq!(&outcome(&mut decoder, chunks), &expected);
            let errors = expected.said.iter().filter(|said| matches!(said, Said::Error(_)));
            prop_assert_eq!(decoder.skipped(), errors.count() as u64);
        }
    }

    /// A reconnect in the middle of anything is the beginning of a stream, with the ID seeded.
    #[test]
    fn a_restart_is_a_new_stream(
        first in any_stream(),
        second in any_stream(),
        line in 1_usize..40,
    ) {
        let mut limits = Limits::default();
        limits.line_bytes_max = line;
        let mut decoder = Decoder::with_limits(limits);
        outcome(&mut decoder, [&*first]);
        decoder.restart();
        let mut fresh = Decoder::with_limits(limits);
        fresh.set_last_event_id(&decoder.last_event_id().to_str());
        let expected = outcome(&mut fresh, [&*second]);
        let retry = expected.retry.or(decoder.retry_ms());
        let restarted = outcome(&mut decoder, [&*second]);
        prop_assert_eq!(restarted.said, expected.said);
        prop_assert_eq!(restarted.last_event_id, expected.last_event_id);
        prop_assert_eq!(restarted.retry, retry);
    }
}

/// All streams of up to five of these pieces, whole and byte by byte: what is small is exhausted.
#[test]
fn every_short_stream() {
    const PIECES: [&[u8]; 9] = [
        b"data",
        b":",
        b" ",
        b"x",
        b"\n",
        b"\r",
        b"id",
        b"\xEF\xBB\xBF",
        b"\xC3",
    ];
    let mut streams = vec![Vec::new()];
    for _ in 0..5 {
        streams = streams
            .iter()
            .flat_map(|stream: &Vec<u8>| PIECES.map(|piece| [stream, piece].concat()))
            .collect();
        for stream in &streams {
            let expected = interpret(stream, "");
            assert_eq!(
                outcome(&mut Decoder::new(), [&**stream]),
                expected,
                "{stream:?}"
            );
            assert_eq!(
                outcome(&mut Decoder::new(), stream.chunks(1)),
                expected,
                "{stream:?}"
            );
        }
    }
}

/// A CR that ends a chunk ends its line: the LF that may follow must not be waited for.
#[test]
fn a_cr_at_the_end_of_a_chunk_dispatches_at_once() {
    let mut decoder = Decoder::new();
    let first = outcome(&mut decoder, [&b"data: a\r\r"[..]]);
    assert_eq!(first.said.len(), 1);
    let then = outcome(&mut decoder, [&b"\ndata: b\r\n\r"[..]]);
    assert_eq!(then.said.len(), 1);
}

/// A field that a later one of its name replaces counts against its limit too. A block that was all
/// in one chunk, after one that ended, once passed with what a split one did not.
#[test]
fn a_replaced_field_has_its_limit_too() {
    let mut limits = Limits::default();
    limits.event_bytes_max = 2;
    limits.id_bytes_max = 2;
    for (field, error) in [("event", Exceeded::Event), ("id", Exceeded::Id)] {
        let stream = format!("data:a\n\n{field}:xyz\n{field}:x\ndata:b\n\n");
        for chunk_bytes in [stream.len(), 1] {
            let mut decoder = Decoder::with_limits(limits);
            let said = outcome(&mut decoder, stream.as_bytes().chunks(chunk_bytes)).said;
            assert_eq!(said[1..], [Said::Error(error)], "{field}, {chunk_bytes}");
        }
    }
}

/// A limit holds where no other is near it, for blocks in one chunk and for split ones: random limits
/// are all small, and the least of them hides whether another is looked at.
#[test]
fn each_limit_holds_alone() {
    const ANY: usize = 1_000;
    for (line, event, id) in [(9, ANY, ANY), (ANY, 4, ANY), (ANY, ANY, 3)] {
        for lengths in 0..8 * 8 * 8 {
            let text = |place: u32| "x".repeat(lengths / 8_usize.pow(place) % 8);
            let (id_text, type_text, data) = (text(0), text(1), text(2));
            let stream =
                format!("data:a\n\nid: {id_text}\nevent: {type_text}\ndata: {data}\n\ndata:b\n\n");
            let expected = interpret_within(&stream, "", Bounds { line, event, id });
            let mut limits = Limits::default();
            limits.line_bytes_max = line;
            limits.event_bytes_max = event;
            limits.id_bytes_max = id;
            for at in 0..stream.len() {
                let chunks = cut(stream.as_bytes(), &[at]);
                let said = outcome(&mut Decoder::with_limits(limits), chunks);
                assert_eq!(said, expected, "{stream:?} cut at {at}, {limits:?}");
            }
        }
    }
}

/// Data in one line in one chunk is not copied, and what was split is copied once.
#[test]
fn data_in_one_chunk_is_borrowed() {
    let chunk = b"data: hello\n\n".to_vec();
    let mut decoder = Decoder::new();
    let mut input = &*chunk;
    let Some(Ok(tidings_wire::Item::Event(event))) = decoder.next(&mut input) else {
        panic!("no event");
    };
    assert!(
        chunk
            .as_ptr_range()
            .contains(&event.data.as_bytes().as_ptr())
    );
}
