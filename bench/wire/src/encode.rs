//! Writing events, beside copying their data.

use std::hint::black_box;

use tidings_wire::{Event, EventId};

use crate::timing;

const DATA_BYTES: [usize; 3] = [120, 1024, 65_536];

/// A buffer as a hub reuses it: it is emptied before it outgrows the cache.
const BUFFER_BYTES: usize = 256 << 10;

pub fn run(bytes: usize) {
    println!(
        "encode: events with an ID and one line of ASCII data, from {} MiB of data, into a buffer \
         of {} KiB that is emptied when full; memcpy: only the data, the same way",
        bytes >> 20,
        BUFFER_BYTES >> 10,
    );
    println!(
        "{:<20} {:>8} {:>10} {:>11}",
        "data bytes", "GB/s", "ns/event", "of memcpy"
    );
    for data_bytes in DATA_BYTES {
        let text: String = ('a'..='z').cycle().take(bytes).collect();
        let events: Vec<&str> = (0..bytes / data_bytes)
            .map(|index| &text[index * data_bytes..][..data_bytes])
            .collect();
        let best = timing::race(2, |index| match index {
            0 => copy(&events),
            _ => encode(&events),
        });
        println!(
            "{data_bytes:<20} {:>8.2} {:>10.1} {:>10.0}%",
            bytes as f64 / best[1] / 1e9,
            best[1] * 1e9 / events.len() as f64,
            best[0] / best[1] * 100.0,
        );
    }
}

fn copy(events: &[&str]) {
    let mut out = Vec::with_capacity(2 * BUFFER_BYTES);
    for data in events {
        out.extend_from_slice(data.as_bytes());
        empty(&mut out);
    }
}

fn encode(events: &[&str]) {
    let id = EventId::new("k3f9q:1000000").expect("a good ID");
    let mut out = Vec::with_capacity(2 * BUFFER_BYTES);
    for data in events {
        Event::new().id(id).data(data).encode_into(&mut out);
        empty(&mut out);
    }
}

fn empty(out: &mut Vec<u8>) {
    if out.len() > BUFFER_BYTES {
        black_box(&out);
        out.clear();
    }
}
