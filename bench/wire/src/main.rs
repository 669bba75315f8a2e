//! How fast event streams are read and written, beside the crates that people use and beside the
//! least that it can cost. Run with `cargo run --release [MIB]` in `bench/wire`.

mod encode;
mod peers;
mod stream;
mod timing;

use stream::{Chunking, Stream};

/// The data of an event; each event has an ID too.
const DATA_BYTES: [usize; 3] = [120, 1024, 65_536];

fn main() {
    let mib = std::env::args()
        .nth(1)
        .map_or(2, |text| text.parse().expect("MIB is a number"));
    println!("{}", method(mib));
    for data_bytes in DATA_BYTES {
        let stream = Stream::new(data_bytes, mib << 20);
        for chunking in [
            Chunking::Bytes(16_384),
            Chunking::Bytes(1_460),
            Chunking::Event,
        ] {
            decode(&stream, chunking);
        }
    }
    encode::run(mib << 20);
}

fn method(mib: usize) -> String {
    format!(
        "Method: one core, one process. A stream of {mib} MiB in memory, of events with an ID and \
         one line of ASCII data, is read in chunks. \"tidings-wire\" gives data as bytes, borrowed \
         and unchecked, which no peer offers; \"text\" asks for each as a string, borrowed; \
         \"owned\" for a copy, as strings, of each event: set the peers, which all give that, \
         against it. The ceiling finds all line ends of the same chunks with `memchr2` and does \
         nothing else; \"joined\" also copies the lines that chunks split, without which data is \
         not in one piece. Rounds go through all readers in turn, and the fastest round of each \
         counts, of 200 or as many as fit in 0.4 s: short rounds, so that one goes undisturbed on \
         a busy machine. A stream of 2 MiB stays in the cache, as what a socket has just delivered \
         does; one of 256 MiB comes from memory. Every reader must find every event and every \
         byte of data.\n"
    )
}

fn decode(stream: &Stream, chunking: Chunking) {
    let chunks = stream.chunks(chunking);
    println!("decode: {} bytes of data, {chunking}", stream.data_bytes);
    println!(
        "{:<20} {:>8} {:>10} {:>11}",
        "reader", "GB/s", "ns/event", "of ceiling"
    );
    let readers = peers::readers();
    let best = timing::race(readers.len(), |index| {
        let (name, read) = readers[index];
        let seen = std::hint::black_box(read(&chunks));
        let right =
            seen.events == stream.events && seen.data_bytes == stream.events * stream.data_bytes;
        assert!(right || name.starts_with("memchr2"), "{name} read {seen:?}");
    });
    let ceiling = best[0];
    for ((name, _), seconds) in readers.iter().zip(best) {
        println!(
            "{name:<20} {:>8.2} {:>10.1} {:>10.0}%",
            stream.bytes.len() as f64 / seconds / 1e9,
            seconds * 1e9 / stream.events as f64,
            ceiling / seconds * 100.0,
        );
    }
    println!();
}
