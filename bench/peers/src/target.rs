use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

/// `http://ADDRESS:PORT/PATH`. `{t}` and `{te}` in the path are the topic.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    pub path: String,
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("http://")
            .context("want http://ADDRESS:PORT/PATH")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = format!("/{path}")
            .replace("{te}", "bench0")
            .replace("{t}", "bench0");
        Ok(Self {
            address: host.parse().context("want an IP address and a port")?,
            path,
        })
    }
}
