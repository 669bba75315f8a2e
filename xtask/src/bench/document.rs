//! `docs/benchmarks.md`.

use std::fmt::{self, Write};
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::Section;
use super::peers;
use super::server::Kind;
use super::tools::Tools;
use crate::{process, repository};

pub(super) struct Document {
    text: String,
}

impl Document {
    /// The head: what was measured, where and how.
    pub(super) fn new(tools: &Tools, quick: bool) -> Result<Self> {
        let command = if quick {
            "cargo xtask bench --quick"
        } else {
            "cargo xtask bench"
        };
        let date = process::stdout(Command::new("date").args(["-u", "+%Y-%m-%d"]))?;
        let rustc = process::stdout(Command::new("rustc").arg("--version"))?;
        let placed = match tools.cores {
            Some(_) => "The server has one core to itself and the load another (`taskset`).",
            None => "This machine has one core, which server and load share.",
        };
        let load = match tools.yardstick {
            Some(_) => {
                "Fan-out, paced and at full speed, is measured with an independent load generator, \
                 which is not part of this repository (`bench/peers` takes its place where it is \
                 missing), and the floors of fan-out are its own; the rest with the load of \
                 `bench/peers`."
            }
            None => "Load and floor are those of `bench/peers`.",
        };
        let text = format!(
            "# Benchmarks\n\nWritten by `{command} --write`; do not edit. All figures of a table are \
             of one run on one machine, the peer's and the floor's too: compare within a table, not \
             across machines. No test depends on any of them.\n\n- Date: {}\n- Machine: {}\n- \
             Compiler: {}\n- {placed}\n- {load} Everything is on loopback, over HTTP/1.1 without TLS \
             but where it says HTTP/2.\n- CPU is the server's, user and system; the kernel counts it in \
             hundredths of a second. Memory is the proportional set size of its process.\n- The floor is \
             a program that does nothing but the writes themselves. No server can do with less.\n",
            date.trim(),
            machine(),
            rustc.trim(),
        );
        Ok(Self { text })
    }

    pub(super) fn add(&mut self, section: &Section) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "\n{section}");
    }

    /// Which peers took part.
    pub(super) fn add_peers(&mut self, tools: &Tools) -> Result<()> {
        let _ = write!(self.text, "\n## Peers\n\n");
        for kind in tools.servers(&Kind::ALL) {
            if let Some(version) = peers::version(kind)? {
                let _ = writeln!(self.text, "- {}: {version}", kind.name());
            }
        }
        let _ = writeln!(
            self.text,
            "\nAll of them keep events in memory only. Each has one process with one thread that \
             serves, as the hub's core has. Their sources are in `bench/peers`."
        );
        Ok(())
    }

    pub(super) fn write(&self) -> Result<()> {
        let path = repository::root().join("docs/benchmarks.md");
        fs::write(&path, &self.text)
            .with_context(|| format!("could not write {}", path.display()))?;
        eprintln!("wrote {}", path.display());
        Ok(())
    }
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "## {}\n\n{}\n\n{}", self.title, self.method, self.table)
    }
}

/// Processor, cores, memory and kernel, as far as the kernel tells.
fn machine() -> String {
    let field = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(name))
            .map(str::to_owned);
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_default();
    let kib: u64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!(
        "{processor}, {cores} cores, {} GiB, Linux {}",
        kib >> 20,
        kernel.trim()
    )
}
