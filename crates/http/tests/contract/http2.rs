//! HTTP/2 in the clear, with hyper's client: many streams, one connection.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    client::conn::http2::{Builder, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidings_testkit::{Kit, soon};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

type Sender = SendRequest<Full<Bytes>>;
type Served = JoinHandle<std::io::Result<()>>;

/// A connection whose streams have a window of so many bytes.
async fn connect(kit: &Kit, window: u32) -> (Sender, Served) {
    let (client, served) = kit.connect_through(64 << 10);
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(window)
        .handshake(TokioIo::new(client.into_inner()))
        .await
        .unwrap();
    tokio::spawn(connection);
    (sender, served)
}

async fn ask(sender: &mut Sender, method: &str, target: &str, body: &str) -> Response<Incoming> {
    soon("a free stream", sender.ready()).await.unwrap();
    let request = Request::builder()
        .method(method)
        .uri(format!("http://hub{target}"))
        .header("content-type", "application/x-ndjson")
        .body(Full::from(body.to_owned()))
        .unwrap();
    soon("a response", sender.send_request(request))
        .await
        .unwrap()
}

/// Reads until the bytes of the stream hold `what`.
async fn read_until(response: &mut Response<Incoming>, what: &str) -> String {
    let mut text = String::new();
    while !text.contains(what) {
        let frame = soon(what, response.body_mut().frame()).await;
        let data = frame.unwrap().unwrap().into_data().unwrap();
        text.push_str(std::str::from_utf8(&data).unwrap());
    }
    text
}

async fn whole(response: Response<Incoming>) -> String {
    let body = soon("a body", response.into_body().collect()).await;
    String::from_utf8(body.unwrap().to_bytes().to_vec()).unwrap()
}

/// One connection carries what a browser's seven tabs could not over HTTP/1.1.
#[tokio::test(start_paused = true)]
async fn many_streams_share_a_connection() {
    let kit = Kit::start();
    let (mut sender, _) = connect(&kit, 1 << 20).await;
    let mut streams = Vec::new();
    for i in 0..20 {
        let stream = ask(&mut sender, "GET", &format!("/events?topic=t{i}"), "").await;
        assert_eq!(stream.status(), 200);
        assert_eq!(stream.headers()["content-type"], "text/event-stream");
        assert!(!stream.headers().contains_key("connection"));
        streams.push(stream);
    }
    let lines: String = (0..20)
        .map(|i| format!("{{\"topic\":\"t{i}\",\"data\":{i}}}\n"))
        .collect();
    let receipts = whole(ask(&mut sender, "POST", "/events", &lines).await).await;
    assert_eq!(receipts.lines().count(), 20);
    for (i, stream) in streams.iter_mut().enumerate() {
        let text = read_until(stream, "data").await;
        let event = format!("id: e1:{}\ndata: {i}\n\n", i + 1);
        assert!(text.ends_with(&event), "{text}");
    }
    let problem = ask(&mut sender, "POST", "/events", "nonsense").await;
    assert_eq!(problem.status(), 400);
    assert!(whole(problem).await.contains("\"line\":1"));
    let health = ask(&mut sender, "GET", "/healthz", "").await;
    assert_eq!(whole(health).await, "ok\n");
    drop(streams);
    kit.until("they are gone", |stats| stats.subscribers == 0)
        .await;
}

/// A tab that never reads has a window of its own. The connection goes on, so nothing but the stream
/// itself can notice: it did not, and kept its place and what was read for it for as long as the
/// client pleased.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_window_is_never_opened_disturbs_nobody_and_is_cut() {
    let kit = Kit::start();
    let (mut sender, _) = connect(&kit, 1000).await;
    let mut stuck = ask(&mut sender, "GET", "/events?topic=t", "").await;
    let mut other = ask(&mut sender, "GET", "/events?topic=t", "").await;
    let data = "x".repeat(1000);
    let begun = Instant::now();
    for i in 0..300 {
        kit.publish("t", &[&format!("{data} {i}")]).await;
        read_until(&mut other, &format!(" {i}\n\n")).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(kit.hub.stats().subscribers, 2);
    sleep(Duration::from_secs(31)).await;
    assert_eq!(kit.hub.stats().subscribers, 1);
    assert_eq!(kit.metric("tidings_stalled_total").await, Some(1.0));
    kit.publish("t", &["after"]).await;
    read_until(&mut other, "after").await;
    let end = async {
        loop {
            if let Some(Err(error)) = stuck.body_mut().frame().await {
                return error;
            }
        }
    };
    soon("a reset", end).await;
}

/// Slow is not stalled: a large event over a slow line takes longer than a client may stall.
#[tokio::test(start_paused = true)]
async fn a_slow_stream_is_not_cut() {
    let kit = Kit::start();
    let (mut sender, _) = connect(&kit, 20_000).await;
    let mut slow = ask(&mut sender, "GET", "/events?topic=t", "").await;
    let data = "x".repeat(300_000);
    kit.publish("t", &[&data]).await;
    let (mut got, begun) = (0, Instant::now());
    while got < data.len() {
        let frame = soon("more", slow.body_mut().frame()).await.unwrap();
        let bytes = frame.unwrap().into_data().unwrap().len();
        sleep(Duration::from_millis(bytes as u64)).await;
        got += bytes;
    }
    assert!(begun.elapsed().as_secs() >= 299);
    assert_eq!(kit.hub.stats().subscribers, 1);
}

/// A connection that nobody uses is closed; one that carries a quiet stream is not.
#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_and_a_quiet_one_is_not() {
    let kit = Kit::start();
    let (mut sender, served) = connect(&kit, 1 << 20).await;
    let quiet = ask(&mut sender, "GET", "/events?topic=t&heartbeat=3600", "").await;
    sleep(Duration::from_mins(50)).await;
    assert!(!served.is_finished());
    assert_eq!(kit.hub.stats().subscribers, 1);
    drop(quiet);
    let begun = Instant::now();
    soon("the end", async {
        sleep(Duration::from_secs(50)).await;
        assert!(!served.is_finished());
    })
    .await;
    let ended = tokio::time::timeout(Duration::from_secs(200), served).await;
    let _ = ended.unwrap().unwrap();
    assert!((60..=125).contains(&begun.elapsed().as_secs()));
}

/// A client that opens a connection and does not even answer a ping.
#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed() {
    let kit = Kit::start();
    let (mut client, served) = kit.connect_through(4096);
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    client.send([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let begun = Instant::now();
    client.closed().await;
    assert!(begun.elapsed() <= Duration::from_secs(125));
    drop(client);
    let _ = soon("the end", served).await.unwrap();
}

/// A connection that is lost takes its streams with it.
#[tokio::test(start_paused = true)]
async fn a_lost_connection_leaves_nothing_behind() {
    let kit = Kit::start();
    let (mut sender, served) = connect(&kit, 1 << 20).await;
    let mut streams = Vec::new();
    for _ in 0..10 {
        streams.push(ask(&mut sender, "GET", "/events?topic=t&heartbeat=3600", "").await);
    }
    assert_eq!(kit.hub.stats().subscribers, 10);
    drop((streams, sender));
    kit.until("they are gone", |stats| stats.subscribers == 0)
        .await;
    let ended = tokio::time::timeout(Duration::from_secs(200), served).await;
    let _ = ended.unwrap().unwrap();
}

/// A drain tells each stream, and then the connection.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_streams_and_connections() {
    let kit = Kit::start();
    let (mut sender, served) = connect(&kit, 1 << 20).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        streams.push(ask(&mut sender, "GET", "/events?topic=t", "").await);
    }
    let hub = kit.server.clone();
    let drained = tokio::spawn(async move { hub.drain().await });
    for stream in streams {
        let text = whole(stream).await;
        assert!(text.contains("event: tidings.end\ndata: {\"reason\":\"drain\"}\n\n"));
    }
    let _ = soon("the end", served).await.unwrap();
    drained.await.unwrap();
    assert!(sender.ready().await.is_err());
}

/// HTTP/2 knows no `connection: close`: one that is too many was told to come back and kept its
/// place for a minute.
#[tokio::test(start_paused = true)]
async fn one_connection_too_many_is_told_and_closed() {
    let kit = Kit::with(|setup| setup.config.connections_max = 1);
    let _there = kit.subscribe("/events?topic=t").await;
    let (mut sender, served) = connect(&kit, 1 << 20).await;
    let begun = Instant::now();
    let shed = ask(&mut sender, "GET", "/events?topic=t", "").await;
    assert_eq!(shed.status(), 200);
    assert!(whole(shed).await.starts_with("retry: "));
    let publish = ask(&mut sender, "POST", "/events?topic=t", "{\"data\":1}").await;
    assert_eq!(publish.status(), 503);
    let _ = soon("the end", served).await.unwrap();
    assert!(begun.elapsed() <= Duration::from_secs(5));
}

/// A head has the same bound as over HTTP/1.1.
#[tokio::test(start_paused = true)]
async fn a_large_head_is_431() {
    let kit = Kit::start();
    let (mut sender, _) = connect(&kit, 1 << 20).await;
    let request = Request::get("http://hub/healthz")
        .header("x", "y".repeat(20_000))
        .body(Full::default())
        .unwrap();
    match soon("an answer", sender.send_request(request)).await {
        Ok(response) => assert_eq!(response.status(), 431),
        Err(error) => assert!(!error.is_timeout(), "{error}"),
    }
    let health = ask(&mut sender, "GET", "/healthz", "").await;
    assert_eq!(health.status(), 200);
}
