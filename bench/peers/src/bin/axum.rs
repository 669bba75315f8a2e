//! The peer: axum's own `Sse` over a tokio broadcast channel, as its documentation has it.
//!
//! `axum PORT`: `GET /sub` follows, `POST /pub` publishes its body to all.

use std::convert::Infallible;
use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::{get, post};
use tokio::sync::broadcast::{self, Sender};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

/// Enough for all events of a run: who lags must not lose any, or it would have less to do.
const CAPACITY: usize = 1 << 16;

type Message = (u64, Arc<str>);

fn main() -> Result<()> {
    let port: u16 = std::env::args()
        .nth(1)
        .context("usage: axum PORT")?
        .parse()?;
    let (sender, _) = broadcast::channel::<Message>(CAPACITY);
    let app = Router::new()
        .route("/sub", get(follow))
        .route("/pub", post(publish))
        .with_state(sender);
    // It is confined to one core, where more threads only get in each other's way.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
        Ok(axum::serve(listener, app).await?)
    })
}

async fn follow(
    State(sender): State<Sender<Message>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let messages = BroadcastStream::new(sender.subscribe()).filter_map(Result::ok);
    let events = messages.map(|(id, data)| Ok(Event::default().id(id.to_string()).data(&*data)));
    Sse::new(events).keep_alive(KeepAlive::default())
}

async fn publish(State(sender): State<Sender<Message>>, body: String) {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1_000_000_000);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    // Nobody follows yet: then there is nobody to tell.
    let _ = sender.send((id, body.into()));
}
