//! What is told to the person at the terminal, on stderr.

use std::{
    fmt::Display,
    io::{IsTerminal, Write, stderr},
};

/// Says a line. If nobody can hear it, that is no reason to stop (`eprintln!` would panic).
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(stderr(), "{line}");
}

/// Whether a person is likely to read along.
pub(crate) fn is_watched() -> bool {
    stderr().is_terminal()
}

/// A count and its noun.
pub(crate) fn counted(count: u64, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
