//! `GET /events`: where a stream starts, what it begins with, and what it is while nothing happens.

use std::time::Duration;

use tidings_testkit::{Client, EPOCH_MS, Events, Kit, now_ms};

/// A page that shows only some of the headers' effects is found months later, behind some proxy:
/// so the head is compared as a whole.
#[tokio::test(start_paused = true)]
async fn the_head_is_exact_and_comes_at_once_with_the_first_bytes() {
    let kit = Kit::start();
    let mut client = kit.connect();
    client.request("GET /events?topic=a", &[], b"").await;
    let mut head = client.head().await;
    head.fields.retain(|(name, _)| name != "date");
    head.fields.sort();
    let expected = [
        ("cache-control", "no-cache, no-transform"),
        ("content-type", "text/event-stream"),
        ("transfer-encoding", "chunked"),
        ("x-accel-buffering", "no"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((head.status, head.fields), (200, expected.to_vec()));
    let first = client.chunk().await.unwrap();
    let first = String::from_utf8(first).unwrap();
    let retry_ms: u64 = first
        .strip_prefix("retry: ")
        .and_then(|rest| rest.strip_suffix("\nid: e1:0\n\n"))
        .unwrap_or_else(|| panic!("{first}"))
        .parse()
        .unwrap();
    assert!((1000..=3000).contains(&retry_ms));
}

/// Each form of `from`, over five events of the topic and one of another between them.
#[tokio::test(start_paused = true)]
async fn every_form_of_from() {
    let kit = Kit::start();
    kit.publish("t", &["1", "2"]).await;
    kit.publish("other", &["x"]).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let at = now_ms();
    kit.publish("t", &["3", "4", "5"]).await;
    let time = |ms: u64| {
        let (seconds, ms) = ((ms - EPOCH_MS) / 1000, ms % 1000);
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("2026-01-01T{hours:02}:{minutes:02}:{seconds:02}.{ms:03}Z")
    };
    let mut streams = Vec::new();
    for (from, expected) in [
        ("latest", &[][..]),
        ("earliest", &["1", "2", "3", "4", "5"]),
        ("e1:2", &["2", "3", "4", "5"]),
        ("e1:3", &["3", "4", "5"]),
        ("e1:7", &[]),
        ("-0", &[]),
        ("-1", &["5"]),
        ("-4", &["2", "3", "4", "5"]),
        ("-99", &["1", "2", "3", "4", "5"]),
        (&time(EPOCH_MS), &["1", "2", "3", "4", "5"]),
        (&time(at), &["3", "4", "5"]),
        (&time(at + 60_000), &[]),
    ] {
        let target = format!("/events?topic=t&from={from}");
        streams.push((kit.subscribe(&target).await, expected, target));
    }
    kit.publish("t", &["live"]).await;
    for (mut events, expected, from) in streams {
        let expected = [expected, &["live"]].concat();
        assert_eq!(events.data(expected.len()).await, expected, "{from}");
    }
}

/// A browser sends the header, polyfills send one of three query parameters; all win over `from`,
/// which stays in the page's URL when it reconnects.
#[tokio::test(start_paused = true)]
async fn every_spelling_of_the_last_event_id() {
    let kit = Kit::start();
    kit.publish("t", &["1", "2", "3"]).await;
    let target = "/events?topic=t&from=earliest";
    let header = [("Last-Event-ID", "e1:1")];
    let mut events = kit.connect().subscribe(target, &header).await;
    assert_eq!(events.data(2).await, ["2", "3"]);
    for name in ["last_event_id", "lastEventId", "lastEventID"] {
        let mut events = kit.subscribe(&format!("{target}&{name}=e1%3A2")).await;
        assert_eq!(events.data(1).await, ["3"], "{name}");
    }
    let empty = [("Last-Event-ID", "")];
    let mut events = kit.connect().subscribe(target, &empty).await;
    assert_eq!(events.data(3).await, ["1", "2", "3"]);
}

/// A page that follows several things must see one order, and an event that matches twice once.
#[tokio::test(start_paused = true)]
async fn several_topics_and_patterns_are_one_order() {
    let kit = Kit::start();
    let target = "/events?topic=a&topic=c%2F1&pattern=c/:id&pattern=d/*";
    let mut live = kit.subscribe(target).await;
    for (i, topic) in ["a", "b", "c/1", "c/2", "d/x/y", "c/1/z", "a"]
        .iter()
        .enumerate()
    {
        kit.publish(topic, &[&format!("{i}")]).await;
    }
    let body = br#"{"topics":["a","c/1","c/2","d/"],"data":"all"}"#;
    let json = [("content-type", "application/json")];
    assert_eq!(kit.ask("POST /events", &json, body).await.status(), 200);
    kit.publish("a", &["end"]).await;
    let expected = ["0", "2", "3", "4", "6", "all", "end"];
    assert_eq!(live.data(7).await, expected);
    let mut replayed = kit.subscribe(&format!("{target}&from=earliest")).await;
    assert_eq!(replayed.data(7).await, expected);
    assert_eq!(live.last_event_id(), "e1:9");
}

/// A subscriber of a quiet topic must not fall out of retention: its heartbeats carry the tail.
/// They must dispatch nothing, and come every 15 s though nothing else does.
#[tokio::test(start_paused = true)]
async fn heartbeats_move_the_id_and_dispatch_nothing() {
    let kit = Kit::start();
    let mut quiet = kit.subscribe("/events?topic=quiet").await;
    assert!(quiet.read().await);
    let opening = quiet.raw().len();
    kit.publish("busy", &["1", "2", "3"]).await;
    let begun = tokio::time::Instant::now();
    assert!(quiet.read().await);
    assert!((14..=15).contains(&begun.elapsed().as_secs()));
    assert_eq!(quiet.raw().split_at(opening).1, "id: e1:3\n\n");
    quiet.is_quiet_for(Duration::from_secs(46)).await;
    assert_eq!(quiet.raw().split_at(opening).1, "id: e1:3\n\n".repeat(4));
    assert_eq!(quiet.last_event_id(), "e1:3");
    assert_eq!(kit.metric("tidings_heartbeats_total").await, Some(4.0));
}

/// A busy stream needs no heartbeat; one that was asked for more often comes more often, and where
/// it is asked for as an event the page can tell quiet from dead.
#[tokio::test(start_paused = true)]
async fn heartbeats_as_asked_for() {
    let kit = Kit::start();
    let mut pinged = kit.subscribe("/events?topic=t&heartbeat=2.5&ping").await;
    let begun = tokio::time::Instant::now();
    for i in 0..4 {
        let ping = pinged.next().await.unwrap();
        assert_eq!(ping.event_type, "tidings.ping");
        assert_eq!(
            (ping.data.as_str(), ping.last_event_id.as_str()),
            ("", "e1:0")
        );
        assert_eq!(begun.elapsed().as_millis() / 100, 25 * (i + 1));
    }
    for i in 0..10 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        kit.publish("t", &[&format!("{i}")]).await;
        assert_eq!(pinged.next().await.unwrap().data, format!("{i}"));
    }
}

/// A client that checks first must not be counted as a subscriber, nor wait for a body.
#[tokio::test(start_paused = true)]
async fn head_has_the_head_and_no_stream() {
    let kit = Kit::start();
    let mut client = kit.connect();
    client.request("HEAD /events?topic=a", &[], b"").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    client.request("HEAD /events", &[], b"").await;
    assert_eq!(client.head().await.status, 400);
    assert_eq!(kit.hub.stats().subscriptions, 0);
}

/// `204` makes `EventSource` give up for good. A topic that has nothing, or nothing any more, is
/// no reason for that.
#[tokio::test(start_paused = true)]
async fn a_topic_without_events_is_a_stream_too() {
    let kit = Kit::start();
    for from in ["latest", "earliest", "-5", "2030-01-01T00:00:00Z", "e1:0"] {
        let target = format!("/events?topic=none&from={from}");
        assert!(kit.subscribe(&target).await.read().await);
    }
}

/// Old proxies speak HTTP/1.0, which has no chunks: the bytes come as they are, until the close.
#[tokio::test(start_paused = true)]
async fn http_1_0_gets_the_plain_bytes() {
    let kit = Kit::start();
    kit.publish("a", &["1"]).await;
    let mut client = kit.connect();
    let request = "GET /events?topic=a&from=earliest HTTP/1.0\r\n\r\n";
    client.send(request).await;
    let head = client.head().await;
    assert_eq!((head.status, head.field("transfer-encoding")), (200, None));
    let mut events = Events::new(client);
    assert_eq!(events.data(1).await, ["1"]);
    kit.publish("a", &["2"]).await;
    assert_eq!(events.data(1).await, ["2"]);
}

/// A stream that broke before its first event has told the client where it was, so that what was
/// published in between is not lost.
#[tokio::test(start_paused = true)]
async fn a_stream_that_broke_before_its_first_event_resumes_without_loss() {
    let kit = Kit::start();
    kit.publish("t", &["old"]).await;
    let mut events = kit.subscribe("/events?topic=t").await;
    assert!(events.read().await);
    let id = events.last_event_id().to_owned();
    drop(events);
    kit.publish("t", &["between"]).await;
    let fields = [("last-event-id", id.as_str())];
    let mut events = kit.connect().subscribe("/events?topic=t", &fields).await;
    assert_eq!(events.data(1).await, ["between"]);
}

/// Wherever a stream is cut, the client resumes with the ID that it has, and sees each event once.
#[tokio::test(start_paused = true)]
async fn a_resume_after_any_byte_continues_exactly() {
    let kit = Kit::start();
    let all: Vec<String> = (0..12).map(|i| format!("line {i}\nsecond")).collect();
    kit.publish("t", &all.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let target = "/events?topic=t&from=earliest";
    let mut whole = kit.subscribe(target).await;
    assert_eq!(whole.data(12).await, all);
    for cut in 0..=whole.raw().len() {
        let mut decoder = tidings_wire::Decoder::new();
        let mut got = Vec::new();
        let mut input = &whole.raw().as_bytes()[..cut];
        while let Some(item) = decoder.next(&mut input) {
            if let Ok(tidings_wire::Item::Event(event)) = item {
                got.push(event.data.to_string());
            }
        }
        let id = decoder.last_event_id().to_string();
        let fields = [("last-event-id", id.as_str())];
        let mut rest = kit.connect().subscribe(target, &fields).await;
        got.extend(rest.data(12 - got.len()).await);
        assert_eq!(got, all, "cut at {cut}");
    }
}

/// A browser closes a tab without a word. Nothing of it may stay.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_is_noticed_at_once() {
    let kit = Kit::start();
    let events = kit.subscribe("/events?topic=t&heartbeat=3600").await;
    assert_eq!(kit.hub.stats().subscribers, 1);
    drop(events);
    kit.until("it is gone", |stats| stats.subscribers == 0)
        .await;
    assert_eq!(kit.hub.stats().window_topics, 0);
}

/// What is wrong with a request is said, and what to do; with a status that no retry mends.
#[tokio::test(start_paused = true)]
async fn a_bad_request_is_told_what_to_do() {
    let kit = Kit::start();
    let many = format!("GET /events?{}", "topic=a&pattern=*&".repeat(51));
    for (line, status, word) in [
        ("GET /events", 400, "topic="),
        ("GET /events?topic=", 400, "name one"),
        ("GET /events?topic=a%0Ab", 400, "control character"),
        ("GET /events?pattern=a(b)", 400, "regular expression"),
        ("GET /events?topic=a&from=", 400, "earliest"),
        (
            "GET /events?topic=a&from=-x&heartbeat=0",
            400,
            "seconds, from 1",
        ),
        ("GET /events?topic=a&ping=x", 400, "`true` or `false`"),
        (
            "GET /events?topic=a&from=2026-02-30T00:00:00Z",
            400,
            "RFC 3339",
        ),
        (&many, 400, "100 topics and patterns"),
        ("DELETE /events", 405, "POST"),
        ("GET /event", 404, "/events?topic="),
        ("POST /metrics", 405, "GET"),
        ("POST /", 405, "GET"),
    ] {
        let response = kit.ask(line, &[], b"").await;
        assert_eq!(response.status(), status, "{line}");
        let detail = response.detail();
        assert!(detail.contains(word), "{line}: {detail}");
    }
    assert_eq!(kit.hub.stats().subscriptions, 0);
}

/// A connection is used again after an answer, and a body after a stream's request is no request.
#[tokio::test(start_paused = true)]
async fn requests_share_a_connection() {
    let kit = Kit::start();
    let mut client = kit.connect();
    for _ in 0..3 {
        client.request("GET /healthz", &[], b"").await;
        assert_eq!(client.response().await.text(), "ok\n");
    }
    client
        .send("GET /healthz HTTP/1.1\r\n\r\nGET /readyz HTTP/1.1\r\n\r\n")
        .await;
    assert_eq!(client.response().await.text(), "ok\n");
    assert_eq!(client.response().await.text(), "ready\n");
    let mut events = client.subscribe("/events?topic=t", &[]).await;
    kit.publish("t", &["1"]).await;
    assert_eq!(events.data(1).await, ["1"]);
    let _: Client<_> = events.into_client();
}
