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
    let (data_bytes, chunk_bytes) = match case.trim_end_matches("-text") {
        "decode-120" => (120, 16_384),
        "decode-120-split" => (120, 1_460),
        "decode-1k" => (1_024, 16_384),
        "decode-1k-split" => (1_024, 1_460),
        "decode-64k" => (65_536, 16_384),
        "encode-120" => (120, 0),
        "encode-1k" => (1_024, 0),
        _ => {
            eprintln!(
                "instructions encode-{{120,1k}}|decode-{{120,1k}}[-split][-text]|decode-64k[-text]"
            );
            return ExitCode::from(2);
        }
    };
    let data = "abcdefghijklmnopqrstuvwxyz".repeat(data_bytes / 26 + 1);
    let data = data.get(..data_bytes).unwrap_or_default();
    let mut stream = Vec::with_capacity(EVENTS * (data_bytes + 64));
    measured_encode(data, &mut stream);
    if chunk_bytes == 0 {
        println!("{} bytes", stream.len());
    } else if case.ends_with("-text") {
        println!("{} events", measured_text(&stream, chunk_bytes));
    } else {
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
                events += black_box(event).data.as_bytes().len().min(1);
            }
        }
    }
    events
}

#[inline(never)]
fn measured_text(stream: &[u8], chunk_bytes: usize) -> usize {
    let mut events = 0;
    let mut decoder = Decoder::new();
    for chunk in stream.chunks(chunk_bytes) {
        let mut input = chunk;
        while let Some(item) = decoder.next(&mut input) {
            if let Ok(Item::Event(event)) = item {
                events += black_box(event.data.to_str()).len().min(1);
            }
        }
    }
    events
}
