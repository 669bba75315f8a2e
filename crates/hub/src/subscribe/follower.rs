//! When to come back, and when not to.

use std::time::Duration;

use hyper::StatusCode;

use crate::client::{Backoff, Patience, Refusal};

/// The server's `retry` beyond this is cut: it must not be able to send a client away for good.
const RETRY_MS_MAX: u64 = 60_000;

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum Outcome<'a> {
    /// There was none.
    Unreachable,
    /// It broke, fell silent, or the hub closed it.
    Lost,
    /// The hub answered with something else than a stream.
    Refused(&'a Refusal),
    /// Whoever answered is no hub.
    Foreign,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Wait, then connect again.
    Reconnect { wait_ms: u64 },
    /// The hub said that there is nothing to come back for.
    Stop,
    /// It cannot succeed, or has been tried for long enough.
    Fail,
}

/// Decides after each connection. It has neither clock nor sockets: time and chance come in.
#[derive(Debug)]
pub(crate) struct Follower {
    patience: Patience,
    backoff: Backoff,
    /// What the stream has set with `retry`.
    retry_ms: u64,
}

impl Follower {
    pub(crate) fn new(patience: Patience, backoff: Backoff) -> Self {
        Self {
            patience,
            backoff,
            retry_ms: 0,
        }
    }

    /// The hub has answered with a stream.
    pub(crate) fn opened(&mut self) {
        self.patience.meet();
    }

    /// An event came: the connection is as good as a connection gets. A hub that opens streams
    /// only to close them is not, and is backed off from.
    pub(crate) fn received(&mut self) {
        self.backoff.reset();
    }

    /// The stream has set the time to wait.
    pub(crate) fn set_retry(&mut self, retry_ms: u64) {
        self.retry_ms = retry_ms.min(RETRY_MS_MAX);
    }

    /// `idle`: how long ago something last came.
    pub(crate) fn next(&mut self, outcome: &Outcome<'_>, idle: Duration, random: u64) -> Next {
        let floor_ms = match outcome {
            Outcome::Foreign => return Next::Fail,
            Outcome::Refused(refusal) if refusal.status == StatusCode::NO_CONTENT => {
                return Next::Stop;
            }
            Outcome::Refused(refusal) if !refusal.is_temporary() => return Next::Fail,
            Outcome::Refused(refusal) => {
                self.patience.meet();
                refusal.retry_after_ms.max(self.retry_ms)
            }
            Outcome::Lost | Outcome::Unreachable => self.retry_ms,
        };
        match self.patience.left(idle) {
            None => Next::Fail,
            Some(_) => Next::Reconnect {
                wait_ms: self.backoff.next_ms(floor_ms, random),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follower(asked: Option<Duration>) -> Follower {
        Follower::new(Patience::new(asked, None), Backoff::new(100, 1000))
    }

    fn refusal(status: u16, retry_after_ms: u64) -> Refusal {
        Refusal {
            status: StatusCode::from_u16(status).unwrap(),
            detail: String::new(),
            retry_after_ms,
        }
    }

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn who_never_got_in_gives_up_at_once_and_who_did_never() {
        let mut follower = follower(None);
        assert_eq!(follower.next(&Outcome::Unreachable, NOW, 0), Next::Fail);
        follower.opened();
        for _ in 0..100 {
            let next = follower.next(&Outcome::Unreachable, Duration::from_hours(1), 0);
            assert_eq!(next, Next::Reconnect { wait_ms: 0 });
        }
    }

    #[test]
    fn the_wait_grows_until_an_event_comes() {
        let mut follower = follower(None);
        follower.opened();
        let wait = |follower: &mut Follower| match follower.next(&Outcome::Lost, NOW, 799) {
            Next::Reconnect { wait_ms } => wait_ms,
            other => panic!("{other:?}"),
        };
        let waits: Vec<u64> = (0..5).map(|_| wait(&mut follower)).collect();
        assert_eq!(waits, [799 % 101, 799 % 201, 799 % 401, 799, 799]);
        follower.received();
        assert_eq!(wait(&mut follower), 799 % 101);
    }

    #[test]
    fn what_the_hub_asks_for_is_the_least_wait() {
        let mut follower = follower(None);
        follower.opened();
        follower.set_retry(2500);
        assert_eq!(
            follower.next(&Outcome::Lost, NOW, 0),
            Next::Reconnect { wait_ms: 2500 }
        );
        let busy = refusal(503, 4000);
        let next = follower.next(&Outcome::Refused(&busy), NOW, 0);
        assert_eq!(next, Next::Reconnect { wait_ms: 4000 });
        follower.set_retry(u64::MAX);
        assert_eq!(
            follower.next(&Outcome::Lost, NOW, 0),
            Next::Reconnect { wait_ms: 60_000 }
        );
    }

    #[test]
    fn answers_that_end_it() {
        let mut follower = follower(Some(Duration::from_secs(9)));
        let mut after = |status| follower.next(&Outcome::Refused(&refusal(status, 0)), NOW, 0);
        assert_eq!(after(204), Next::Stop);
        for status in [301, 400, 401, 403, 404, 421] {
            assert_eq!(after(status), Next::Fail, "{status}");
        }
        for status in [429, 500, 503] {
            assert_eq!(after(status), Next::Reconnect { wait_ms: 0 }, "{status}");
        }
        assert_eq!(follower.next(&Outcome::Foreign, NOW, 0), Next::Fail);
        assert_eq!(
            follower.next(&Outcome::Lost, Duration::from_secs(9), 0),
            Next::Fail
        );
    }
}
