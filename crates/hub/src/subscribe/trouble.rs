//! What can end a stream.

use std::{fmt, io, time::Duration};

use super::follower::Outcome;
use crate::{
    client::{ConnectError, Refusal, foreign},
    failure::Code,
};

/// Why a connection gives no more events.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// There was none.
    Connect(ConnectError),
    /// It broke.
    Broken(String),
    /// Nothing came for so long.
    Silent(Duration),
    /// The hub ended it.
    Closed,
    /// The hub answered with something else.
    Refused(Refusal),
    /// Whoever answered is no hub.
    Foreign(String),
    /// Events could not be printed.
    Output(io::Error),
}

impl Trouble {
    /// How it looks to whoever decides.
    pub(crate) fn outcome(&self) -> Outcome<'_> {
        match self {
            Self::Connect(_) => Outcome::Unreachable,
            Self::Broken(_) | Self::Silent(_) | Self::Closed => Outcome::Lost,
            Self::Refused(refusal) => Outcome::Refused(refusal),
            Self::Foreign(_) | Self::Output(_) => Outcome::Foreign,
        }
    }

    /// Whether nobody reads stdout any more, which is how `| head` ends.
    pub(crate) fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Connect(_) | Self::Broken(_) | Self::Silent(_) | Self::Closed => {
                Code::Unreachable
            }
            Self::Refused(_) | Self::Foreign(_) | Self::Output(_) => Code::Failed,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(error) => error.fmt(f),
            Self::Broken(why) => write!(f, "the connection to the hub broke: {why}"),
            Self::Silent(time) => write!(f, "nothing came from the hub for {} s", time.as_secs()),
            Self::Closed => f.write_str("the stream ended"),
            Self::Refused(refusal) => write!(f, "the hub refused: {refusal}"),
            Self::Foreign(why) => f.write_str(&foreign(why)),
            Self::Output(error) => write!(f, "cannot print an event: {error}"),
        }
    }
}

impl std::error::Error for Trouble {}
