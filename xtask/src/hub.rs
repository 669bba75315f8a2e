//! A `tidings serve` on loopback, to be used, killed and started again.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{deadline, process};

pub(crate) const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Where a hub keeps its data, in its folder.
pub(crate) const DATA: &str = "data";
/// Ports below are what services are known by.
const FIRST_PORT: u16 = 10_000;
/// From here on ports are given to connections, as Linux comes.
const FIRST_GIVEN_PORT: u16 = 32_768;
const START_LIMIT: Duration = Duration::from_mins(1);
/// Longer than a drain and its grace period take with the hub's defaults.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What a hub is started with: the same at every start.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) binary: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
    /// The core that it is confined to; `None`: any.
    pub(crate) core: Option<usize>,
    /// Options of `tidings serve` besides where it listens and keeps its data.
    pub(crate) options: Vec<String>,
}

impl Setup {
    pub(crate) fn new(binary: &Path, folder: &Path) -> Result<Self> {
        let (binary, folder) = (binary.to_path_buf(), folder.to_path_buf());
        Ok(Self {
            binary,
            folder,
            port: free_port()?,
            core: None,
            options: Vec::new(),
        })
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join(DATA)
    }

    fn command(&self) -> Result<Command> {
        let log = self.log_file()?;
        let mut command = confined(&self.binary, self.core);
        command
            .args([
                "serve",
                "--listen",
                &format!("127.0.0.1:{}", self.port),
                "--data",
            ])
            .arg(self.data())
            .args(&self.options)
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(command)
    }

    /// Appended to, so that it tells the story across restarts.
    fn log_file(&self) -> Result<File> {
        let path = self.folder.join("hub.log");
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.with_context(|| format!("could not open {}", path.display()))
    }
}

/// A program on one core, or anywhere.
pub(crate) fn confined(program: &Path, core: Option<usize>) -> Command {
    let Some(core) = core else {
        return Command::new(program);
    };
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", &core.to_string()]).arg(program);
    command
}

#[derive(Debug)]
pub(crate) struct Hub {
    setup: Setup,
    process: process::Guard,
}

impl Hub {
    /// Starts a hub and waits until it is ready.
    pub(crate) fn start(setup: Setup) -> Result<Self> {
        let process = process::Guard::spawn("the hub", &mut setup.command()?)?;
        let mut hub = Self { setup, process };
        hub.wait_until_ready()?;
        Ok(hub)
    }

    /// `kill -9`, and the same again on the same port and folder.
    pub(crate) fn kill_and_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.restart()
    }

    /// `kill -9`, and gone when this returns.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()
    }

    /// The same again on the same port and folder, once it is gone.
    pub(crate) fn restart(&mut self) -> Result<()> {
        self.process = process::Guard::spawn("the hub", &mut self.setup.command()?)?;
        self.wait_until_ready()
    }

    /// Once it is gone: starts it, and kills it again after this time, wherever it may be then.
    pub(crate) fn start_and_kill(&mut self, after: Duration) -> Result<()> {
        self.process = process::Guard::spawn("the hub", &mut self.setup.command()?)?;
        std::thread::sleep(after);
        self.kill()
    }

    /// Asks it to stop in its own time.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        self.process.terminate(STOP_LIMIT)
    }

    /// Asks it to stop, and kills it after this time, wherever it may be then.
    pub(crate) fn stop_and_kill(&mut self, after: Duration) -> Result<()> {
        self.process.ask_to_end()?;
        std::thread::sleep(after);
        self.kill()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.setup.port)
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// A command of the same binary, told where this hub is.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.setup.binary);
        command
            .args(arguments)
            .args(["--url", &self.url()])
            .current_dir(&self.setup.folder);
        command
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let url = format!("{}/readyz", self.url());
        let log = self.setup.folder.join("hub.log");
        deadline::wait_for("the hub to be ready", START_LIMIT, || {
            if let Some(status) = self.process.ended()? {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("the hub ended at its start ({status}) and said:\n{said}");
            }
            Ok(ureq::get(&url).call().is_ok().then_some(()))
        })
    }
}

/// A port that nothing listens on now, and that no connection gets by itself: those who connect to
/// a hub while it is down would take its port from it now and then, by being given it for their own
/// end. Another program may take it on purpose before the hub does; the hub then fails and says so.
pub(crate) fn free_port() -> Result<u16> {
    let first_given = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(FIRST_GIVEN_PORT);
    let candidates = FIRST_PORT..first_given.max(FIRST_PORT + 1);
    let start = RandomState::new().hash_one("port");
    let count = u64::from(candidates.end - candidates.start);
    let skip = usize::try_from(start % count)?;
    let mut ports = candidates.clone().cycle().skip(skip).take(candidates.len());
    ports
        .find(|port| TcpListener::bind((LOOPBACK, *port)).is_ok())
        .with_context(|| format!("no free port in {candidates:?}"))
}
