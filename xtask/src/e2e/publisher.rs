//! `tidings publish TOPIC -`, fed through a gate.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::gate::Gate;
use crate::process;

#[derive(Debug)]
pub(super) struct Publisher {
    process: process::Guard,
    gate: Gate,
    feed: Option<JoinHandle<std::io::Result<()>>>,
    stderr: PathBuf,
}

impl Publisher {
    pub(super) fn start(command: &mut Command, folder: &Path, lines: Vec<String>) -> Result<Self> {
        let stderr = folder.join("publish.log");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&stderr)?);
        let mut process = process::Guard::spawn("the publisher", command)?;
        let stdin = process
            .child()
            .stdin
            .take()
            .context("the publisher has no stdin")?;
        let gate = Gate::default();
        let feed = {
            let gate = gate.clone();
            thread::spawn(move || gate.feed(&lines, std::io::BufWriter::new(stdin)))
        };
        Ok(Self {
            process,
            gate,
            feed: Some(feed),
            stderr,
        })
    }

    pub(super) fn open_to(&self, line: usize) {
        self.gate.open_to(line);
    }

    /// How many lines it was given so far.
    pub(super) fn fed(&self) -> usize {
        self.gate.passed()
    }

    /// Waits for it to end by itself, and answers the last that it said.
    pub(super) fn finish(&mut self, limit: Duration) -> Result<String> {
        let status = self.process.wait(limit)?;
        let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        if !status.success() {
            bail!("the publisher failed ({status}) and said:\n{said}");
        }
        let fed = self.feed.take().and_then(|feed| feed.join().ok());
        fed.context("the feed panicked")?
            .context("the publisher ended before it had read all")?;
        let last = said
            .rsplit(['\n', '\r'])
            .find(|line| !line.trim().is_empty());
        Ok(last.unwrap_or_default().trim().to_owned())
    }

    /// An error as soon as it ended before its time.
    pub(super) fn must_be_alive(&mut self) -> Result<()> {
        if let Some(status) = self.process.ended()? {
            let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
            bail!("the publisher ended early ({status}) and said:\n{said}");
        }
        Ok(())
    }
}
