//! The limit on open files: each connection takes one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files for all that is not a connection: the log's segments, listeners, the runtime.
const RESERVE: u64 = 512;

/// Stands for a limit that does not exist.
const UNLIMITED: u64 = 1 << 20;

/// The limit on open files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenFiles {
    /// What it was.
    pub(crate) before: u64,
    /// What it is now.
    pub(crate) now: u64,
}

/// Raises the soft limit to the hard one. Where that is refused the limit stays.
pub(crate) fn raise() -> OpenFiles {
    let limit = getrlimit(Resource::Nofile);
    let before = limit.current.unwrap_or(UNLIMITED);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum.unwrap_or(UNLIMITED),
        Err(_) => before,
    };
    OpenFiles { before, now }
}

impl OpenFiles {
    /// How many connections it has room for.
    pub(crate) fn connections_max(self) -> usize {
        let reserve = RESERVE.min(self.now / 4);
        usize::try_from(self.now - reserve).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_still_has_room_for_connections() {
        let max = |now| OpenFiles { before: now, now }.connections_max();
        assert_eq!(max(20_000), 19_488);
        assert_eq!(max(1024), 768);
        assert_eq!(max(16), 12);
    }
}
