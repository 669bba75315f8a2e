//! What a log takes of memory: by topics of the active segment, and by sealed segments.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use tidings_log::Options;

use crate::disk;
use crate::figures::count;
use crate::log::Log;
use crate::table::Table;
use crate::workload::Event;

/// A topic's name in the hub of somebody who has a million.
const NAME: &str = "orders/0000000";
const FRAME: &[u8] = b"data: 1\n\n";
const TOPICS: [usize; 3] = [10_000, 100_000, 1_000_000];
const SEGMENTS: [usize; 3] = [10, 100, 1000];

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Of {
    Topics,
    Segments,
}

pub fn run(within: &Path) -> Result<()> {
    println!(
        "\n## Memory\n\nTidings: what a process has resident (`VmRSS`) more than before, each \
         measured in a process of its own. Topics with names of {} bytes and one event each, or \
         ten, in an active segment that has room for all of them (1 GiB at most; a segment of 64 MiB \
         has room for 0.8 million of these at most). Sealed segments: of a log that is opened.\n",
        NAME.len()
    );
    let mut table = Table::new(&["what", "how many", "resident, MB", "bytes for each"]);
    let mut row = |what: &str, of: Of, many: usize, times: usize| -> Result<()> {
        let bytes = ask(within, of, many, times)?;
        let each = format!("{:.0}", bytes as f64 / many as f64);
        let resident = format!("{:.1}", bytes as f64 / 1e6);
        table.row([what.to_owned(), count(many as f64), resident, each]);
        Ok(())
    };
    for many in TOPICS {
        row("topics of one event", Of::Topics, many, 1)?;
    }
    for many in TOPICS {
        row("topics of ten events", Of::Topics, many, 10)?;
    }
    for many in SEGMENTS {
        row("sealed segments", Of::Segments, many, 1)?;
    }
    print!("{table}");
    Ok(())
}

fn ask(within: &Path, of: Of, many: usize, times: usize) -> Result<u64> {
    let folder = within.join("memory");
    disk::empty(&folder)?;
    if matches!(of, Of::Segments) {
        write_segments(&folder, many)?;
    }
    let of = format!("{of:?}").to_lowercase();
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("resident")
        .arg(of)
        .args([many, times].map(|it| it.to_string()));
    let output = command.arg(&folder).output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().parse()?)
}

/// What the process does that is measured: it says what it has more than before.
pub fn resident(of: Of, many: usize, times: usize, folder: &Path) -> Result<()> {
    let options = Options {
        segment_bytes_max: 1 << 30,
        ..Options::default()
    };
    let mut log = match of {
        Of::Topics => Log::open(folder, options)?,
        Of::Segments => {
            let before = resident_bytes()?;
            let log = Log::open(folder, Options::default())?;
            println!("{}", resident_bytes()?.saturating_sub(before));
            return log.close();
        }
    };
    // What a commit and the thread beside it take for themselves.
    write_topics(&mut log, 0..1)?;
    let before = resident_bytes()?;
    for _ in 0..times {
        write_topics(&mut log, 1..many + 1)?;
    }
    // Who asks for a topic has all of them put into the index.
    log.reader.last(&crate::log::Only([NAME]), 1, 1)?;
    println!("{}", resident_bytes()?.saturating_sub(before));
    log.close()
}

fn write_topics(log: &mut Log, numbers: std::ops::Range<usize>) -> Result<()> {
    let end = numbers.end;
    for first in numbers.step_by(500) {
        let names: Vec<String> = (first..end.min(first + 500))
            .map(|number| format!("orders/{number:07}"))
            .collect();
        let event = |topic| Event {
            topic,
            frame: FRAME,
        };
        let events: Vec<Event> = names.iter().map(|name| event(name)).collect();
        log.append(&events, 1)?;
    }
    Ok(())
}

fn write_segments(folder: &Path, many: usize) -> Result<()> {
    let options = Options {
        segment_bytes_max: 64 << 10,
        ..Options::default()
    };
    let mut log = Log::open(folder, options)?;
    let mut first = 0;
    while log.reader.stats().segments <= many {
        write_topics(&mut log, first..first + 500)?;
        first += 500;
    }
    log.close()
}

fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|line| line.split_whitespace().next())
        .context("no VmRSS")?
        .parse()?;
    Ok(kib << 10)
}
