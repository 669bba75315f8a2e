//! Events on stdout.

use std::io::{self, BufWriter, Stdout, Write, stdout};

use serde::Serialize;
use tidings_wire::MessageEvent;

const BUFFER_BYTES: usize = 64 << 10;

/// Prints events, as their data or as JSON.
#[derive(Debug)]
pub(crate) struct Output {
    out: BufWriter<Stdout>,
    json: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    event: &'a str,
    data: &'a str,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, stdout()),
            json,
        }
    }

    /// Prints an event of a topic.
    pub(crate) fn event(&mut self, event: &MessageEvent<'_>) -> io::Result<()> {
        if self.json {
            return self.object(event);
        }
        self.out.write_all(event.data.to_str().as_bytes())?;
        self.out.write_all(b"\n")
    }

    /// Prints what the hub itself has to say, where a script can tell it from data.
    pub(crate) fn control(&mut self, event: &MessageEvent<'_>) -> io::Result<()> {
        if self.json {
            self.object(event)
        } else {
            Ok(())
        }
    }

    /// Hands on what was printed.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn object(&mut self, event: &MessageEvent<'_>) -> io::Result<()> {
        let line = Line {
            id: &event.last_event_id.to_str(),
            event: &event.event_type.to_str(),
            data: &event.data.to_str(),
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")
    }
}
