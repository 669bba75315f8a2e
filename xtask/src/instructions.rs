//! The wire crate's regression guard: instructions, which valgrind counts alike on a busy machine
//! and a quiet one, against the bounds in `crates/wire/instructions.txt`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{packages, process, repository};

pub(crate) fn run() -> Result<()> {
    packages::ensure(&[packages::VALGRIND])?;
    let bounds = repository::root().join("crates/wire/instructions.txt");
    let bounds = fs::read_to_string(&bounds)
        .with_context(|| format!("could not read {}", bounds.display()))?;
    let program = build()?;
    let lines = bounds
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'));
    let mut over = Vec::new();
    let mut count = 0;
    for line in lines.filter(|line| !line.is_empty()) {
        let bound = Bound::parse(line).with_context(|| format!("{line:?} is no bound"))?;
        let taken = bound.count(&program)?;
        let Bound { case, most, .. } = bound;
        let verdict = if taken > most { "TOO MANY" } else { "ok" };
        println!("instructions: {case}: {taken} of at most {most} ... {verdict}");
        over.extend((taken > most).then_some(case));
        count += 1;
    }
    println!("{} passed, {} failed", count - over.len(), over.len());
    ensure!(
        over.is_empty(),
        "more instructions than crates/wire/instructions.txt allows: {over:?}"
    );
    Ok(())
}

fn build() -> Result<std::path::PathBuf> {
    let mut command = repository::cargo();
    command.args([
        "build",
        "--release",
        "--package",
        "tidings-wire",
        "--example",
        "instructions",
    ]);
    process::run(&mut command)?;
    Ok(repository::target()?.join("release/examples/instructions"))
}

/// A case of the example, the function in it that is counted, and how many it may take.
struct Bound<'t> {
    case: &'t str,
    function: &'t str,
    most: u64,
}

impl<'t> Bound<'t> {
    fn parse(line: &'t str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (case, function) = (words.next()?, words.next()?);
        Some(Self {
            case,
            function,
            most: words.next()?.parse().ok()?,
        })
    }

    fn count(&self, program: &Path) -> Result<u64> {
        let mut command = Command::new("valgrind");
        command
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(format!("--toggle-collect=*{}*", self.function))
            .arg(program)
            .arg(self.case);
        let output = command.output().context("could not start valgrind")?;
        let said = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() {
            bail!("valgrind failed ({}):\n{said}", output.status);
        }
        let collected = said
            .lines()
            .find_map(|line| line.split_once("Collected : "));
        let count = collected.and_then(|(_, count)| count.trim().parse().ok());
        count.with_context(|| format!("valgrind told no count:\n{said}"))
    }
}
