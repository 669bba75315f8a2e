//! The encoder against the model of the standard: what is encoded is what a receiver makes of it.

use proptest::prelude::*;
use tidings_wire::{Event, EventId, EventType, comment_len, encode_comment, encode_id_line};

use crate::model::{Outcome, Said, interpret};

/// Text that tries to be more than text.
fn hostile_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "\\PC{0,4}",
        "[\r\n\0: ]{1,3}",
        prop::sample::select(vec![
            "data: x", "id: x", "event: x", "retry: 1", ":", "\u{feff}", "\u{2028}", "🦀"
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn one_line() -> impl Strategy<Value = String> {
    hostile_text().prop_map(|text| text.replace(['\r', '\n'], ""))
}

/// What the standard can keep of a text: its lines, however they ended.
fn normalized(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_event_round_trips(
        data in prop::option::of(hostile_text()),
        event_type in prop::option::of(one_line()),
        id in prop::option::of(one_line()),
        retry in prop::option::of(any::<u64>()),
    ) {
        let event_type = event_type.filter(|text| EventType::new(text).is_ok());
        let id = id.filter(|text| EventId::new(text).is_ok());
        let mut event = Event::new();
        if let Some(data) = &data {
            event = event.data(data);
        }
        if let Some(event_type) = &event_type {
            event = event.event_type(EventType::new(event_type).expect("filtered"));
        }
        if let Some(retry) = retry {
            event = event.retry_ms(retry);
        }
        let mut pieces = Vec::new();
        if let Some(id) = &id {
            encode_id_line(EventId::new(id).expect("filtered"), &mut pieces);
        }
        event.encode_into(&mut pieces);
        if let Some(id) = &id {
            event = event.id(EventId::new(id).expect("filtered"));
        }
        let mut whole = Vec::new();
        event.encode_into(&mut whole);
        prop_assert_eq!(whole.len(), event.encoded_len());
        prop_assert_eq!(&pieces, &whole);

        let last_event_id = id.unwrap_or("seed".to_owned());
        let mut said: Vec<Said> = retry.map(Said::Retry).into_iter().collect();
        said.extend(data.map(|data| Said::Event {
            event_type: event_type.unwrap_or("message".to_owned()),
            data: normalized(&data),
            last_event_id: last_event_id.clone(),
        }));
        prop_assert_eq!(interpret(&whole, "seed"), Outcome { said, last_event_id, retry });
    }

    /// A comment says nothing but itself, also in the middle of an event.
    #[test]
    fn a_comment_is_only_a_comment(text in hostile_text()) {
        let mut out = b"data: a\n".to_vec();
        encode_comment(&text, &mut out);
        prop_assert_eq!(out.len(), b"data: a\n".len() + comment_len(&text));
        Event::new().data("b").encode_into(&mut out);
        let mut said = interpret(&out, "").said;
        let event = said.pop();
        let data = "a\nb".to_owned();
        let expected = Said::Event { event_type: "message".to_owned(), data, last_event_id: String::new() };
        prop_assert_eq!(event, Some(expected));
        let lines: Vec<Said> =
            normalized(&text).split('\n').map(|line| Said::Comment(line.to_owned())).collect();
        prop_assert_eq!(said, lines);
    }

    #[test]
    fn what_a_newtype_takes_cannot_end_its_line(text in hostile_text()) {
        let line_end = text.contains(['\r', '\n']);
        prop_assert_eq!(EventType::new(&text).is_ok(), !line_end && !text.is_empty() && text.len() <= 1024);
        prop_assert_eq!(EventId::new(&text).is_ok(), !line_end && !text.contains('\0') && text.len() <= 1024);
    }

    /// Topics come from outside and go into logs, metrics and URLs.
    #[test]
    fn a_topic_has_no_control_characters(text in hostile_text()) {
        let good = !text.is_empty() && text.len() <= 1024 && !text.contains(char::is_control);
        prop_assert_eq!(tidings_wire::Topic::new(&text).is_ok(), good);
    }
}

/// A buffer that is large enough is never replaced, so encoding allocates nothing.
#[test]
fn encoding_into_a_large_enough_buffer_does_not_allocate() {
    let data = "line\r\n".repeat(100);
    let event = Event::new().data(&data).retry_ms(1);
    let mut out = Vec::with_capacity(event.encoded_len());
    let (before, capacity) = (out.as_ptr(), out.capacity());
    event.encode_into(&mut out);
    assert_eq!((out.as_ptr(), out.capacity()), (before, capacity));
}
