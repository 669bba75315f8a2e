//! Everything that a stranger can send has a bound, and an answer when it is reached.

use std::time::Duration;

use tidings_testkit::Kit;
use tokio::time::{Instant, sleep};

/// A client that connects and says nothing, or a byte at a time, must not keep its place.
#[tokio::test(start_paused = true)]
async fn a_slow_head_is_cut() {
    let kit = Kit::start();
    let mut silent = kit.connect();
    let begun = Instant::now();
    assert_eq!(silent.closed().await, b"");
    assert_eq!(begun.elapsed().as_secs(), 15);

    let mut slow = kit.connect();
    let begun = Instant::now();
    let head = b"GET /events?topic=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n";
    for byte in head {
        if slow.send_while_taken(&[*byte], Duration::ZERO).await == 0 {
            break;
        }
        sleep(Duration::from_secs(1)).await;
    }
    slow.closed().await;
    assert!((15..=31).contains(&begun.elapsed().as_secs()));

    let mut idle = kit.connect();
    idle.request("GET /healthz", &[], b"").await;
    assert_eq!(idle.response().await.status(), 200);
    let begun = Instant::now();
    idle.closed().await;
    assert!((14..=16).contains(&begun.elapsed().as_secs()));
    kit.until("all are gone", |_| true).await;
    assert_eq!(kit.metric("tidings_connections").await, Some(1.0));
}

/// A head that never ends must not be collected.
#[tokio::test(start_paused = true)]
async fn an_endless_head_is_431() {
    let kit = Kit::start();
    for endless in [
        "GET /",
        "GET / HTTP/1.1\r\nx: ",
        "GET / HTTP/1.1\r\nx: y\r\ny",
    ] {
        let (mut client, _) = kit.connect_through(1024);
        client.send(endless).await;
        let junk = "a".repeat(1 << 20);
        let taken = client.send_while_taken(junk.as_bytes(), Duration::from_secs(1));
        // Some is read and dropped so that the client can read the answer, for two seconds.
        taken.await;
        let head = client.head().await;
        assert!(matches!(head.status, 414 | 431), "{head:?}");
        client.closed().await;
    }
    let field = ("x", "y");
    let many = kit.ask("GET /healthz", &[field; 65], b"").await;
    assert_eq!(many.status(), 431);
    let some = kit.ask("GET /healthz", &[field; 60], b"").await;
    assert_eq!(some.status(), 200);
}

/// What is no HTTP gets an answer that is, and the connection ends.
#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_400() {
    let kit = Kit::start();
    for garbage in [
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET / HTTP/3\r\n\r\n",
    ] {
        let mut client = kit.connect();
        client.send(garbage).await;
        assert_eq!(client.head().await.status, 400, "{garbage:?}");
        client.closed().await;
    }
}

/// A body that trickles in, or never ends, is told so in time.
#[tokio::test(start_paused = true)]
async fn a_slow_body_is_408() {
    let kit = Kit::start();
    let mut client = kit.connect();
    let head = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\ncontent-type: text/plain\r\n";
    client
        .send(format!("{head}content-length: 100\r\n\r\n"))
        .await;
    let begun = Instant::now();
    for _ in 0..29 {
        client.send("x").await;
        sleep(Duration::from_secs(1)).await;
    }
    let response = client.response().await;
    assert_eq!((response.status(), begun.elapsed().as_secs()), (408, 30));
    assert!(response.detail().contains("application/x-ndjson"));
    client.closed().await;
    assert_eq!(kit.everything().await, [""; 0]);
}

/// Too much is refused: at once where it is announced, and before the client that waits for
/// `100 Continue` sends any of it; else when it is there.
#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_large_is_413() {
    let kit = Kit::with(|setup| setup.config.body_bytes_max = 1000);
    let head = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\ncontent-type: text/plain\r\n";
    let mut client = kit.connect();
    client
        .send(format!(
            "{head}expect: 100-continue\r\ncontent-length: 1001\r\n\r\n"
        ))
        .await;
    let response = client.response().await;
    assert_eq!(response.status(), 413);
    assert!(response.detail().contains("1000 bytes"));

    let mut client = kit.connect();
    client
        .send(format!("{head}transfer-encoding: chunked\r\n\r\n"))
        .await;
    for _ in 0..11 {
        client.send_chunk("x".repeat(100)).await;
    }
    assert_eq!(client.response().await.status(), 413);

    let mut client = kit.connect();
    client
        .send(format!(
            "{head}expect: 100-continue\r\ncontent-length: 1000\r\n\r\n"
        ))
        .await;
    assert_eq!(client.head().await.status, 100);
    client.send("x".repeat(1000)).await;
    assert_eq!(client.response().await.status(), 200);
    assert_eq!(kit.everything().await.len(), 1);
}

/// A hub that is full sends subscribers away so that they come back, each at another time, and all
/// others with an error. It stays alive for whoever watches it, and for those who are there.
#[tokio::test(start_paused = true)]
async fn over_connections_max() {
    let kit = Kit::with(|setup| setup.config.connections_max = 3);
    let mut there = Vec::new();
    for _ in 0..3 {
        there.push(kit.subscribe("/events?topic=t").await);
    }
    let mut retries = Vec::new();
    for _ in 0..5 {
        let (mut client, served) = kit.connect_through(1024);
        client.request("GET /events?topic=t", &[], b"").await;
        let response = client.response().await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.head.field("connection"), Some("close"));
        let kind = response.head.field("content-type");
        assert_eq!(kind, Some("text/event-stream"));
        let text = response.text();
        let retry = text
            .strip_prefix("retry: ")
            .and_then(|t| t.strip_suffix("\n\n"));
        retries.push(retry.unwrap().parse::<u64>().unwrap());
        client.closed().await;
        drop(client);
        served.await.unwrap().unwrap();
    }
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 1 && retries.iter().all(|ms| (1000..=3000).contains(ms)));

    let text = [("content-type", "text/plain")];
    let publish = kit.ask("POST /events?topic=t", &text, b"x").await;
    assert_eq!(
        (publish.status(), publish.head.field("retry-after")),
        (503, Some("1"))
    );
    publish.detail();
    assert_eq!(kit.ask("GET /readyz", &[], b"").await.status(), 503);
    assert_eq!(kit.ask("GET /healthz", &[], b"").await.status(), 200);
    assert_eq!(kit.metric("tidings_shed_total").await, Some(5.0));

    kit.publish("t", &["still there"]).await;
    for events in &mut there {
        assert_eq!(events.data(1).await, ["still there"]);
    }
    drop(there);
    kit.until("they are gone", |stats| stats.subscribers == 0)
        .await;
    let mut back = kit.subscribe("/events?topic=t&from=-1").await;
    assert_eq!(back.data(1).await, ["still there"]);
}

/// Over HTTP/2 or over kept connections, streams have a limit of their own.
#[tokio::test(start_paused = true)]
async fn over_subscribers_max() {
    let kit = Kit::with(|setup| setup.config.subscribers_max = 2);
    let one = kit.subscribe("/events?topic=t").await;
    let _two = kit.subscribe("/events?topic=t").await;
    let shed = kit.ask("GET /events?topic=t", &[], b"").await;
    assert_eq!(shed.status(), 200);
    assert!(shed.text().starts_with("retry: "));
    assert_eq!(kit.hub.subscribers(), 2);
    drop(one);
    kit.until("a place", |stats| stats.subscribers == 1).await;
    assert!(kit.subscribe("/events?topic=t").await.read().await);
}

/// Also while the disk is read for where they begin.
#[tokio::test(start_paused = true)]
async fn subscribers_who_come_at_once_are_all_counted() {
    let kit = Kit::with(|setup| setup.config.subscribers_max = 1);
    let mut clients = [kit.connect(), kit.connect(), kit.connect()];
    for client in &mut clients {
        let request = "GET /events?topic=t&from=-1 HTTP/1.1\r\nhost: hub\r\n\r\n";
        client.send(request).await;
    }
    for client in &mut clients {
        assert_eq!(client.head().await.status, 200);
    }
    assert_eq!(kit.hub.subscribers(), 1);
}
