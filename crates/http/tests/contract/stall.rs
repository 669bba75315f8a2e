//! A client that takes nothing: it changes nothing for others, is cut in time, and can resume.

use std::time::Duration;

use tidings_testkit::{Events, Kit};
use tokio::time::{Instant, sleep};

/// The one who never reads is the oldest way to bring an event server down.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_cut_and_resumes_without_loss() {
    let kit = Kit::start();
    let (client, stalled) = kit.connect_through(1000);
    let mut slow = client.subscribe("/events?topic=t", &[]).await;
    assert!(slow.read().await);
    let mut other = kit.subscribe("/events?topic=t").await;
    let data = "x".repeat(1000);
    let begun = Instant::now();
    for i in 0..1000 {
        kit.publish("t", &[&format!("{i} {data}")]).await;
        assert_eq!(other.data(1).await, [format!("{i} {data}")]);
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(kit.hub.stats().subscribers, 2);
    assert!(stalled.await.unwrap().is_err());
    assert!((30..45).contains(&begun.elapsed().as_secs()));
    assert_eq!(kit.hub.stats().subscribers, 1);
    assert_eq!(kit.metric("tidings_stalled_total").await, Some(1.0));

    // What is left in the pipe is read, then the rest is asked for.
    let mut got = Vec::new();
    while let Some(event) = slow.next().await {
        got.push(event.data);
    }
    assert!(!slow.is_whole());
    let fields = [("last-event-id", slow.last_event_id())];
    let mut again = kit.connect().subscribe("/events?topic=t", &fields).await;
    got.extend(again.data(1000 - got.len()).await);
    for (i, got) in got.iter().enumerate() {
        assert_eq!(*got, format!("{i} {data}"));
    }
}

/// Slow is not stalled: who takes a little now and then stays, and gets everything.
#[tokio::test(start_paused = true)]
async fn a_slow_client_is_not_cut() {
    let kit = Kit::start();
    let (client, served) = kit.connect_through(100);
    let mut slow = client.subscribe("/events?topic=t", &[]).await;
    let data = "x".repeat(1000);
    for _ in 0..10 {
        kit.publish("t", &[&data]).await;
    }
    while slow.raw().len() < 10_000 {
        sleep(Duration::from_secs(10)).await;
        assert!(slow.read().await);
    }
    assert_eq!(slow.data(10).await, vec![data; 10]);
    assert!(!served.is_finished());
}

/// A client that never reads and goes is noticed when it goes, not when it would have been cut.
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_without_having_read_is_noticed() {
    let kit = Kit::start();
    for full in [false, true] {
        let (mut client, served) = kit.connect_through(300);
        client
            .send("GET /events?topic=t&heartbeat=3600 HTTP/1.1\r\n\r\n")
            .await;
        kit.until("it is there", |stats| stats.subscribers == 1)
            .await;
        if full {
            kit.publish("t", &[&"x".repeat(1000)]).await;
        }
        sleep(Duration::from_secs(5)).await;
        let begun = Instant::now();
        drop(client);
        kit.until("it is gone", |stats| stats.subscribers == 0)
            .await;
        assert!(begun.elapsed() < Duration::from_secs(1));
        assert!(served.await.unwrap().is_err());
    }
}

/// Bytes that nobody asked for, after the request or later, kept the hub from seeing the client go:
/// its place was held until a heartbeat could not be written.
#[tokio::test(start_paused = true)]
async fn bytes_after_the_request_hide_nothing() {
    let kit = Kit::start();
    for (at_once, later) in [
        ("x", ""),
        ("", "x"),
        ("GET / HTTP/1.1\r\n\r\n", "junk"),
        ("x", "y"),
    ] {
        let mut client = kit.connect();
        let line = "GET /events?topic=t&heartbeat=3600 HTTP/1.1\r\nhost: hub\r\n\r\n";
        client.send(format!("{line}{at_once}")).await;
        assert_eq!(client.head().await.status, 200);
        let mut events = Events::new(client);
        sleep(Duration::from_secs(1)).await;
        kit.publish("t", &["1"]).await;
        assert_eq!(events.data(1).await, ["1"]);
        let mut client = events.into_client();
        client.send(later).await;
        // Megabytes of it are dropped too.
        client.send(vec![b'z'; 1 << 20]).await;
        let begun = Instant::now();
        drop(client);
        kit.until("it is gone", |stats| stats.subscribers == 0)
            .await;
        assert!(
            begun.elapsed() < Duration::from_secs(1),
            "{at_once} {later}"
        );
    }
}

/// What was dropped makes the rest senseless: the connection ends with the stream.
#[tokio::test(start_paused = true)]
async fn a_connection_with_dropped_bytes_is_not_used_again() {
    let kit = Kit::start();
    let mut client = kit.connect();
    client
        .send("GET /events?topic=t HTTP/1.1\r\nhost: hub\r\n\r\n")
        .await;
    assert_eq!(client.head().await.status, 200);
    kit.until("it is there", |stats| stats.subscribers == 1)
        .await;
    client.send("GET /healthz HT").await;
    sleep(Duration::from_secs(1)).await;
    kit.hub.end(1, tidings::EndReason::Evicted);
    let mut events = Events::new(client);
    assert_eq!(events.next().await.unwrap().data, r#"{"reason":"evicted"}"#);
    assert!(events.next().await.is_none() && events.is_whole());
    assert_eq!(events.into_client().closed().await, b"");
}

/// Without such bytes it is, as HTTP has it.
#[tokio::test(start_paused = true)]
async fn a_connection_is_used_again_after_its_stream_ended() {
    let kit = Kit::start();
    let mut events = kit.subscribe("/events?topic=t").await;
    assert!(events.read().await);
    kit.hub.end(1, tidings::EndReason::TooSlow);
    let end = events.next().await.unwrap();
    assert_eq!(
        (&*end.event_type, &*end.data),
        ("tidings.end", r#"{"reason":"too_slow"}"#)
    );
    assert!(events.next().await.is_none() && events.is_whole());
    let mut client = events.into_client();
    client.request("GET /healthz", &[], b"").await;
    assert_eq!(client.response().await.status(), 200);
}
