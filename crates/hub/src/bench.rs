//! `tidings bench`: subscribers and publishers against any hub, each delivery checked.
//!
//! All of it is one thread: thousands of subscribers that each wait for their socket, with one
//! buffer between them. The order, losses and doubles are checked for every event and subscriber.

mod chunks;
mod histogram;
mod http2;
mod mark;
mod outcome;
mod plan;
mod publisher;
mod run;
mod seen;
mod subscriber;

use std::{
    cell::Cell,
    io::{Write, stdout},
    rc::Rc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::{Method, Request, header::ACCEPT};
use tokio::{
    signal::ctrl_c,
    task::{LocalSet, spawn_local},
    time::{sleep, timeout},
};

use self::{
    outcome::{Outcome, ms, per_second},
    plan::{Plan, STREAMS_PER_CONNECTION},
    publisher::Pace,
    run::{Busy, Run},
    subscriber::Entrance,
};
use crate::{
    arguments::Bench,
    client::{Connection, Door, Refusal, root_cause},
    failure::{Code, Failure},
    notice::counted,
    open_files,
    status_line::StatusLine,
};

/// How often the run is looked after.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// All subscribers together are let in within this after the last one was.
const OPEN_PATIENCE: Duration = Duration::from_secs(30);

/// What was published and is not delivered so long after the last delivery is lost.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(5);

/// Subscribers that connect at the same time: fewer than a listener's usual backlog.
const KNOCKING_MAX: usize = 512;

/// Runs what the arguments say, and prints what it came to.
pub(crate) fn run(bench: &Bench) -> Result<(), Failure> {
    let plan = Plan::new(bench);
    plan.check(open_files::raise())?;
    let door = Door::new(&bench.hub)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let measure = Measure {
        run: Rc::new(Run::new(plan)),
        door: Rc::new(door),
        interrupts: Rc::default(),
        line: StatusLine::new(Instant::now()),
    };
    let (outcome, failure) = LocalSet::new().block_on(&runtime, measure.run())?;
    print(&outcome, bench.json)?;
    match (failure, outcome.fault()) {
        (Some(failure), _) => Err(failure),
        (None, Some(fault)) => Err(Failure::failed(format!("not as it should be: {fault}"))),
        (None, None) => Ok(()),
    }
}

fn print(outcome: &Outcome, is_json: bool) -> Result<(), Failure> {
    let text = if is_json {
        format!("{}\n", outcome.json())
    } else {
        outcome.to_string()
    };
    let printed = stdout().write_all(text.as_bytes());
    printed.map_err(|error| Failure::failed(format!("cannot print the result: {error}")))
}

struct Measure {
    run: Rc<Run>,
    door: Rc<Door>,
    /// How often somebody has pressed Ctrl-C.
    interrupts: Rc<Cell<u32>>,
    line: StatusLine,
}

impl Measure {
    /// The outcome, and what ended it early if anything did.
    async fn run(mut self) -> Result<(Outcome, Option<Failure>), Failure> {
        spawn_local(listen(self.interrupts.clone(), self.run.clone()));
        let opening = Instant::now();
        self.open().await?;
        let opened_in = opening.elapsed();
        let (busy, began_ns) = (Busy::begin(), self.run.now_ns());
        self.publish(began_ns).await;
        self.wait_for_deliveries(began_ns).await;
        self.line.clear();
        let url = self.door.url().to_string();
        let outcome = Outcome::new(&self.run, url, opened_in, began_ns, busy.percent());
        Ok((outcome, self.run.take_failure()))
    }

    /// Lets all subscribers in.
    async fn open(&mut self) -> Result<(), Failure> {
        self.knock().await?;
        let address = self.door.address().await.map_err(unreachable)?;
        let entrance = Rc::new(Entrance::new(address, KNOCKING_MAX));
        self.spawn_subscribers(&entrance)?;
        let subscribers = self.run.plan.subscribers;
        let (mut answered, mut progress) = (0, Instant::now());
        while answered < subscribers {
            sleep(LOOK_EVERY).await;
            let now_answered = self.run.look(|tally| tally.answered);
            if now_answered > answered {
                (answered, progress) = (now_answered, Instant::now());
            }
            if let Some(failure) = self.why_not_open(answered, progress.elapsed()) {
                self.line.clear();
                return Err(failure);
            }
            if self.line.is_due(Instant::now()) {
                let text = format!("{answered} of {subscribers} subscribers are in");
                self.line.show(text);
            }
        }
        Ok(())
    }

    fn why_not_open(&self, answered: usize, idle: Duration) -> Option<Failure> {
        let subscribers = self.run.plan.subscribers;
        if self.interrupts.get() > 0 {
            let what = "interrupted before anything was published";
            return Some(Failure::failed(what));
        }
        if self.run.look(|tally| tally.closed) > 0 {
            return Some(Failure::failed(format!(
                "the hub closed streams while {answered} of {subscribers} subscribers were let in: \
                 it may be full, or about to stop; take fewer --subscribers, or look at its log"
            )));
        }
        let late = || {
            let why = format!(
                "{answered} of {subscribers} subscribers are in, and no more for {} s",
                OPEN_PATIENCE.as_secs()
            );
            Failure::new(Code::Unreachable, why)
        };
        let failure = self.run.take_failure();
        failure.or_else(|| (idle > OPEN_PATIENCE).then(late))
    }

    /// One subscriber before all others, through the same door as `tidings subscribe`: it can tell
    /// best what is wrong.
    async fn knock(&self) -> Result<(), Failure> {
        let connected = self.door.connect().await;
        let mut connection: Connection<Empty<Bytes>> = connected.map_err(unreachable)?;
        let request = self.door.events(Method::GET, &self.query(0));
        let request = request.body(Empty::new());
        let request = request.map_err(|error| Failure::usage(error.to_string()))?;
        let broken = |why| {
            let url = self.door.url();
            Failure::new(Code::Unreachable, format!("{url} does not answer: {why}"))
        };
        let response = timeout(OPEN_PATIENCE, connection.send(request)).await;
        let response = response
            .map_err(|_| broken(format!("nothing for {} s", OPEN_PATIENCE.as_secs())))?
            .map_err(|error| broken(root_cause(&error)))?;
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            return Err(Failure::failed(format!("the hub refused: {refusal}")));
        }
        Ok(())
    }

    fn spawn_subscribers(&self, entrance: &Rc<Entrance>) -> Result<(), Failure> {
        let plan = &self.run.plan;
        if plan.http2 {
            for first in (0..plan.subscribers).step_by(STREAMS_PER_CONNECTION) {
                let last = plan.subscribers.min(first + STREAMS_PER_CONNECTION);
                let (run, door) = (self.run.clone(), self.door.clone());
                let request = move |number| {
                    let query = query(&run.plan, number);
                    let request = door
                        .events_absolute(&query)
                        .header(ACCEPT, "text/event-stream");
                    request.body(Empty::new())
                };
                let (run, entrance) = (self.run.clone(), entrance.clone());
                spawn_local(http2::follow(run, entrance, first..last, request));
            }
            return Ok(());
        }
        for number in 0..plan.subscribers {
            let request = self.door.events(Method::GET, &self.query(number));
            let request: Result<Request<()>, _> =
                request.header(ACCEPT, "text/event-stream").body(());
            let request = request.map_err(|error| Failure::usage(error.to_string()))?;
            let (run, entrance) = (self.run.clone(), entrance.clone());
            spawn_local(subscriber::follow(run, entrance, number, request));
        }
        Ok(())
    }

    fn query(&self, number: usize) -> String {
        query(&self.run.plan, number)
    }

    /// Publishes until the time is over, or something ends it early.
    async fn publish(&mut self, began_ns: u64) {
        let Plan {
            time,
            rate,
            publishers,
            ..
        } = self.run.plan;
        let pace = Rc::new(Pace::new(began_ns, time, rate));
        self.run.count(|tally| tally.publishing = publishers);
        for number in 0..publishers {
            let (run, door, pace) = (self.run.clone(), self.door.clone(), pace.clone());
            spawn_local(publisher::publish(run, door, pace, number));
        }
        while self.run.look(|tally| tally.publishing) > 0 && self.interrupts.get() < 2 {
            sleep(LOOK_EVERY).await;
            self.show(began_ns);
        }
    }

    /// Until all is delivered that was published, or nothing comes any more.
    async fn wait_for_deliveries(&mut self, began_ns: u64) {
        let owed = self.run.owed();
        let (mut delivered, mut progress) = (0, Instant::now());
        while self.run.lost() > 0 && self.interrupts.get() < 2 {
            let now_delivered = self.run.look(|tally| tally.delivered);
            if now_delivered > delivered {
                (delivered, progress) = (now_delivered, Instant::now());
            }
            if progress.elapsed() > DELIVERY_PATIENCE {
                return;
            }
            sleep(LOOK_EVERY).await;
            self.show(began_ns);
        }
        // What comes once too often comes late; a moment costs little.
        if self.run.look(|tally| tally.delivered) >= owed {
            sleep(LOOK_EVERY).await;
        }
    }

    fn show(&mut self, began_ns: u64) {
        if !self.line.is_due(Instant::now()) {
            return;
        }
        let (tally, ns) = (self.run.tally(), self.run.now_ns().saturating_sub(began_ns));
        let text = format!(
            "{} s: published {} ({}/s), delivered {} ({}/s), p99 {} ms",
            ns / 1_000_000_000,
            counted(tally.published, "event"),
            per_second(tally.published, ns),
            tally.delivered,
            per_second(tally.delivered, ns),
            ms(tally.deliveries.within(990)),
        );
        self.line.show(text);
    }
}

/// Once: the rest is waited for. Twice: not even that.
async fn listen(interrupts: Rc<Cell<u32>>, run: Rc<Run>) {
    while ctrl_c().await.is_ok() {
        interrupts.set(interrupts.get() + 1);
        run.stop();
    }
}

fn query(plan: &Plan, number: usize) -> String {
    let topic = plan.topic(plan.topic_of(number));
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("topic", &topic).finish()
}

fn unreachable(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::Unreachable, error.to_string())
}
