//! `application/x-ndjson`: a stream of events, of any length, with a receipt for each.
//!
//! What has arrived is committed in groups while more is being read; a bounded number of bytes is
//! on the way at any time. With an `Idempotency-Key` each group says how many lines of the request
//! come before it, so a request that broke off can be repeated from its start: the hub answers for
//! the lines that it has and goes on with the first that it has not.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Buf, BytesMut};
use http_body_util::BodyExt;
use hyper::{Response, body::Incoming};
use tidings::{Idempotency, NewEvent, Publish, PublishError, Receipt, Ticket};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout},
};

use super::{answer, draft::Defaults, draft::utf8, json, receipt::Receipts};
use crate::{problem::Problem, reply::Reply, server::Shared};

/// Answers once the first events are committed, so that a request of which nothing was committed
/// gets a status that says so.
pub(crate) async fn ingest(
    shared: Arc<Shared>,
    body: Incoming,
    defaults: Defaults,
    key: Option<Arc<str>>,
) -> Result<Response<Reply>, Problem> {
    let receipts = Receipts::new(shared.stream.config.receipt_runs_max);
    let stream = receipts.stream(shared.hub.epoch());
    let (first, begun) = oneshot::channel();
    let ingest = Ingest {
        shared,
        defaults,
        receipts,
        first: Some(first),
        carry: BytesMut::new(),
        group: Vec::new(),
        group_bytes: 0,
        line: 0,
        sent: 0,
        key,
        fingerprint: 0,
        flights: VecDeque::new(),
        bytes: 0,
    };
    tokio::spawn(ingest.run(body));
    match begun.await {
        Ok(Err(problem)) => Err(problem),
        Ok(Ok(())) => Ok(answer(Reply::Receipts(stream), "application/x-ndjson")),
        Err(_) => Err(Problem::unavailable(
            "the stream of events was interrupted",
            1,
        )),
    }
}

struct Ingest {
    shared: Arc<Shared>,
    defaults: Defaults,
    receipts: Arc<Receipts>,
    /// Hears whether the beginning went well.
    first: Option<oneshot::Sender<Result<(), Problem>>>,
    /// Bytes of a line that has not ended.
    carry: BytesMut,
    /// Events that were read and not handed to the hub.
    group: Vec<NewEvent>,
    group_bytes: usize,
    /// Lines read.
    line: u64,
    /// Events handed to the hub.
    sent: u64,
    key: Option<Arc<str>>,
    /// Of all events that were handed to the hub.
    fingerprint: u64,
    flights: VecDeque<Flight>,
    /// Bytes on the way.
    bytes: usize,
}

/// A group that was handed to the hub and has no receipt yet.
struct Flight {
    ticket: Ticket,
    bytes: usize,
    last_line: u64,
    /// The publisher's own IDs; empty if no event has one.
    own: Vec<Option<Box<str>>>,
}

/// Events and bytes of one group. Bounded, so that receipts and others' events are not held up.
const GROUP_EVENTS: usize = 512;
const GROUP_BYTES: usize = 256 << 10;

/// How long to wait for room in the commit queue before asking again.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// What there was to do next.
enum Event {
    Settled(Result<Receipt, PublishError>),
    Read(Result<Option<bytes::Bytes>, Problem>),
    Drained,
}

impl Ingest {
    async fn run(mut self, body: Incoming) {
        let outcome = self.read_all(body).await;
        let settled = self.settle_all().await;
        // An earlier line's problem comes first.
        let problem = settled.err().or(outcome.err());
        match (self.first.take(), problem) {
            (Some(first), Some(problem)) => drop(first.send(Err(problem))),
            (Some(first), None) => {
                let _ = first.send(Ok(()));
                self.receipts.end(None);
            }
            (None, problem) => self.receipts.end(problem),
        }
    }

    async fn read_all(&mut self, mut body: Incoming) -> Result<(), Problem> {
        let shared = self.shared.clone();
        let mut drained = std::pin::pin!(shared.drained());
        loop {
            let idle_max = Duration::from_millis(shared.stream.config.line_idle_ms_max);
            let may_read = self.bytes < shared.stream.config.ingest_bytes_max;
            let event = tokio::select! {
                settled = next(&mut self.flights) => Event::Settled(settled),
                read = read(&mut body, &self.receipts, idle_max), if may_read => Event::Read(read),
                () = &mut drained => Event::Drained,
            };
            match event {
                Event::Settled(outcome) => self.settle(outcome)?,
                Event::Read(chunk) => {
                    match chunk.map_err(|problem| problem.at_line(self.line + 1))? {
                        Some(chunk) => self.take(&chunk).await?,
                        None => return self.finish().await,
                    }
                }
                Event::Drained => return Err(PublishError::Closed.into()),
            }
        }
    }

    /// Takes the lines that `chunk` completes. Those before a bad one count, however the bytes
    /// happened to arrive.
    async fn take(&mut self, chunk: &[u8]) -> Result<(), Problem> {
        let outcome = self.take_lines(chunk).await;
        self.submit().await?;
        outcome
    }

    async fn take_lines(&mut self, mut chunk: &[u8]) -> Result<(), Problem> {
        while let Some(end) = memchr::memchr(b'\n', chunk) {
            let (line, rest) = chunk.split_at(end);
            if self.carry.is_empty() {
                self.line(line)?;
            } else {
                self.carry.extend_from_slice(line);
                let whole = self.carry.split();
                self.line(&whole)?;
            }
            chunk = rest.get(1..).unwrap_or_default();
            if self.group.len() >= GROUP_EVENTS || self.group_bytes >= GROUP_BYTES {
                self.submit().await?;
            }
        }
        self.carry.extend_from_slice(chunk);
        if self.carry.len() > self.shared.stream.config.line_bytes_max {
            return Err(self.line_too_long());
        }
        Ok(())
    }

    /// The last line may lack its end.
    async fn finish(&mut self) -> Result<(), Problem> {
        let last = self.carry.split();
        if last.has_remaining() {
            self.line(&last)?;
        }
        self.submit().await
    }

    fn line(&mut self, line: &[u8]) -> Result<(), Problem> {
        if line.len() > self.shared.stream.config.line_bytes_max {
            return Err(self.line_too_long());
        }
        self.line += 1;
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        let event = utf8(line).and_then(|text| json::parse_one(text, &self.defaults));
        self.group
            .push(event.map_err(|problem| problem.at_line(self.line))?);
        self.group_bytes += line.len();
        Ok(())
    }

    fn line_too_long(&self) -> Problem {
        let max = self.shared.stream.config.line_bytes_max;
        Problem::too_large(format!(
            "a line may have {max} bytes; send less, or a link to it"
        ))
        .at_line(self.line + 1)
    }

    /// Hands the group to the hub, waiting for room in its queue.
    async fn submit(&mut self) -> Result<(), Problem> {
        if self.group.is_empty() {
            return Ok(());
        }
        let events = std::mem::take(&mut self.group);
        let count = events.len() as u64;
        let bytes = std::mem::take(&mut self.group_bytes);
        let own = if events.iter().any(|event| event.own_id().is_some()) {
            events
                .iter()
                .map(|event| event.own_id().map(Into::into))
                .collect()
        } else {
            Vec::new()
        };
        let publish = Publish {
            events,
            idempotency: self.idempotency(),
        };
        if self.key.is_some() {
            self.fingerprint = publish.fingerprint();
        }
        let ticket = self
            .offer(publish)
            .await
            .map_err(|error| Problem::from(error).at_line(self.line))?;
        self.sent += count;
        self.bytes += bytes;
        self.flights.push_back(Flight {
            ticket,
            bytes,
            last_line: self.line,
            own,
        });
        Ok(())
    }

    fn idempotency(&self) -> Option<Idempotency> {
        self.key.clone().map(|key| Idempotency {
            key,
            offset: self.sent,
            fingerprint: self.fingerprint,
            whole: false,
        })
    }

    async fn offer(&mut self, mut publish: Publish) -> Result<Ticket, PublishError> {
        let patience = Duration::from_millis(self.shared.stream.config.ingest_busy_ms_max);
        let begun = Instant::now();
        loop {
            match self.shared.hub.offer(publish) {
                Ok(ticket) => return Ok(ticket),
                Err(refused)
                    if matches!(refused.error, PublishError::Busy)
                        && begun.elapsed() < patience =>
                {
                    publish = refused.publish;
                    sleep(BUSY_PAUSE).await;
                }
                Err(refused) => return Err(refused.error),
            }
        }
    }

    async fn settle_all(&mut self) -> Result<(), Problem> {
        while !self.flights.is_empty() {
            let outcome = next(&mut self.flights).await;
            self.settle(outcome)?;
        }
        Ok(())
    }

    /// Gives the oldest flight's receipts to the client.
    fn settle(&mut self, outcome: Result<Receipt, PublishError>) -> Result<(), Problem> {
        let Some(flight) = self.flights.pop_front() else {
            return Ok(());
        };
        self.bytes -= flight.bytes;
        let receipt = outcome.map_err(|error| {
            // Receipts are told apart by their order: after a hole there must be none.
            self.flights.clear();
            Problem::from(error).at_line(flight.last_line)
        })?;
        if flight.own.is_empty() {
            self.receipts.give(receipt.runs);
        } else {
            for (sequence, own) in receipt.sequences().zip(flight.own) {
                match own {
                    Some(id) => self.receipts.give_own(id),
                    None => self.receipts.give([tidings::Run {
                        first: sequence,
                        count: 1,
                    }]),
                }
            }
        }
        if let Some(first) = self.first.take() {
            let _ = first.send(Ok(()));
        }
        Ok(())
    }
}

/// The oldest flight's outcome; never, if there is none.
async fn next(flights: &mut VecDeque<Flight>) -> Result<Receipt, PublishError> {
    match flights.front_mut() {
        Some(flight) => (&mut flight.ticket).await,
        None => std::future::pending().await,
    }
}

/// The next bytes of the body; `None` at its end.
async fn read(
    body: &mut Incoming,
    receipts: &Receipts,
    idle_max: Duration,
) -> Result<Option<bytes::Bytes>, Problem> {
    if !receipts.room().await {
        return Err(Problem::bad_request("the client stopped reading receipts"));
    }
    loop {
        match timeout(idle_max, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => {}
            },
            Ok(Some(Err(error))) => {
                return Err(Problem::bad_request(format!(
                    "the body could not be read: {error}"
                )));
            }
            Err(_) => {
                return Err(Problem::timed_out(format!(
                    "the stream was quiet for {} s; open a new one when there is more",
                    idle_max.as_secs()
                )));
            }
        }
    }
}
