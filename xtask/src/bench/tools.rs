//! The programs that take part, built for release, and the cores that they run on.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::Options;
use super::figures::Figures;
use super::peers;
use super::server::{Kind, Server};
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
    target: PathBuf,
    wanted: Vec<Kind>,
    nchan: OnceLock<Option<String>>,
    express: OnceLock<Option<PathBuf>>,
    fastapi: OnceLock<Option<PathBuf>>,
    json: Option<File>,
}

impl Tools {
    pub(super) fn build(options: &Options) -> Result<Self> {
        packages::ensure(&[packages::TASKSET])?;
        let cores = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let target = repository::target()?;
        let sources = repository::root().join("bench/peers");
        let hub = match &options.hub {
            Some(path) => path
                .canonicalize()
                .with_context(|| format!("no {}", path.display()))?,
            None => repository::build_hub(&options.profile)?,
        };
        check_the_check(&sources, &target.join("peers"))?;
        let json = options.json.as_ref().map(|path| {
            let file = OpenOptions::new().create(true).append(true).open(path);
            file.with_context(|| format!("could not open {}", path.display()))
        });
        Ok(Self {
            hub,
            peers: build(&sources, &target.join("peers"))?,
            yardstick: yardstick(&target)?,
            cores: cores.then_some((0, 1)),
            target,
            wanted: options.servers.clone(),
            nchan: OnceLock::new(),
            express: OnceLock::new(),
            fastapi: OnceLock::new(),
            json: json.transpose()?,
        })
    }

    /// Those of `kinds` that were asked for and are here.
    pub(super) fn servers(&self, kinds: &[Kind]) -> Vec<Kind> {
        let wanted = |kind: &Kind| self.wanted.is_empty() || self.wanted.contains(kind);
        let here = |kind: &Kind| match kind {
            Kind::Nchan => self.nchan().is_ok(),
            Kind::Express => self.express().is_ok(),
            Kind::Fastapi => self.fastapi().is_ok(),
            Kind::Floor | Kind::Axum | Kind::Hub => true,
        };
        let kinds = kinds.iter().copied();
        kinds.filter(|kind| wanted(kind) && here(kind)).collect()
    }

    /// Installs it, at the first time.
    pub(super) fn nchan(&self) -> Result<&str> {
        let text = self
            .nchan
            .get_or_init(|| or_without(Kind::Nchan, peers::nchan()));
        text.as_deref().context("Nchan could not be installed")
    }

    /// Installs it, at the first time.
    pub(super) fn express(&self) -> Result<&Path> {
        let install = || or_without(Kind::Express, peers::express(&self.target));
        let folder = self.express.get_or_init(install);
        folder.as_deref().context("Express could not be installed")
    }

    /// Installs it, at the first time.
    pub(super) fn fastapi(&self) -> Result<&Path> {
        let install = || or_without(Kind::Fastapi, peers::fastapi(&self.target));
        let folder = self.fastapi.get_or_init(install);
        folder.as_deref().context("FastAPI could not be installed")
    }

    pub(super) fn floor(&self) -> PathBuf {
        self.yardstick.as_ref().unwrap_or(&self.peers).join("floor")
    }

    pub(super) fn server_core(&self) -> Option<usize> {
        self.cores.map(|(server, _)| server)
    }

    /// Runs subscribers and publishers against a server, by the independent load where it is.
    pub(super) fn fanout(&self, server: &Server, arguments: &[&str]) -> Result<Figures> {
        match &self.yardstick {
            Some(folder) => self.load(&folder.join("sseload"), server, arguments),
            None => self.load(&self.peers.join("fanout"), server, arguments),
        }
    }

    /// Runs a program of `bench/peers` as the load of a server.
    pub(super) fn peer(&self, name: &str, server: &Server, arguments: &[&str]) -> Result<Figures> {
        self.load(&self.peers.join(name), server, arguments)
    }

    fn load(&self, program: &Path, server: &Server, arguments: &[&str]) -> Result<Figures> {
        let core = self.cores.map(|(_, load)| load);
        let process = server.process_id();
        let all = ["--name", server.kind.name(), "--pid", &process];
        let arguments = [&all, arguments].concat();
        let printed = process::stdout(confined(program, core).args(&arguments))?;
        let figures = Figures::parse(&printed)?;
        if let Some(mut file) = self.json.as_ref() {
            let program = program.file_name().map(|name| name.to_string_lossy());
            let figures: &Value = figures.all();
            let line = json!({ "load": program, "arguments": arguments, "figures": figures });
            writeln!(file, "{line}").context("could not write the figures")?;
        }
        Ok(figures)
    }
}

/// A peer that cannot be installed is no reason to measure nothing.
fn or_without<T>(kind: Kind, installed: Result<T>) -> Option<T> {
    installed
        .inspect_err(|error| eprintln!("without {}: {error:#}", kind.name()))
        .ok()
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
        // Left alone where it is the same, so that it is not built again.
        if fs::read(ours.join(name)).ok().as_ref() != Some(&text) {
            fs::write(ours.join(name), text)?;
        }
    }
    build(&ours, &target.join("yardstick")).map(Some)
}

/// What counts deliveries is tested before it is trusted.
fn check_the_check(folder: &Path, target: &Path) -> Result<()> {
    let mut command: Command = repository::cargo();
    command.args(["test", "--release", "--quiet", "--lib", "--manifest-path"]);
    command.arg(folder.join("Cargo.toml"));
    process::stdout(command.arg("--target-dir").arg(target)).map(drop)
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
