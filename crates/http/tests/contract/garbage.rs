//! Whatever comes from the network: no panic, no hang, nothing left behind, and the next client is
//! served.
//!
//! `PROPTEST_CASES=10000 cargo test -p tidings-http --test contract garbage::` runs more cases.

use std::{cell::Cell, sync::Once, time::Duration};

use proptest::{collection::vec, prelude::*, sample::Index};
use tidings_testkit::{Kit, soon};
use tokio::{runtime::Builder, time::timeout};

const REQUESTS: &[&[u8]] = &[
    b"GET /events?topic=t&pattern=a/:b&from=-5&heartbeat=2&ping=1 HTTP/1.1\r\nHost: hub\r\nLast-Event-ID: e1:3\r\n\r\n",
    b"GET /events?topic=t&from=2026-01-01T00:00:00Z HTTP/1.0\r\nOrigin: http://hub\r\n\r\n",
    b"POST /events?topic=t&event=e&id=i HTTP/1.1\r\nHost: hub\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /events HTTP/1.1\r\nHost: hub\r\nContent-Type: application/x-www-form-urlencoded\r\nIdempotency-Key: k\r\nContent-Length: 30\r\n\r\ntopic=t&data=%41&retry=5&id=%31",
    b"POST /events HTTP/1.1\r\nHost: hub\r\nContent-Type: application/json\r\nContent-Length: 43\r\n\r\n[{\"topic\":\"t\",\"data\":{\"a\":[1,null]},\"ttl_s\":1}]",
    b"POST /events?topic=t HTTP/1.1\r\nHost: hub\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n10\r\n{\"data\":\"abcd\"}\n\r\n4\r\n{\"da\r\n9\r\nta\":null}\r\n0\r\n\r\n",
    b"OPTIONS /events HTTP/1.1\r\nHost: hub\r\nOrigin: null\r\nAccess-Control-Request-Method: POST\r\n\r\nHEAD / HTTP/1.1\r\n\r\nGET /metrics HTTP/1.1\r\n\r\n",
    // A preface, settings, a window update, and a request for `/` with fields of the static table.
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x04\x08\0\0\0\0\0\0\0\xff\xff\0\0\x03\x01\x05\0\0\0\x01\x82\x86\x84",
];

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Tasks swallow their panics, so those are counted where they happen.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            PANICS.with(|panics| panics.set(panics.get() + 1));
            before(info);
        }));
    });
}

/// Sends the pieces on one connection and sees that the hub is as before.
fn survives(pieces: &[Vec<u8>]) {
    count_panics();
    let panics = PANICS.with(Cell::get);
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let kit = Kit::start();
        let (mut client, served) = kit.connect_through(4096);
        for piece in pieces {
            let patience = Duration::from_millis(100);
            client.send_while_taken(piece, patience).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let _ = timeout(Duration::from_secs(20), client.closed()).await;
        drop(client);
        let ended = soon("the connection's end", served).await;
        assert!(ended.is_ok(), "the connection panicked");
        kit.until("nothing is left", |stats| stats.subscribers == 0)
            .await;
        kit.publish("t", &["x"]).await;
        assert_eq!(kit.ask("GET /readyz", &[], b"").await.status(), 200);
    });
    assert_eq!(PANICS.with(Cell::get), panics, "a task panicked");
}

#[derive(Debug, Clone)]
enum Edit {
    Replace(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    Repeat(Index, usize),
    Cut(Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let piece = prop_oneof![
        vec(any::<u8>(), 1..20),
        Just(b"\r\n\r\n".to_vec()),
        Just(b"\0".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"%0d%0a".to_vec()),
        Just(b"99999999999999999999".to_vec()),
        Just("\u{2028}\u{feff}".into()),
        Just(vec![b'['; 3000]),
    ];
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        (any::<Index>(), piece).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        (any::<Index>(), 1..10_usize).prop_map(|(at, count)| Edit::Delete(at, count)),
        (any::<Index>(), 1..50_usize).prop_map(|(at, count)| Edit::Repeat(at, count)),
        any::<Index>().prop_map(Edit::Cut),
    ]
}

fn apply(edit: &Edit, bytes: &mut Vec<u8>) {
    let place = |at: &Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match edit {
        Edit::Replace(at, byte) => {
            let at = place(at, bytes);
            if let Some(old) = bytes.get_mut(at) {
                *old = *byte;
            }
        }
        Edit::Insert(at, piece) => {
            let at = place(at, bytes);
            bytes.splice(at..at, piece.iter().copied());
        }
        Edit::Delete(at, count) => {
            let at = place(at, bytes);
            bytes.drain(at..(at + count).min(bytes.len()));
        }
        Edit::Repeat(at, count) => {
            let at = place(at, bytes);
            let piece = bytes[at..(at + count).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        Edit::Cut(at) => bytes.truncate(place(at, bytes)),
    }
}

/// As they are, and in pieces of one byte.
#[test]
fn the_requests_themselves() {
    for request in REQUESTS {
        survives(&[request.to_vec()]);
        let bytes: Vec<Vec<u8>> = request.iter().map(|byte| vec![*byte]).collect();
        survives(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_bytes(pieces in vec(vec(any::<u8>(), 0..600), 0..4)) {
        survives(&pieces);
    }

    #[test]
    fn random_frames_of_http_2(frames in vec((0..12_u8, any::<u8>(), 0..4_u8, vec(any::<u8>(), 0..40)), 0..12)) {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for (kind, flags, stream, payload) in frames {
            bytes.extend([0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, stream]);
            bytes.extend(payload);
        }
        survives(&[bytes]);
    }

    #[test]
    fn changed_requests(
        request in 0..REQUESTS.len(),
        edits in vec(edit(), 1..6),
        cuts in vec(any::<Index>(), 0..3),
    ) {
        let mut bytes = REQUESTS[request].to_vec();
        for edit in &edits {
            apply(edit, &mut bytes);
        }
        let mut pieces = vec![bytes];
        for cut in cuts {
            let last = pieces.last_mut().unwrap();
            let rest = last.split_off(cut.index(last.len() + 1));
            pieces.push(rest);
        }
        survives(&pieces);
    }
}
