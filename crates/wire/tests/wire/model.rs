//! The standard, word for word: slow, whole-input, and as naive as its text.
//!
//! It follows "9.2.6 Interpreting an event stream" of the WHATWG HTML standard and "UTF-8 decode"
//! of the WHATWG Encoding standard step by step, and shares no code with the crate.

/// What the stream said, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Event {
        event_type: String,
        data: String,
        last_event_id: String,
    },
    Comment(String),
    Retry(u64),
    Error(Exceeded),
}

/// The standard has no limits; these are the crate's. See [`interpret_within`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exceeded {
    Line,
    Event,
    Id,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) line: usize,
    pub(crate) event: usize,
    pub(crate) id: usize,
}

pub(crate) const UNBOUNDED: Bounds = Bounds {
    line: usize::MAX,
    event: usize::MAX,
    id: usize::MAX,
};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) said: Vec<Said>,
    pub(crate) last_event_id: String,
    pub(crate) retry: Option<u64>,
}

/// Interprets a whole stream, which begins when `last_event_id` is what the receiver has kept.
pub(crate) fn interpret(stream: &[u8], last_event_id: &str) -> Outcome {
    interpret_within(&utf8_decode(stream), last_event_id, UNBOUNDED)
}

/// Like [`interpret`], within bounds, which count bytes: so `stream` must be ASCII for them to
/// mean the same here, where only characters are left.
pub(crate) fn interpret_within(stream: &str, last_event_id: &str, bounds: Bounds) -> Outcome {
    let mut state = State {
        outcome: Outcome {
            said: Vec::new(),
            last_event_id: last_event_id.to_owned(),
            retry: None,
        },
        data: String::new(),
        event_type: String::new(),
        last_event_id: last_event_id.to_owned(),
        skipping: false,
        bounds,
    };
    let (lines, unfinished) = split_lines(stream);
    for line in lines {
        state.process_line(&line);
    }
    // "Once the end of the file is reached, any pending data must be discarded."
    if unfinished.len() > bounds.line && !state.skipping {
        state.exceed(Exceeded::Line);
    }
    state.outcome
}

/// stream = [ bom ] *event; end-of-line = ( cr lf / cr / lf )
fn split_lines(stream: &str) -> (Vec<String>, String) {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut characters = stream.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                if characters.peek() == Some(&'\n') {
                    characters.next();
                }
                lines.push(std::mem::take(&mut line));
            }
            '\n' => lines.push(std::mem::take(&mut line)),
            other => line.push(other),
        }
    }
    (lines, line)
}

struct State {
    outcome: Outcome,
    /// The data buffer, the event type buffer and the last event ID buffer.
    data: String,
    event_type: String,
    last_event_id: String,
    skipping: bool,
    bounds: Bounds,
}

impl State {
    fn process_line(&mut self, line: &str) {
        if self.skipping {
            self.skipping = !line.is_empty();
            return;
        }
        if line.len() > self.bounds.line {
            self.exceed(Exceeded::Line);
        } else if line.is_empty() {
            self.dispatch();
        } else if let Some(comment) = line.strip_prefix(':') {
            let comment = comment.strip_prefix(' ').unwrap_or(comment);
            self.outcome.said.push(Said::Comment(comment.to_owned()));
        } else if let Some((field, value)) = line.split_once(':') {
            self.process_field(field, value.strip_prefix(' ').unwrap_or(value));
        } else {
            self.process_field(line, "");
        }
    }

    fn process_field(&mut self, field: &str, value: &str) {
        match field {
            "event" => value.clone_into(&mut self.event_type),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => {
                if value.len() > self.bounds.id {
                    return self.exceed(Exceeded::Id);
                }
                value.clone_into(&mut self.last_event_id);
            }
            "retry" if !value.is_empty() && value.chars().all(|c| c.is_ascii_digit()) => {
                // More digits than u64 has: the largest. The standard sets no bound.
                let retry = value.parse().unwrap_or(u64::MAX);
                self.outcome.retry = Some(retry);
                self.outcome.said.push(Said::Retry(retry));
            }
            _ => {}
        }
        let data_len = self.data.len().saturating_sub(1);
        if data_len + self.event_type.len() > self.bounds.event {
            self.exceed(Exceeded::Event);
        }
    }

    fn dispatch(&mut self) {
        self.outcome.last_event_id = self.last_event_id.clone();
        if self.data.is_empty() {
            self.event_type.clear();
            return;
        }
        if self.data.ends_with('\n') {
            self.data.pop();
        }
        let event_type = std::mem::take(&mut self.event_type);
        self.outcome.said.push(Said::Event {
            event_type: if event_type.is_empty() {
                "message".to_owned()
            } else {
                event_type
            },
            data: std::mem::take(&mut self.data),
            last_event_id: self.last_event_id.clone(),
        });
    }

    /// The crate's own rule: the block is dropped with its ID, and reported once.
    fn exceed(&mut self, exceeded: Exceeded) {
        self.outcome.said.push(Said::Error(exceeded));
        self.skipping = true;
        self.data.clear();
        self.event_type.clear();
        self.last_event_id = self.outcome.last_event_id.clone();
    }
}

/// "UTF-8 decode": drops one BOM, then runs the "UTF-8 decoder" with error mode "replacement".
pub(crate) fn utf8_decode(bytes: &[u8]) -> String {
    let bytes = bytes.strip_prefix(&[0xEF, 0xBB, 0xBF]).unwrap_or(bytes);
    let mut out = String::new();
    let (mut code_point, mut seen, mut needed) = (0_u32, 0, 0);
    let (mut lower, mut upper) = (0x80_u8, 0xBF_u8);
    let mut at = 0;
    loop {
        let Some(&byte) = bytes.get(at) else {
            if needed != 0 {
                out.push('\u{FFFD}');
            }
            return out;
        };
        at += 1;
        if needed == 0 {
            match byte {
                0x00..=0x7F => out.push(char::from(byte)),
                0xC2..=0xDF => {
                    needed = 1;
                    code_point = u32::from(byte & 0x1F);
                }
                0xE0..=0xEF => {
                    if byte == 0xE0 {
                        lower = 0xA0;
                    }
                    if byte == 0xED {
                        upper = 0x9F;
                    }
                    needed = 2;
                    code_point = u32::from(byte & 0xF);
                }
                0xF0..=0xF4 => {
                    if byte == 0xF0 {
                        lower = 0x90;
                    }
                    if byte == 0xF4 {
                        upper = 0x8F;
                    }
                    needed = 3;
                    code_point = u32::from(byte & 0x7);
                }
                _ => out.push('\u{FFFD}'),
            }
            continue;
        }
        if !(lower..=upper).contains(&byte) {
            (code_point, needed, seen) = (0, 0, 0);
            (lower, upper) = (0x80, 0xBF);
            at -= 1; // "Restore byte to ioQueue."
            out.push('\u{FFFD}');
            continue;
        }
        (lower, upper) = (0x80, 0xBF);
        code_point = (code_point << 6) | u32::from(byte & 0x3F);
        seen += 1;
        if seen == needed {
            out.push(char::from_u32(code_point).expect("the bounds keep surrogates out"));
            (code_point, needed, seen) = (0, 0, 0);
        }
    }
}
