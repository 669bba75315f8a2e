//! A small disk of its own for the log, which can be filled and emptied.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// What retention allows, twice: room for what is written ahead and compared.
const DISK_MIB: u32 = 24;
/// A file that is not the log's, and that it leaves alone.
const BALLAST: &str = "ballast";
/// What is written at once: large, and then what is left.
const WRITE_BYTES: [usize; 2] = [64 << 10, 512];

/// A file system in memory, mounted where the log is.
#[derive(Debug)]
pub(super) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts one. An error is that of who may not do that.
    pub(super) fn mount(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        let size = format!("size={DISK_MIB}m");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &size, "tidings-torture"]);
        let output = command.arg(path).output().context("there is no mount")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}", said.trim());
        Ok(Self {
            path: path.to_owned(),
        })
    }

    /// Takes all the room that there is.
    pub(super) fn fill(&self) -> Result<()> {
        let mut ballast = File::create(self.path.join(BALLAST))?;
        for bytes in WRITE_BYTES {
            let zeros = vec![0; bytes];
            loop {
                match ballast.write_all(&zeros) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => bail!("could not fill the disk: {error}"),
                }
            }
        }
        Ok(())
    }

    /// Gives it back; also if it was not taken.
    pub(super) fn free(&self) -> Result<()> {
        match fs::remove_file(self.path.join(BALLAST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Leaves it mounted, with what is on it.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // A hub that was just killed may hold it still: then it goes with the hub.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
