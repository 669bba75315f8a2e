//! Starting and stopping a hub, and all that can be wrong with it.

mod process;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt, path::Path};

use process::{Hub, Running, answer_with, run};

fn code_and_words(arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(arguments.iter().copied());
    assert_eq!(
        output.stdout, "",
        "{arguments:?} must print nothing on stdout"
    );
    (output.status.code(), output.stderr)
}

fn assert_fails(arguments: &[&str], code: i32, words: &[&str]) {
    let (got, text) = code_and_words(arguments);
    assert_eq!(got, Some(code), "{arguments:?}: {text}");
    for words in words {
        assert!(
            text.contains(words),
            "{arguments:?} should say {words:?}: {text}"
        );
    }
}

#[test]
fn a_stop_is_orderly() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(data.path());
    let follower = hub.spawn(&["subscribe", "t", "--from", "earliest", "--json"]);
    hub.publish("t", "x");
    follower.out.wait_for(r#""data":"x""#);
    hub.process.signal("TERM");
    assert_eq!(
        hub.process.wait().code(),
        Some(0),
        "{:?}",
        hub.process.err.all()
    );
    follower.out.wait_for(r#""event":"tidings.end""#);
    follower
        .err
        .wait_for("the hub ends the stream: it is stopping");
    follower.err.wait_for("reconnecting in");
    // It was closed in good order: nothing has to be cut or built again.
    let again = Hub::start(data.path());
    let opened = again.process.err.wait_for("opened the log");
    assert!(opened.contains(r#""events":1"#), "{opened}");
}

#[test]
fn the_second_signal_stops_at_once() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start_on(data.path(), "127.0.0.1:0", &["--drain", "1h"]);
    // Two, so that the drain has something to spread over its hour.
    let followers = [(); 2].map(|()| hub.spawn(&["subscribe", "t", "--from", "earliest"]));
    hub.publish("t", "x");
    for follower in &followers {
        follower.out.wait_for("x");
    }
    hub.process.signal("INT");
    hub.process.err.wait_for("stopping in good order");
    hub.process.signal("INT");
    assert_eq!(hub.process.wait().code(), Some(1));
}

#[test]
fn a_port_that_is_taken_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let other = tempfile::tempdir().unwrap();
    let other = other.path().to_str().unwrap();
    let words = ["the port is taken", "another tidings", "--listen"];
    let listen = |address: &str| {
        let (code, text) = code_and_words(&["serve", "--listen", address, "--data", other]);
        assert_eq!(code, Some(1), "{text}");
        assert!(words.iter().all(|words| text.contains(words)), "{text}");
    };
    listen(hub.address());
    let stranger = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&stranger.local_addr().unwrap().to_string());
}

#[test]
fn a_directory_has_one_hub() {
    let data = tempfile::tempdir().unwrap();
    let _hub = Hub::start(data.path());
    let dir = data.path().to_str().unwrap();
    assert_fails(
        &["serve", "--listen", "127.0.0.1:0", "--data", dir],
        1,
        &["in use by process", "--data DIR"],
    );
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    let inside = file.join("log");
    assert_fails(
        &[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--data",
            inside.to_str().unwrap(),
        ],
        1,
        &["could not create the directory", "--data DIR"],
    );
    let closed = data.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // Root may write anywhere, and then there is nothing to see.
    if fs::write(closed.join("probe"), "").is_err() {
        assert_fails(
            &[
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--data",
                closed.to_str().unwrap(),
            ],
            1,
            &["--memory"],
        );
    }
}

#[test]
fn a_directory_without_a_log_is_told_from_a_log_without_events() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("file");
    fs::write(&file, "").unwrap();
    let folder = data.path().join("folder");
    fs::create_dir(&folder).unwrap();
    let missing = data.path().join("missing");
    let [file, folder, missing] = [&file, &folder, &missing].map(|path| path.to_str().unwrap());
    for command in ["verify", "dump", "stats", "repair"] {
        for (dir, words) in [
            (folder, "there is no log in"),
            (missing, "there is no directory"),
            (file, "no directory"),
        ] {
            assert_fails(&["log", command, dir], 1, &[words, dir, "--data directory"]);
        }
    }
    // Looking leaves nothing behind, not even a lock.
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);

    let mut hub = Hub::start(Path::new(folder));
    hub.process.kill();
    for (command, told) in [
        ("verify", "0 records"),
        ("dump", ""),
        ("stats", "0 events"),
        ("repair", ""),
    ] {
        let output = run(["log", command, folder]);
        assert!(output.status.success(), "{command}: {}", output.stderr);
        assert!(output.stdout.contains(told), "{command}: {}", output.stdout);
    }
}

#[test]
fn strangers_are_kept_out_unless_the_operator_insists() {
    assert_fails(
        &["serve", "--listen", "0.0.0.0:0", "--memory"],
        2,
        &["--insecure", "proxy"],
    );
    let insists = ["serve", "--listen", "0.0.0.0:0", "--memory", "--insecure"];
    let hub = Running::start(insists);
    hub.err.wait_for("listening");
}

#[test]
fn a_memory_hub_needs_no_directory() {
    let hub = Running::start(["serve", "--listen", "127.0.0.1:0", "--memory"]);
    let line = hub.err.wait_for("listening");
    let url = line
        .split('"')
        .find(|word| word.starts_with("http://"))
        .unwrap()
        .to_owned();
    assert!(run(["publish", "t", "x", "--url", &url]).status.success());
}

#[test]
fn a_configuration_file_says_what_options_say() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidings.toml");
    let path = file.to_str().unwrap();
    fs::write(
        &file,
        "listen = '127.0.0.1:0'\nmemory = true\nheartbeat = '20s'\n",
    )
    .unwrap();
    Running::start(["serve", "--config", path])
        .err
        .wait_for("listening");
    for (text, words) in [
        (
            "hartbeat = 20",
            "unknown key `hartbeat`: did you mean `heartbeat`?",
        ),
        (
            "retention-bytes = '4G'",
            "`retention-bytes`: invalid value '4G'",
        ),
        ("listen = 3000", "write an IP address and a port"),
        ("listen =", "TOML parse error at line 1"),
    ] {
        fs::write(&file, text).unwrap();
        assert_fails(&["serve", "--config", path], 2, &[path, words]);
    }
    assert_fails(
        &["serve", "--config", "/nowhere.toml"],
        2,
        &["could not read", "/nowhere.toml"],
    );
}

#[test]
fn usage_errors_say_what_is_wrong() {
    for (arguments, words) in [
        (&["serv"][..], "similar subcommand exists: 'serve'"),
        (
            &["serve", "--lisen", "x"],
            "similar argument exists: '--listen'",
        ),
        (
            &["serve", "--listen", "3000"],
            "write an IP address and a port",
        ),
        (&["serve", "--retention-bytes", "4G"], "like 64MiB or 4GiB"),
        (&["serve", "--stall", "soon"], "like 30s, 15m, 12h or 7d"),
        (&["serve", "--memory", "--data", "x"], "cannot be used with"),
        (
            &[
                "serve",
                "--memory",
                "--listen",
                "127.0.0.1:0",
                "--log-level",
                "x=y",
            ],
            "log level `x=y`",
        ),
        (&["subscribe"], "required arguments were not provided"),
        (&["subscribe", ""], "topic is empty"),
        (&["subscribe", "t", "--count", "0"], "not in 1.."),
        (&["publish", "t", "x", "--url", "https://hub"], "no TLS yet"),
        (&["publish", "a\nb", "x"], "control character"),
        (&["publish"], "required arguments were not provided"),
    ] {
        assert_fails(arguments, 2, &[words]);
    }
}

#[test]
fn a_hub_that_is_not_there_is_told_at_once() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{free}");
    for command in [
        &["publish", "t", "x"][..],
        &["publish", "t"],
        &["subscribe", "t"],
    ] {
        let arguments: Vec<&str> = command.iter().copied().chain(["--url", &url]).collect();
        assert_fails(
            &arguments,
            3,
            &["cannot connect to", "tidings serve", "--url"],
        );
    }
}

#[test]
fn what_the_hub_refuses_is_told_in_its_words() {
    let data = tempfile::tempdir().unwrap();
    let hub = Hub::start(data.path());
    let refused = |arguments: &[&str]| {
        let output = hub.run(arguments);
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(
            output.stderr.contains("the hub refused"),
            "{}",
            output.stderr
        );
    };
    refused(&["subscribe", "t", "--from", ""]);
    refused(&["subscribe", "--pattern", "a{"]);
    refused(&["publish", "t", "x", "--key", &"k".repeat(5000)]);
}

#[test]
fn a_stranger_at_the_url_is_recognised() {
    let website = answer_with(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    );
    let missing = answer_with(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    for url in [&website, &missing] {
        for command in [["publish", "t", "x"], ["subscribe", "t", "--json"]] {
            let arguments: Vec<&str> = command.iter().copied().chain(["--url", url]).collect();
            assert_fails(&arguments, 1, &["is something else at this URL?"]);
        }
    }
    let no_http = answer_with(b"220 mail.example.com ESMTP\r\n");
    assert_fails(
        &["publish", "t", "x", "--url", &no_http],
        3,
        &["the connection to the hub broke"],
    );
}

#[test]
fn a_follower_stops_when_it_is_told_to() {
    let url = answer_with(b"HTTP/1.1 204 No Content\r\n\r\n");
    let output = run(["subscribe", "t", "--url", &url]);
    assert_eq!(
        (output.status.code(), output.stdout),
        (Some(0), String::new())
    );
}

#[test]
fn a_busy_hub_is_tried_again_for_as_long_as_was_asked() {
    let url = answer_with(
        b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n",
    );
    for command in [["publish", "t", "x"], ["subscribe", "t", "--json"]] {
        let options = ["--url", &url, "--retry-for", "300ms"];
        let arguments: Vec<&str> = command.iter().chain(&options).copied().collect();
        assert_fails(&arguments, 1, &["in ", " ms\n", "(503)"]);
    }
    // An event by itself is not, unless that was asked for.
    let output = run(["publish", "t", "x", "--url", &url]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!output.stderr.contains("trying again"), "{}", output.stderr);
}

#[test]
fn who_may_only_read_can_ask_what_a_repair_would_do() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(data.path());
    hub.publish("t", "x");
    hub.process.kill();
    // A copy has no lock, and gets none.
    fs::remove_file(data.path().join("LOCK")).unwrap();
    let log = data.path().join("00000000000000000001.log");
    fs::write(&log, "text ".repeat(100)).unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o500)).unwrap();
    let names = || fs::read_dir(data.path()).unwrap().count();
    let before = names();
    let dir = data.path().to_str().unwrap();
    let output = run(["log", "repair", dir, "--dry-run"]);
    assert!(
        output.stderr.contains("no segment has a readable header"),
        "{}",
        output.stderr
    );
    assert_eq!(names(), before);
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_hub_that_meets_damage_says_who_helps() {
    let data = tempfile::tempdir().unwrap();
    let mut hub = Hub::start(data.path());
    hub.publish("t", "x");
    hub.process.signal("TERM");
    hub.process.wait();
    let log = data.path().join("00000000000000000001.log");
    fs::write(&log, "text").unwrap();
    let dir = data.path().to_str().unwrap();
    assert_fails(
        &["serve", "--listen", "127.0.0.1:0", "--data", dir],
        1,
        &["is damaged at byte 0", "tidings log repair", "--dry-run"],
    );
}
