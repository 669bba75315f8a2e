//! How a command fails: what it says, and its exit code.

use std::{error::Error, fmt, process::ExitCode};

/// The exit codes, as `--help` lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// The command could not do what it was asked.
    Failed = 1,
    /// The command line or the configuration file makes no sense.
    Usage = 2,
    /// The hub could not be reached.
    Unreachable = 3,
}

/// Why a command stopped: a message that says what was being done, with what, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
    /// Whether it was told already, as a log line.
    told: bool,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            told: false,
        }
    }

    /// It was told: it is not to be said again.
    pub(crate) fn told(self) -> Self {
        Self { told: true, ..self }
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Code::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Code::Usage, message)
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}
