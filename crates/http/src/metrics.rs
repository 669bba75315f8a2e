//! `/metrics`, in the Prometheus text format.

use std::{fmt::Write, sync::atomic::Ordering::Relaxed};

use hyper::{Response, header};
use tidings::Stats;

use crate::{counters::Counters, reply::Reply, server::Shared};

/// A metric without labels: name, kind, help, and where its value comes from.
type Metric<S> = (&'static str, &'static str, &'static str, fn(&S) -> u64);

#[rustfmt::skip]
const HUB: &[Metric<Stats>] = &[
    ("published_events_total", "counter", "Events committed.", |s| s.published_events),
    ("published_bytes_total", "counter", "Bytes of events committed.", |s| s.published_bytes),
    ("commits_total", "counter", "Commits: one write and one sync each.", |s| s.commits),
    ("repeated_publishes_total", "counter", "Publishes answered with an earlier receipt.", |s| s.repeated_groups),
    ("refused_busy_total", "counter", "Publishes refused because the queue was full.", |s| s.refused_busy),
    ("refused_storage_total", "counter", "Publishes refused by the disk.", |s| s.refused_storage),
    ("delivered_events_total", "counter", "Events handed to subscribers.", |s| s.delivered_events),
    ("delivered_bytes_total", "counter", "Bytes of events handed to subscribers.", |s| s.delivered_bytes),
    ("log_reads_total", "counter", "Reads of the log for subscribers behind the window.", |s| s.log_reads),
    ("gaps_total", "counter", "Gaps announced to subscribers.", |s| s.gaps),
    ("subscribers", "gauge", "Subscribers now.", |s| s.subscribers),
    ("subscriptions_total", "counter", "Subscribers that came.", |s| s.subscriptions),
    ("queue_publishes", "gauge", "Publishes waiting to be committed.", |s| s.queue_groups),
    ("queue_bytes", "gauge", "Bytes waiting to be committed.", |s| s.queue_bytes),
    ("window_events", "gauge", "Events held in memory.", |s| s.window_events),
    ("window_bytes", "gauge", "Bytes that they take.", |s| s.window_bytes),
    ("window_topics", "gauge", "Topics with events in memory or subscribers.", |s| s.window_topics),
    ("idempotency_keys", "gauge", "Idempotency keys remembered.", |s| s.idempotency_keys),
    ("log_segments", "gauge", "Segments of the log.", |s| s.log_segments),
    ("log_bytes", "gauge", "Bytes that they take on disk.", |s| s.log_bytes),
    ("log_events", "gauge", "Events in the log.", |s| s.log_events),
    ("log_failed", "gauge", "1 once the log accepts nothing more.", |s| s.log_failed),
    ("log_full", "gauge", "1 while the disk has no room for what is published.", |s| s.log_full),
    ("log_unwritable", "gauge", "1 while what is published cannot be written.", |s| s.log_unwritable),
];

#[rustfmt::skip]
const SERVER: &[Metric<Counters>] = &[
    ("connections", "gauge", "Connections now.", |c| c.connections.load(Relaxed) as u64),
    ("connections_total", "counter", "Connections accepted.", |c| c.connections_accepted.load(Relaxed)),
    ("accept_errors_total", "counter", "Connections that could not be accepted.", |c| c.accept_errors.load(Relaxed)),
    ("streams", "gauge", "Event streams now.", |c| c.streams.load(Relaxed) as u64),
    ("shed_total", "counter", "Subscribers told to come back later.", |c| c.shed.load(Relaxed)),
    ("stalled_total", "counter", "Clients cut because they took nothing.", |c| c.stalled.load(Relaxed)),
    ("heartbeats_total", "counter", "Heartbeats sent.", |c| c.heartbeats.load(Relaxed)),
];

pub(crate) fn metrics(shared: &Shared) -> Response<Reply> {
    let mut response = Response::new(Reply::text(text(shared)));
    let headers = response.headers_mut();
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}

fn text(shared: &Shared) -> String {
    let stats = shared.hub.stats();
    let counters = &shared.stream.counters;
    let mut out = String::with_capacity(8 << 10);
    push_all(HUB, &stats, &mut out);
    push_all(SERVER, counters, &mut out);
    let (seconds, micros) = (stats.commit_us / 1_000_000, stats.commit_us % 1_000_000);
    push_head(
        "commit_seconds_total",
        "counter",
        "Time spent writing and syncing.",
        &mut out,
    );
    let _ = writeln!(out, "tidings_commit_seconds_total {seconds}.{micros:06}");
    push_head(
        "ended_total",
        "counter",
        "Streams that the hub ended.",
        &mut out,
    );
    for (reason, count) in [
        ("drain", stats.ended_drain),
        ("evicted", stats.ended_evicted),
        ("too_slow", stats.ended_too_slow),
    ] {
        let _ = writeln!(out, "tidings_ended_total{{reason=\"{reason}\"}} {count}");
    }
    push_head(
        "responses_total",
        "counter",
        "Responses by status.",
        &mut out,
    );
    for (status, count) in counters.responses() {
        let _ = writeln!(
            out,
            "tidings_responses_total{{status=\"{status}\"}} {count}"
        );
    }
    out
}

fn push_all<S>(metrics: &[Metric<S>], source: &S, out: &mut String) {
    for (name, kind, help, value) in metrics {
        push_head(name, kind, help, out);
        let _ = writeln!(out, "tidings_{name} {}", value(source));
    }
}

fn push_head(name: &str, kind: &str, help: &str, out: &mut String) {
    let _ = writeln!(
        out,
        "# HELP tidings_{name} {help}\n# TYPE tidings_{name} {kind}"
    );
}
