//! Other programs: run to the end, or kept and killed when dropped.

use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::deadline;

/// Runs a program to its end with its output shown; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command
        .status()
        .with_context(|| format!("could not start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed: {status}");
    }
    Ok(())
}

/// Runs a program to its end and answers what it printed on stdout.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{shown}`"))?;
    if !output.status.success() {
        bail!("`{shown}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` did not print UTF-8"))
}

fn show(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A child process that does not outlive this value.
#[derive(Debug)]
pub(crate) struct Guard {
    name: String,
    child: Child,
}

impl Guard {
    pub(crate) fn spawn(name: &str, command: &mut Command) -> Result<Self> {
        let child = command
            .spawn()
            .with_context(|| format!("could not start `{}`", show(command)))?;
        Ok(Self {
            name: name.to_owned(),
            child,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// SIGKILL, and gone when this returns.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .with_context(|| format!("could not kill {}", self.name))?;
        self.child
            .wait()
            .with_context(|| format!("could not wait for {}", self.name))?;
        Ok(())
    }

    /// SIGTERM, and the status that it ended with.
    pub(crate) fn terminate(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.ask_to_end()?;
        self.wait(limit)
    }

    /// SIGTERM, which it may take its time for.
    pub(crate) fn ask_to_end(&mut self) -> Result<()> {
        let id = self.id().to_string();
        let status = Command::new("kill").args(["-TERM", &id]).status()?;
        if !status.success() {
            bail!("could not send SIGTERM to {}", self.name);
        }
        Ok(())
    }

    pub(crate) fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} to end", self.name);
        deadline::wait_for(&what, limit, || Ok(self.child.try_wait()?))
    }

    /// How it ended, where it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill, and that is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
