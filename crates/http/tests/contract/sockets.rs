//! Over TCP and in real time, where the kernel has a say.

use std::{process::Command, time::Duration};

use socket2::SockRef;
use tidings_testkit::{Kit, soon};
use tokio::{
    io::AsyncReadExt,
    io::AsyncWriteExt,
    net::{TcpSocket, TcpStream},
    task::spawn_blocking,
};

const QUIET: &str = "/events?topic=t&heartbeat=3600";

/// A client that closes, and one that crashes, is gone: with nothing sent to it, with bytes it
/// never read, and with bytes of its own that nobody asked for.
#[tokio::test]
async fn a_fin_and_a_reset_are_noticed() {
    let kit = Kit::start();
    let address = kit.listen().await;
    for reset in [false, true] {
        for (read, junk) in [(true, ""), (false, ""), (false, "junk")] {
            let mut client = Kit::dial(address).await;
            client.request(&format!("GET {QUIET}"), &[], b"").await;
            client.send(junk).await;
            if read {
                assert_eq!(client.head().await.status, 200);
            }
            kit.until("it is there", |stats| stats.subscribers == 1)
                .await;
            let socket = client.into_inner();
            if reset {
                SockRef::from(&socket)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
            drop(socket);
            kit.until("it is gone", |stats| stats.subscribers == 0)
                .await;
        }
    }
}

/// A client that stalls with megabytes on their way to it is noticed when it goes.
#[tokio::test]
async fn a_stalled_client_that_goes_is_noticed() {
    let kit = Kit::start();
    let address = kit.listen().await;
    let mut client = Kit::dial(address).await;
    client.request(&format!("GET {QUIET}"), &[], b"").await;
    kit.until("it is there", |stats| stats.subscribers == 1)
        .await;
    let data = "x".repeat(1 << 19);
    for _ in 0..32 {
        kit.publish("t", &[&data]).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(kit.hub.stats().subscribers, 1);
    drop(client);
    kit.until("it is gone", |stats| stats.subscribers == 0)
        .await;
}

/// The kernel takes megabytes for a client, and asks for more when a third of them was sent. To the
/// server a client that reads slowly and steadily looked as if it took nothing, and was cut.
#[tokio::test]
async fn a_slow_client_is_not_cut() {
    let kit = Kit::with(|setup| setup.config.stall_ms_max = 2000);
    let address = kit.listen().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(32 << 10).unwrap();
    let mut socket = socket.connect(address).await.unwrap();
    let request = format!("GET {QUIET} HTTP/1.1\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    kit.until("it is there", |stats| stats.subscribers == 1)
        .await;
    let data = "x".repeat(1 << 19);
    for _ in 0..32 {
        kit.publish("t", &[&data]).await;
    }
    let mut some = vec![0; 20_000];
    for _ in 0..60 {
        socket.read_exact(&mut some).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(kit.hub.stats().subscribers, 1);
}

/// Most clients send all of a body before they look for an answer. A server that answers and closes
/// has them fail with "connection reset", and never see what was wrong.
#[tokio::test]
async fn a_client_that_is_sending_gets_to_read_why_not() {
    let kit = Kit::with(|setup| setup.config.body_bytes_max = 1000);
    let address = kit.listen().await;
    let bytes = 8 << 20;
    for (kind, start, status) in [
        ("text/plain", "", "413"),
        ("application/x-ndjson", "nonsense\n", "400"),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\ncontent-type: {kind}\r\n\
             content-length: {bytes}\r\n\r\n{start}"
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + bytes - start.len(), b'x');
        socket.write_all(&request).await.unwrap();
        let mut response = String::new();
        socket.read_to_string(&mut response).await.unwrap();
        let line = format!("HTTP/1.1 {status}");
        assert!(response.starts_with(&line), "{response}");
    }
}

/// What the README says one can do with curl, if there is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn curl_publishes_and_subscribes() {
    if Command::new("curl").arg("--version").output().is_err() {
        return;
    }
    let kit = Kit::start();
    let url = format!("http://{}/events", kit.listen().await);
    let curl = async |arguments: &[&str]| {
        let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
        let run = move || Command::new("curl").arg("-sS").args(arguments).output();
        let output = spawn_blocking(run).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    };
    let (id, error) = curl(&["-d", "topic=t", "-d", "data=grüße", &url]).await;
    assert_eq!((&*id, &*error), (r#"{"id":"e1:1"}"#, ""));
    let json = ["--json", r#"{"topic":"t","data":{"paid": true}}"#, &url];
    assert_eq!(curl(&json).await.0, r#"{"id":"e1:2"}"#);
    let target = format!("{url}?topic=t&from=earliest");
    for version in [
        "--http1.1",
        "--http2-prior-knowledge",
        "--http2",
        "--http1.0",
    ] {
        let (events, error) = curl(&["-N", "-m", "1.5", version, &target]).await;
        if error.contains("not support") {
            continue;
        }
        let rest = events.split_once("\n\n").map(|(_, rest)| rest);
        let expected = "id: e1:1\ndata: grüße\n\nid: e1:2\ndata: {\"paid\":true}\n\n";
        assert_eq!(rest, Some(expected), "{version} {error}");
    }
    kit.until("all are gone", |stats| stats.subscribers == 0)
        .await;
}

/// `nc -N` and some proxies close their side right behind the request. When its bytes and the close
/// came together, the answer was sent and the connection kept until a next request was overdue.
#[tokio::test]
async fn who_closes_its_side_behind_a_request_is_answered_and_gone() {
    let kit = Kit::with(|setup| setup.config.head_ms_max = 3_600_000);
    let address = kit.listen().await;
    let post = |length: usize| {
        format!(
            "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\ncontent-type: text/plain\r\n\
             content-length: {length}\r\n\r\nab"
        )
    };
    let lines = "POST /events?topic=t HTTP/1.1\r\nhost: hub\r\ncontent-length: 11\r\n\
                 content-type: application/x-ndjson\r\n\r\n{\"data\":1}\n";
    for (request, status) in [
        (post(2), "HTTP/1.1 200"),
        (post(2).replace("text/plain", "text/odd"), "HTTP/1.1 415"),
        (lines.to_owned(), "HTTP/1.1 200"),
        (
            "GET /healthz HTTP/1.1\r\nhost: hub\r\n\r\n".to_owned(),
            "HTTP/1.1 200",
        ),
        (format!("GET {QUIET} HTTP/1.1\r\nhost: hub\r\n\r\n"), ""),
        // What never becomes a request is not waited for.
        (post(3), ""),
        ("GET /events?top".to_owned(), ""),
        (String::new(), ""),
    ] {
        // Nobody accepts before all of it is there.
        let mut socket = std::net::TcpStream::connect(address).unwrap();
        std::io::Write::write_all(&mut socket, request.as_bytes()).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut socket = TcpStream::from_std(socket).unwrap();
        let mut response = Vec::new();
        let ended = socket.read_to_end(&mut response);
        // A reset is an end too, where there is nothing to say.
        let ended = soon("the end", ended).await;
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with(status), "{request:?}: {response:?}");
        assert!(ended.is_ok() || status.is_empty(), "{request:?}: {ended:?}");
    }
    kit.until("all are gone", |stats| stats.subscribers == 0)
        .await;
    assert_eq!(kit.everything().await, ["ab", "1"]);
}
