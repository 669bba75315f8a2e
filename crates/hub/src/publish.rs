//! `tidings publish`: an event, or each line of stdin, to a hub; once, whatever happens to the
//! connection or the hub meanwhile.
//!
//! Events go out in blocks, one request each. A block is kept until all of it is acknowledged; when
//! its request breaks it is sent again, whole, with the same idempotency key, and the hub answers
//! for what it has with the first receipts. The next block begins after that, so order holds too.

mod attempt;
mod block;
mod lines;
mod progress;
mod receipts;
mod source;
mod trouble;

use std::{
    io::{IsTerminal, Read, stdin, stdout},
    time::{Duration, Instant},
};

use hyper::header::HeaderValue;
use tidings_wire::{EventId, EventType, Topic};
use tokio::sync::mpsc;

use self::{
    attempt::Attempt,
    block::Block,
    lines::{Batch, LINE_BYTES_MAX, Lines, Receiver, Template},
    progress::Progress,
    receipts::Receipts,
    source::Source,
    trouble::Trouble,
};
use crate::{
    arguments::Publish,
    client::{Backoff, Door, Patience},
    environment,
    failure::Failure,
    span,
};

/// How long a stream of lines waits for its hub to come back.
const RETRY_FOR: Duration = Duration::from_mins(5);

const BACKOFF_FIRST_MS: u64 = 200;
const BACKOFF_MAX_MS: u64 = 5_000;

/// Publishes what the arguments say.
pub(crate) fn run(publish: Publish) -> Result<(), Failure> {
    check(&publish)?;
    let door = Door::new(&publish.client.hub)?;
    let is_stream = publish.data.as_deref() == Some("-");
    let template = Template {
        topic: publish.topic,
        event: publish.event,
        id: publish.id,
        retry: publish.retry,
        ttl_s: publish.ttl,
        key: publish.key,
    };
    let input = match publish.data {
        Some(data) if data != "-" => single(&template, &data),
        Some(_) => lines::read(stdin(), Lines::new(&template))
            .map_err(|error| Failure::failed(format!("cannot start to read stdin: {error}")))?,
        None => single(&template, &whole_stdin()?),
    };
    let otherwise = if is_stream { RETRY_FOR } else { Duration::ZERO };
    let prints = publish.receipts || !is_stream;
    let publisher = Publisher {
        door,
        source: Source::new(input),
        receipts: Receipts::new(prints.then(stdout)),
        progress: Progress::new(is_stream, Instant::now()),
        patience: Patience::new(publish.client.retry_for, Some(otherwise)),
        backoff: Backoff::new(BACKOFF_FIRST_MS, BACKOFF_MAX_MS),
        key: publish.idempotency_key,
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?
        .block_on(publisher.run())
}

/// What can be told without asking the hub.
fn check(publish: &Publish) -> Result<(), Failure> {
    let wrong = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    Topic::new(&publish.topic).map_err(|error| wrong(&error))?;
    publish
        .event
        .as_deref()
        .map(EventType::new)
        .transpose()
        .map_err(|error| wrong(&error))?;
    publish
        .id
        .as_deref()
        .map(EventId::new)
        .transpose()
        .map_err(|error| wrong(&error))?;
    if publish
        .idempotency_key
        .as_ref()
        .is_some_and(|key| HeaderValue::try_from(key).is_err())
    {
        return Err(wrong(
            &"the idempotency key has characters that a header cannot carry",
        ));
    }
    let is_stream = publish.data.as_deref() == Some("-");
    if is_stream && publish.id.is_some() {
        return Err(wrong(
            &"--id names one event, and `-` publishes many: leave one of them out",
        ));
    }
    if is_stream && publish.idempotency_key.is_some() {
        return Err(wrong(
            &"--idempotency-key is for one event: `-` makes its own keys, so that what is sent \
              again takes effect once; leave it out",
        ));
    }
    Ok(())
}

/// All of stdin as the data of one event, without the newline at its end.
fn whole_stdin() -> Result<String, Failure> {
    if stdin().is_terminal() {
        return Err(Failure::usage(
            "nothing to publish: give the data, as in `tidings publish TOPIC 'Hello'`, or `-` to \
             publish each line that you type",
        ));
    }
    let mut bytes = Vec::new();
    stdin()
        .take(LINE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read stdin: {error}")))?;
    if bytes.len() > LINE_BYTES_MAX {
        return Err(Failure::failed(format!(
            "stdin has more than {LINE_BYTES_MAX} bytes, too many for one event: publish each line \
             with `-`"
        )));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Failure::failed(format!("stdin is not text: {error}")))?;
    Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
}

/// An input of one event.
fn single(template: &Template, data: &str) -> Receiver {
    let mut ndjson = lines::opening(template);
    lines::close(data, &mut ndjson);
    let (sender, receiver) = mpsc::channel(1);
    // There is room for one.
    let _ = sender.try_send(Ok(Batch {
        ndjson: ndjson.into(),
        lines: 1,
    }));
    receiver
}

#[derive(Debug)]
struct Publisher {
    door: Door,
    source: Source,
    receipts: Receipts,
    progress: Progress,
    patience: Patience,
    backoff: Backoff,
    /// The key of the only block; otherwise each has its own.
    key: Option<String>,
}

impl Publisher {
    async fn run(mut self) -> Result<(), Failure> {
        while let Some(batch) = self.source.next().await {
            let key = self.key.take().unwrap_or_else(environment::new_key);
            self.deliver(Block::new(key, batch)).await?;
            self.receipts.begin_block();
        }
        self.progress.finish(
            self.receipts.total(),
            self.receipts.last_id(),
            Instant::now(),
        );
        match self.source.error() {
            Some(error) => Err(Failure::failed(error.to_string())),
            None => Ok(()),
        }
    }

    /// Publishes a block, however many attempts it takes.
    async fn deliver(&mut self, mut block: Block) -> Result<(), Failure> {
        let mut progressed = Instant::now();
        loop {
            let before = self.receipts.total();
            let attempt = Attempt {
                door: &self.door,
                source: &mut self.source,
                receipts: &mut self.receipts,
                progress: &mut self.progress,
            };
            let result = attempt.run(&mut block).await;
            if self.receipts.total() > before {
                progressed = Instant::now();
                self.backoff.reset();
            }
            let Err(trouble) = result else {
                self.patience.meet();
                return Ok(());
            };
            if !matches!(trouble, Trouble::Connect(_)) {
                self.patience.meet();
            }
            self.pause(trouble, progressed.elapsed()).await?;
        }
    }

    /// Waits before the next attempt, if there is to be one.
    async fn pause(&mut self, trouble: Trouble, idle: Duration) -> Result<(), Failure> {
        let left = self.patience.left(idle).filter(|_| trouble.is_temporary());
        let Some(left) = left else {
            return Err(self.give_up(&trouble));
        };
        let wait_ms = self
            .backoff
            .next_ms(trouble.retry_after_ms(), environment::random());
        let wait_ms = wait_ms.min(span::millis(left));
        self.progress.say(format_args!(
            "tidings: {trouble}; trying again in {wait_ms} ms"
        ));
        tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        Ok(())
    }

    fn give_up(&self, trouble: &Trouble) -> Failure {
        let done = self.receipts.total();
        let state = match done {
            0 => "nothing was acknowledged".to_owned(),
            _ => format!(
                "{done} events were acknowledged, up to {}; go on after line {done}",
                self.receipts.last_id()
            ),
        };
        Failure::new(trouble.code(), format!("{trouble}; {state}"))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn checked(words: &[&str]) -> Result<(), String> {
        let words = ["tidings", "publish"].iter().chain(words);
        let Some(Command::Publish(publish)) = Arguments::try_parse_from(words).unwrap().command
        else {
            panic!("not a publish")
        };
        check(&publish).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_makes_no_sense_is_told_before_anything_is_sent() {
        assert_eq!(
            checked(&["t", "x", "--id", "1", "--idempotency-key", "k"]),
            Ok(())
        );
        assert_eq!(checked(&["t", "-"]), Ok(()));
        for (words, said) in [
            (&["", "x"][..], "topic is empty"),
            (&["a\nb", "x"], "control character"),
            (&["t", "x", "--event", "a\nb"], "line break"),
            (
                &["t", "x", "--idempotency-key", "a\nb"],
                "idempotency key has characters",
            ),
            (&["t", "-", "--id", "1"], "--id names one event"),
            (
                &["t", "-", "--idempotency-key", "k"],
                "--idempotency-key is for one event",
            ),
        ] {
            let message = checked(words).unwrap_err();
            assert!(message.contains(said), "{words:?}: {message}");
        }
    }
}
