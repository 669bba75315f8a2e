use anyhow::Result;
use clap::Args;

use crate::Usage;

/// Which server is under load, as `cargo xtask bench` tells all programs.
#[derive(Debug, Args)]
pub struct Server {
    #[arg(long)]
    pub name: String,
    /// Of its process
    #[arg(long)]
    pub pid: u32,
}

impl Server {
    /// What it has used so far.
    ///
    /// # Errors
    /// It is gone.
    pub fn usage(&self) -> Result<Usage> {
        Usage::of(self.pid)
    }
}
