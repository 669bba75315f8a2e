//! Any bytes, in any chunks, decode to what the standard's text says: the model of
//! `crates/wire/tests` is the judge. With limits, what comes out does not depend on the chunking.

#![no_main]

#[path = "../../crates/wire/tests/wire/model.rs"]
mod model;
#[path = "../../crates/wire/tests/wire/run.rs"]
mod run;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidings_wire::{Decoder, Limits};

use model::{Bounds, interpret, interpret_within};
use run::{cut, outcome};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// Small, so that they are reached.
    limits: Option<(u8, u8, u8)>,
    /// Where chunks end; `u8` finds the interesting places of short streams at once.
    places: Vec<u8>,
    seed: Option<char>,
    /// Last, and no `Vec`, so that it lies in the input as it is: as seeds and dictionary have it.
    stream: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let seed = input.seed.map(String::from).unwrap_or_default();
    let places: Vec<usize> = input
        .places
        .iter()
        .map(|place| usize::from(*place))
        .collect();
    let stream = input.stream;
    let limits = input.limits.map(|(line, event, id)| {
        let mut limits = Limits::default();
        limits.line_bytes_max = usize::from(line);
        limits.event_bytes_max = usize::from(event);
        limits.id_bytes_max = usize::from(id);
        limits
    });
    let decoder = || {
        let mut decoder = Decoder::with_limits(limits.unwrap_or_default());
        decoder.set_last_event_id(&seed);
        decoder
    };
    let run = |chunks: Vec<&[u8]>| outcome(&mut decoder(), chunks);
    let whole = run(vec![stream]);
    assert_eq!(run(cut(stream, &places)), whole);
    assert_eq!(run(stream.chunks(1).collect()), whole);
    match limits {
        None => assert_eq!(whole, interpret(stream, &seed)),
        // The model counts characters, so it knows the limits only of ASCII.
        Some(limits) if stream.is_ascii() => {
            let bounds = Bounds {
                line: limits.line_bytes_max,
                event: limits.event_bytes_max,
                id: limits.id_bytes_max,
            };
            let text = std::str::from_utf8(stream).expect("ASCII");
            assert_eq!(whole, interpret_within(text, &seed, bounds));
        }
        Some(_) => {}
    }
});
