//! The project's own vectors, which all its clients and encoders share: see their README.

use std::path::Path;

use serde_json::Value;
use tidings_wire::{Decoder, Event, EventId, EventType, Topic, comment_len, encode_comment};

use crate::base64;
use crate::model::{Outcome, Said, interpret};
use crate::run::{cut, outcome};

fn vectors(name: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../conformance/vectors")
        .join(name);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let vectors: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a vector is JSON"))
        .collect();
    assert!(!vectors.is_empty());
    vectors
}

#[test]
fn decode() {
    for vector in vectors("decode.jsonl") {
        let stream = match vector["stream"].as_str() {
            Some(text) => text.as_bytes().to_vec(),
            None => base64::decode(vector["stream_base64"].as_str().expect("a stream")),
        };
        let seed = vector["seed"].as_str().unwrap_or("");
        check(&vector, interpret(&stream, seed));
        let run = |chunks: Vec<&[u8]>| {
            let mut decoder = Decoder::new();
            decoder.set_last_event_id(seed);
            check(&vector, outcome(&mut decoder, chunks));
        };
        run(vec![&stream]);
        run(stream.chunks(1).collect());
        for at in (0..=stream.len()).take(200) {
            run(cut(&stream, &[at]));
        }
    }
}

fn check(vector: &Value, outcome: Outcome) {
    let (mut events, mut comments) = (Vec::new(), Vec::new());
    for said in outcome.said {
        match said {
            Said::Event {
                event_type,
                data,
                last_event_id,
            } => events.push(serde_json::json!({
                "type": event_type, "data": data, "last_event_id": last_event_id,
            })),
            Said::Comment(text) => comments.push(Value::String(text)),
            Said::Retry(_) => {}
            Said::Error(error) => panic!("{}: {error:?}", vector["name"]),
        }
    }
    assert_eq!(Value::Array(events), vector["events"], "{}", vector["name"]);
    assert_eq!(
        outcome.last_event_id, vector["last_event_id"],
        "{}",
        vector["name"]
    );
    if vector["retry_ms"] == "huge" {
        assert_eq!(outcome.retry, Some(u64::MAX));
    } else {
        assert_eq!(
            outcome.retry,
            vector["retry_ms"].as_u64(),
            "{}",
            vector["name"]
        );
    }
    if !vector["comments"].is_null() {
        assert_eq!(
            Value::Array(comments),
            vector["comments"],
            "{}",
            vector["name"]
        );
    }
}

#[test]
fn encode() {
    for vector in vectors("encode.jsonl") {
        let name = vector["name"].as_str().expect("name");
        let text = vector["text"].as_str();
        if let Some(event) = vector.get("event") {
            assert_eq!(encoded(event), vector["bytes"], "{name}");
        } else if let Some(comment) = vector["comment"].as_str() {
            let mut out = Vec::new();
            encode_comment(comment, &mut out);
            assert_eq!(out.len(), comment_len(comment), "{name}");
            assert_eq!(
                String::from_utf8(out).expect("text"),
                vector["bytes"],
                "{name}"
            );
        } else if let Some(kind) = vector["reject"].as_str() {
            assert!(!is_accepted(kind, text.expect("text")), "{name}");
        } else {
            let kind = vector["accept"]
                .as_str()
                .expect("event, comment, reject or accept");
            assert!(is_accepted(kind, text.expect("text")), "{name}");
        }
    }
}

fn encoded(fields: &Value) -> String {
    let mut event = Event::new();
    if let Some(id) = fields["id"].as_str() {
        event = event.id(EventId::new(id).expect("a good ID"));
    }
    if let Some(event_type) = fields["event"].as_str() {
        event = event.event_type(EventType::new(event_type).expect("a good type"));
    }
    if let Some(retry_ms) = fields["retry_ms"].as_u64() {
        event = event.retry_ms(retry_ms);
    }
    if let Some(data) = fields["data"].as_str() {
        event = event.data(data);
    }
    let mut out = Vec::new();
    event.encode_into(&mut out);
    assert_eq!(out.len(), event.encoded_len());
    String::from_utf8(out).expect("text")
}

fn is_accepted(kind: &str, text: &str) -> bool {
    match kind {
        "id" => EventId::new(text).is_ok(),
        "event" => EventType::new(text).is_ok(),
        "topic" => Topic::new(text).is_ok(),
        _ => panic!("a kind that the tests do not know: {kind}"),
    }
}
