//! What is wrong with a publish is told with the right status, and with what to do; and nothing of
//! it is in the log.

use std::time::Duration;

use tidings_testkit::{Fault, Kit};

const TEXT: &str = "text/plain";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// What is sent, the status, and a word that the detail must hold.
type Case<'a> = (&'a str, &'a str, u16, &'a str);

/// Each is refused, and nothing of it is in the log.
async fn refused(kit: &Kit, kind: &str, cases: &[Case<'_>]) {
    for (target, body, status, word) in cases {
        let fields = [("content-type", kind)];
        let line = format!("POST /events{target}");
        let response = kit.ask(&line, &fields, body.as_bytes()).await;
        let detail = response.detail();
        assert_eq!(response.status(), *status, "{line} {body:.40}: {detail}");
        assert!(detail.contains(word), "{line} {body:.40}: {detail}");
    }
    assert_eq!(kit.everything().await, [""; 0]);
}

/// A publisher that sends something else should learn what to send.
#[tokio::test(start_paused = true)]
async fn content_types() {
    let kit = Kit::start();
    refused(&kit, "", &[("?topic=t", "x", 415, "text/plain")]).await;
    let html = ("?topic=t", "x", 415, "application/x-ndjson");
    refused(&kit, "text/html", &[html]).await;
    let latin = "text/plain; charset=iso-8859-1";
    refused(&kit, latin, &[("?topic=t", "x", 415, "UTF-8")]).await;
    let fields = [("content-type", TEXT)];
    let binary = kit.ask("POST /events?topic=t", &fields, b"ab\xff").await;
    assert_eq!(binary.status(), 400);
    assert!(binary.detail().contains("from byte 2"));
}

/// Fields that come in the query or in a form.
#[tokio::test(start_paused = true)]
async fn fields() {
    let kit = Kit::with(|setup| setup.limits.event_bytes_max = 4096);
    let large = "x".repeat(5000);
    let topics = "?".to_owned() + &(0..65).map(|i| format!("topic={i}&")).collect::<String>();
    let [id, key] = ["id", "key"].map(|name| format!("?topic=t&{name}={}", "x".repeat(300)));
    let cases = [
        ("", "x", 400, "name at least one"),
        ("?topic=", "x", 400, "name one"),
        ("?topic=t&data=y", "x", 400, "send one of them"),
        ("?topic=t&event=tidings.end", "x", 400, "the hub's own"),
        ("?topic=t&retry=soon", "x", 400, "number of milliseconds"),
        ("?topic=t&ttl_s=0", "x", 400, "seconds, from 0.001"),
        ("?topic=t&ttl_s=nan", "x", 400, "seconds"),
        ("?topic=t&ttl_s=1e99", "x", 400, "seconds"),
        ("?topic=t", &large, 413, "4096"),
        (&topics, "x", 400, "64 topics"),
        (&id, "x", 400, "`id` may have 256"),
        (&key, "x", 400, "`key` may have 256"),
        ("?topic=t&id=e1:7", "x", 400, "choose another form"),
        ("?topic=t&id=", "x", 400, "must not be empty"),
        ("?topic=t&id=+7", "x", 400, "space"),
    ];
    refused(&kit, TEXT, &cases).await;
    let cases = [
        ("?topic=t", "x=1", 400, "Content-Type: text/plain"),
        ("?topic=t", "event=x", 400, "send it, if only empty"),
        ("", "data=x", 400, "name at least one"),
        ("?topic=t", "data=%41%fF", 400, "not UTF-8"),
        ("?topic=%C3", "data=x", 400, "not UTF-8"),
    ];
    refused(&kit, FORM, &cases).await;
}

/// Everything that is not quite the JSON that was meant. An array of an event's values in the order
/// of the server's own fields was once taken for an event.
#[tokio::test(start_paused = true)]
async fn json() {
    let kit = Kit::with(|setup| setup.limits.group_events_max = 3);
    let one = r#"{"topic":"t","data":1}"#;
    let (deep, many) = ("[".repeat(10_000), format!("[{one},{one},{one},{one}]"));
    let example = "event in JSON such as";
    let cases = [
        ("", "", 400, example),
        ("", "nonsense", 400, example),
        ("", r#"[["t",null,"positional"]]"#, 400, example),
        ("", &deep, 400, example),
        ("", r#"{"topic":"t","data":1}x"#, 400, "trailing"),
        (
            "",
            r#"{"topic":"t","data":1,"dta":2}"#,
            400,
            "unknown field `dta`",
        ),
        (
            "",
            r#"{"topic":"t","topic":"u","data":1}"#,
            400,
            "duplicate",
        ),
        (
            "",
            r#"{"topic":"t","topics":["u"],"data":1}"#,
            400,
            "one of",
        ),
        ("", r#"{"topic":"t"}"#, 400, "no `data`"),
        ("", r#"{"data":1}"#, 400, "no topic"),
        ("", r#"{"topic":"t","data":1,"retry":-1}"#, 400, "-1"),
        ("", r#"{"topic":"t","data":"\ud800"}"#, 400, "hex escape"),
        (
            "",
            r#"[{"topic":"t","data":1},{"topic":"t"}]"#,
            400,
            "event 2 of",
        ),
        ("", &many, 413, "3 events"),
    ];
    refused(&kit, JSON, &cases).await;
    let positional = ("", r#"["t",null,"positional"]"#, 400, example);
    refused(&kit, "application/x-ndjson", &[positional]).await;
}

/// A full queue is a moment's matter: the publisher is told to come again, and when.
#[tokio::test(start_paused = true)]
async fn a_full_queue_is_503_with_retry_after() {
    let kit = Kit::with(|setup| setup.limits.queue_groups_max = 2);
    kit.commit(false);
    let fields = [("content-type", TEXT)];
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let mut client = kit.connect();
        client.request("POST /events?topic=t", &fields, b"x").await;
        waiting.push(client);
    }
    kit.until("both wait", |stats| stats.queue_groups == 2)
        .await;
    let refused = kit.ask("POST /events?topic=t", &fields, b"y").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.head.field("retry-after"), Some("1"));
    assert!(refused.detail().contains("try again"));
    assert_eq!(kit.metric("tidings_refused_busy_total").await, Some(1.0));
    kit.commit(true);
    for mut client in waiting {
        assert_eq!(client.response().await.status(), 200);
    }
    assert_eq!(kit.everything().await, ["x", "x"]);
}

/// A disk that is full or hiccups is not the publisher's fault, and not the end.
#[tokio::test(start_paused = true)]
async fn a_disk_that_refuses_is_told_apart_and_recovers() {
    let kit = Kit::start();
    let fields = [("content-type", TEXT)];
    let publish = || kit.ask("POST /events?topic=t", &fields, b"x");
    kit.disk.set(Fault::Full);
    let full = publish().await;
    assert_eq!(full.status(), 507);
    assert!(full.detail().contains("free space"));
    assert!(kit.not_ready().await.contains("free some space"));
    assert_eq!(kit.metric("tidings_log_full").await, Some(1.0));
    kit.disk.set(Fault::Write);
    let failed = publish().await;
    assert_eq!(failed.status(), 503, "{}", failed.text());
    assert!(failed.detail().contains("try again"));
    assert!(kit.not_ready().await.contains("free some space"));
    kit.disk.set(Fault::None);
    assert_eq!(publish().await.status(), 200);
    assert_eq!(kit.ask("GET /readyz", &[], b"").await.status(), 200);
}

/// A load balancer sends nobody to a hub that is not ready: it has to find out by itself that
/// there is room again. Meanwhile subscribers get what there is.
#[tokio::test(start_paused = true)]
async fn a_hub_whom_nobody_asks_notices_that_there_is_room_again() {
    let kit = Kit::start();
    kit.publish("t", &["safe"]).await;
    let fields = [("content-type", TEXT)];
    for (fault, status, metric) in [
        (Fault::Full, 507, "tidings_log_full"),
        (Fault::Write, 503, "tidings_log_unwritable"),
    ] {
        kit.disk.set(fault);
        let refused = kit.ask("POST /events?topic=t", &fields, b"lost").await;
        assert_eq!(refused.status(), status);
        assert!(
            kit.not_ready()
                .await
                .contains("subscribers are still served")
        );
        assert_eq!(kit.metric(metric).await, Some(1.0));
        let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
        assert_eq!(events.data(1).await, ["safe"]);
        kit.disk.set(Fault::None);
        kit.until("room", |stats| stats.log_full + stats.log_unwritable == 0)
            .await;
        assert_eq!(kit.ask("GET /readyz", &[], b"").await.status(), 200);
    }
    assert_eq!(kit.everything().await, ["safe"]);
}

/// After a sync that failed nobody knows what is on the disk: the hub says so to publishers and to
/// its load balancer, and goes on serving what it has.
#[tokio::test(start_paused = true)]
async fn a_failed_sync_stops_publishing_and_nothing_else() {
    let kit = Kit::start();
    let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
    kit.publish("t", &["safe"]).await;
    kit.disk.set(Fault::Sync);
    let fields = [("content-type", TEXT)];
    for _ in 0..2 {
        let failed = kit.ask("POST /events?topic=t", &fields, b"x").await;
        assert_eq!(failed.status(), 503);
        assert_eq!(failed.head.field("retry-after"), Some("30"));
        assert!(failed.detail().contains("restarted"));
        kit.disk.set(Fault::None); // it does not matter any more
    }
    let ready = kit.ask("GET /readyz", &[], b"").await;
    assert_eq!(ready.status(), 503);
    assert_eq!(kit.ask("GET /healthz", &[], b"").await.status(), 200);
    assert_eq!(events.data(1).await, ["safe"]);
    events.is_quiet_for(Duration::from_secs(20)).await;
    assert_eq!(kit.metric("tidings_log_failed").await, Some(1.0));
}

/// Nobody has to publish for it to be known: what nobody asked for, as retention, stops the log too.
#[tokio::test(start_paused = true)]
async fn a_log_that_stops_while_it_forgets_is_not_ready() {
    let kit = Kit::with(|setup| setup.log.retention.age_ms_max = Some(800));
    let mut events = kit.subscribe("/events?topic=t").await;
    kit.publish("t", &["safe"]).await;
    kit.disk.set(Fault::SyncDirectory);
    kit.until("the log stops", |stats| stats.log_failed == 1)
        .await;
    assert!(kit.not_ready().await.contains("until the hub is restarted"));
    assert_eq!(kit.metric("tidings_log_failed").await, Some(1.0));
    assert_eq!(events.data(1).await, ["safe"]);
    let mut events = kit.subscribe("/events?topic=t&from=earliest").await;
    assert_eq!(events.data(1).await, ["safe"]);
}

/// A hub that stops answers what it accepted and refuses the rest.
#[tokio::test(start_paused = true)]
async fn a_closed_hub_refuses() {
    let kit = Kit::start();
    kit.hub.close_to_publishers();
    let fields = [("content-type", TEXT)];
    let refused = kit.ask("POST /events?topic=t", &fields, b"x").await;
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.head.field("retry-after"), Some("1"));
}
