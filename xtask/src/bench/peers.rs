//! Servers of other languages that are measured beside the hub, from Debian, npm and PyPI. They are
//! installed below the target directory when a row wants them; one that cannot be is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{packages, process, repository};

const NCHAN_MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";
const NCHAN_PACKAGE: &str = "libnginx-mod-nchan";

/// Answers nginx's configuration, with places for the port and the folder.
pub(super) fn nchan() -> Result<String> {
    if !Path::new(NCHAN_MODULE).exists() {
        packages::install(&["nginx", NCHAN_PACKAGE])?;
    }
    let file = source("nchan").join("nginx.conf");
    fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))
}

/// The versions of nginx and Nchan, as Debian has them.
pub(super) fn nchan_version() -> Result<String> {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat", "${Version}", NCHAN_PACKAGE]);
    process::stdout(&mut query)
}

/// Answers the folder of the program, with what it needs.
pub(super) fn express(target: &Path) -> Result<PathBuf> {
    packages::ensure(&[packages::NODE, packages::NPM])?;
    let folder = copy("express", target)?;
    if !folder.join("node_modules").is_dir() {
        process::run(Command::new("npm").arg("ci").current_dir(&folder))?;
    }
    Ok(folder)
}

/// Answers the folder of the program, with what it needs.
pub(super) fn fastapi(target: &Path) -> Result<PathBuf> {
    packages::ensure(&[packages::PYTHON])?;
    let folder = copy("fastapi", target)?;
    let environment = folder.join("environment");
    if !environment.join("complete").exists() {
        process::run(
            Command::new("python3")
                .args(["-m", "venv"])
                .arg(&environment),
        )?;
        let mut pip = Command::new(environment.join("bin/pip"));
        process::run(
            pip.args(["install", "--quiet", "--requirement", "requirements.txt"])
                .current_dir(&folder),
        )?;
        fs::write(environment.join("complete"), "")?;
    }
    Ok(folder)
}

/// What a version file pins.
pub(super) fn pinned(peer: &str, file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(source(peer).join(file))?;
    let line = text.lines().find(|line| line.contains(name));
    let version: String = line
        .with_context(|| format!("{file} does not name {name}"))?
        .replace(name, "")
        .chars()
        .filter(|character| character.is_ascii_digit() || *character == '.')
        .collect();
    Ok(version)
}

fn source(peer: &str) -> PathBuf {
    repository::root().join("bench/peers").join(peer)
}

/// Where a package manager may write.
fn copy(peer: &str, target: &Path) -> Result<PathBuf> {
    let folder = target.join("peers").join(peer);
    fs::create_dir_all(&folder)?;
    for file in source(peer).read_dir()? {
        let file = file?;
        // What somebody installed beside the sources by hand is not copied.
        if file.file_type()?.is_file() {
            fs::copy(file.path(), folder.join(file.file_name()))?;
        }
    }
    Ok(folder)
}
