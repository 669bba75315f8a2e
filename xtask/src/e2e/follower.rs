//! A follower that is a program: its stdout is read line by line into a tally.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::tally::Tally;
use crate::process;

/// How one program's output is to be understood, a line at a time.
pub(super) trait Output: Send + 'static {
    fn take(&mut self, line: &str, tally: &mut Tally);
}

#[derive(Debug)]
pub(super) struct Follower {
    process: process::Guard,
    tally: Arc<Mutex<Tally>>,
    stderr: PathBuf,
}

impl Follower {
    pub(super) fn start(
        name: &str,
        command: &mut Command,
        folder: &Path,
        tally: Tally,
        output: impl Output,
    ) -> Result<Self> {
        let stderr = folder.join(format!("{name}.log"));
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&stderr)?);
        let mut process = process::Guard::spawn(name, command)?;
        let stdout = process
            .child()
            .stdout
            .take()
            .context("a follower has no stdout")?;
        let tally = Arc::new(Mutex::new(tally));
        let shared = Arc::clone(&tally);
        thread::spawn(move || read(BufReader::new(stdout), output, &shared));
        Ok(Self {
            process,
            tally,
            stderr,
        })
    }

    pub(super) fn got(&self) -> usize {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .got
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// What it printed on stderr.
    pub(super) fn said(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    pub(super) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }
}

fn read(stdout: impl BufRead, mut output: impl Output, tally: &Mutex<Tally>) {
    for line in stdout.lines().map_while(Result::ok) {
        output.take(
            &line,
            &mut tally.lock().unwrap_or_else(PoisonError::into_inner),
        );
    }
}

/// `tidings subscribe --json`: an object per event.
pub(super) struct JsonLines;

impl Output for JsonLines {
    fn take(&mut self, line: &str, tally: &mut Tally) {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        let text = |field: &str| event.get(field).and_then(Value::as_str).unwrap_or_default();
        tally.take(text("event"), text("data"));
        if !text("id").is_empty() {
            text("id").clone_into(&mut tally.last_id);
        }
    }
}

/// `curl`: the event stream itself. Events here have one line of data, or two from the hub at most.
#[derive(Default)]
pub(super) struct EventStream {
    event: String,
    data: String,
}

impl Output for EventStream {
    fn take(&mut self, line: &str, tally: &mut Tally) {
        if line.is_empty() && !self.data.is_empty() {
            tally.take(
                &std::mem::take(&mut self.event),
                &std::mem::take(&mut self.data),
            );
        }
        match line.split_once(": ") {
            Some(("id", id)) => id.clone_into(&mut tally.last_id),
            Some(("event", event)) => event.clone_into(&mut self.event),
            Some(("data", data)) => self.data.push_str(data),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::Line;
    use super::*;

    #[test]
    fn a_heartbeat_moves_the_id_and_an_event_counts() {
        let mut tally = Tally::new(1);
        let mut stream = EventStream::default();
        let line = Line::new(1, "a: b").to_string();
        for text in ["id: e:1", &format!("data: {line}"), "", "id: e:5", ""] {
            stream.take(text, &mut tally);
        }
        assert_eq!(
            (tally.got, tally.altered, tally.last_id.as_str()),
            (1, 0, "e:5")
        );
    }
}
