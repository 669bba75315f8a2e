//! A follower: reads one stream after the other, resumes each where the one before ended, and
//! notes all that it was told.

use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::exchange::Request;
use super::plan::{Event, FENCE, Plan, Random, TOPICS};
use super::publisher::is_stuck;
use crate::deadline::BETWEEN_LOOKS;
use crate::gate::Gate;

/// A follower that leaves by itself does so after at most so many events.
const EVENTS_A_VISIT_MAX: usize = 300;

/// Who follows what, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) name: &'static str,
    pub(super) topics: &'static [&'static str],
    /// A pattern for topics that begin so.
    pub(super) prefix: Option<&'static str>,
    /// How many events it takes in each round; `None`: as many as there are.
    pub(super) events_a_round: Option<usize>,
    /// Whether it goes by itself now and then.
    pub(super) restless: bool,
}

const FAST: Manner = Manner {
    name: "everything",
    topics: &TOPICS,
    prefix: None,
    events_a_round: None,
    restless: false,
};

pub(super) const MANNERS: [Manner; 6] = [
    FAST,
    Manner {
        name: "one topic",
        topics: &["lines"],
        ..FAST
    },
    Manner {
        name: "a pattern",
        topics: &[],
        prefix: Some("orders/"),
        ..FAST
    },
    Manner {
        name: "restless",
        restless: true,
        ..FAST
    },
    Manner {
        name: "slow",
        events_a_round: Some(600),
        ..FAST
    },
    Manner {
        name: "hardly there",
        topics: &["a", "sensors/ü"],
        events_a_round: Some(20),
        restless: true,
        ..FAST
    },
];

impl Manner {
    pub(super) fn wants(&self, topics: &[&str]) -> bool {
        topics.iter().any(|topic| {
            let prefixed = self.prefix.is_some_and(|prefix| topic.starts_with(prefix));
            prefixed || *topic == FENCE || self.topics.contains(topic)
        })
    }

    fn path(&self) -> String {
        let topics = self.topics.iter().chain([&FENCE]);
        let topics = topics.map(|topic| format!("&topic={}", encoded(topic)));
        let pattern = self.prefix.map(|prefix| format!("&pattern={prefix}:id"));
        let parameters = topics.chain(pattern).collect::<String>();
        format!("/events?from=earliest{parameters}")
    }
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// What a follower was told, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// A stream that was opened with this `Last-Event-ID`.
    Resumed(String),
    /// An event, as it was published, under this ID.
    Event(Event, String),
    /// No data, but a place: all before it that is wanted was told.
    Place(String),
    /// What cannot be delivered.
    Gap {
        id: String,
        from: String,
        to: String,
        reason: String,
    },
    /// Nothing that was ever published.
    Alien(String),
}

#[derive(Debug)]
pub(super) struct Follower {
    pub(super) manner: Manner,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    told: Mutex<Vec<Told>>,
    events: AtomicUsize,
    fenced: AtomicBool,
    stop: AtomicBool,
    gate: Gate,
}

impl Follower {
    pub(super) fn start(index: usize, manner: Manner, plan: Plan, port: u16) -> Self {
        let shared = Arc::new(Shared::default());
        if manner.events_a_round.is_none() {
            shared.gate.open_to(usize::MAX);
        }
        let reader = Reader {
            plan,
            port,
            path: manner.path(),
            restless: manner.restless,
            random: plan.chance(0x2000 + index as u64),
            shared: Arc::clone(&shared),
            stream: Stream::default(),
        };
        Self {
            manner,
            shared,
            thread: Some(thread::spawn(move || reader.run())),
        }
    }

    /// Lets it go on until it has all of so many rounds.
    pub(super) fn begin_round(&self, round: usize) {
        if let Some(events) = self.manner.events_a_round {
            self.shared.gate.open_to(events * round);
        }
    }

    /// Lets it go on to the end.
    pub(super) fn hurry(&self) {
        self.shared.gate.open_to(usize::MAX);
    }

    pub(super) fn is_fenced(&self) -> bool {
        self.shared.fenced.load(Ordering::SeqCst)
    }

    /// What it was told since the last time.
    pub(super) fn take_told(&self) -> Vec<Told> {
        let told = self.shared.told.lock();
        std::mem::take(&mut *told.unwrap_or_else(PoisonError::into_inner))
    }

    /// An error as soon as it ended before its time.
    pub(super) fn must_be_alive(&mut self) -> Result<()> {
        if self.thread.as_ref().is_some_and(JoinHandle::is_finished) {
            self.join()?;
            bail!("the follower of {} ended early", self.manner.name);
        }
        Ok(())
    }

    /// It ends once its stream does.
    pub(super) fn stop(&self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }

    pub(super) fn join(&mut self) -> Result<()> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        thread.join().ok().context("a follower panicked")?
    }
}

struct Reader {
    plan: Plan,
    port: u16,
    path: String,
    restless: bool,
    random: Random,
    shared: Arc<Shared>,
    stream: Stream,
}

impl Reader {
    fn run(mut self) -> Result<()> {
        while !self.shared.stop.load(Ordering::SeqCst) {
            match self.visit() {
                Err(error) if is_stuck(&error) => {
                    return Err(error).context("a stream fell silent, without a heartbeat");
                }
                // Broken, closed, or nobody listens: come back. Draining hubs close at once.
                Ok(()) | Err(_) => thread::sleep(BETWEEN_LOOKS),
            }
        }
        Ok(())
    }

    /// One stream, until it breaks, or the follower has had enough of it.
    fn visit(&mut self) -> io::Result<()> {
        let mut headers = vec![("accept", "text/event-stream".to_owned())];
        let id = self.stream.id.clone();
        headers.extend((!id.is_empty()).then(|| ("last-event-id", id.clone())));
        self.stream = Stream {
            id: id.clone(),
            ..Stream::default()
        };
        let mut left = usize::MAX;
        if self.restless {
            left = 1 + self.random.below(EVENTS_A_VISIT_MAX);
        }
        let (shared, stream, plan) = (&self.shared, &mut self.stream, self.plan);
        let request = Request {
            method: "GET",
            path: &self.path,
            headers,
            body: &[],
        };
        let mut opened = false;
        request.send(self.port, |_, line| {
            if !std::mem::replace(&mut opened, true) {
                shared.note(Told::Resumed(id.clone()));
            }
            let Some(told) = stream.take(line, plan) else {
                return ControlFlow::Continue(());
            };
            let is_event = matches!(told, Told::Event(..));
            shared.note(told);
            if is_event {
                left -= 1;
                shared.gate.wait_for(shared.events.load(Ordering::SeqCst));
            }
            if left == 0 || shared.stop.load(Ordering::SeqCst) {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(())
    }
}

impl Shared {
    fn note(&self, told: Told) {
        let (is_event, is_fence) = match &told {
            Told::Event(event, _) => (true, event.manner() == super::plan::Manner::Fence),
            _ => (false, false),
        };
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(told);
        drop(all);
        self.events
            .fetch_add(usize::from(is_event), Ordering::SeqCst);
        self.fenced.fetch_or(is_fence, Ordering::SeqCst);
    }
}

/// An event stream as far as this follower needs it: no event here has more than one line of data.
#[derive(Debug, Default)]
struct Stream {
    /// What a reconnect resumes after.
    id: String,
    next_id: Option<String>,
    event: String,
    data: String,
}

impl Stream {
    fn take(&mut self, line: &str, plan: Plan) -> Option<Told> {
        if line.is_empty() {
            return self.dispatch(plan);
        }
        match line.split_once(": ") {
            Some(("id", id)) => self.next_id = Some(id.to_owned()),
            Some(("event", event)) => event.clone_into(&mut self.event),
            Some(("data", data)) => self.data.push_str(data),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self, plan: Plan) -> Option<Told> {
        let moved = self.next_id.take();
        self.id = moved.clone().unwrap_or_else(|| self.id.clone());
        let (event, data) = (
            std::mem::take(&mut self.event),
            std::mem::take(&mut self.data),
        );
        match &*event {
            "tidings.end" => None,
            "tidings.gap" => Some(gap(&data, self.id.clone())),
            _ if data.is_empty() => moved.map(Told::Place),
            _ => match Event::parse(&data) {
                Some(event) if plan.data(event) == data => {
                    Some(Told::Event(event, self.id.clone()))
                }
                _ => Some(Told::Alien(data)),
            },
        }
    }
}

fn gap(data: &str, id: String) -> Told {
    let gap: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |field: &str| {
        let text = gap.get(field).and_then(Value::as_str);
        text.unwrap_or_default().to_owned()
    };
    Told::Gap {
        id,
        from: text("from"),
        to: text("to"),
        reason: text("reason"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_told_event_by_event() {
        let plan = Plan { seed: 1 };
        let event = Event {
            publisher: 0,
            number: 3,
        };
        let data = plan.data(event);
        let text = format!(
            "retry: 5\nid: E:4\n\nid: E:5\ndata: {data}\n\nid: E:9\nevent: tidings.gap\n\
             data: {{\"from\":\"E:5\",\"to\":\"E:9\",\"reason\":\"retention\"}}\n\ndata: 0 3 x\n\n\
             event: tidings.end\ndata: {{}}\n\nid: E:20\ndata: torn"
        );
        let mut stream = Stream::default();
        let told = text.split('\n').filter_map(|line| stream.take(line, plan));
        let expected = [
            Told::Place("E:4".to_owned()),
            Told::Event(event, "E:5".to_owned()),
            Told::Gap {
                id: "E:9".to_owned(),
                from: "E:5".to_owned(),
                to: "E:9".to_owned(),
                reason: "retention".to_owned(),
            },
            Told::Alien("0 3 x".to_owned()),
        ];
        assert_eq!(told.collect::<Vec<_>>(), expected);
        assert_eq!(stream.id, "E:9", "an event that did not end moved the ID");
    }

    #[test]
    fn paths_are_encoded_and_wants_agree_with_them() {
        let pattern = MANNERS[2];
        assert_eq!(
            pattern.path(),
            "/events?from=earliest&topic=fence&pattern=orders/:id"
        );
        assert!(pattern.wants(&["orders/2"]) && pattern.wants(&["a", "orders/1"]));
        assert!(pattern.wants(&["fence"]) && !pattern.wants(&["a"]));
        assert!(MANNERS[5].path().contains("topic=sensors%2F%C3%BC"));
    }
}
