//! Who got what, and whether that is good enough.

use std::path::Path;
use std::{fmt, fs};

use anyhow::{Result, bail};

use super::tally::Tally;
use crate::table::Table;

const LOG_LINES_MAX: usize = 40;

#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Whether it comes back after a break: only then is a lost line anybody's fault.
    resumes: bool,
    tally: Tally,
    note: String,
}

impl Report {
    pub(super) fn add(&mut self, name: &'static str, resumes: bool, tally: Tally, note: String) {
        self.rows.push(Row {
            name,
            resumes,
            tally,
            note,
        });
    }

    /// An error unless every follower that resumes got every line once, in order, as it was.
    pub(super) fn verdict(&self) -> Result<()> {
        let bad: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| !row.is_good())
            .map(|row| row.name)
            .collect();
        println!(
            "{} passed, {} failed",
            self.rows.len() - bad.len(),
            bad.len()
        );
        if !bad.is_empty() {
            bail!(
                "not what was published, once and in order: {}",
                bad.join(", ")
            );
        }
        Ok(())
    }
}

/// The end of all that the programs said, after a failure.
pub(super) fn tell_logs(folder: &Path) {
    let files = folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for file in files.filter(|file| file.extension().is_some_and(|kind| kind == "log")) {
        let text = fs::read_to_string(&file).unwrap_or_default();
        let skipped = text.lines().count().saturating_sub(LOG_LINES_MAX);
        let name = file.file_name().unwrap_or_default().display().to_string();
        eprintln!("--- {name}, but for its first {skipped} lines:");
        text.lines()
            .skip(skipped)
            .for_each(|line| eprintln!("{line}"));
    }
}

impl Row {
    fn is_good(&self) -> bool {
        let tally = &self.tally;
        let exact = tally.doubled + tally.out_of_order + tally.altered == 0;
        exact && (!self.resumes || tally.lost() + tally.gaps == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(&[
            "follower",
            "lines",
            "lost",
            "doubled",
            "out of order",
            "altered",
            "gaps told",
            "ends told",
            "last ID",
        ]);
        for Row { name, tally, .. } in &self.rows {
            let counts = [
                tally.got,
                tally.lost(),
                tally.doubled,
                tally.out_of_order,
                tally.altered,
                tally.gaps,
                tally.ends,
            ];
            let counts = counts.iter().map(ToString::to_string);
            let ends = [tally.last_id.clone()];
            table.row(
                std::iter::once((*name).to_owned())
                    .chain(counts)
                    .chain(ends),
            );
        }
        write!(f, "{table}")?;
        for Row { name, note, .. } in &self.rows {
            for line in note.lines().filter(|line| !line.trim().is_empty()) {
                writeln!(f, "{name}: {line}")?;
            }
        }
        Ok(())
    }
}
