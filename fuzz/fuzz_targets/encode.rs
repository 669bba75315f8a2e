//! A sequence of events and comments of any text, encoded into one stream, is exactly that
//! sequence to a receiver: to the model of the standard, and to the decoder.

#![no_main]

#[path = "../../crates/wire/tests/wire/model.rs"]
mod model;
#[path = "../../crates/wire/tests/wire/run.rs"]
mod run;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tidings_wire::{
    Decoder, Event, EventId, EventType, comment_len, encode_comment, encode_id_line,
};

use model::{Outcome, Said, interpret};
use run::{cut, outcome};

#[derive(Arbitrary, Debug)]
enum Piece {
    Event {
        id: Option<String>,
        event_type: Option<String>,
        retry_ms: Option<u64>,
        data: Option<String>,
    },
    Comment(String),
}

fuzz_target!(|input: (Vec<Piece>, Vec<u16>)| {
    let (pieces, places) = input;
    let mut stream = Vec::new();
    let mut expected = Outcome {
        said: Vec::new(),
        last_event_id: String::new(),
        retry: None,
    };
    for piece in &pieces {
        encode(piece, &mut stream, &mut expected);
    }
    assert_eq!(interpret(&stream, ""), expected);
    let places: Vec<usize> = places.into_iter().map(usize::from).collect();
    let chunks = cut(&stream, &places);
    assert_eq!(outcome(&mut Decoder::new(), chunks), expected);
});

/// Encodes it, and tells what a receiver is to make of it.
fn encode(piece: &Piece, stream: &mut Vec<u8>, expected: &mut Outcome) {
    let from = stream.len();
    match piece {
        Piece::Comment(text) => {
            encode_comment(text, stream);
            assert_eq!(stream.len() - from, comment_len(text));
            let text = normalized(text);
            expected
                .said
                .extend(text.split('\n').map(|line| Said::Comment(line.to_owned())));
        }
        Piece::Event {
            id,
            event_type,
            retry_ms,
            data,
        } => {
            let id = id.as_deref().and_then(|text| EventId::new(text).ok());
            let event_type = event_type
                .as_deref()
                .and_then(|text| EventType::new(text).ok());
            let mut event = Event::new();
            if let Some(event_type) = event_type {
                event = event.event_type(event_type);
            }
            if let Some(retry_ms) = *retry_ms {
                event = event.retry_ms(retry_ms);
                expected.retry = Some(retry_ms);
                expected.said.push(Said::Retry(retry_ms));
            }
            if let Some(data) = data {
                event = event.data(data);
            }
            if let Some(id) = id {
                encode_id_line(id, stream);
                expected.last_event_id = id.as_str().to_owned();
            }
            event.encode_into(stream);
            let event = id.map_or(event, |id| event.id(id));
            assert_eq!(stream.len() - from, event.encoded_len());
            if let Some(data) = data {
                expected.said.push(Said::Event {
                    event_type: event_type.map_or("message", EventType::as_str).to_owned(),
                    data: normalized(data),
                    last_event_id: expected.last_event_id.clone(),
                });
            }
        }
    }
}

/// What the stream can keep of a text: its lines, however they ended.
fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}
