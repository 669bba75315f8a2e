//! Real text, from files that any machine that builds this repository has: its sources and those
//! of its dependencies.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::line::Line;
use crate::repository;

const KINDS: [&str; 5] = ["rs", "md", "toml", "html", "txt"];
/// Longer lines are generated tables, of which one would outweigh a thousand others.
const LINE_BYTES_MAX: usize = 4096;

/// `count` lines, numbered from 1. Where the files have fewer, they are read again from the first.
pub(super) fn lines(count: usize) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for folder in repository::package_folders()? {
        if texts.len() >= count {
            break;
        }
        gather(&folder, count, &mut texts);
    }
    ensure!(
        !texts.is_empty(),
        "found no text in the sources of this repository"
    );
    let numbered = texts.iter().cycle().take(count).enumerate();
    Ok(numbered
        .map(|(index, text)| Line::new(index + 1, text).to_string())
        .collect())
}

fn gather(folder: &Path, count: usize, texts: &mut Vec<String>) {
    let mut entries: Vec<PathBuf> = folder
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    entries.sort();
    for path in entries {
        if texts.len() >= count {
            return;
        }
        if path.is_dir() && !path.ends_with("target") {
            gather(&path, count, texts);
        } else if path
            .extension()
            .is_some_and(|kind| KINDS.iter().any(|known| kind == *known))
        {
            texts.extend(
                fs::read_to_string(&path)
                    .unwrap_or_default()
                    .lines()
                    .filter_map(usable),
            );
        }
    }
}

/// A carriage return inside a line is an end of line to an event stream, and so would come back as
/// another line: right, but not what is asked here.
fn usable(line: &str) -> Option<String> {
    let usable = line.len() <= LINE_BYTES_MAX && !line.contains('\r');
    usable.then(|| line.to_owned())
}
