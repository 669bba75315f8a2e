//! `tidings subscribe`: follows topics over broken connections and restarted hubs.

mod control;
mod follower;
mod output;
mod trouble;

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use tidings_wire::{Decoder, Item, Topic};
use tokio::time::timeout;

use self::{
    follower::{Follower, Next},
    output::Output,
    trouble::Trouble,
};
use crate::{
    arguments::Subscribe,
    client::{Backoff, Connection, Door, Patience, Refusal, root_cause},
    environment,
    failure::Failure,
    notice,
};

/// The sign of life that is asked for, in seconds.
const HEARTBEAT: &str = "15";

/// A stream that is silent for so long has lost three signs of life, and so its connection.
const SILENCE: Duration = Duration::from_secs(45);

/// How long the head of an answer may take.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

const BACKOFF_FIRST_MS: u64 = 500;
const BACKOFF_MAX_MS: u64 = 15_000;

/// Follows what the arguments say.
pub(crate) fn run(subscribe: &Subscribe) -> Result<(), Failure> {
    for topic in &subscribe.topic {
        Topic::new(topic).map_err(|error| Failure::usage(error.to_string()))?;
    }
    let last_event_id = subscribe.last_event_id.as_deref().unwrap_or_default();
    if HeaderValue::from_bytes(last_event_id.as_bytes()).is_err() {
        return Err(Failure::usage(
            "the last event ID has control characters: copy it again",
        ));
    }
    let door = Door::new(&subscribe.client.hub)?;
    let mut decoder = Decoder::new();
    decoder.set_last_event_id(last_event_id);
    let patience = Patience::new(subscribe.client.retry_for, None);
    let subscriber = Subscriber {
        query: query(subscribe),
        follower: Follower::new(patience, Backoff::new(BACKOFF_FIRST_MS, BACKOFF_MAX_MS)),
        output: Output::new(subscribe.json),
        left: subscribe.count,
        heard: Instant::now(),
        greeted: false,
        door,
        decoder,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?
        .block_on(subscriber.run())
}

fn query(subscribe: &Subscribe) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(subscribe.topic.iter().map(|topic| ("topic", topic)));
    query.extend_pairs(subscribe.pattern.iter().map(|pattern| ("pattern", pattern)));
    query.extend_pairs(subscribe.from.iter().map(|from| ("from", from)));
    query.append_pair("heartbeat", HEARTBEAT).finish()
}

#[derive(Debug)]
struct Subscriber {
    door: Door,
    query: String,
    decoder: Decoder,
    follower: Follower,
    output: Output,
    /// How many events are still wanted; `None`: all.
    left: Option<u64>,
    /// When something last came.
    heard: Instant,
    greeted: bool,
}

impl Subscriber {
    async fn run(mut self) -> Result<(), Failure> {
        loop {
            let trouble = match self.follow().await {
                Ok(()) => return Ok(()),
                Err(trouble) if trouble.is_closed_pipe() => return Ok(()),
                Err(trouble) => trouble,
            };
            let idle = self.heard.elapsed();
            match self
                .follower
                .next(&trouble.outcome(), idle, environment::random())
            {
                Next::Stop => return Ok(()),
                Next::Fail => return Err(Failure::new(trouble.code(), trouble.to_string())),
                Next::Reconnect { wait_ms } => {
                    notice::say(format_args!(
                        "tidings: {trouble}; reconnecting in {wait_ms} ms"
                    ));
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
            }
        }
    }

    /// Connects and prints what comes; returns when enough has come.
    async fn follow(&mut self) -> Result<(), Trouble> {
        let mut connection = self.door.connect().await.map_err(Trouble::Connect)?;
        let mut body = self.open(&mut connection).await?;
        self.follower.opened();
        self.greet();
        self.decoder.restart();
        loop {
            self.heard = Instant::now();
            let frame = timeout(SILENCE, body.frame())
                .await
                .map_err(|_| Trouble::Silent(SILENCE))?
                .ok_or(Trouble::Closed)?
                .map_err(|error| Trouble::Broken(root_cause(&error)))?;
            let chunk = frame.into_data().unwrap_or_default();
            let enough = self.take(&chunk)?;
            self.output.flush().map_err(Trouble::Output)?;
            if enough {
                return Ok(());
            }
        }
    }

    /// Where nothing is printed for a while, a person wants to know that all is well.
    fn greet(&mut self) {
        if notice::is_watched() && !std::mem::replace(&mut self.greeted, true) {
            let url = self.door.url();
            notice::say(format_args!("tidings: connected to {url}; Ctrl-C ends it"));
        }
    }

    async fn open(&self, connection: &mut Connection<Empty<Bytes>>) -> Result<Incoming, Trouble> {
        let request = self.request()?;
        let response = timeout(HEAD_PATIENCE, connection.send(request))
            .await
            .map_err(|_| Trouble::Silent(HEAD_PATIENCE))?
            .map_err(|error| Trouble::Broken(root_cause(&error)))?;
        if response.status() != StatusCode::OK {
            return Err(Trouble::Refused(Refusal::read(response).await));
        }
        if !is_event_stream(&response) {
            return Err(Trouble::Foreign("it is no event stream".to_owned()));
        }
        Ok(response.into_body())
    }

    fn request(&self) -> Result<Request<Empty<Bytes>>, Trouble> {
        let last = self.decoder.last_event_id().to_str();
        let mut request = self
            .door
            .events(Method::GET, &self.query)
            .header(ACCEPT, "text/event-stream")
            .header(CACHE_CONTROL, "no-store");
        if !last.is_empty() {
            // As browsers do: UTF-8, whatever the header's rules are. What does not fit at all
            // (a control character) cannot have come from a hub.
            let value = HeaderValue::from_bytes(last.as_bytes())
                .map_err(|_| Trouble::Foreign("its event ID cannot be sent back".to_owned()))?;
            request = request.header("Last-Event-ID", value);
        }
        request
            .body(Empty::new())
            .map_err(|error| Trouble::Foreign(error.to_string()))
    }

    /// Prints the events of a chunk; true when enough has come.
    fn take(&mut self, mut chunk: &[u8]) -> Result<bool, Trouble> {
        while let Some(item) = self.decoder.next(&mut chunk) {
            match item {
                Ok(Item::Event(event)) if control::is_control(&event) => {
                    if let Some(sentence) = control::sentence(&event) {
                        notice::say(format_args!("tidings: {sentence}"));
                    }
                    self.output.control(&event).map_err(Trouble::Output)?;
                }
                Ok(Item::Event(event)) => {
                    self.follower.received();
                    self.output.event(&event).map_err(Trouble::Output)?;
                    self.left = self.left.map(|left| left.saturating_sub(1));
                    if self.left == Some(0) {
                        return Ok(true);
                    }
                }
                Ok(Item::Retry(retry_ms)) => self.follower.set_retry(retry_ms),
                Ok(_) => {}
                Err(error) => notice::say(format_args!("tidings: an event was left out: {error}")),
            }
        }
        Ok(false)
    }
}

fn is_event_stream(response: &Response<Incoming>) -> bool {
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.starts_with("text/event-stream"))
}
