//! `POST /events` with NDJSON: a stream of events, and of receipts.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_testkit::{Client, Kit};
use tokio::io::DuplexStream;

const HEAD: &str = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\n\
                    content-type: application/x-ndjson\r\ntransfer-encoding: chunked\r\n\r\n";

async fn open(kit: &Kit) -> Client<DuplexStream> {
    let mut client = kit.connect();
    client.send(HEAD).await;
    client
}

/// All receipts of a body that is sent in these chunks.
async fn receipts(kit: &Kit, chunks: &[&[u8]]) -> (u16, Vec<Value>) {
    let mut client = open(kit).await;
    for chunk in chunks {
        client.send_chunk(chunk).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    client.send_chunk("").await;
    let response = client.response().await;
    let parse = |line: &str| serde_json::from_str(line).unwrap();
    let receipts = response.text().lines().map(parse).collect();
    (response.status(), receipts)
}

/// A publisher that waits for each receipt before it sends the next line must not wait for ever.
#[tokio::test(start_paused = true)]
async fn receipts_arrive_before_the_request_ends() {
    let kit = Kit::start();
    let mut client = open(&kit).await;
    client.send_chunk("{\"data\":0}\n").await;
    let head = client.head().await;
    assert_eq!(head.field("content-type"), Some("application/x-ndjson"));
    for i in 1..=100 {
        let receipt = client.chunk().await.unwrap();
        let expected = format!("{{\"id\":\"e1:{i}\"}}\n");
        assert_eq!(String::from_utf8(receipt).unwrap(), expected);
        client.send_chunk(format!("{{\"data\":{i}}}\n")).await;
    }
    client.send_chunk("").await;
    assert_eq!(client.body().await, b"{\"id\":\"e1:101\"}\n");
    assert!(client.is_whole());
    client.request("GET /healthz", &[], b"").await;
    assert_eq!(client.response().await.status(), 200);
}

/// Files come with CRLF, blank lines, without a last newline; and in chunks that know no lines.
#[tokio::test(start_paused = true)]
async fn lines_come_as_they_come() {
    let kit = Kit::start();
    let text =
        "{\"data\":\"a\"}\r\n\r\n  \n\n{\"data\":\"grüße\",\"id\":\"own\"}\n{\"data\":\"c\"}";
    let expected = vec![
        json!({"id": "e1:1"}),
        json!({"id": "own"}),
        json!({"id": "e1:3"}),
    ];
    assert_eq!(receipts(&kit, &[text.as_bytes()]).await, (200, expected));
    let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
    let (status, ids) = receipts(&kit, &bytes).await;
    assert_eq!((status, ids.len()), (200, 3));
    assert_eq!(receipts(&kit, &[]).await, (200, vec![]));
    assert_eq!(receipts(&kit, &[b"\n\r\n"]).await, (200, vec![]));
    let all = kit.everything().await;
    assert_eq!(all, ["a", "grüße", "c", "a", "grüße", "c"]);
}

/// The lines before a bad one were good: they are published and have their receipts, and the
/// problem names the line; whether they came in one piece or in many.
#[tokio::test(start_paused = true)]
async fn a_bad_line_ends_the_stream_after_the_good_ones() {
    let text = "{\"data\":1}\n\n{\"data\":2}\nnonsense\n{\"data\":3}\n";
    let one: &[&[u8]] = &[text.as_bytes()];
    let many: Vec<&[u8]> = text.as_bytes().chunks(11).collect();
    for chunks in [one, &many] {
        let kit = Kit::start();
        let mut client = open(&kit).await;
        for chunk in chunks {
            client.send_chunk(chunk).await;
        }
        let response = client.response().await;
        let text = response.text();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(response.status(), 200, "{text}");
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[..2], [json!({"id": "e1:1"}), json!({"id": "e1:2"})]);
        assert_eq!(
            (&lines[2]["status"], &lines[2]["line"]),
            (&json!(400), &json!(4))
        );
        assert!(lines[2]["detail"].as_str().unwrap().contains("JSON"));
        assert_eq!(kit.everything().await, ["1", "2"]);
    }
}

/// A stream of which nothing was committed gets a status that says so.
#[tokio::test(start_paused = true)]
async fn a_bad_first_line_is_the_status() {
    let kit = Kit::start();
    for (body, status, line) in [
        (&b"nonsense\n"[..], 400, 1),
        (b"\n\n{\"data\":1,\"x\":1}\n", 400, 3),
        (b"\xff\n", 400, 1),
        (b"[{\"data\":1}]\n", 400, 1),
        (b"{\"data\":1,\"topic\":\"\"}", 400, 1),
    ] {
        let (got, problem) = receipts(&kit, &[body]).await;
        assert_eq!(
            (got, &problem[0]["line"]),
            (status, &json!(line)),
            "{problem:?}"
        );
    }
    assert_eq!(kit.everything().await, [""; 0]);
}

/// Two streams and a plain publisher at once: each gets the IDs of its own events.
#[tokio::test(start_paused = true)]
async fn interleaved_streams_get_their_own_receipts() {
    let kit = Kit::start();
    let mut clients = [open(&kit).await, open(&kit).await];
    for i in 0..200 {
        for (name, client) in clients.iter_mut().enumerate() {
            client
                .send_chunk(format!("{{\"data\":\"{name}-{i}\"}}\n"))
                .await;
        }
        if i % 10 == 0 {
            kit.publish("t", &["plain"]).await;
        }
    }
    let all = async {
        let mut ids = Vec::new();
        for client in &mut clients {
            client.send_chunk("").await;
            ids.push(client.response().await.text());
        }
        ids
    };
    let ids = all.await;
    let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
    let mut expected = [String::new(), String::new()];
    let mut next = [0, 0];
    for _ in 0..420 {
        let event = events.next().await.unwrap();
        let Some((name, i)) = event.data.split_once('-') else {
            continue;
        };
        let name: usize = name.parse().unwrap();
        assert_eq!(i.parse(), Ok(next[name]));
        next[name] += 1;
        expected[name].extend(["{\"id\":\"", &event.last_event_id, "\"}\n"]);
    }
    assert_eq!(ids, expected);
}
