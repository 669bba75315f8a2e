//! Subscribers over HTTP/2, many on a connection.

use std::{future::Future, net::SocketAddr, ops::Range, rc::Rc};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::{
    Request,
    body::Incoming,
    client::conn::http2::{SendRequest, handshake},
    rt::Executor,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::spawn_local};

use super::{
    run::{Reader, Run},
    subscriber::{Entrance, cannot},
};
use crate::client::{Refusal, root_cause};

/// Opens a connection with these subscribers, whose requests `request` makes.
pub(crate) async fn follow(
    run: Rc<Run>,
    entrance: Rc<Entrance>,
    numbers: Range<usize>,
    request: impl Fn(usize) -> hyper::http::Result<Request<Empty<Bytes>>>,
) {
    // The semaphore is never closed.
    let _knocking = entrance.knocking.acquire().await;
    let mut sender = match connect(entrance.address).await {
        Ok(sender) => sender,
        Err(why) => return run.fail(cannot(numbers.start, &why)),
    };
    for number in numbers {
        let request = match request(number) {
            Ok(request) => request,
            Err(error) => return run.fail(cannot(number, &error)),
        };
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return run.fail(cannot(number, &root_cause(&error))),
        };
        if !response.status().is_success() {
            let refusal = Refusal::read(response).await;
            return run.fail(cannot(number, &format!("the hub refused: {refusal}")));
        }
        run.count(|tally| tally.answered += 1);
        spawn_local(read(run.clone(), number, response.into_body()));
    }
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Empty<Bytes>>, String> {
    let stream = TcpStream::connect(address).await;
    let stream = stream.map_err(|error| error.to_string())?;
    let (sender, connection) = handshake(Local, TokioIo::new(stream))
        .await
        .map_err(|error| root_cause(&error))?;
    // What goes wrong on the connection is told by its streams.
    spawn_local(async move { connection.await.unwrap_or_default() });
    Ok(sender)
}

async fn read(run: Rc<Run>, number: usize, mut body: Incoming) {
    let mut reader = Reader::default();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(bytes) = frame.data_ref() {
            reader.take(&run, number, bytes);
        }
    }
    run.cut(number);
}

/// Spawns on this thread.
#[derive(Debug, Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
