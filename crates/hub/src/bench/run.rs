//! A run while it lasts: what its subscribers and publishers share, on one thread.

use std::{
    cell::{Cell, RefCell},
    time::Instant,
};

use tidings_wire::{Decoder, Item};

use super::{
    histogram::Histogram,
    mark::Mark,
    plan::{Plan, Turn},
    seen::{Arrival, Seen},
};
use crate::{environment, failure::Failure, span};

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) plan: Plan,
    began: Instant,
    /// For each place of the plan, how many events were acknowledged.
    acknowledged: RefCell<Vec<u64>>,
    /// For each subscriber, what it has had.
    seen: RefCell<Vec<Seen>>,
    tally: RefCell<Tally>,
    /// Nobody is to publish any more.
    is_stopped: Cell<bool>,
    /// The first thing that went wrong for good.
    trouble: RefCell<Option<Failure>>,
}

/// Sums.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// Subscribers that have a stream, or had one.
    pub(crate) answered: usize,
    /// Streams that ended though nobody here wanted it.
    pub(crate) closed: usize,
    /// Publishers that are not done.
    pub(crate) publishing: usize,
    pub(crate) published: u64,
    /// Requests that the hub was too busy for; they were made again.
    pub(crate) busy: u64,
    /// Each event once for each subscriber.
    pub(crate) delivered: u64,
    pub(crate) doubled: u64,
    pub(crate) out_of_order: u64,
    /// Announced by the hub.
    pub(crate) gaps: u64,
    pub(crate) receipts: Histogram,
    pub(crate) deliveries: Histogram,
    pub(crate) last_receipt_ns: u64,
    pub(crate) last_delivery_ns: u64,
}

impl Run {
    pub(crate) fn new(plan: Plan) -> Self {
        let seen = (0..plan.subscribers).map(|_| Seen::new(plan.lanes()));
        Self {
            began: Instant::now(),
            acknowledged: RefCell::new(vec![0; plan.places()]),
            seen: RefCell::new(seen.collect()),
            tally: RefCell::default(),
            is_stopped: Cell::new(false),
            trouble: RefCell::new(None),
            plan,
        }
    }

    /// Nanoseconds since it began.
    pub(crate) fn now_ns(&self) -> u64 {
        span::nanos(self.began.elapsed())
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    pub(crate) fn count(&self, count: impl FnOnce(&mut Tally)) {
        count(&mut self.tally.borrow_mut());
    }

    /// Something of the sums, without a copy of all times.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Tally) -> T) -> T {
        look(&self.tally.borrow())
    }

    pub(crate) fn stop(&self) {
        self.is_stopped.set(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.is_stopped.get()
    }

    /// Something went wrong that ends the run.
    pub(crate) fn fail(&self, failure: Failure) {
        self.stop();
        self.trouble.borrow_mut().get_or_insert(failure);
    }

    pub(crate) fn take_failure(&self) -> Option<Failure> {
        self.trouble.take()
    }

    /// The number that the next event of this turn has.
    pub(crate) fn next_number(&self, turn: Turn) -> u64 {
        let acknowledged = self.acknowledged.borrow();
        let place = acknowledged.get(self.plan.place(turn));
        place.copied().unwrap_or_default()
    }

    /// An event has its receipt.
    pub(crate) fn acknowledge(&self, turn: Turn, sent_ns: u64) {
        let now_ns = self.now_ns();
        let mut acknowledged = self.acknowledged.borrow_mut();
        if let Some(count) = acknowledged.get_mut(self.plan.place(turn)) {
            *count += 1;
        }
        self.count(|tally| {
            tally.published += 1;
            tally.receipts.add(now_ns.saturating_sub(sent_ns));
            tally.last_receipt_ns = now_ns;
        });
    }

    /// Deliveries that were acknowledged events' due.
    pub(crate) fn owed(&self) -> u64 {
        self.over_lanes(|_, _, owed| owed)
    }

    /// By subscribers whose streams are whole.
    pub(crate) fn lost(&self) -> u64 {
        self.over_lanes(|seen, lane, owed| {
            if seen.is_cut {
                0
            } else {
                seen.lost(lane, owed)
            }
        })
    }

    /// By subscribers whose streams were cut.
    pub(crate) fn missed(&self) -> u64 {
        self.over_lanes(|seen, lane, owed| {
            if seen.is_cut {
                seen.lost(lane, owed)
            } else {
                0
            }
        })
    }

    /// A subscriber's stream has ended, though nobody here wanted it.
    pub(crate) fn cut(&self, subscriber: usize) {
        self.count(|tally| tally.closed += 1);
        if let Some(seen) = self.seen.borrow_mut().get_mut(subscriber) {
            seen.is_cut = true;
        }
    }

    /// The sum over all lanes of all subscribers.
    fn over_lanes(&self, one: impl Fn(&Seen, usize, u64) -> u64) -> u64 {
        let (seen, acknowledged) = (self.seen.borrow(), self.acknowledged.borrow());
        let subscribers = seen.iter().enumerate();
        let lanes = subscribers.flat_map(|(number, seen)| {
            let topic = self.plan.topic_of(number);
            (0..self.plan.lanes()).map(move |lane| (seen, Turn { topic, lane }))
        });
        lanes
            .map(|(seen, turn)| {
                let owed = acknowledged.get(self.plan.place(turn));
                one(seen, turn.lane, owed.copied().unwrap_or_default())
            })
            .sum()
    }

    fn arrive(&self, subscriber: usize, mark: Mark, now_ns: u64) {
        let mut seen = self.seen.borrow_mut();
        let Some(seen) = seen.get_mut(subscriber) else {
            return;
        };
        let arrival = seen.take(mark.lane, mark.number);
        self.count(|tally| match arrival {
            Arrival::Doubled => tally.doubled += 1,
            Arrival::Foreign => {}
            Arrival::InOrder | Arrival::OutOfOrder => {
                tally.out_of_order += u64::from(arrival == Arrival::OutOfOrder);
                tally.delivered += 1;
                tally.deliveries.add(now_ns.saturating_sub(mark.sent_ns));
                tally.last_delivery_ns = now_ns;
            }
        });
    }
}

/// Reads one subscriber's stream.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    decoder: Decoder,
}

impl Reader {
    /// The next bytes of the stream.
    pub(crate) fn take(&mut self, run: &Run, subscriber: usize, mut bytes: &[u8]) {
        let now_ns = run.now_ns();
        while let Some(item) = self.decoder.next(&mut bytes) {
            // What exceeds a limit is none of ours: it will be missed where it was.
            let Ok(Item::Event(event)) = item else {
                continue;
            };
            if event.event_type == "tidings.gap" {
                run.count(|tally| tally.gaps += 1);
            } else if let Some(mark) = Mark::parse(event.data.as_ref()) {
                run.arrive(subscriber, mark, now_ns);
            }
        }
    }
}

/// The share of its processor that this process has used, in percent.
#[derive(Debug)]
pub(crate) struct Busy {
    cpu_ms: u64,
    since: Instant,
}

impl Busy {
    pub(crate) fn begin() -> Self {
        Self {
            cpu_ms: environment::cpu_ms(),
            since: Instant::now(),
        }
    }

    pub(crate) fn percent(&self) -> u64 {
        let used_ms = environment::cpu_ms().saturating_sub(self.cpu_ms);
        used_ms * 100 / span::millis(self.since.elapsed()).max(1)
    }
}
