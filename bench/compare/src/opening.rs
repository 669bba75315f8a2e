//! Opening what was closed in order, and what was killed amid its commits.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use crate::disk;
use crate::figures::{median, time};
use crate::load;
use crate::stores::Kind;
use crate::table::Table;
use crate::workload::Workload;

const ROUNDS: usize = 5;
/// The commits that one who is killed has seen through before.
const COMMITS: usize = 300;
const COMMIT_EVENTS: usize = 32;

pub fn run(within: &Path, stores: &[Kind]) -> Result<()> {
    println!(
        "\n## Open\n\nFrom the call that opens the load until the newest event was read; the median \
         of {ROUNDS} openings. Cold: with no page in memory. After a kill: another process commits \
         {COMMIT_EVENTS} events at a time and is killed with SIGKILL at some time after the \
         {COMMITS}th commit. Whatever it said was committed has to be there.\n"
    );
    let heads = [
        "store",
        "clean, warm",
        "clean, cold",
        "after a kill, warm",
        "after a kill, cold",
    ];
    let mut table = Table::new(&heads);
    let workload = Workload::new();
    // The floor has nothing to open.
    for kind in load::indexed(stores).filter(|kind| *kind != Kind::Floor) {
        let subject = Subject {
            kind,
            folder: load::folder(within, kind),
            workload: &workload,
        };
        let mut cells = vec![kind.to_string()];
        for killed in [false, true] {
            for cold in [false, true] {
                let rounds = (0..ROUNDS).map(|_| subject.open(killed, cold));
                cells.push(time(median(rounds.collect::<Result<_>>()?)));
            }
        }
        table.row(cells);
    }
    print!("{table}");
    Ok(())
}

struct Subject<'a> {
    kind: Kind,
    folder: PathBuf,
    workload: &'a Workload,
}

impl Subject<'_> {
    fn open(&self, killed: bool, cold: bool) -> Result<f64> {
        let acknowledged = if killed { self.kill()? } else { 0 };
        if cold {
            disk::forget(&self.folder)?;
        }
        let start = Instant::now();
        let store = self.kind.open(&self.folder, self.workload)?;
        let last = store.last()?;
        let seconds = start.elapsed().as_secs_f64();
        ensure!(last >= acknowledged, "{} lost a commit", self.kind);
        Ok(seconds)
    }

    /// Answers the last event that was acknowledged for certain.
    fn kill(&self) -> Result<u64> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("commit").arg(format!("{:?}", self.kind));
        command.arg(&self.folder).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut lines = output.lines();
        let line = lines.nth(COMMITS).context("it ended too early")??;
        child.kill()?;
        child.wait()?;
        // It went on until it died; a last line may be torn.
        let said = lines
            .map_while(Result::ok)
            .filter_map(|line| line.parse().ok());
        Ok(said.max().unwrap_or(line.parse()?))
    }
}

/// What the process does that is to be killed: it says the last event of each commit.
pub fn commit_until_killed(kind: &str, folder: &Path) -> Result<()> {
    let mut kinds = Kind::value_variants().iter();
    let kind = kinds.find(|known| format!("{known:?}") == kind);
    let workload = Workload::new();
    let mut store = kind.context("no such store")?.open(folder, &workload)?;
    let mut next = store.last()? + 1;
    loop {
        store.append(&workload.events(next, COMMIT_EVENTS))?;
        next += COMMIT_EVENTS as u64;
        writeln!(std::io::stdout(), "{:020}", next - 1)?;
    }
}
