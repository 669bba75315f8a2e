//! What the hub itself says in a stream, in words.

use serde::Deserialize;
use tidings_wire::MessageEvent;

#[derive(Deserialize)]
struct Gap {
    from: String,
    to: String,
    reason: String,
}

#[derive(Deserialize)]
struct End {
    reason: String,
}

/// Whether the hub itself says this, and not a publisher.
pub(crate) fn is_control(event: &MessageEvent<'_>) -> bool {
    matches!(
        event.event_type.as_bytes(),
        b"tidings.gap" | b"tidings.end" | b"tidings.ping"
    )
}

/// The sentence for stderr; none for a sign of life.
pub(crate) fn sentence(event: &MessageEvent<'_>) -> Option<String> {
    match event.event_type.as_bytes() {
        b"tidings.gap" => Some(match serde_json::from_slice(event.data.as_bytes()) {
            Ok(Gap { from, to, reason }) => {
                let why = match reason.as_str() {
                    "retention" => "the hub has forgotten them",
                    "epoch" => "the hub has a new log",
                    "future" => "the hub's log was restored from an older copy",
                    "unknown" => "the hub does not know that ID",
                    other => other,
                };
                format!("gap: events after {from} up to {to} cannot be delivered: {why}")
            }
            Err(_) => format!("gap: {}", event.data),
        }),
        b"tidings.end" => Some(match serde_json::from_slice(event.data.as_bytes()) {
            Ok(End { reason }) => {
                let why = match reason.as_str() {
                    "drain" => "it is stopping",
                    "evicted" => "an operator wanted it",
                    "too_slow" => "this end was too slow",
                    other => other,
                };
                format!("the hub ends the stream: {why}")
            }
            Err(_) => format!("the hub ends the stream: {}", event.data),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidings_wire::Text;

    use super::*;

    fn said(event_type: &str, data: &str) -> Option<String> {
        sentence(&MessageEvent {
            event_type: event_type.into(),
            data: data.into(),
            last_event_id: Text::default(),
        })
    }

    #[test]
    fn sentences() {
        let gap = said(
            "tidings.gap",
            r#"{"from":"a:1","to":"b:2","reason":"epoch"}"#,
        );
        assert_eq!(
            gap.as_deref(),
            Some("gap: events after a:1 up to b:2 cannot be delivered: the hub has a new log")
        );
        let end = said("tidings.end", r#"{"reason":"drain"}"#);
        assert_eq!(
            end.as_deref(),
            Some("the hub ends the stream: it is stopping")
        );
        assert_eq!(
            said("tidings.end", "?").as_deref(),
            Some("the hub ends the stream: ?")
        );
        assert_eq!(said("tidings.ping", ""), None);
    }
}
