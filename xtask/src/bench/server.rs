//! A server under load: the hub, a peer or the floor, always new.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::tools::Tools;
use crate::hub::{self, Hub, Setup, confined};
use crate::{deadline, process};

const START_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Does nothing but write.
    Floor,
    Nchan,
    Axum,
    Express,
    Fastapi,
    Hub,
}

impl Kind {
    pub(super) const ALL: [Self; 6] = [
        Self::Floor,
        Self::Nchan,
        Self::Axum,
        Self::Express,
        Self::Fastapi,
        Self::Hub,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Nchan => "Nchan",
            Self::Axum => "axum `Sse`",
            Self::Express => "better-sse on Express",
            Self::Fastapi => "sse-starlette on FastAPI",
            Self::Hub => "Tidings (durable)",
        }
    }

    /// For a plot.
    pub(super) fn short_name(self) -> &'static str {
        match self {
            Self::Hub => "Tidings",
            Self::Axum => "axum",
            other => other.name(),
        }
    }

    /// Where subscribers go, and publishers.
    fn paths(self) -> (&'static str, &'static str) {
        match self {
            Self::Floor => ("/sub/{t}", "/pub"),
            Self::Nchan => ("/sub?topic={t}", "/pub?topic={t}"),
            Self::Axum | Self::Express | Self::Fastapi => ("/sub", "/pub"),
            Self::Hub => ("/events?topic={t}", "/events?topic={t}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    process: Process,
    pub(super) base: String,
    pub(super) subscribe: String,
    pub(super) publish: String,
    // Dropped after the process.
    _folder: TempDir,
}

#[derive(Debug)]
enum Process {
    Hub(Hub),
    Other(process::Guard),
}

impl Server {
    pub(super) fn start(kind: Kind, tools: &Tools) -> Result<Self> {
        let folder = tempfile::tempdir().context("could not make a folder for the server")?;
        let setup = Setup {
            core: tools.server_core(),
            ..Setup::new(&tools.hub, folder.path())?
        };
        let base = format!("http://127.0.0.1:{}", setup.port);
        let process = match kind {
            Kind::Hub => Process::Hub(Hub::start(setup)?),
            other => Process::Other(start(command(other, tools, &setup)?, setup.port)?),
        };
        let (subscribe, publish) = kind.paths();
        let (subscribe, publish) = (format!("{base}{subscribe}"), format!("{base}{publish}"));
        Ok(Self {
            kind,
            process,
            base,
            subscribe,
            publish,
            _folder: folder,
        })
    }

    /// What the hub says of itself under this name.
    pub(super) fn metric(&self, name: &str) -> Result<String> {
        let answer = ureq::get(format!("{}/metrics", self.base)).call()?;
        let text = answer.into_body().read_to_string()?;
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        let value = value.with_context(|| format!("the hub has no metric {name}"))?;
        Ok(value.trim().to_owned())
    }

    pub(super) fn process_id(&self) -> String {
        match &self.process {
            Process::Hub(hub) => hub.process_id().to_string(),
            Process::Other(process) => process.id().to_string(),
        }
    }
}

fn command(kind: Kind, tools: &Tools, setup: &Setup) -> Result<Command> {
    let (core, port) = (setup.core, setup.port.to_string());
    let run = |program: &Path| confined(program, core);
    let mut command = match kind {
        Kind::Nchan => {
            let file = configure(tools.nchan()?, setup)?;
            let mut nginx = run(Path::new("/usr/sbin/nginx"));
            nginx.arg("-p").arg(&setup.folder).arg("-c").arg(file);
            return Ok(nginx);
        }
        Kind::Express => {
            let mut node = run(Path::new("node"));
            node.arg(tools.express()?.join("server.js"));
            node
        }
        Kind::Fastapi => {
            let folder = tools.fastapi()?;
            let mut python = run(&folder.join("environment/bin/python"));
            python.arg(folder.join("server.py"));
            python
        }
        Kind::Axum => run(&tools.peers.join("axum")),
        Kind::Floor | Kind::Hub => run(&tools.floor()),
    };
    command.arg(port);
    Ok(command)
}

fn configure(template: &str, setup: &Setup) -> Result<PathBuf> {
    let text = template
        .replace("{port}", &setup.port.to_string())
        .replace("{folder}", &setup.folder.display().to_string());
    let file = setup.folder.join("nginx.conf");
    fs::write(&file, text)?;
    Ok(file)
}

fn start(mut command: Command, port: u16) -> Result<process::Guard> {
    let name = command.get_program().display().to_string();
    let mut guard = process::Guard::spawn(&name, command.stdin(Stdio::null()))?;
    deadline::wait_for("a server to listen", START_LIMIT, || {
        if let Some(status) = guard.ended()? {
            anyhow::bail!("it ended at its start: {status}");
        }
        Ok(TcpStream::connect((hub::LOOPBACK, port)).ok().map(drop))
    })?;
    Ok(guard)
}
