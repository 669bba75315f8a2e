//! A stream of NDJSON is endless; what the hub holds of it is not.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_testkit::Kit;

const HEAD: &str = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\n\
                    content-type: application/x-ndjson\r\n";
const CHUNKED: &str = "transfer-encoding: chunked\r\n\r\n";

/// Most clients read the answer when all is sent. If the hub waited for them to read receipts
/// before it reads on, both would wait for ever.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_until_the_end_does_not_deadlock() {
    const LINES: usize = 200_000;
    let kit = Kit::start();
    let body: String = (0..LINES).map(|i| format!("{{\"data\":{i}}}\n")).collect();
    let mut client = kit.connect();
    let length = format!("content-length: {}\r\n\r\n", body.len());
    client.send(format!("{HEAD}{length}")).await;
    client.send(&body).await;
    kit.until("all are committed", |stats| {
        stats.published_events == LINES as u64
    })
    .await;
    let ids = client.response().await.text();
    assert!(client.is_whole());
    let mut expected = 1;
    for id in ids.lines() {
        assert_eq!(id, format!("{{\"id\":\"e1:{expected}\"}}"));
        expected += 1;
    }
    assert_eq!(expected, LINES + 1);
}

/// A publisher that is faster than the disk waits; what it has sent in advance is bounded.
#[tokio::test(start_paused = true)]
async fn what_is_not_committed_is_bounded() {
    let kit = Kit::with(|setup| {
        setup.config.ingest_bytes_max = 100_000;
        setup.config.ingest_busy_ms_max = 3_600_000;
    });
    kit.commit(false);
    let line = format!("{{\"data\":\"{}\"}}\n", "x".repeat(988));
    let body = line.repeat(2000);
    let mut client = kit.connect();
    let length = format!("content-length: {}\r\n\r\n", body.len());
    client.send(format!("{HEAD}{length}")).await;
    let patience = Duration::from_secs(5);
    let taken = client.send_while_taken(body.as_bytes(), patience).await;
    // Beside the limit: a pipe, hyper's buffer, and a chunk on the way between them.
    assert!((100_000..300_000).contains(&taken), "{taken}");
    assert!(kit.hub.stats().queue_bytes < 400_000);
    kit.commit(true);
    client.send(&body[taken..]).await;
    assert_eq!(client.response().await.text().lines().count(), 2000);
}

/// Receipts that nobody reads are bounded too, and then reading waits. A client that never reads
/// is one that stalls, and is cut.
#[tokio::test(start_paused = true)]
async fn receipts_that_nobody_reads_are_bounded_and_the_client_is_cut() {
    let kit = Kit::with(|setup| {
        setup.config.receipt_runs_max = 100;
        setup.config.ingest_bytes_max = 100_000;
    });
    let line = |i| format!("{{\"data\":1,\"id\":\"own-{i:0200}\"}}\n");
    let body: String = (0..20_000).map(line).collect();
    let (mut client, served) = kit.connect_through(4096);
    let length = format!("content-length: {}\r\n\r\n", body.len());
    client.send(format!("{HEAD}{length}")).await;
    let begun = tokio::time::Instant::now();
    let patience = Duration::from_mins(5);
    let taken = client.send_while_taken(body.as_bytes(), patience).await;
    assert!(taken < body.len() / 2, "{taken}");
    assert!((30..40).contains(&begun.elapsed().as_secs()));
    assert!(served.await.unwrap().is_err());
    assert_eq!(kit.metric("tidings_stalled_total").await, Some(1.0));
}

/// A line without an end must not be collected for ever.
#[tokio::test(start_paused = true)]
async fn a_line_that_is_too_long_is_refused_after_the_receipts_before_it() {
    for ended in [true, false] {
        let kit = Kit::with(|setup| setup.config.line_bytes_max = 1000);
        let mut client = kit.connect();
        client.send(format!("{HEAD}{CHUNKED}")).await;
        client.send_chunk("{\"data\":1}\n{\"data\":2}\n").await;
        let mut long = format!("{{\"data\":\"{}", "x".repeat(1000));
        if ended {
            long += "\"}\n";
        }
        client.send_chunk(long).await;
        let text = client.response().await.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], [r#"{"id":"e1:1"}"#, r#"{"id":"e1:2"}"#]);
        let problem: Value = serde_json::from_str(lines[2]).unwrap();
        assert_eq!(
            (&problem["status"], &problem["line"]),
            (&json!(413), &json!(3))
        );
        assert!(problem["detail"].as_str().unwrap().contains("1000 bytes"));
    }
}

/// A publisher that went to sleep holds a connection: it is told, after its receipts, and let go.
#[tokio::test(start_paused = true)]
async fn a_quiet_stream_times_out() {
    let kit = Kit::start();
    let mut client = kit.connect();
    client.send(format!("{HEAD}{CHUNKED}")).await;
    for quiet_s in [200, 299, 301] {
        client.send_chunk("{\"data\":1}\n").await;
        tokio::time::sleep(Duration::from_secs(quiet_s)).await;
    }
    let text = client.response().await.text();
    let problem: Value = serde_json::from_str(text.lines().nth(3).unwrap()).unwrap();
    assert_eq!(
        (&problem["status"], &problem["line"]),
        (&json!(408), &json!(4))
    );
    assert!(problem["detail"].as_str().unwrap().contains("300 s"));
    client.closed().await;

    let mut silent = kit.connect();
    silent.send(format!("{HEAD}{CHUNKED}")).await;
    tokio::time::sleep(Duration::from_secs(301)).await;
    assert_eq!(silent.response().await.status(), 408);
}

/// While the queue is full a stream waits; only when that takes too long is it told.
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_waited_for_and_then_told() {
    let kit = Kit::with(|setup| setup.limits.queue_groups_max = 1);
    kit.commit(false);
    let mut client = kit.connect();
    client.send(format!("{HEAD}{CHUNKED}")).await;
    client.send_chunk("{\"data\":1}\n").await;
    kit.until("it waits", |stats| stats.queue_groups == 1).await;
    client.send_chunk("{\"data\":2}\n").await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    kit.commit(true);
    kit.until("both", |stats| stats.published_events == 2).await;
    kit.commit(false);
    client.send_chunk("{\"data\":3}\n").await;
    kit.until("it waits", |stats| stats.queue_groups == 1).await;
    client.send_chunk("{\"data\":4}\n").await;
    tokio::time::sleep(Duration::from_secs(11)).await;
    kit.commit(true);
    let text = client.response().await.text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[2], r#"{"id":"e1:3"}"#);
    let problem: Value = serde_json::from_str(lines[3]).unwrap();
    assert_eq!(
        (&problem["status"], &problem["line"]),
        (&json!(503), &json!(4))
    );
    assert_eq!(kit.everything().await, ["1", "2", "3"]);
}
