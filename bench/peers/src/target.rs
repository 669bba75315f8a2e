use std::net::SocketAddr;
use std::str::FromStr;

use anyhow::{Context, Error, Result};

/// `http://ADDRESS:PORT/PATH`. `{t}` in the path is the topic.
#[derive(Debug, Clone)]
pub struct Target {
    pub address: SocketAddr,
    path: String,
}

impl Target {
    /// The path for a topic, by its number.
    #[must_use]
    pub fn path(&self, topic: u64) -> String {
        self.path.replace("{t}", &format!("bench{topic}"))
    }

    /// The same for one topic by name, whatever its number.
    #[must_use]
    pub fn of_topic(&self, name: &str) -> Self {
        Self {
            address: self.address,
            path: self.path.replace("{t}", name),
        }
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let rest = url
            .strip_prefix("http://")
            .context("want http://ADDRESS:PORT/PATH")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self {
            address: host.parse().context("want an IP address and a port")?,
            path: format!("/{path}"),
        })
    }
}
