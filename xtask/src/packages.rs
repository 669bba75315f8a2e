//! Programs that this repository's verbs run and Cargo cannot build: Debian packages, installed
//! when missing.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::process;

/// A program and the Debian package it is in.
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

pub(crate) const CHROMIUM: Program = Program {
    name: "chromium",
    package: "chromium",
};
pub(crate) const CHROMEDRIVER: Program = Program {
    name: "chromedriver",
    package: "chromium-driver",
};
pub(crate) const CURL: Program = Program {
    name: "curl",
    package: "curl",
};
pub(crate) const NGINX: Program = Program {
    name: "nginx",
    package: "nginx-light",
};
pub(crate) const NODE: Program = Program {
    name: "node",
    package: "nodejs",
};
pub(crate) const NPM: Program = Program {
    name: "npm",
    package: "npm",
};
pub(crate) const PYTHON: Program = Program {
    name: "python3",
    package: "python3-venv",
};
pub(crate) const TASKSET: Program = Program {
    name: "taskset",
    package: "util-linux",
};
pub(crate) const VALGRIND: Program = Program {
    name: "valgrind",
    package: "valgrind",
};

/// Installs the packages of those programs that are not on the PATH.
pub(crate) fn ensure(programs: &[Program]) -> Result<()> {
    let missing: Vec<&str> = programs
        .iter()
        .filter(|program| find(program.name).is_none())
        .map(|program| program.package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    install(&missing)
}

/// Installs these packages, or says how.
pub(crate) fn install(missing: &[&str]) -> Result<()> {
    let wanted = missing.join(" ");
    if find("apt-get").is_none() {
        bail!("missing: {wanted}. This machine has no apt-get: install them by hand and try again");
    }
    if !is_root() {
        bail!("missing: {wanted}. Run `sudo apt-get install -y {wanted}` and try again");
    }
    eprintln!("installing what is missing: {wanted}");
    process::run(Command::new("apt-get").args(["update", "-qq"]))?;
    process::run(
        Command::new("apt-get")
            .args(["install", "-y", "-qq", "--no-install-recommends"])
            .args(missing)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Where on the PATH a program is.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // Servers are where only root has its PATH.
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}
