//! A publisher: sends its events in order, again and again where it has to, and notes each receipt.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::exchange::Request;
use super::plan::{ARRAY_EVENTS, Event, MANNERS, Manner, Plan, Random};
use crate::deadline;
use crate::gate::Gate;

const STREAM_LINES_MAX: usize = 400;
/// The status of a hub that stops.
const LATER: u64 = 503;
/// The status of a hub whose disk is full: nothing was stored.
const FULL: u64 = 507;
/// For an answer that is not "later", across kills, drains and restarts.
const LIMIT: Duration = Duration::from_mins(2);

/// An event that was acknowledged, and by which ID.
pub(super) type Receipt = (Event, String);

#[derive(Debug)]
pub(super) struct Publisher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Events with lower numbers may have been sent.
    sent: AtomicUsize,
    /// Of how many there was a first receipt.
    acknowledged: AtomicUsize,
    receipts: Mutex<Vec<Receipt>>,
    /// How often there was no room.
    refusals: AtomicUsize,
    /// Events that were tried once, and for which there was no room.
    refused: Mutex<Vec<Event>>,
    /// Whether it waits until it may go on.
    idle: AtomicBool,
    stop: AtomicBool,
    gate: Gate,
}

impl Publisher {
    pub(super) fn start(publisher: usize, plan: Plan, port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        let sender = Sender {
            publisher,
            manner: MANNERS.get(publisher).copied().unwrap_or(Manner::Plain),
            plan,
            port,
            random: plan.chance(0x1000 + publisher as u64),
            shared: Arc::clone(&shared),
            next: 0,
            requests: 0,
        };
        Self {
            shared,
            thread: Some(thread::spawn(move || sender.run())),
        }
    }

    /// Lets it begin requests until it has sent so many events more: what is published between two
    /// looks at the log has to be less than retention holds.
    pub(super) fn allow(&self, more: usize) {
        self.shared.gate.open_to(self.sent() + more);
    }

    /// How many of its events may have been sent.
    pub(super) fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.shared.acknowledged.load(Ordering::SeqCst)
    }

    /// The receipts since the last time.
    pub(super) fn take_receipts(&self) -> Vec<Receipt> {
        std::mem::take(&mut *lock(&self.shared.receipts))
    }

    /// How often it was told that there is no room.
    pub(super) fn refusals(&self) -> usize {
        self.shared.refusals.load(Ordering::SeqCst)
    }

    /// Events that cannot be in the log, since it was told so, since the last time.
    pub(super) fn take_refused(&self) -> Vec<Event> {
        std::mem::take(&mut *lock(&self.shared.refused))
    }

    /// Whether it has sent all that it may for now.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.idle.load(Ordering::SeqCst)
    }

    /// An error as soon as it ended before its time.
    pub(super) fn must_be_alive(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join()?;
            bail!("a publisher ended early");
        }
        Ok(())
    }

    /// No new request from now on; the one that is under way is seen through.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.gate.open_to(usize::MAX);
    }

    pub(super) fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().ok().context("a publisher panicked")?
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Sender {
    publisher: usize,
    manner: Manner,
    plan: Plan,
    port: u16,
    random: Random,
    shared: Arc<Shared>,
    next: usize,
    requests: u64,
}

/// How an attempt ended.
enum Attempt {
    /// There is a receipt for each event.
    Done,
    /// The connection broke, or the hub said: later.
    Broken,
}

impl Sender {
    fn run(mut self) -> Result<()> {
        loop {
            self.shared.idle.store(true, Ordering::SeqCst);
            self.shared.gate.wait_for(self.next);
            self.shared.idle.store(false, Ordering::SeqCst);
            if self.shared.stop.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.request()?;
        }
    }

    /// Sends the next events, until they are acknowledged where that can be told.
    fn request(&mut self) -> Result<()> {
        let count = match self.manner {
            Manner::Stream => 1 + self.random.below(STREAM_LINES_MAX),
            Manner::Array => ARRAY_EVENTS,
            Manner::Keyed | Manner::Plain | Manner::Fence => 1,
        };
        let (first, publisher) = (self.next, self.publisher);
        let events = (first..first + count).map(|number| Event { publisher, number });
        let events: Vec<Event> = events.collect();
        self.next += count;
        self.requests += 1;
        self.shared.sent.store(self.next, Ordering::SeqCst);
        let (body, kind) = self.body(&events);
        let key = format!("\"{:x}-{publisher}-{}\"", self.plan.seed, self.requests);
        let attempt = || self.attempt(&events, body.as_bytes(), kind, &key);
        if self.manner == Manner::Plain {
            // Without an answer nobody knows, so it is not sent again; only a hub that is not
            // there is waited for.
            return deadline::wait_for("a connection", LIMIT, || match attempt() {
                Err(error) if is_refused(&error) => Ok(None),
                other => other.map(Some),
            })
            .map(drop);
        }
        deadline::wait_for("receipts", LIMIT, || match attempt() {
            Err(error) if is_refused(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(Attempt::Broken) => Ok(None),
            Ok(Attempt::Done) => Ok(Some(())),
        })
    }

    fn body(&self, events: &[Event]) -> (String, &'static str) {
        let objects = events.iter().map(|event| self.plan.json(*event));
        match self.manner {
            Manner::Stream => {
                let lines = objects.map(|object| format!("{object}\n"));
                (lines.collect(), "application/x-ndjson")
            }
            Manner::Array => {
                let array = Value::Array(objects.collect());
                (array.to_string(), "application/json")
            }
            Manner::Keyed | Manner::Plain | Manner::Fence => {
                let object = objects.map(|object| object.to_string());
                (object.collect(), "application/json")
            }
        }
    }

    fn attempt(&self, events: &[Event], body: &[u8], kind: &str, key: &str) -> Result<Attempt> {
        let mut headers = vec![("content-type", kind.to_owned())];
        if self.manner != Manner::Plain {
            headers.push(("idempotency-key", key.to_owned()));
        }
        let request = Request {
            method: "POST",
            path: "/events",
            headers,
            body,
        };
        let mut awaited = events.iter();
        let mut refused = None;
        let answered = request.send(self.port, |_, line| {
            for answer in answers(line) {
                match answer.get("id").and_then(Value::as_str) {
                    Some(id) => awaited
                        .next()
                        .into_iter()
                        .for_each(|event| self.receive(*event, id)),
                    None => refused = Some(answer),
                }
            }
            ControlFlow::Continue(())
        });
        if let Some(problem) = refused {
            match status(&problem) {
                Some(LATER) => {}
                Some(FULL) => self.note_full(events),
                _ => bail!("a publisher was refused: {problem}"),
            }
            return Ok(Attempt::Broken);
        }
        match answered {
            Ok(_) if awaited.len() == 0 => Ok(Attempt::Done),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Err(error.into()),
            Err(error) if is_stuck(&error) => Err(error).context("the hub does not answer"),
            Ok(_) | Err(_) => Ok(Attempt::Broken),
        }
    }

    fn note_full(&self, events: &[Event]) {
        self.shared.refusals.fetch_add(1, Ordering::SeqCst);
        if self.manner == Manner::Plain {
            lock(&self.shared.refused).extend_from_slice(events);
        }
    }

    fn receive(&self, event: Event, id: &str) {
        self.shared
            .acknowledged
            .fetch_max(event.number + 1, Ordering::SeqCst);
        lock(&self.shared.receipts).push((event, id.to_owned()));
    }
}

/// Nothing was sent: nobody listens.
fn is_refused(error: &anyhow::Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
}

pub(super) fn is_stuck(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::InvalidData
    )
}

/// A line is a receipt, a list of them, or a problem.
fn answers(line: &str) -> Vec<Value> {
    match serde_json::from_str(line) {
        Ok(Value::Array(answers)) => answers,
        Ok(answer) => vec![answer],
        Err(_) => Vec::new(), // a line that the hub did not live to finish
    }
}

fn status(problem: &Value) -> Option<u64> {
    problem.get("status").and_then(Value::as_u64)
}
