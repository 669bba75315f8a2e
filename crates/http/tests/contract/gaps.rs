//! What cannot be delivered is announced: in band, once, and never instead of what can be.

use serde_json::{Value, json};
use tidings_testkit::{Events, Kit};
use tokio::io::{AsyncRead, AsyncWrite};

/// The next event, which must be a gap.
async fn gap<I: AsyncRead + AsyncWrite + Unpin>(events: &mut Events<I>) -> Value {
    let event = events.next().await.unwrap();
    assert_eq!(event.event_type, "tidings.gap", "{event:?}");
    serde_json::from_str(&event.data).unwrap()
}

/// A kit whose log holds the last events only: e1:8 to e1:16 of 16.
async fn forgetful() -> Kit {
    let kit = Kit::with(|setup| {
        setup.log.retention.events_max = Some(8);
        setup.limits.window_bytes_max = 0;
    });
    for i in 1..=16 {
        kit.publish("t", &[&format!("{i}")]).await;
    }
    kit.until("retention", |stats| stats.log_events <= 9).await;
    kit
}

/// A hub that was set up anew, restored from a copy, or has forgotten: each is told apart, and in
/// each case the stream goes on with all that there is.
#[tokio::test(start_paused = true)]
async fn each_kind_of_gap() {
    let kit = forgetful().await;
    let first = kit.hub.stats().log_first;
    let before = format!("e1:{}", first - 1);
    for (id, expected, resumes) in [
        (
            "e9:3",
            json!({"from": "e9:3", "to": before, "reason": "epoch"}),
            first,
        ),
        (
            "gone-7",
            json!({"from": "gone-7", "to": before, "reason": "unknown"}),
            first,
        ),
        (
            "e1:2",
            json!({"from": "e1:2", "to": before, "reason": "retention"}),
            first,
        ),
        (
            "e1:99",
            json!({"from": "e1:16", "to": "e1:99", "reason": "future"}),
            17,
        ),
    ] {
        let fields = [("last-event-id", id)];
        let mut events = kit.connect().subscribe("/events?topic=t", &fields).await;
        assert_eq!(gap(&mut events).await, expected, "{id}");
        // Resumed now, it is not told again.
        assert_eq!(events.last_event_id(), format!("e1:{}", resumes - 1));
        let held: Vec<String> = (resumes..=16).map(|i| i.to_string()).collect();
        assert_eq!(events.data(held.len()).await, held, "{id}");
    }
    assert_eq!(kit.metric("tidings_gaps_total").await, Some(4.0));
}

/// The ID in front of a gap would have been kept by a client whose connection broke right after it:
/// it would have resumed behind the gap and never heard of it.
#[tokio::test(start_paused = true)]
async fn no_byte_of_a_stream_lets_a_gap_be_missed() {
    let kit = forgetful().await;
    let fields = [("last-event-id", "e1:2")];
    let mut events = kit.connect().subscribe("/events?topic=t", &fields).await;
    gap(&mut events).await;
    let raw = events.raw().to_owned();
    let told = raw.find("\n\n").unwrap() + 2;
    assert!(raw[..told].contains("tidings.gap"), "{raw}");
    for cut in 0..told {
        let mut decoder = tidings_wire::Decoder::new();
        decoder.set_last_event_id("e1:2");
        let mut input = &raw.as_bytes()[..cut];
        while decoder.next(&mut input).is_some() {}
        assert_eq!(decoder.last_event_id(), "e1:2", "cut at {cut}");
    }
}

/// A subscriber that does not read while the log forgets: what it has not taken is a gap in the
/// middle of its stream, and all that is left comes after it.
#[tokio::test(start_paused = true)]
async fn a_slow_subscriber_is_told_what_it_missed() {
    let kit = Kit::with(|setup| {
        setup.log.retention.events_max = Some(64);
        setup.limits.window_bytes_max = 0;
        setup.limits.step_bytes_max = 1;
        setup.config.stall_ms_max = 3_600_000;
    });
    let (client, _) = kit.connect_through(256);
    let mut events = client.subscribe("/events?topic=t", &[]).await;
    for i in 1..=2000 {
        kit.publish("t", &[&format!("{i}")]).await;
    }
    let mut next = 1;
    let mut gaps = 0;
    while next <= 2000 {
        let event = events.next().await.unwrap();
        if event.event_type == "tidings.gap" {
            let gap: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(gap["reason"], "retention");
            assert_eq!(gap["from"], format!("e1:{}", next - 1));
            let to = gap["to"].as_str().unwrap();
            assert_eq!(to, event.last_event_id);
            next = to.strip_prefix("e1:").unwrap().parse::<u64>().unwrap() + 1;
            gaps += 1;
        } else {
            assert_eq!(event.data, next.to_string());
            next += 1;
        }
    }
    assert!(gaps > 0);
}

/// An ID is a stranger's text. Quotes, escapes and UTF-8 in it come back as they were, in one event.
#[tokio::test(start_paused = true)]
async fn a_hostile_id_stays_in_its_place() {
    let kit = Kit::start();
    for id in [
        "\"},\"x\":1",
        "\\",
        "a\tb",
        "grüße",
        "e1:01",
        "e1:-1",
        "data: x",
    ] {
        let fields = [("last-event-id", id)];
        let mut events = kit.connect().subscribe("/events?topic=t", &fields).await;
        assert_eq!(gap(&mut events).await["from"], id);
    }
    let target = "/events?topic=t&last_event_id=a%0A%0Adata:+injected%0D%0A%00b";
    let mut events = kit.subscribe(target).await;
    let expected = "a\n\ndata: injected\r\n\0b";
    assert_eq!(gap(&mut events).await["from"], expected);
    assert_eq!(events.last_event_id(), "e1:0");
}
