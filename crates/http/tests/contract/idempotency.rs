//! `Idempotency-Key`: a request that is repeated takes effect once.

use serde_json::json;
use tidings_testkit::{Kit, Response};

const TEXT: &str = "text/plain";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

async fn post(kit: &Kit, kind: &str, key: &str, body: &str) -> Response {
    let fields = [("content-type", kind), ("Idempotency-Key", key)];
    kit.ask("POST /events?topic=t", &fields, body.as_bytes())
        .await
}

/// In every content type the first receipt comes again and nothing is appended; another body under
/// the same key is a mistake of the publisher, and is told so.
#[tokio::test(start_paused = true)]
async fn a_repetition_gets_the_first_receipt_and_a_change_422() {
    let kit = Kit::start();
    let array = r#"[{"data":1},{"data":2}]"#;
    let lines = "{\"data\":1}\n{\"data\":2}\n";
    for (key, kind, body, changed) in [
        ("k-text", TEXT, "a", "b"),
        ("k-form", FORM, "data=a", "data=a&event=e"),
        ("k-json", JSON, r#"{"data":1}"#, r#"{"data":1,"key":"k"}"#),
        ("k-array", JSON, array, r#"[{"data":1},{"data":3}]"#),
        ("k-shorter", JSON, array, r#"[{"data":1}]"#),
        ("k-lines", LINES, lines, "{\"data\":1}\n{\"data\":3}\n"),
    ] {
        let first = post(&kit, kind, key, body).await;
        assert_eq!(first.status(), 200, "{}", first.text());
        kit.publish("other", &["between"]).await;
        let events = kit.hub.stats().log_events;
        for _ in 0..2 {
            let again = post(&kit, kind, key, body).await;
            assert_eq!((again.status(), again.text()), (200, first.text()), "{key}");
        }
        let changed = post(&kit, kind, key, changed).await;
        assert_eq!(changed.status(), 422, "{key}: {}", changed.text());
        assert!(changed.detail().contains("new key"), "{key}");
        assert_eq!(kit.hub.stats().log_events, events, "{key}");
    }
    assert_eq!(
        kit.metric("tidings_repeated_publishes_total").await,
        Some(12.0)
    );
    assert_eq!(kit.metric("tidings_idempotency_keys").await, Some(6.0));
}

/// The publisher that repeats does not know whether the first time arrived: both may be under way.
#[tokio::test(start_paused = true)]
async fn two_at_the_same_time_are_one() {
    let kit = Kit::start();
    kit.commit(false);
    let fields = [("content-type", TEXT), ("idempotency-key", "k")];
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = kit.connect();
        client
            .request("POST /events?topic=t", &fields, b"once")
            .await;
        clients.push(client);
    }
    kit.until("all wait", |stats| stats.queue_groups == 5).await;
    kit.commit(true);
    for mut client in clients {
        assert_eq!(client.response().await.json(), json!({"id": "e1:1"}));
    }
    assert_eq!(kit.everything().await, ["once"]);
}

/// A key that says nothing, or two things, would silently not protect.
#[tokio::test(start_paused = true)]
async fn a_bad_key_is_refused() {
    let kit = Kit::start();
    assert_eq!(post(&kit, TEXT, "", "x").await.status(), 400);
    assert_eq!(post(&kit, TEXT, "grüße", "x").await.status(), 400);
    let long = post(&kit, TEXT, &"k".repeat(257), "x").await;
    assert!(long.detail().contains("`Idempotency-Key` may have 256"));
    let twice = [
        ("content-type", TEXT),
        ("idempotency-key", "a"),
        ("idempotency-key", "b"),
    ];
    let twice = kit.ask("POST /events?topic=t", &twice, b"x").await;
    assert!(twice.detail().contains("one value"));
    assert_eq!(kit.everything().await, [""; 0]);
}

/// A stream of lines that broke in the middle is repeated from its start, cut into other pieces:
/// the lines that the hub has are answered for, the others appended, and all IDs are those of once.
#[tokio::test(start_paused = true)]
async fn a_broken_stream_of_lines_continues_exactly() {
    let kit = Kit::start();
    let line = |i: usize| format!("{{\"topic\":\"t\",\"data\":\"{i}\"}}\n");
    let fields = "content-type: application/x-ndjson\r\nidempotency-key: k\r\n";
    let head =
        format!("POST /events HTTP/1.1\r\nhost: hub\r\n{fields}transfer-encoding: chunked\r\n\r\n");
    let mut arrived = 0;
    for (others, break_after) in (0_u64..).zip([1, 700, 40, 1500, 2000]) {
        let mut client = kit.connect();
        client.send(&head).await;
        for i in 0..break_after {
            client.send_chunk(line(i)).await;
        }
        // Half a line more, which must leave no trace.
        client.send_chunk(&line(break_after)[..9]).await;
        arrived = arrived.max(break_after as u64);
        kit.until("the lines", |stats| {
            stats.published_events == arrived + others
        })
        .await;
        drop(client);
        kit.publish("other", &["between"]).await;
    }
    let all: String = (0..2500).map(line).collect();
    let whole = post(&kit, LINES, "k", &all).await;
    let ids: Vec<String> = whole.text().lines().map(str::to_owned).collect();
    assert_eq!(ids.len(), 2500, "{:?}", ids.last());
    let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
    for (i, id) in ids.iter().enumerate() {
        let event = events.next().await.unwrap();
        assert_eq!(event.data, i.to_string());
        assert_eq!(*id, format!("{{\"id\":\"{}\"}}", event.last_event_id));
    }
    events
        .is_quiet_for(std::time::Duration::from_secs(20))
        .await;
}
