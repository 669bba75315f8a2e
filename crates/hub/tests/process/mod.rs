//! Real processes: a hub, and commands that speak with it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and not every test file uses all of this"
)]

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Nothing here takes so long unless it hangs.
pub const DEADLINE: Duration = Duration::from_mins(1);

/// The binary, with an environment of its own.
pub fn tidings<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments);
    for name in ["TIDINGS_URL", "TIDINGS_TOKEN", "TIDINGS_LOG"] {
        command.env_remove(name);
    }
    command
}

/// Runs the binary to its end, with nothing on stdin.
pub fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Output {
    let mut running = Running::start(arguments);
    running.close_input();
    let status = running.wait();
    let text = |lines: &Lines| {
        lines
            .all()
            .iter()
            .fold(String::new(), |all, line| all + line + "\n")
    };
    Output {
        status,
        stdout: text(&running.out),
        stderr: text(&running.err),
    }
}

/// What a process came to.
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

/// The lines that a process has written so far.
#[derive(Clone, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Default)]
struct Shared {
    read: Mutex<Collected>,
    changed: Condvar,
}

#[derive(Default)]
struct Collected {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    /// Collects on a thread of its own.
    fn of(input: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let shared = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(input).lines() {
                let Ok(line) = line else { break };
                shared.change(|state| state.lines.push(line));
            }
            shared.change(|state| state.ended = true);
        });
        lines
    }

    fn change(&self, change: impl FnOnce(&mut Collected)) {
        change(&mut self.0.read.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.changed.notify_all();
    }

    /// Waits until `found` finds something in them.
    pub fn wait<T>(&self, what: &str, mut found: impl FnMut(&[String]) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.0.read.lock().unwrap();
        loop {
            if let Some(found) = found(&state.lines) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(
                !state.ended && !left.is_zero(),
                "{what}: never came; the lines are {:#?}",
                state.lines.iter().rev().take(20).rev().collect::<Vec<_>>()
            );
            state = self.0.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    /// Waits for a line with `words` in it.
    pub fn wait_for(&self, words: &str) -> String {
        self.wait(words, |lines| {
            lines.iter().find(|line| line.contains(words)).cloned()
        })
    }

    /// Waits for so many lines.
    pub fn wait_count(&self, count: usize) -> Vec<String> {
        self.wait(&format!("{count} lines"), |lines| {
            (lines.len() >= count).then(|| lines.to_vec())
        })
    }

    /// Waits for the end of the output.
    pub fn all(&self) -> Vec<String> {
        let deadline = Instant::now() + DEADLINE;
        let mut state = self.0.read.lock().unwrap();
        while !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the output does not end");
            state = self.0.changed.wait_timeout(state, left).unwrap().0;
        }
        state.lines.clone()
    }
}

/// A process that is killed with the test.
pub struct Running {
    child: Child,
    /// Its stdout.
    pub out: Lines,
    /// Its stderr.
    pub err: Lines,
    /// Its stdin.
    pub input: Option<ChildStdin>,
}

impl Running {
    /// Starts it.
    pub fn start<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut child = tidings(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        Self {
            out: Lines::of(child.stdout.take().unwrap()),
            err: Lines::of(child.stderr.take().unwrap()),
            input: child.stdin.take(),
            child,
        }
    }

    /// Writes to its stdin.
    pub fn write(&mut self, text: &str) {
        self.input
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    /// Writes all of its stdin on a thread of its own, since it need not take it at once.
    pub fn feed(&mut self, text: String) -> thread::JoinHandle<()> {
        let mut input = self.input.take().unwrap();
        thread::spawn(move || input.write_all(text.as_bytes()).unwrap())
    }

    /// Closes its stdin.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args(["-s", name, &id])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            // The standard library cannot wait with a deadline; this is not synchronisation.
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills it with -9.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hub that serves.
pub struct Hub {
    /// Its process.
    pub process: Running,
    /// Where it serves.
    pub url: String,
}

impl Hub {
    /// Starts one on a free port.
    pub fn start(data: &Path) -> Self {
        Self::start_on(data, "127.0.0.1:0", &[])
    }

    /// Starts one on this address, with more options.
    pub fn start_on(data: &Path, listen: &str, options: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let mut serve = vec!["serve", "--listen", listen, "--data", data];
        serve.extend(options);
        if !options.contains(&"--drain") {
            serve.extend(["--drain", "200ms"]);
        }
        let process = Running::start(serve);
        let line: Value = serde_json::from_str(&process.err.wait_for("listening")).unwrap();
        let url = line.get("url").and_then(Value::as_str).unwrap().to_owned();
        Self { process, url }
    }

    /// The address behind the URL.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Runs a command against it.
    pub fn run<'a>(&'a self, arguments: &[&'a str]) -> Output {
        run(arguments.iter().copied().chain(["--url", &self.url]))
    }

    /// Starts a command against it.
    pub fn spawn<'a>(&'a self, arguments: &[&'a str]) -> Running {
        Running::start(arguments.iter().copied().chain(["--url", &self.url]))
    }

    /// Publishes one event, and returns its ID.
    pub fn publish(&self, topic: &str, data: &str) -> String {
        let output = self.run(&["publish", topic, data]);
        assert!(output.status.success(), "{}", output.stderr);
        output.stdout.trim().to_owned()
    }
}

/// Answers each connection with these bytes, whatever it asks.
pub fn answer_with(bytes: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream: TcpStream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(bytes);
        }
    });
    url
}
