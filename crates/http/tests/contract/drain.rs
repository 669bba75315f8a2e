//! Stopping in order: everyone is told when to come back, spread over time, and then it is over.

use std::{collections::BTreeSet, time::Duration};

use tidings_testkit::{Kit, on_hyper};
use tokio::time::{Instant, sleep};

/// A hub that closes all streams at once brings all clients back at once, to the next hub.
#[tokio::test(start_paused = true)]
async fn streams_end_spread_over_the_drain_with_another_retry_each() {
    const CLIENTS: usize = 200;
    let kit = Kit::start();
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut events = kit.subscribe("/events?topic=t").await;
        clients.push(tokio::spawn(async move {
            let end = events.next().await.unwrap();
            let at = Instant::now();
            assert_eq!(end.event_type, "tidings.end");
            assert_eq!(end.data, r#"{"reason":"drain"}"#);
            assert!(events.next().await.is_none() && events.is_whole());
            (at, events.retry_ms().unwrap())
        }));
    }
    let begun = Instant::now();
    kit.server.drain().await;
    let drained = begun.elapsed();
    assert!((5..7).contains(&drained.as_secs()), "{drained:?}");
    let mut by_second = [0; 6];
    let mut retries = BTreeSet::new();
    for client in clients {
        let (at, retry_ms) = client.await.unwrap();
        by_second[usize::try_from((at - begun).as_secs()).unwrap()] += 1;
        assert!((1000..=3000).contains(&retry_ms));
        retries.insert(retry_ms);
    }
    assert!(
        by_second[..5].iter().all(|count| (30..=50).contains(count)),
        "{by_second:?}"
    );
    assert!(retries.len() > CLIENTS / 2);
    assert_eq!(kit.hub.stats().ended_drain, CLIENTS as u64);
    assert_eq!(kit.hub.stats().subscribers, 0);
}

/// While it drains, the balancer sends nobody; who comes all the same is told to come back; what
/// is published is still committed.
#[tokio::test(start_paused = true)]
async fn while_it_drains() {
    let kit = Kit::start();
    let _events = (
        kit.subscribe("/events?topic=t").await,
        kit.subscribe("/events?topic=t").await,
    );
    let server = kit.server.clone();
    let drained = tokio::spawn(async move { server.drain().await });
    sleep(Duration::from_millis(100)).await;
    let ready = kit.ask("GET /readyz", &[], b"").await;
    assert_eq!(
        (ready.status(), ready.head.field("retry-after")),
        (503, Some("5"))
    );
    assert_eq!(kit.ask("GET /healthz", &[], b"").await.status(), 200);
    for target in ["/events?topic=t", "/events?topic=t&from=-5"] {
        let shed = kit.ask(&format!("GET {target}"), &[], b"").await;
        assert_eq!(
            (shed.status(), shed.head.field("connection")),
            (200, Some("close"))
        );
        assert!(shed.text().starts_with("retry: "));
    }
    let text = [("content-type", "text/plain")];
    assert_eq!(
        kit.ask("POST /events?topic=t", &text, b"x").await.status(),
        200
    );
    drained.await.unwrap();
    assert_eq!(kit.everything().await, ["x"]);
}

/// What says that a stream ends has no place within an event. Who was given a part of a long one is
/// broken off, saw nothing of it, and gets it whole where it comes back.
#[tokio::test(start_paused = true)]
async fn who_is_within_a_long_event_is_broken_off_and_loses_nothing() {
    let kit = Kit::start();
    let (client, _served) = kit.connect_through(1000);
    let mut events = client.subscribe("/events?topic=t", &[]).await;
    let all = ["first".to_owned(), "x".repeat(100_000), "last".to_owned()];
    for data in &all {
        kit.publish("t", &[data]).await;
    }
    let mut got = events.data(1).await;
    while events.raw().len() < 20_000 {
        assert!(events.read().await);
    }
    let server = kit.server.clone();
    let drained = tokio::spawn(async move { server.drain().await });
    while let Some(event) = events.next().await {
        if event.event_type == "message" {
            got.push(event.data);
        }
    }
    drained.await.unwrap();
    if !on_hyper() {
        assert!(got == all[..1] && !events.is_whole());
    }
    let anew = Kit::with(|setup| setup.disk = kit.disk.clone());
    let fields = [("last-event-id", events.last_event_id())];
    let again = anew.connect().subscribe("/events?topic=t", &fields);
    got.extend(again.await.data(all.len() - got.len()).await);
    assert!(got == all);
}

/// Publishers of lines learn that the stream ends, after the receipts of what they sent.
#[tokio::test(start_paused = true)]
async fn streams_of_lines_are_told() {
    let kit = Kit::start();
    let head = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\n\
                content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut busy = kit.connect();
    busy.send(head).await;
    busy.send_chunk("{\"data\":1}\n").await;
    assert_eq!(busy.head().await.status, 200);
    let mut silent = kit.connect();
    silent.send(head).await;
    sleep(Duration::from_millis(100)).await;
    let server = kit.server.clone();
    let drained = tokio::spawn(async move { server.drain().await });
    let body = String::from_utf8(busy.body().await).unwrap();
    let (receipt, problem) = body.split_once('\n').unwrap();
    assert_eq!(receipt, r#"{"id":"e1:1"}"#);
    assert!(
        problem.contains("503") && problem.contains("shutting down"),
        "{problem}"
    );
    assert!(busy.is_whole());
    assert_eq!(silent.response().await.status(), 503);
    drained.await.unwrap();
}

/// A hub without subscribers stops at once, though browsers hold connections open that they have
/// not used, or used and kept.
#[tokio::test(start_paused = true)]
async fn idle_connections_do_not_hold_it_up() {
    let kit = Kit::start();
    let mut unused = kit.connect();
    let mut kept = kit.connect();
    kept.request("GET /healthz", &[], b"").await;
    kept.response().await;
    let clients = tokio::spawn(async move { (unused.closed().await, kept.closed().await) });
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    kit.server.drain().await;
    assert!(
        begun.elapsed() < Duration::from_millis(100),
        "{:?}",
        begun.elapsed()
    );
    let nothing = (Vec::new(), Vec::new());
    assert_eq!(clients.await.unwrap(), nothing);
}

/// A request that is under way is answered; one that never comes to an end is not waited for.
#[tokio::test(start_paused = true)]
async fn what_is_under_way_has_a_grace() {
    let kit = Kit::start();
    let head = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\n\
                content-type: text/plain\r\ncontent-length: 2\r\n\r\n";
    let (mut soon, mut never) = (kit.connect(), kit.connect());
    soon.send(format!("{head}a")).await;
    never.send(format!("{head}a")).await;
    let (client, stalled) = kit.connect_through(300);
    let mut stalled_client = client;
    stalled_client
        .send("GET /events?topic=u HTTP/1.1\r\n\r\n")
        .await;
    kit.until("it is there", |stats| stats.subscribers == 1)
        .await;
    kit.publish("u", &[&"x".repeat(100_000)]).await;
    sleep(Duration::from_millis(100)).await;
    let server = kit.server.clone();
    let begun = Instant::now();
    let drained = tokio::spawn(async move { server.drain().await });
    sleep(Duration::from_secs(3)).await;
    soon.send("b").await;
    assert_eq!(soon.response().await.status(), 200);
    drained.await.unwrap();
    assert!((5..=6).contains(&begun.elapsed().as_secs()));
    assert_eq!(never.closed().await, b"");
    stalled.await.unwrap().unwrap();
    assert_eq!(kit.hub.stats().subscribers, 0);
    assert_eq!(kit.everything().await[1..], ["ab"]);
}
