//! `/metrics`: what an operator's dashboards are built on. A name that changes breaks them.

use std::collections::BTreeMap;

use tidings_testkit::Kit;

/// The samples, by name and labels, of a text that must be well formed.
fn parse(text: &str) -> BTreeMap<String, String> {
    let mut samples = BTreeMap::new();
    let mut described = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            described.push(rest.split(' ').next().unwrap());
            assert!(rest.ends_with('.'), "{line}");
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(described.last(), Some(&name));
            let counts = name.ends_with("_total");
            assert_eq!(kind, if counts { "counter" } else { "gauge" }, "{name}");
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let bare = name.split('{').next().unwrap();
        assert_eq!(described.last(), Some(&bare), "{line}");
        assert!(value.parse::<f64>().is_ok(), "{line}");
        let earlier = samples.insert(name.to_owned(), value.to_owned());
        assert_eq!(earlier, None, "{name} twice");
    }
    samples
}

async fn metrics(kit: &Kit) -> BTreeMap<String, String> {
    let response = kit.ask("GET /metrics", &[], b"").await;
    let kind = response.head.field("content-type");
    assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
    parse(&response.text())
}

/// Every metric is there from the start, at zero, or an alert on it would never fire.
#[tokio::test(start_paused = true)]
async fn every_metric_is_there_from_the_start() {
    let kit = Kit::start();
    let metrics = metrics(&kit).await;
    let mut names: Vec<&str> = metrics.keys().map(String::as_str).collect();
    names.retain(|name| !name.starts_with("tidings_responses_total"));
    let expected = "accept_errors_total commit_seconds_total commits_total connections \
        connections_total delivered_bytes_total delivered_events_total \
        ended_total{reason=\"drain\"} ended_total{reason=\"evicted\"} \
        ended_total{reason=\"too_slow\"} gaps_total heartbeats_total idempotency_keys log_bytes \
        log_events log_failed log_full log_reads_total log_segments log_unwritable published_bytes_total \
        published_events_total queue_bytes queue_publishes refused_busy_total \
        refused_storage_total repeated_publishes_total shed_total stalled_total streams \
        subscribers subscriptions_total window_bytes window_events window_topics";
    let expected: Vec<String> = expected
        .split_whitespace()
        .map(|name| format!("tidings_{name}"))
        .collect();
    assert_eq!(names, expected);
    let some = [
        "connections",
        "connections_total",
        "log_segments",
        "log_bytes",
    ];
    for name in expected {
        if !some.iter().any(|some| name == format!("tidings_{some}")) {
            assert!(matches!(&*metrics[&name], "0" | "0.000000"), "{name}");
        }
    }
}

/// The values are those of what happened.
#[tokio::test(start_paused = true)]
async fn the_values_move() {
    let kit = Kit::with(|setup| setup.config.subscribers_max = 2);
    let _a = kit.subscribe("/events?topic=a").await;
    let mut b = kit.subscribe("/events?pattern=b/*").await;
    let _shed = kit.ask("GET /events?topic=a", &[], b"").await;
    let frames = ["id: e1:1\ndata: 1\n\n", "id: e1:2\ndata: 22\n\n"];
    let bytes = frames.iter().map(|frame| frame.len()).sum::<usize>();
    kit.publish("b/1", &["1", "22"]).await;
    b.data(2).await;
    kit.ask("GET /nothing", &[], b"").await;
    let text = [("content-type", "text/plain"), ("idempotency-key", "k")];
    for _ in 0..2 {
        kit.ask("POST /events?topic=c", &text, b"x").await;
    }
    let metrics = metrics(&kit).await;
    for (name, value) in [
        ("published_events_total", 3),
        (
            "published_bytes_total",
            bytes + "id: e1:3\ndata: x\n\n".len(),
        ),
        ("commits_total", 2),
        ("repeated_publishes_total", 1),
        ("delivered_events_total", 2),
        ("delivered_bytes_total", bytes),
        ("subscribers", 2),
        ("streams", 2),
        ("subscriptions_total", 2),
        ("shed_total", 1),
        ("window_events", 3),
        ("window_topics", 3),
        ("log_events", 3),
        ("idempotency_keys", 1),
        ("connections", 3),
        ("connections_total", 7),
        ("responses_total{status=\"200\"}", 5),
        ("responses_total{status=\"404\"}", 1),
    ] {
        assert_eq!(
            metrics[&format!("tidings_{name}")],
            value.to_string(),
            "{name}"
        );
    }
}
