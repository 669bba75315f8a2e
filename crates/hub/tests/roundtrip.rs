//! Publishing and following through the binary, as a person at a shell does.

mod process;

use process::Hub;
use serde_json::{Value, json};

#[test]
fn what_is_published_is_followed() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let mut early = hub.spawn(&[
        "subscribe",
        "greetings",
        "--from",
        "earliest",
        "--count",
        "3",
    ]);
    let first = hub.publish("greetings", "Hello, world");
    let second = hub.publish("greetings", "two\nlines");
    hub.publish("other", "not this");
    hub.publish("greetings", "");
    assert!(early.wait().success());
    assert_eq!(early.out.all(), ["Hello, world", "two", "lines", ""]);
    let sequence = |id: &str| id.split_once(':').unwrap().1.parse::<u64>().unwrap();
    assert!(sequence(&first) < sequence(&second));

    let late = hub.run(&[
        "subscribe",
        "greetings",
        "--last-event-id",
        &first,
        "--count",
        "1",
        "--json",
    ]);
    let line: Value = serde_json::from_str(&late.stdout).unwrap();
    assert_eq!(
        line,
        json!({"id": second, "event": "message", "data": "two\nlines"})
    );
}

#[test]
fn an_event_keeps_all_that_it_was_given() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let options = [
        "--event", "paid", "--id", "order-7", "--key", "k", "--ttl", "60", "--retry", "100",
    ];
    let publish = ["publish", "orders/7", "{}"]
        .iter()
        .chain(&options)
        .copied();
    let output = hub.run(&publish.collect::<Vec<_>>());
    assert!(output.status.success(), "{}", output.stderr);
    let followed = hub.run(&[
        "subscribe",
        "--pattern",
        "orders/:id",
        "--from",
        "-1",
        "--count",
        "1",
        "--json",
    ]);
    let line: Value = serde_json::from_str(&followed.stdout).unwrap();
    assert_eq!(
        line,
        json!({"id": "order-7", "event": "paid", "data": "{}"})
    );
}

#[test]
fn a_repeated_publish_takes_effect_once() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let publish = |data| hub.run(&["publish", "t", data, "--idempotency-key", "k1"]);
    let (once, again) = (publish("x"), publish("x"));
    assert_eq!(once.stdout, again.stdout);
    let changed = publish("y");
    assert_eq!(changed.status.code(), Some(1));
    assert!(changed.stderr.contains("422"), "{}", changed.stderr);
    hub.publish("t", "end");
    let followed = hub.run(&["subscribe", "t", "--from", "earliest", "--count", "2"]);
    assert_eq!(followed.stdout, "x\nend\n");
}

#[test]
fn a_topic_that_looks_like_a_pattern_is_a_topic() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    hub.publish("orders/42", "no");
    hub.publish("orders/:id & more", "yes");
    let followed = hub.run(&[
        "subscribe",
        "orders/:id & more",
        "--from",
        "earliest",
        "--count",
        "1",
    ]);
    assert_eq!(followed.stdout, "yes\n");
}

#[test]
fn lines_are_events_as_soon_as_they_are_there() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let mut follower = hub.spawn(&["subscribe", "log", "--from", "earliest"]);
    let mut publisher = hub.spawn(&["publish", "log", "-", "--receipts"]);
    publisher.write("one\ntwo\n");
    // The input is not over, and still:
    assert_eq!(follower.out.wait_count(2), ["one", "two"]);
    assert_eq!(publisher.out.wait_count(2).len(), 2);
    publisher.write("\nlast without an end");
    publisher.close_input();
    assert!(publisher.wait().success());
    assert_eq!(publisher.out.all().len(), 4);
    let summary = publisher.err.all().pop().unwrap();
    assert!(summary.starts_with("published 4 events in "), "{summary}");
    assert_eq!(
        follower.out.wait_count(4),
        ["one", "two", "", "last without an end"]
    );
    follower.kill();
}

#[test]
fn all_of_stdin_can_be_one_event() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let mut publisher = hub.spawn(&["publish", "t"]);
    publisher.write("a\nb\n");
    publisher.close_input();
    assert!(publisher.wait().success());
    let followed = hub.run(&[
        "subscribe",
        "t",
        "--from",
        "earliest",
        "--count",
        "1",
        "--json",
    ]);
    let line: Value = serde_json::from_str(&followed.stdout).unwrap();
    assert_eq!(line.get("data"), Some(&json!("a\nb")));
}

#[test]
fn an_unknown_id_is_a_gap_that_is_told() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    hub.publish("t", "x");
    let resume = [
        "subscribe",
        "t",
        "--last-event-id",
        "other:5",
        "--count",
        "1",
    ];
    let followed = hub.run(&resume);
    assert_eq!(followed.stdout, "x\n");
    assert!(
        followed.stderr.contains("gap: events after other:5"),
        "{}",
        followed.stderr
    );
    let followed = hub.run(&resume.iter().copied().chain(["--json"]).collect::<Vec<_>>());
    let first = followed.stdout.lines().next().unwrap().to_owned();
    assert!(first.contains(r#""event":"tidings.gap""#), "{first}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let mut publisher = hub.spawn(&["publish", "t", "-"]);
    publisher.write(&"x\n".repeat(5000));
    publisher.close_input();
    assert!(publisher.wait().success());
    let script = format!(
        "{} subscribe t --from earliest --url {} | head -n 1 >/dev/null; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_tidings"),
        hub.url
    );
    // Something must be printed after `head` has gone for the broken pipe to be noticed.
    let mut shell = std::process::Command::new("bash");
    let mut child = shell
        .args(["-c", &script])
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        hub.publish("t", "more");
    };
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_log_can_be_looked_into_while_its_hub_runs() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let id = hub.publish("t/1", "x");
    hub.publish("t/2", "y");
    let dir = data.path().to_str().unwrap();
    let verified = process::run(["log", "verify", dir, "--json"]);
    assert!(verified.status.success(), "{}", verified.stderr);
    let verdict: Value = serde_json::from_str(verified.stdout.lines().last().unwrap()).unwrap();
    assert_eq!(verdict.get("records"), Some(&json!(2)));
    assert_eq!(verdict.get("sound"), Some(&json!(true)));
    let dumped = process::run(["log", "dump", dir, "--json"]);
    let first: Value = serde_json::from_str(dumped.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first.get("id"), Some(&json!(id)));
    assert_eq!(first.get("topics"), Some(&json!(["t/1"])));
    let text = process::run(["log", "dump", dir]).stdout;
    assert!(
        text.contains("topics: t/2\n") && text.contains("\ndata: y\n\n"),
        "{text}"
    );
}

#[test]
fn a_log_is_counted_beside_its_hub_and_repaired_only_without_it() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(data.path());
    for data in ["x", "y", "z"] {
        hub.publish("t/1", data);
    }
    let dir = data.path().to_str().unwrap();
    let counted = process::run(["log", "stats", dir, "--json"]);
    assert!(counted.status.success(), "{}", counted.stderr);
    let topic: Value = serde_json::from_str(counted.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(topic.get("topic"), Some(&json!("t/1")));
    assert_eq!(topic.get("events"), Some(&json!(3)));
    let text = process::run(["log", "stats", dir]).stdout;
    assert!(
        text.contains("3 events") && text.contains("1 segment (0 sparse)"),
        "{text}"
    );
    assert!(text.lines().last().unwrap().ends_with("  t/1"), "{text}");
    let sum: Value = serde_json::from_str(counted.stdout.lines().last().unwrap()).unwrap();
    for (name, value) in [
        ("events", 3),
        ("first", 1),
        ("last", 3),
        ("topics", 1),
        ("expired", 0),
    ] {
        assert_eq!(sum.get(name), Some(&json!(value)), "{name}");
    }
    let none = process::run(["log", "stats", dir, "--topics", "0"]).stdout;
    assert!(
        none.contains("topics      1") && !none.contains("t/1"),
        "{none}"
    );
    let beside = process::run(["log", "repair", dir, "--dry-run"]);
    assert!(beside.status.success(), "{}", beside.stderr);
    assert!(
        beside.stderr.contains("nothing to repair"),
        "{}",
        beside.stderr
    );

    let refused = process::run(["log", "repair", dir]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        refused.stderr.contains("is in use by process"),
        "{}",
        refused.stderr
    );
    hub.process.kill();
    let sound = process::run(["log", "repair", dir]);
    assert!(sound.status.success(), "{}", sound.stderr);
    assert!(
        sound.stderr.contains("nothing to repair"),
        "{}",
        sound.stderr
    );

    // The second of the three is hit.
    let log = data.path().join("00000000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let hit = bytes.windows(8).position(|it| it == b"data: y\n").unwrap();
    if let Some(byte) = bytes.get_mut(hit) {
        *byte ^= 1;
    }
    std::fs::write(&log, &bytes).unwrap();
    let dry = process::run(["log", "repair", dir, "--dry-run"]);
    assert!(
        dry.stdout
            .contains("records that can be read: 2 of sequences 1 to 3"),
        "{}",
        dry.stdout
    );
    assert!(dry.stderr.contains("nothing was changed"), "{}", dry.stderr);
    let repaired = process::run(["log", "repair", dir]);
    assert_eq!(repaired.stdout, dry.stdout);
    assert!(
        repaired.stderr.contains("the hub can start"),
        "{}",
        repaired.stderr
    );
    let kept = data.path().join("00000000000000000001.log.damaged");
    assert_eq!(std::fs::read(kept).unwrap(), bytes);

    let hub = Hub::start(data.path());
    hub.publish("t/1", "after");
    let dumped = process::run(["log", "dump", dir, "--json"]).stdout;
    let data = |line: &str| serde_json::from_str::<Value>(line).unwrap()["data"].clone();
    let dumped: Vec<Value> = dumped.lines().map(data).collect();
    assert_eq!(dumped, [json!("x"), json!("z"), json!("after")]);
}
