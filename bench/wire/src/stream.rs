//! The stream that everyone reads.

use std::fmt;

use bytes::Bytes;
use tidings_wire::{Event, EventId};

pub struct Stream {
    pub bytes: Bytes,
    pub events: usize,
    pub data_bytes: usize,
    ends: Vec<usize>,
}

#[derive(Clone, Copy)]
pub enum Chunking {
    Bytes(usize),
    Event,
}

impl fmt::Display for Chunking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} bytes a chunk"),
            Self::Event => f.write_str("one event a chunk"),
        }
    }
}

impl Stream {
    pub fn new(data_bytes: usize, bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes + data_bytes + 64);
        let mut ends = Vec::new();
        while out.len() < bytes {
            let id = format!("k3f9q:{}", 1_000_000 + ends.len());
            let data: String = ('a'..='z')
                .cycle()
                .skip(ends.len() % 26)
                .take(data_bytes)
                .collect();
            let id = EventId::new(&id).expect("a good ID");
            Event::new().id(id).data(&data).encode_into(&mut out);
            ends.push(out.len());
        }
        Self {
            bytes: out.into(),
            events: ends.len(),
            data_bytes,
            ends,
        }
    }

    pub fn chunks(&self, chunking: Chunking) -> Vec<Bytes> {
        let ends: Vec<usize> = match chunking {
            Chunking::Event => self.ends.clone(),
            Chunking::Bytes(bytes) => {
                let steps = (1..).map(|step| step * bytes);
                let mut ends: Vec<usize> =
                    steps.take_while(|end| *end < self.bytes.len()).collect();
                ends.push(self.bytes.len());
                ends
            }
        };
        let starts = std::iter::once(0).chain(ends.iter().copied());
        starts
            .zip(&ends)
            .map(|(start, end)| self.bytes.slice(start..*end))
            .collect()
    }
}
