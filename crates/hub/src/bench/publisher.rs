//! A publisher: one event at a time, as fast as it is answered or at the run's pace.

use std::{cell::Cell, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, header::CONTENT_TYPE};
use tokio::time::{sleep, timeout};

use super::{
    mark::Mark,
    plan::{Turn, Turns},
    run::Run,
};
use crate::{
    client::{Connection, Door, Refusal, root_cause},
    failure::{Code, Failure},
    span,
};

/// A hub that does not answer for so long is taken for lost.
const SILENCE: Duration = Duration::from_secs(30);

/// How long a publisher sleeps before it looks whether it is still wanted.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// How long a busy hub is left alone, at least.
const BUSY_PAUSE: Duration = Duration::from_millis(100);

/// Hands out when the next event is due, to whichever publisher asks.
#[derive(Debug)]
pub(crate) struct Pace {
    begin_ns: u64,
    end_ns: u64,
    /// Events per second; 0: at once.
    rate: u64,
    next: Cell<u64>,
}

impl Pace {
    pub(crate) fn new(begin_ns: u64, time: Duration, rate: u64) -> Self {
        Self {
            begin_ns,
            end_ns: begin_ns.saturating_add(span::nanos(time)),
            rate,
            next: Cell::new(0),
        }
    }

    /// When it is due; `None`: the time is over.
    fn next_ns(&self, now_ns: u64) -> Option<u64> {
        let number = self.next.replace(self.next.get() + 1);
        let after_ns = u128::from(number) * 1_000_000_000;
        let after_ns = after_ns.checked_div(self.rate.into());
        let due_ns = after_ns.map_or(now_ns, |after_ns| {
            let after_ns = u64::try_from(after_ns).unwrap_or(u64::MAX);
            self.begin_ns.saturating_add(after_ns)
        });
        (due_ns.max(now_ns) < self.end_ns).then_some(due_ns)
    }
}

/// Publishes until the time is over, or the run is stopped.
pub(crate) async fn publish(run: Rc<Run>, door: Rc<Door>, pace: Rc<Pace>, number: usize) {
    let publisher = Publisher {
        turns: run.plan.turns(number),
        run: run.clone(),
        door,
    };
    if let Err(failure) = publisher.run(&pace).await {
        run.fail(failure);
    }
    run.count(|tally| tally.publishing -= 1);
}

struct Publisher {
    run: Rc<Run>,
    door: Rc<Door>,
    turns: Turns,
}

impl Publisher {
    async fn run(mut self, pace: &Pace) -> Result<(), Failure> {
        let gone = |why: String| Failure::new(Code::Unreachable, why);
        let connected = self.door.connect().await;
        let mut connection = connected.map_err(|error| gone(error.to_string()))?;
        while let Some(due_ns) = pace.next_ns(self.run.now_ns()) {
            self.sleep_until(due_ns).await;
            let turn = self.turns.next();
            while !self.run.is_stopped() && !self.send(&mut connection, turn).await? {
                self.run.count(|tally| tally.busy += 1);
            }
            if self.run.is_stopped() {
                break;
            }
        }
        Ok(())
    }

    async fn sleep_until(&self, due_ns: u64) {
        loop {
            let left = Duration::from_nanos(due_ns.saturating_sub(self.run.now_ns()));
            if left.is_zero() || self.run.is_stopped() {
                return;
            }
            sleep(left.min(SLEEP_MAX)).await;
        }
    }

    /// Whether the hub took it; otherwise it is busy.
    async fn send(
        &self,
        connection: &mut Connection<Full<Bytes>>,
        turn: Turn,
    ) -> Result<bool, Failure> {
        let broken = |why: String| {
            let why = format!("the hub went away in the middle: {why}");
            Failure::new(Code::Unreachable, why)
        };
        let silent = |_| broken(format!("no answer for {} s", SILENCE.as_secs()));
        let sent_ns = self.run.now_ns();
        let request = self.request(turn, sent_ns)?;
        let response = timeout(SILENCE, connection.send(request))
            .await
            .map_err(silent)?
            .map_err(|error| broken(root_cause(&error)))?;
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            if !refusal.is_temporary() {
                let why = format!("the hub refused an event: {refusal}");
                return Err(Failure::failed(why));
            }
            let pause = Duration::from_millis(refusal.retry_after_ms).max(BUSY_PAUSE);
            let until_ns = self.run.now_ns().saturating_add(span::nanos(pause));
            self.sleep_until(until_ns).await;
            return Ok(false);
        }
        let body = timeout(SILENCE, response.into_body().collect()).await;
        body.map_err(silent)?
            .map_err(|error| broken(root_cause(&error)))?;
        self.run.acknowledge(turn, sent_ns);
        Ok(true)
    }

    fn request(&self, turn: Turn, sent_ns: u64) -> Result<Request<Full<Bytes>>, Failure> {
        let mark = Mark {
            lane: turn.lane,
            number: self.run.next_number(turn),
            sent_ns,
        };
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("topic", &self.run.plan.topic(turn.topic));
        let request = self.door.events(Method::POST, &query.finish());
        request
            .header(CONTENT_TYPE, "text/plain")
            .body(Full::from(mark.data(self.run.plan.size)))
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_pace_is_kept_over_the_whole_time() {
        let pace = Pace::new(5, Duration::from_secs(2), 3);
        let due: Vec<u64> = std::iter::from_fn(|| pace.next_ns(0)).collect();
        let third = SECOND_NS / 3;
        assert_eq!(due.len(), 6);
        assert_eq!(due[..3], [5, 5 + third, 5 + 2 * SECOND_NS / 3]);
    }

    #[test]
    fn who_is_late_ends_with_the_time_all_the_same() {
        let pace = Pace::new(0, Duration::from_secs(1), 1000);
        assert_eq!(pace.next_ns(SECOND_NS - 1), Some(0));
        assert_eq!(pace.next_ns(SECOND_NS), None);
    }

    #[test]
    fn without_a_rate_it_is_due_at_once() {
        let pace = Pace::new(0, Duration::from_secs(1), 0);
        assert_eq!(pace.next_ns(7), Some(7));
        assert_eq!(pace.next_ns(SECOND_NS), None);
    }
}
