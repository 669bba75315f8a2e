//! Work to count instructions of, not time: see the "Regression guard" in the crate's README.
//!
//! `instructions CASE` runs the case once; only the function `measured` is counted.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks")]

use std::hint::black_box;
use std::process::ExitCode;

use tidings_wire::{Decoder, Event, EventId, Item};

const EVENTS: usize = 1_000;

fn main() -> ExitCode {
    let case = std::env::args().nth(1).unwrap_or_default();
    let (data_bytes, chunk_bytes) = match case.as_str() {
        "decode-120" => (120, 16_384),
        "decode-120-split" => (120, 1_460),
        "decode-1k" => (1_024, 16_384),
        "decode-64k" => (65_536, 16_384),
        "encode-1k" => (1_024, 0),
        _ => {
            eprintln!("instructions decode-120|decode-120-split|decode-1k|decode-64k|encode-1k");
            return ExitCode::from(2);
        }
    };
    let data = "abcdefghijklmnopqrstuvwxyz".repeat(data_bytes / 26 + 1);
    let data = data.get(..data_bytes).unwrap_or_default();
    let mut stream = Vec::with_capacity(EVENTS * (data_bytes + 64));
    if chunk_bytes == 0 {
        measured_encode(data, &mut stream);
        println!("{} bytes", stream.len());
    } else {
        measured_encode(data, &mut stream);
        println!("{} events", measured_decode(&stream, chunk_bytes));
    }
    ExitCode::SUCCESS
}

#[inline(never)]
fn measured_encode(data: &str, out: &mut Vec<u8>) {
    let Ok(id) = EventId::new("k3f9q:1000000") else {
        return;
    };
    for _ in 0..EVENTS {
        Event::new().id(id).data(black_box(data)).encode_into(out);
    }
}

#[inline(never)]
fn measured_decode(stream: &[u8], chunk_bytes: usize) -> usize {
    let mut events = 0;
    let mut decoder = Decoder::new();
    for chunk in stream.chunks(chunk_bytes) {
        let mut input = chunk;
        while let Some(item) = decoder.next(&mut input) {
            if let Ok(Item::Event(event)) = item {
                events += black_box(event).data.len().min(1);
            }
        }
    }
    events
}
