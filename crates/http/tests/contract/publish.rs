//! `POST /events`: each content type, each field, and the answer.

use std::time::Duration;

use serde_json::json;
use tidings_testkit::{Kit, Response};

const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

async fn post(kit: &Kit, target: &str, kind: &str, body: impl AsRef<[u8]>) -> Response {
    let fields = [("content-type", kind)];
    kit.ask(&format!("POST {target}"), &fields, body.as_ref())
        .await
}

/// The bytes of the stream of `topic`, without its opening.
async fn stream(kit: &Kit, topic: &str, count: usize) -> String {
    let mut events = kit
        .subscribe(&format!("/events?topic={topic}&from=earliest"))
        .await;
    events.data(count).await;
    let (_, rest) = events.raw().split_once("\n\n").unwrap();
    rest.to_owned()
}

/// The same event, said in four ways, is the same bytes.
#[tokio::test(start_paused = true)]
async fn each_content_type_says_the_same() {
    let kit = Kit::start();
    let query = "topic=t&event=paid&retry=2000&key=k&ttl_s=60";
    let json = r#"{"topic":"t","data":"a\nb","event":"paid","retry":2000,"key":"k","ttl_s":60}"#;
    for (i, (target, kind, body)) in [
        (&*format!("/events?{query}"), "text/plain", "a\nb"),
        ("/events", FORM, &format!("{query}&data=a%0Ab")),
        ("/events", JSON, json),
        ("/events", "application/x-ndjson", json),
        (
            "/events?topic=t&utm=x",
            "Application/JSON ; Charset=UTF-8",
            &json.replace(r#""topic":"t","#, ""),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let response = post(&kit, target, kind, body).await;
        assert_eq!(response.status(), 200, "{kind}: {}", response.text());
        assert_eq!(response.json(), json!({"id": format!("e1:{}", i + 1)}));
        assert_eq!(response.head.field("cache-control"), Some("no-store"));
    }
    let event = |i| format!("id: e1:{i}\nevent: paid\nretry: 2000\ndata: a\ndata: b\n\n");
    let bytes = stream(&kit, "t", 5).await;
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let expected: String = (1..=5).map(event).collect();
    assert_eq!(sorted(&bytes), sorted(&expected));
}

/// What a publisher says without a word about UTF-8 and escapes arrives as it was.
#[tokio::test(start_paused = true)]
async fn data_arrives_as_it_was() {
    let kit = Kit::start();
    let texts = [
        "",
        "grüße ☀",
        " lead",
        "trail ",
        ":colon",
        "a\nb\n",
        "\n",
        "a: b",
        "\u{feff}bom",
    ];
    for text in texts {
        let response = post(&kit, "/events?topic=t", "text/plain; charset=utf-8", text).await;
        assert_eq!(response.status(), 200, "{text:?}");
    }
    let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
    assert_eq!(events.data(texts.len()).await, texts);
    let odd = "topic=t&data=%c3%bc+100%+%zz%2";
    assert_eq!(post(&kit, "/events", FORM, odd).await.status(), 200);
    assert_eq!(events.data(1).await, ["ü 100% %zz%2"]);
}

/// Data that is not a string is JSON and stays it: compact, with numbers as they were spelled.
#[tokio::test(start_paused = true)]
async fn data_that_is_not_a_string_is_compact_json() {
    let kit = Kit::start();
    for (data, expected) in [
        ("null", "null"),
        ("true", "true"),
        ("1.0", "1.0"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("{ \"a b\" : [ 1 , \"x y\" ] }", r#"{"a b":[1,"x y"]}"#),
        ("\"\\u00e4\\n\\\"\"", "ä\n\""),
        ("\"\"", ""),
    ] {
        let body = format!("{{\"topic\":\"t\",\"data\":{data}}}");
        assert_eq!(post(&kit, "/events", JSON, body).await.status(), 200);
        let mut events = kit.subscribe("/events?topic=t&from=-1").await;
        assert_eq!(events.data(1).await, [expected], "{data}");
    }
}

/// An array is one commit: all or none, in order, with a receipt for each.
#[tokio::test(start_paused = true)]
async fn an_array_is_all_or_none() {
    let kit = Kit::start();
    let good = r#" [{"topic":"a","data":1},{"topics":["a","b"],"data":2,"id":"own"},{"topic":"b","data":3}] "#;
    let response = post(&kit, "/events", JSON, good).await;
    let ids = json!([{"id": "e1:1"}, {"id": "own"}, {"id": "e1:3"}]);
    assert_eq!(response.json(), ids);
    for bad in [
        r#"[{"topic":"a","data":1},{"topic":"a"}]"#,
        r#"[{"topic":"a","data":1},{"topic":"","data":1}]"#,
        r#"[{"topic":"a","data":1},{"topic":"a","data":1,"id":"e1:9"}]"#,
    ] {
        let response = post(&kit, "/events", JSON, bad).await;
        assert_eq!(response.status(), 400, "{}", response.text());
    }
    let detail = post(
        &kit,
        "/events",
        JSON,
        r#"[{"topic":"a","data":1},{"data":1}]"#,
    )
    .await;
    assert!(detail.detail().contains("topic"));
    assert_eq!(kit.everything().await, ["1", "2", "3"]);
    assert_eq!(post(&kit, "/events", JSON, "[]").await.status(), 400);
}

/// A publisher's own ID comes back to it, to subscribers, and resumes.
#[tokio::test(start_paused = true)]
async fn own_ids_make_the_round() {
    let kit = Kit::start();
    for id in ["order-7", "grüße", "a b", "7", "urn:x:7", "e2:5"] {
        let body = json!({"topic": "t", "data": id, "id": id}).to_string();
        let response = post(&kit, "/events", JSON, body).await;
        assert_eq!(response.json(), json!({"id": id}));
        kit.publish("t", &["next"]).await;
        let fields = [("last-event-id", id)];
        let mut events = kit.connect().subscribe("/events?topic=t", &fields).await;
        assert_eq!(events.data(1).await, ["next"], "{id}");
        let mut at = kit.subscribe("/events?topic=t&from=-2").await;
        assert_eq!(at.next().await.unwrap().last_event_id, id);
    }
    let mut from = kit.subscribe("/events?topic=t&from=order-7").await;
    assert_eq!(from.data(2).await, ["order-7", "next"]);
}

/// What is too old to be of use is not delivered, neither live to one who was slow nor replayed.
#[tokio::test(start_paused = true)]
async fn events_expire() {
    let kit = Kit::start();
    let ttl = post(&kit, "/events?topic=t&ttl_s=10.5", "text/plain", "short").await;
    assert_eq!(ttl.status(), 200);
    kit.publish("t", &["long"]).await;
    let target = "/events?topic=t&from=earliest";
    let mut early = kit.subscribe(target).await;
    assert_eq!(early.data(2).await, ["short", "long"]);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let mut late = kit.subscribe(target).await;
    assert_eq!(late.data(1).await, ["long"]);
}

/// Line ends and NUL in any field, in each content type: whatever is accepted is one event with
/// just the fields it was given. This is how most servers of the field are broken.
#[tokio::test(start_paused = true)]
async fn nothing_can_be_injected() {
    for (i, evil) in [
        "\n\ndata: evil",
        "\r\rid: evil",
        "\r\nevent: evil",
        "\0",
        "a\nb",
        "\u{85}\u{2028}",
    ]
    .into_iter()
    .enumerate()
    {
        for field in ["data", "event", "id", "key", "topic"] {
            let kit = Kit::start();
            let mut fields = json!({"topic": "t", "data": "d"});
            fields[field] = json!(format!("x{evil}y"));
            let form = fields
                .as_object()
                .unwrap()
                .iter()
                .map(|(name, value)| format!("{name}={}", escaped(value.as_str().unwrap())))
                .collect::<Vec<_>>()
                .join("&");
            let json = post(&kit, "/events", JSON, fields.to_string()).await;
            let form = post(&kit, "/events", FORM, form).await;
            assert_eq!(json.status(), form.status(), "{field} {evil:?}");
            let accepted = json.status() == 200;
            let harmless =
                matches!(field, "data" | "key") || (field == "event" && (i == 3 || i == 5));
            assert_eq!(accepted, harmless, "{field} {evil:?} {}", json.text());
            kit.publish("t", &["end"]).await;
            if !accepted {
                assert!(json.detail().len() > 20);
                assert_eq!(kit.everything().await, ["end"]);
                continue;
            }
            let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
            for id in ["e1:1", "e1:2"] {
                let event = events.next().await.unwrap();
                assert_eq!(event.last_event_id, id);
                if field == "data" {
                    let normal = format!("x{evil}y")
                        .replace("\r\n", "\n")
                        .replace('\r', "\n");
                    assert_eq!(event.data, normal);
                } else {
                    assert_eq!(event.data, "d");
                }
                let expected = if field == "event" {
                    format!("x{evil}y")
                } else {
                    "message".into()
                };
                assert_eq!(event.event_type, expected);
            }
            assert_eq!(events.next().await.unwrap().data, "end");
        }
    }
}

fn escaped(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}
