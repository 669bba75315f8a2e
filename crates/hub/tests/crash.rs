//! A hub that is killed with -9 while lines are published and followed: nothing that went in is
//! lost, doubled or out of order on the other side.

mod process;

use process::Hub;

const LINES: usize = 30_000;
const KILLS: usize = 3;

#[test]
fn a_killed_hub_loses_and_doubles_nothing() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(data.path());
    let address = hub.address().to_owned();
    let mut follower = hub.spawn(&["subscribe", "lines", "--from", "earliest", "--json"]);
    let mut publisher = hub.spawn(&["publish", "lines", "-", "--receipts"]);
    let lines: Vec<String> = (0..LINES).map(|i| format!("line {i}")).collect();
    // All that the publisher takes, as fast as it takes it: each kill comes in the middle of a block.
    let writer = publisher.feed(lines.join("\n"));
    for kill in 1..=KILLS {
        publisher.out.wait_count(kill * LINES / (KILLS + 1));
        hub.process.kill();
        publisher.err.wait_count(kill);
        hub = Hub::start_on(data.path(), &address, &[]);
    }
    writer.join().unwrap();
    assert!(publisher.wait().success(), "{:?}", publisher.err.all());

    let received = follower.out.wait_count(LINES);
    follower.kill();
    assert_eq!(follower.out.all().len(), LINES);
    let field = |line: &str, name: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line.get(name).and_then(|v| v.as_str()).unwrap().to_owned()
    };
    let texts: Vec<String> = received.iter().map(|line| field(line, "data")).collect();
    assert!(
        texts == lines,
        "the lines are not those that were published"
    );
    let ids: Vec<String> = received.iter().map(|line| field(line, "id")).collect();
    assert!(
        ids == publisher.out.all(),
        "the receipts are not the IDs that followers see"
    );
}

#[test]
fn a_publisher_says_how_far_it_got_when_it_gives_up() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(data.path());
    let mut publisher = hub.spawn(&["publish", "t", "-", "--receipts", "--retry-for", "300ms"]);
    publisher.write("a\nb\n");
    publisher.out.wait_count(2);
    hub.process.kill();
    publisher.write("c\n");
    assert_eq!(publisher.wait().code(), Some(3));
    let last = publisher.err.all().pop().unwrap();
    assert!(last.contains("2 events were acknowledged"), "{last}");
    assert!(last.contains("go on after line 2"), "{last}");
}
