//! Servers of other languages that are measured beside the hub, from Debian, npm and `PyPI`. They are
//! installed below the target directory when a row wants them; one that cannot be is left out.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::server::Kind;
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

/// What exactly it is; `None` for what is ours.
pub(super) fn version(kind: Kind) -> Result<Option<String>> {
    let version = match kind {
        Kind::Floor | Kind::Hub => return Ok(None),
        Kind::Nchan => {
            let mut query = Command::new("dpkg-query");
            query.args(["--show", "--showformat", "${Package} ${Version}, "]);
            process::stdout(query.args(["nginx", NCHAN_PACKAGE]))?
        }
        Kind::Axum => pinned("Cargo.lock", &["name = \"axum\"", "name = \"hyper\""])?,
        Kind::Express => pinned("express/package.json", &["\"better-sse\":", "\"express\":"])?,
        Kind::Fastapi => {
            let names = ["sse-starlette==", "fastapi==", "uvicorn=="];
            pinned("fastapi/requirements.txt", &names)?
        }
    };
    Ok(Some(version.trim_end_matches(", ").to_owned()))
}

/// The versions in the lines that have these words, or in the lines after.
fn pinned(file: &str, words: &[&str]) -> Result<String> {
    let text = fs::read_to_string(repository::root().join("bench/peers").join(file))?;
    let version = |word: &&str| {
        let (_, rest) = text.split_once(word)?;
        let is_of_version = |c: char| c.is_ascii_digit() || c == '.';
        let version = rest
            .split(|c| !is_of_version(c))
            .find(|part| !part.is_empty())?;
        let name = word.trim_start_matches("name = ");
        let name = name.trim_matches(|c: char| !c.is_alphanumeric());
        Some(format!("{name} {version}"))
    };
    let versions: Option<Vec<String>> = words.iter().map(version).collect();
    Ok(versions
        .with_context(|| format!("{file} does not name all of {words:?}"))?
        .join(", "))
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

#[cfg(test)]
mod tests {
    use super::{Kind, version};

    #[test]
    fn pinned_versions_are_found() {
        for (kind, names) in [
            (Kind::Axum, ["axum ", "hyper "]),
            (Kind::Express, ["better-sse ", "express "]),
            (Kind::Fastapi, ["sse-starlette ", "uvicorn "]),
        ] {
            let version = version(kind).expect("pinned").expect("a peer");
            for name in names {
                let (_, rest) = version.split_once(name).expect(name);
                assert!(rest.starts_with(|c: char| c.is_ascii_digit()), "{version}");
            }
        }
    }
}
