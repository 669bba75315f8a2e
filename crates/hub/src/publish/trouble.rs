//! What can go wrong with a publish.

use std::{fmt, io};

use crate::{
    client::{ConnectError, Refusal, foreign},
    failure::Code,
};

/// Why an attempt did not get all its receipts.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There was no connection.
    Connect(ConnectError),
    /// The connection broke, or fell silent.
    Broken(String),
    /// The hub did not want to; the line of the input, if it is about one.
    Refused { refusal: Refusal, line: Option<u64> },
    /// Whoever answered is no hub.
    Foreign(String),
    /// The receipts could not be printed.
    Output(io::Error),
}

impl Trouble {
    /// Whether the same block may well be taken later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Broken(_) => true,
            Self::Refused { refusal, .. } => refusal.is_temporary(),
            Self::Foreign(_) | Self::Output(_) => false,
        }
    }

    /// How long the hub wants to be left alone.
    pub(crate) fn retry_after_ms(&self) -> u64 {
        match self {
            Self::Refused { refusal, .. } => refusal.retry_after_ms,
            _ => 0,
        }
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Connect(_) | Self::Broken(_) => Code::Unreachable,
            _ => Code::Failed,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Broken(why) => write!(f, "the connection to the hub broke: {why}"),
            Self::Refused { refusal, line } => {
                let line = line.map_or(String::new(), |line| format!(" event {line}"));
                write!(f, "the hub refused{line}: {refusal}")
            }
            Self::Foreign(why) => f.write_str(&foreign(why)),
            Self::Output(error) => write!(f, "cannot print a receipt: {error}"),
        }
    }
}

impl std::error::Error for Trouble {}
