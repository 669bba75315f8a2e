//! One attempt to publish a block: sending it and reading its receipts at the same time.

use std::{
    convert::Infallible,
    future::pending,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{
    Method, Request, Response,
    body::{Body, Frame, Incoming},
    header::{CONTENT_TYPE, HeaderMap},
};
use tokio::{sync::mpsc, time::timeout};

use super::{
    block::Block, progress::Progress, receipts::Receipts, source::Source, trouble::Trouble,
};
use crate::client::{Connection, Door, Refusal, root_cause};

/// When the input has been quiet for so long its block is sealed, so that no request stays open
/// for ever.
const QUIET: Duration = Duration::from_secs(1);

/// A hub that says nothing for so long, though it has events to acknowledge, is taken for lost.
const SILENCE: Duration = Duration::from_secs(30);

/// Batches between the block and the socket.
const BATCHES_ON_THE_WAY_MAX: usize = 2;

/// All that an attempt needs beside its block.
#[derive(Debug)]
pub(crate) struct Attempt<'a> {
    pub(crate) door: &'a Door,
    pub(crate) source: &'a mut Source,
    pub(crate) receipts: &'a mut Receipts,
    pub(crate) progress: &'a mut Progress,
}

impl Attempt<'_> {
    /// Publishes `block`, which goes on growing until it is sealed.
    pub(crate) async fn run(self, block: &mut Block) -> Result<(), Trouble> {
        block.rewind();
        self.receipts.begin_attempt();
        let connection = self.door.connect().await.map_err(Trouble::Connect)?;
        let (sender, receiver) = mpsc::channel(BATCHES_ON_THE_WAY_MAX);
        let request = self
            .door
            .events(Method::POST, "")
            .header(CONTENT_TYPE, "application/x-ndjson")
            .header("Idempotency-Key", block.key())
            .body(Outgoing(receiver))
            .map_err(|error| Trouble::Foreign(error.to_string()))?;
        let answer = receive(connection, request, self.receipts, self.progress);
        {
            let (mut answer, mut feed) = (pin!(answer), pin!(feed(block, self.source, sender)));
            tokio::select! {
                // The answer cannot be complete before the request is, but it can be a problem.
                result = &mut answer => result?,
                () = &mut feed => answer.await?,
            }
        }
        if self.receipts.answered() < block.lines() as u64 {
            return Err(Trouble::Broken("the answer ended early".to_owned()));
        }
        Ok(())
    }
}

/// Sends the block, and what the source adds to it until it is sealed. Then `body` is dropped,
/// which ends the request.
async fn feed(block: &mut Block, source: &mut Source, body: mpsc::Sender<Bytes>) {
    loop {
        while let Some(bytes) = block.next_unsent() {
            if body.send(bytes).await.is_err() {
                // The connection is gone; the answer says why.
                return pending().await;
            }
        }
        if block.is_sealed() {
            return;
        }
        match timeout(QUIET, source.next()).await {
            Ok(Some(batch)) => block.push(batch),
            Ok(None) | Err(_) => block.seal(),
        }
    }
}

/// Reads the answer to its end.
async fn receive(
    mut connection: Connection<Outgoing>,
    request: Request<Outgoing>,
    receipts: &mut Receipts,
    progress: &mut Progress,
) -> Result<(), Trouble> {
    let silent = |_| Trouble::Broken(format!("no answer for {} s", SILENCE.as_secs()));
    let broken = |error: hyper::Error| Trouble::Broken(root_cause(&error));
    let response = timeout(SILENCE, connection.send(request))
        .await
        .map_err(silent)?
        .map_err(broken)?;
    let mut body = check(response).await?;
    while let Some(frame) = timeout(SILENCE, body.frame()).await.map_err(silent)? {
        if let Some(piece) = frame.map_err(broken)?.data_ref() {
            receipts.take(piece)?;
            progress.show(receipts.total(), Instant::now());
        }
    }
    receipts.finish()
}

async fn check(response: Response<Incoming>) -> Result<Incoming, Trouble> {
    if !response.status().is_success() {
        let refusal = Refusal::read(response).await;
        return Err(Trouble::Refused {
            refusal,
            line: None,
        });
    }
    if !is_ndjson(response.headers()) {
        return Err(Trouble::Foreign("it is no stream of receipts".to_owned()));
    }
    Ok(response.into_body())
}

fn is_ndjson(headers: &HeaderMap) -> bool {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    content_type.is_some_and(|text| text.starts_with("application/x-ndjson"))
}

/// The body of a request: what comes through a channel.
#[derive(Debug)]
pub(crate) struct Outgoing(mpsc::Receiver<Bytes>);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(context)
            .map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
    }
}
