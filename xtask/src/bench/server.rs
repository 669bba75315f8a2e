//! A server under load: the hub, the peer or the floor, always new.

use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::tools::Tools;
use crate::hub::{self, Hub, Setup, confined};
use crate::{deadline, process};

const START_LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Does nothing but write.
    Floor,
    Axum,
    Hub,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Floor, Self::Axum, Self::Hub];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Axum => "axum 0.8 `Sse` + tokio broadcast (in memory)",
            Self::Hub => "Tidings (durable)",
        }
    }

    /// Where followers go, and publishers.
    fn paths(self) -> (&'static str, &'static str) {
        match self {
            Self::Floor => ("/sub/{t}", "/pub"),
            Self::Axum => ("/sub", "/pub"),
            Self::Hub => ("/events?topic={te}", "/events?topic={te}"),
        }
    }
}

#[derive(Debug)]
pub(super) struct Server {
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
        let core = setup.core;
        let process = match kind {
            Kind::Floor => Process::Other(start(&tools.floor(), core, setup.port)?),
            Kind::Axum => Process::Other(start(&tools.peers.join("axum"), core, setup.port)?),
            Kind::Hub => Process::Hub(Hub::start(setup)?),
        };
        let (subscribe, publish) = kind.paths();
        let (subscribe, publish) = (format!("{base}{subscribe}"), format!("{base}{publish}"));
        Ok(Self {
            process,
            base,
            subscribe,
            publish,
            _folder: folder,
        })
    }

    pub(super) fn process_id(&self) -> String {
        match &self.process {
            Process::Hub(hub) => hub.process_id().to_string(),
            Process::Other(process) => process.id().to_string(),
        }
    }
}

fn start(program: &Path, core: Option<usize>, port: u16) -> Result<process::Guard> {
    let mut command = confined(program, core);
    command.arg(port.to_string()).stdin(Stdio::null());
    let guard = process::Guard::spawn(&program.display().to_string(), &mut command)?;
    deadline::wait_for("a server to listen", START_LIMIT, || {
        Ok(TcpStream::connect((hub::LOOPBACK, port)).ok().map(drop))
    })?;
    Ok(guard)
}
