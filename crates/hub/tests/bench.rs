//! Measuring through the binary, as a person at a shell does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking, its helpers too"
)]

mod process;

use std::process::Command;

use process::{Hub, answer_with, run};
use serde_json::Value;

const SMALL: [&str; 5] = ["bench", "--seconds", "300ms", "--rate", "100"];

fn hub() -> (tempfile::TempDir, Hub) {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    (data, hub)
}

fn number(result: &Value, name: &str) -> u64 {
    let value = result.get(name).and_then(Value::as_u64);
    value.unwrap_or_else(|| panic!("no {name} in {result}"))
}

/// Every event that was published came to every subscriber of its topic.
fn is_whole(stdout: &str, subscribers_per_topic: u64) -> Value {
    let result: Value = serde_json::from_str(stdout).unwrap();
    let (published, delivered) = (number(&result, "published"), number(&result, "delivered"));
    assert!(published > 0, "{result}");
    assert_eq!(delivered, published * subscribers_per_topic, "{result}");
    for fault in ["lost", "doubled", "out_of_order", "gaps", "closed"] {
        assert_eq!(number(&result, fault), 0, "{result}");
    }
    result
}

#[test]
fn a_hub_is_measured_and_every_delivery_checked() {
    let (_data, hub) = hub();
    for (options, subscribers_per_topic) in [
        (&["--subscribers", "20"][..], 20),
        (
            &["--subscribers", "20", "--publishers", "3", "--rate", "0"],
            20,
        ),
        (
            &["--subscribers", "20", "--topics", "10", "--publishers", "3"],
            2,
        ),
        (
            &["--subscribers", "6", "--topics", "2", "--publishers", "5"],
            3,
        ),
        (&["--subscribers", "120", "--http2"], 120),
        (&["--subscribers", "1", "--size", "100000"], 1),
    ] {
        let words: Vec<&str> = ["bench", "--seconds", "300ms", "--json"].to_vec();
        let output = hub.run(&[&words, options].concat());
        assert!(output.status.success(), "{options:?}: {}", output.stderr);
        is_whole(&output.stdout, subscribers_per_topic);
    }
}

#[test]
fn people_read_the_same() {
    let (_data, hub) = hub();
    let output = hub.run(&[&SMALL[..], &["--subscribers", "3"]].concat());
    assert!(output.status.success(), "{}", output.stderr);
    for words in ["HTTP/1.1", "none lost, doubled or out of order", "p99.9"] {
        assert!(output.stdout.contains(words), "{words}: {}", output.stdout);
    }
}

#[test]
fn ctrl_c_ends_it_early_and_still_tells_the_result() {
    let (_data, hub) = hub();
    let mut bench = hub.spawn(&["bench", "--seconds", "1h", "--rate", "50", "--json"]);
    // A line on stderr now and then says that it is under way.
    bench.err.wait("a delivery", |lines| {
        let told = lines.iter().rev().find(|line| line.contains("delivered"))?;
        (!told.contains("delivered 0 ")).then_some(())
    });
    bench.signal("INT");
    assert!(bench.wait().success(), "{:?}", bench.err.all());
    is_whole(&bench.out.all().concat(), 100);
}

#[test]
fn a_hub_that_goes_away_in_the_middle_is_told_beside_the_result() {
    let (_data, mut hub) = hub();
    let mut bench = hub.spawn(&["bench", "--seconds", "1h", "--rate", "50", "--json"]);
    bench.err.wait_for("delivered");
    hub.process.kill();
    assert_eq!(bench.wait().code(), Some(3));
    let told = bench.err.wait_for("tidings: ");
    assert!(told.contains("the hub went away in the middle"), "{told}");
    let result: Value = serde_json::from_str(&bench.out.all().concat()).unwrap();
    assert_eq!(number(&result, "closed"), 100);
    assert_eq!(number(&result, "lost"), 0);
}

#[test]
fn what_cannot_be_measured_is_told_at_once() {
    let nobody = ["bench", "--url", "http://127.0.0.1:9", "--seconds", "1"];
    let output = run(nobody);
    assert_eq!(output.status.code(), Some(3), "{}", output.stderr);
    assert!(output.stderr.contains("tidings serve"), "{}", output.stderr);

    let refusing = answer_with(
        b"HTTP/1.1 401 Unauthorized\r\nContent-Type: application/problem+json\r\n\
          Content-Length: 41\r\n\r\n{\"status\":401,\"detail\":\"show your token\"}\n",
    );
    let output = run(["bench", "--url", &refusing]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        output.stderr.contains("show your token"),
        "{}",
        output.stderr
    );
    assert_eq!(output.stdout, "");
}

#[test]
fn too_few_files_for_all_subscribers_are_told_with_the_way_out() {
    let (_data, hub) = hub();
    let script = format!(
        "ulimit -n 64; exec {} bench --subscribers 100 --url {}",
        env!("CARGO_BIN_EXE_tidings"),
        hub.url
    );
    let output = Command::new("bash").args(["-c", &script]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("133 open files") && told.contains("ulimit"),
        "{told}"
    );
}
