//! The programs that take part, built for release, and the cores that they run on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};

use super::figures::Figures;
use crate::hub::confined;
use crate::{packages, process, repository};

#[derive(Debug)]
pub(super) struct Tools {
    pub(super) hub: PathBuf,
    /// The folder of `bench/peers`' programs.
    pub(super) peers: PathBuf,
    /// The folder of an independent load generator and floor, where there is one.
    pub(super) yardstick: Option<PathBuf>,
    /// One core for the server, one for the load; `None`: this machine has but one.
    pub(super) cores: Option<(usize, usize)>,
}

impl Tools {
    pub(super) fn build(profile: &str) -> Result<Self> {
        packages::ensure(&[packages::TASKSET])?;
        let cores = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let target = repository::target()?;
        let peers = repository::root().join("bench/peers");
        Ok(Self {
            hub: repository::build_hub(profile)?,
            peers: build(&peers, &target.join("peers"))?,
            yardstick: yardstick(&target)?,
            cores: cores.then_some((0, 1)),
        })
    }

    pub(super) fn floor(&self) -> PathBuf {
        self.yardstick.as_ref().unwrap_or(&self.peers).join("floor")
    }

    pub(super) fn server_core(&self) -> Option<usize> {
        self.cores.map(|(server, _)| server)
    }

    /// Runs followers and publishers against a server.
    pub(super) fn fanout(&self, arguments: &[&str]) -> Result<Figures> {
        match &self.yardstick {
            Some(folder) => self.load(&folder.join("sseload"), arguments),
            None => self.load(&self.peers.join("fanout"), arguments),
        }
    }

    /// Runs another program of `bench/peers` as the load.
    pub(super) fn peer(&self, name: &str, arguments: &[&str]) -> Result<Figures> {
        self.load(&self.peers.join(name), arguments)
    }

    fn load(&self, program: &Path, arguments: &[&str]) -> Result<Figures> {
        let core = self.cores.map(|(_, load)| load);
        let printed = process::stdout(confined(program, core).args(arguments))?;
        Figures::parse(&printed)
    }
}

/// Copied before it is built: a build writes beside its manifest, and that folder is not ours.
fn yardstick(target: &Path) -> Result<Option<PathBuf>> {
    let theirs = repository::root().join("../shared/yardstick");
    if !theirs.is_dir() {
        eprintln!("no ../shared/yardstick: bench/peers has a load and a floor of its own");
        return Ok(None);
    }
    let ours = target.join("yardstick-source");
    fs::create_dir_all(ours.join("src"))?;
    let sources = theirs
        .join("src")
        .read_dir()?
        .map(|entry| entry.map(|entry| entry.path()));
    for file in sources.chain([Ok(theirs.join("Cargo.toml"))]) {
        let file = file?;
        let name = file.strip_prefix(&theirs)?;
        let text = fs::read(&file).with_context(|| format!("could not read {}", file.display()))?;
        fs::write(ours.join(name), text)?;
    }
    build(&ours, &target.join("yardstick")).map(Some)
}

/// Answers where the programs are.
fn build(folder: &Path, target: &Path) -> Result<PathBuf> {
    let mut command: Command = repository::cargo();
    command
        .args(["build", "--release", "--manifest-path"])
        .arg(folder.join("Cargo.toml"));
    process::run(command.arg("--target-dir").arg(target))?;
    Ok(target.join("release"))
}
