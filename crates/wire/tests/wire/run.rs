//! Runs the decoder over chunks, and tells what it said in the model's words.

use tidings_wire::{DecodeError, Decoder, Item};

use crate::model::{Exceeded, Outcome, Said};

/// Feeds all chunks, then asks for the state.
pub(crate) fn outcome<'c>(
    decoder: &mut Decoder,
    chunks: impl IntoIterator<Item = &'c [u8]>,
) -> Outcome {
    let mut said = Vec::new();
    for mut input in chunks {
        while let Some(item) = decoder.next(&mut input) {
            said.push(said_of(item));
        }
        assert!(input.is_empty(), "the decoder left {} bytes", input.len());
    }
    Outcome {
        said,
        last_event_id: decoder.last_event_id().to_string(),
        retry: decoder.retry_ms(),
    }
}

fn said_of(item: Result<Item<'_>, DecodeError>) -> Said {
    match item {
        Ok(Item::Event(event)) => Said::Event {
            event_type: event.event_type.to_string(),
            data: event.data.to_string(),
            last_event_id: event.last_event_id.to_string(),
        },
        Ok(Item::Comment(comment)) => Said::Comment(comment.to_string()),
        Ok(Item::Retry(retry_ms)) => Said::Retry(retry_ms),
        Err(DecodeError::LineTooLong { .. }) => Said::Error(Exceeded::Line),
        Err(DecodeError::EventTooLarge { .. }) => Said::Error(Exceeded::Event),
        Err(DecodeError::IdTooLong { .. }) => Said::Error(Exceeded::Id),
        _ => panic!("an item that the tests do not know"),
    }
}

/// Cuts `stream` at these places, in any order and repeatedly, so that chunks may be empty.
pub(crate) fn cut<'s>(stream: &'s [u8], places: &[usize]) -> Vec<&'s [u8]> {
    let mut places: Vec<usize> = places.iter().map(|at| at % (stream.len() + 1)).collect();
    places.sort_unstable();
    let mut chunks = Vec::new();
    let mut from = 0;
    for to in places {
        chunks.push(&stream[from..to]);
        from = to;
    }
    chunks.push(&stream[from..]);
    chunks
}
