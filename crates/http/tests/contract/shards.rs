//! The path that plain HTTP/1.1 streams take, and that it is the same contract as hyper's: this
//! file runs on both.

use std::{fmt::Write, time::Duration};

use socket2::SockRef;
use tidings_log::Retention;
use tidings_testkit::{Client, Events, Head, Kit, on_hyper, soon};
use tokio::{
    io::AsyncReadExt,
    net::TcpSocket,
    time::{sleep, timeout},
};

const QUIET: &str = "GET /events?topic=t&heartbeat=3600 HTTP/1.1\r\nhost: hub\r\n\r\n";

/// Data of so many bytes, other ones at each place.
fn long(bytes: usize) -> String {
    let mut data = String::with_capacity(bytes + 16);
    let mut at = 0;
    while data.len() < bytes {
        let _ = write!(data, "{at} ");
        at += 1;
    }
    data.truncate(bytes);
    data
}

/// A shard sends an event in pieces, hyper whole: by this it can be told who serves a stream.
#[tokio::test(start_paused = true)]
async fn plain_streams_are_on_a_shard() {
    let kit = Kit::start();
    let address = kit.listen().await;
    let data = long(3 * 4096);
    let mut pipe = kit.connect();
    pipe.send(QUIET).await;
    let mut socket = Kit::dial(address).await;
    socket.send(QUIET).await;
    assert_eq!(
        (pipe.head().await.status, socket.head().await.status),
        (200, 200)
    );
    kit.publish("t", &[&data]).await;
    let is_in_pieces = |raw: &[u8]| raw.windows(7).any(|w| w == b"\r\n1000\r");
    for mut io in [
        Box::new(pipe.into_inner()) as Box<dyn tokio::io::AsyncRead + Unpin>,
        Box::new(socket.into_inner()),
    ] {
        let mut raw = b"\r\n".to_vec();
        while !raw.ends_with(b"\n\n\r\n") || raw.len() < data.len() {
            assert!(soon("bytes", io.read_buf(&mut raw)).await.unwrap() > 0);
        }
        assert_eq!(is_in_pieces(&raw), !on_hyper());
    }
}

/// It arrives in thousands of parts, and others notice nothing of it.
#[tokio::test(start_paused = true)]
async fn a_long_event_arrives_whole_through_a_narrow_pipe() {
    let kit = Kit::start();
    let (client, _served) = kit.connect_through(100);
    let mut narrow = client.subscribe("/events?topic=t", &[]).await;
    let mut other = kit.subscribe("/events?topic=t").await;
    let (first, second) = (long(400_000), long(300_000));
    for data in [&*first, "between", &*second] {
        kit.publish("t", &[data]).await;
        assert_eq!(other.data(1).await, [data]);
    }
    assert!(narrow.raw().len() < 1000);
    let got = narrow.data(3).await;
    assert!(got == [&*first, "between", &*second]);
    kit.publish("t", &["live"]).await;
    assert_eq!(narrow.data(1).await, ["live"]);
    assert_eq!(other.data(1).await, ["live"]);
}

/// As above, where the kernel takes the parts.
#[tokio::test]
async fn a_long_event_arrives_whole_over_a_slow_socket() {
    let kit = Kit::start();
    let address = kit.listen().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let slow = Client::new(socket.connect(address).await.unwrap());
    let mut slow = slow.subscribe("/events?topic=t", &[]).await;
    let mut other = Kit::dial(address)
        .await
        .subscribe("/events?topic=t", &[])
        .await;
    let data: Vec<String> = (0..8).map(|i| long(700_000 + i)).collect();
    for data in &data {
        kit.publish("t", &[data]).await;
        assert!(other.data(1).await == [&**data]);
    }
    assert!(slow.data(data.len()).await == data);
}

/// The log can no longer give the rest of what it began to: the stream breaks off there, and the
/// client, who dispatches nothing that is not whole, resumes and is told of the gap.
#[tokio::test(start_paused = true)]
async fn who_is_in_the_middle_of_what_is_forgotten_is_cut() {
    let kit = Kit::with(|setup| {
        setup.limits.window_bytes_max = 0;
        setup.limits.step_bytes_max = 8 << 10;
        setup.log.retention = Retention {
            events_max: Some(1),
            ..Retention::default()
        };
    });
    let (client, served) = kit.connect_through(100);
    let mut events = client.subscribe("/events?topic=t", &[]).await;
    kit.publish("t", &["whole"]).await;
    assert_eq!(events.data(1).await, ["whole"]);
    kit.publish("t", &[&long(100_000)]).await;
    while events.raw().len() < 1000 {
        assert!(events.read().await);
    }
    for i in 0..5 {
        kit.publish("t", &[&format!("later {i}")]).await;
    }
    let mut next = events.next().await;
    if on_hyper() {
        // It has the whole event already.
        assert_eq!(next.unwrap().data.len(), 100_000);
        return;
    }
    assert!(next.take().is_none() && !events.is_whole());
    assert!(served.await.unwrap().is_err());
    assert_eq!(events.last_event_id(), "e1:1");
    let fields = [("last-event-id", "e1:1")];
    let mut again = kit.connect().subscribe("/events?topic=t", &fields).await;
    assert_eq!(again.next().await.unwrap().event_type, "tidings.gap");
    assert_eq!(kit.hub.stats().subscribers, 1);
}

/// The end of a stream must not end up within an event: its reader would take the two for one, and
/// never ask for the event again.
#[tokio::test(start_paused = true)]
async fn an_end_within_an_event_is_no_part_of_it() {
    let kit = Kit::start();
    let (client, _served) = kit.connect_through(100);
    let mut events = client.subscribe("/events?topic=t", &[]).await;
    let data = long(100_000);
    kit.publish("t", &["first", &data]).await;
    assert_eq!(events.data(1).await, ["first"]);
    while events.raw().len() < 20_000 {
        assert!(events.read().await);
    }
    assert_eq!(kit.hub.end(1, tidings::EndReason::Evicted), 1);
    let mut got = Vec::new();
    while let Some(event) = events.next().await {
        got.push((event.event_type, event.data));
    }
    // Either it was finished first, or it was not, and comes again.
    if events.last_event_id() == "e1:2" {
        assert!(got.len() == 2 && got[0].1 == data);
        assert_eq!(got[1].0, "tidings.end");
    } else {
        assert_eq!((events.last_event_id(), got.len()), ("e1:1", 0));
        assert!(!events.is_whole());
    }
}

/// What was too much for a client may expire before it takes more. It still gets its heartbeats.
#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_where_what_was_waiting_has_expired() {
    let kit = Kit::start();
    let mut opening = kit.connect();
    let request = "GET /events?topic=t HTTP/1.1\r\nhost: hub\r\n\r\n";
    opening.send(request).await;
    let mut opening = opening.into_inner();
    let mut head = Vec::new();
    while !head.ends_with(b"\n\n\r\n") {
        opening.read_buf(&mut head).await.unwrap();
    }
    // The head and the opening fill it to the last byte.
    let (mut client, _served) = kit.connect_through(head.len());
    client.send(request).await;
    kit.until("it is there", |stats| stats.subscribers == 2)
        .await;
    let json = [("content-type", "application/json")];
    let event = br#"{"topic":"t","data":"x","ttl_s":1}"#;
    assert_eq!(kit.ask("POST /events", &json, event).await.status(), 200);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(client.head().await.status, 200);
    let mut events = Events::new(client);
    let heartbeats = async {
        for _ in 0..4 {
            assert!(events.read().await);
        }
    };
    timeout(Duration::from_secs(50), heartbeats).await.unwrap();
}

/// A head may come in any two parts. A shard takes only whole ones and hands on the others.
#[tokio::test(start_paused = true)]
async fn a_head_in_two_parts_subscribes() {
    let kit = Kit::start();
    kit.publish("t", &["1"]).await;
    for head in [
        "GET /events?topic=t&from=earliest HTTP/1.1\r\nHost: hub\r\n\r\n",
        "GET /events?topic=t HTTP/1.1\r\nHost: hub\r\nLast-Event-ID: e1:0\r\nAccept: */*\r\n\r\n",
    ] {
        for at in 1..head.len() {
            let (one, two) = head.split_at(at);
            let mut client = kit.connect();
            client.send(one).await;
            sleep(Duration::from_millis(5)).await;
            client.send(two).await;
            assert_eq!(client.head().await.status, 200, "split at {at}");
            assert_eq!(Events::new(client).data(1).await, ["1"], "split at {at}");
        }
    }
}

/// The answer's head, without what differs from one to the next.
async fn answer(kit: &Kit, request: &str) -> Option<Head> {
    let mut client = kit.connect();
    client.send(request).await;
    let mut head = client.try_head().await?;
    for (name, value) in &mut head.fields {
        if name == "date" {
            assert!(value.ends_with(" GMT") && value.len() == 29, "{value}");
            value.clear();
        }
    }
    head.fields.sort_unstable();
    Some(head)
}

/// Who serves a stream must not be seen by its head, nor by what is refused.
#[tokio::test(start_paused = true)]
async fn both_paths_answer_alike() {
    let shards = Kit::with(|setup| setup.config.shards = 1);
    let hyper = Kit::with(|setup| setup.config.shards = 0);
    let many = "x: y\r\n".repeat(65);
    let some = "x: y\r\n".repeat(60);
    for (line, fields) in [
        ("GET /events?topic=t HTTP/1.1", ""),
        ("GET /events?topic=t HTTP/1.1", "connection: close\r\n"),
        ("GET /events?topic=t HTTP/1.1", "connection: keep-alive\r\n"),
        (
            "GET /events?topic=t HTTP/1.1",
            "connection: keep-alive, close\r\n",
        ),
        (
            "GET /events?topic=t HTTP/1.1",
            "connection: close\r\nconnection: x\r\n",
        ),
        ("GET /events?topic=t HTTP/1.1", "origin: http://hub\r\n"),
        ("GET /events?topic=t HTTP/1.1", "origin: http://other\r\n"),
        ("GET /events?topic=t HTTP/1.1", "origin: null\r\n"),
        (
            "GET /events?topic=t HTTP/1.1",
            "last-event-id: foreign:7\r\n",
        ),
        ("GET /events?topic=t HTTP/1.1", "last-event-id: \u{e9}\r\n"),
        ("GET /events?topic=t HTTP/1.1", "accept: text/html\r\n"),
        ("GET /events?topic=t HTTP/1.1", "accept-encoding: gzip\r\n"),
        ("GET /events?topic=t HTTP/1.1", "expect: 100-continue\r\n"),
        ("GET /events?topic=t HTTP/1.1", "content-length: 0\r\n"),
        (
            "GET /events?topic=t HTTP/1.1",
            "content-length: 3\r\n\r\nabc",
        ),
        (
            "GET /events?topic=t HTTP/1.1",
            "transfer-encoding: chunked\r\n\r\n0\r\n",
        ),
        ("GET /events?topic=t HTTP/1.1", "upgrade: h2c\r\n"),
        ("GET /events?topic=t HTTP/1.1", "host: other\r\n"),
        ("GET /events?topic=t HTTP/1.1", many.as_str()),
        ("GET /events?topic=t HTTP/1.1", some.as_str()),
        ("GET /events?topic=t HTTP/1.1", "no field\r\n"),
        ("GET /events?topic=t HTTP/1.1", "a b: c\r\n"),
        ("GET /events?topic=t HTTP/1.1", "x: a\0b\r\n"),
        ("GET /events?topic=t HTTP/1.0", ""),
        ("GET /events?topic=t HTTP/1.0", "connection: keep-alive\r\n"),
        ("HEAD /events?topic=t HTTP/1.1", ""),
        ("OPTIONS /events?topic=t HTTP/1.1", ""),
        ("GET /events HTTP/1.1", ""),
        ("GET /events?topic=t&from=x:y HTTP/1.1", ""),
        ("GET /events?topic=t&from=-3 HTTP/1.1", ""),
        ("GET /events?topic=t&heartbeat=0 HTTP/1.1", ""),
        ("GET /events/?topic=t HTTP/1.1", ""),
        ("GET /eventsx HTTP/1.1", ""),
        ("GET http://hub/events?topic=t HTTP/1.1", ""),
        ("GET /events?topic=t#fragment HTTP/1.1", ""),
        ("get /events?topic=t HTTP/1.1", ""),
        ("GET  /events?topic=t HTTP/1.1", ""),
        ("\r\nGET /events?topic=t HTTP/1.1", ""),
    ] {
        let request = format!("{line}\r\nhost: hub\r\n{fields}\r\n");
        let (ours, theirs) = (
            answer(&shards, &request).await,
            answer(&hyper, &request).await,
        );
        let text = |head: Option<Head>| format!("{head:#?}");
        assert_eq!(text(ours), text(theirs), "{request:?}");
    }
}

/// `Connection: close` is kept to when the stream ends, and not before.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_to_close_is_closed() {
    let kit = Kit::start();
    for (field, closes) in [("close", true), ("Close", true), ("keep-alive", false)] {
        let fields = [("connection", field)];
        let mut events = kit.connect().subscribe("/events?topic=t", &fields).await;
        kit.publish("t", &["1"]).await;
        assert_eq!(events.data(1).await, ["1"]);
        kit.hub.end(1, tidings::EndReason::Evicted);
        assert_eq!(events.next().await.unwrap().event_type, "tidings.end");
        assert!(events.next().await.is_none() && events.is_whole());
        let mut client = events.into_client();
        if closes {
            // Long before a connection that is idle would be.
            let closed = timeout(Duration::from_secs(5), client.closed());
            assert_eq!(closed.await.unwrap(), b"");
        } else {
            client.request("GET /healthz", &[], b"").await;
            assert_eq!(client.response().await.status(), 200);
        }
    }
}

/// The same after an answer, whatever it says, and whoever gives it.
#[tokio::test(start_paused = true)]
async fn who_asks_to_close_is_answered_and_closed() {
    let kit = Kit::start();
    for (line, kind, status) in [
        ("POST /events?topic=t", "text/plain", 200),
        ("POST /events?topic=t", "application/x-ndjson", 400),
        ("POST /events?topic=t", "text/odd", 415),
        ("POST /events", "text/plain", 400),
        ("GET /events", "text/plain", 400),
        ("GET /events?topic=t&heartbeat=0", "text/plain", 400),
        ("GET /nothing", "text/plain", 404),
        ("GET /healthz", "text/plain", 200),
    ] {
        let mut client = kit.connect();
        let fields = [("connection", "close"), ("content-type", kind)];
        let body: &[u8] = if line.starts_with("POST") { b"x" } else { b"" };
        client.request(line, &fields, body).await;
        let response = client.response().await;
        assert_eq!(response.status(), status, "{line} {kind}");
        assert_eq!(response.head.field("connection"), Some("close"), "{line}");
        // Long before a connection that is idle would be.
        let closed = timeout(Duration::from_secs(1), client.closed());
        assert_eq!(closed.await.unwrap(), b"", "{line} {kind}");
    }
}

/// A heartbeat within an event would be a part of its data, or end it too early. Here the heartbeat
/// is due again and again while the event is on its way, a little of it every five seconds.
#[tokio::test(start_paused = true)]
async fn no_heartbeat_falls_within_an_event() {
    let kit = Kit::with(|setup| {
        setup.limits.window_bytes_max = 0;
        setup.limits.step_bytes_max = 8 << 10;
    });
    let (client, _served) = kit.connect_through(500);
    let target = "/events?topic=t&heartbeat=2&ping";
    let mut slow = client.subscribe(target, &[]).await;
    let data = long(50_000);
    kit.publish("t", &[&data, "next"]).await;
    while !slow.raw().contains("data: next\n\n") {
        assert!(slow.read().await);
        sleep(Duration::from_secs(5)).await;
    }
    let raw = slow.raw();
    let (before, rest) = raw.split_once("id: e1:1\n").unwrap();
    let (event, behind) = rest.split_once("\n\n").unwrap();
    assert!(event == format!("data: {data}"), "something is in between");
    let ping = "id: e1:1\nevent: tidings.ping\ndata: \n\n";
    assert_eq!(behind.replace(ping, ""), "id: e1:2\ndata: next\n\n");
    assert!(before.starts_with("retry: "), "{before}");
}

/// A second request behind the first is not answered into the stream.
#[tokio::test(start_paused = true)]
async fn what_is_pipelined_behind_a_stream_is_not_answered() {
    let kit = Kit::start();
    for junk in [
        "GET /healthz HTTP/1.1\r\nhost: hub\r\n\r\n",
        "\r\n\r\n",
        "\0\0\0",
    ] {
        let mut client = kit.connect();
        client.send(format!("{QUIET}{junk}")).await;
        assert_eq!(client.head().await.status, 200);
        let mut events = Events::new(client);
        kit.publish("t", &["1"]).await;
        assert_eq!(events.data(1).await, ["1"]);
        kit.hub.end(1, tidings::EndReason::Evicted);
        assert_eq!(events.next().await.unwrap().event_type, "tidings.end");
        assert!(events.next().await.is_none() && events.is_whole());
        let rest = events.into_client().closed().await;
        // Hyper may have read a request that is whole, and answers it when its turn comes.
        assert!(rest.is_empty() || on_hyper() && rest.starts_with(b"HTTP/1.1 "));
    }
}

/// Who says that nothing more comes is gone, before and after it has its stream.
#[tokio::test(start_paused = true)]
async fn a_client_that_half_closes_is_gone() {
    let kit = Kit::start();
    for wait in [false, true] {
        let mut client = kit.connect();
        client.send(QUIET).await;
        if wait {
            assert_eq!(client.head().await.status, 200);
        }
        client.finish().await;
        client.closed().await;
        kit.until("it is gone", |stats| stats.subscribers == 0)
            .await;
        kit.publish("t", &["nobody"]).await;
    }
    assert_eq!(kit.hub.stats().delivered_events, 0);
}

/// Half of them crash while events go on. The others get all of them, and of the first nothing
/// stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn some_crash_while_others_are_served() {
    const CLIENTS: usize = 300;
    let kit = Kit::start();
    let address = kit.listen().await;
    let mut streams = Vec::new();
    for _ in 0..CLIENTS {
        streams.push(
            Kit::dial(address)
                .await
                .subscribe("/events?topic=t", &[])
                .await,
        );
    }
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for (i, stream) in streams.into_iter().enumerate() {
        if i % 2 == 0 {
            stay.push(stream);
        } else {
            go.push(stream.into_client().into_inner());
        }
    }
    let mut all = Vec::new();
    for socket in go {
        let data = long(2000 + all.len());
        kit.publish("t", &[&data]).await;
        all.push(data);
        SockRef::from(&socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(socket);
    }
    for stream in &mut stay {
        assert!(stream.data(all.len()).await == all);
    }
    let left = stay.len() as u64;
    kit.until("they are gone", |stats| stats.subscribers == left)
        .await;
    kit.publish("t", &["end"]).await;
    for stream in &mut stay {
        assert_eq!(stream.data(1).await, ["end"]);
    }
}
