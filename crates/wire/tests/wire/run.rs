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
            said.push(said_of(item, str::to_owned));
        }
        assert!(input.is_empty(), "the decoder left {} bytes", input.len());
    }
    state(decoder, said)
}

/// Like [`outcome`], but by bytes, and every third item by text: it must not matter.
pub(crate) fn outcome_by_bytes<'c>(
    decoder: &mut Decoder,
    chunks: impl IntoIterator<Item = &'c [u8]>,
) -> Outcome {
    let mut said = Vec::new();
    for mut input in chunks {
        loop {
            let next = if said.len() % 3 == 2 {
                let item = decoder.next(&mut input);
                item.map(|item| said_of(item, str::to_owned))
            } else {
                let item = decoder.next_bytes(&mut input);
                item.map(|item| said_of(item, |data| String::from_utf8_lossy(data).into_owned()))
            };
            let Some(next) = next else { break };
            said.push(next);
        }
        assert!(input.is_empty(), "the decoder left {} bytes", input.len());
    }
    state(decoder, said)
}

fn state(decoder: &Decoder, said: Vec<Said>) -> Outcome {
    Outcome {
        said,
        last_event_id: decoder.last_event_id().to_owned(),
        retry: decoder.retry_ms(),
    }
}

fn said_of<D>(item: Result<Item<'_, D>, DecodeError>, text: impl Fn(D) -> String) -> Said {
    match item {
        Ok(Item::Event(event)) => Said::Event {
            event_type: event.event_type.to_owned(),
            data: text(event.data),
            last_event_id: event.last_event_id.to_owned(),
        },
        Ok(Item::Comment(comment)) => Said::Comment(text(comment)),
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
