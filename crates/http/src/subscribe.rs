//! `GET /events`.

use std::sync::Arc;

use hyper::{
    HeaderMap, Method, Response, Uri,
    header::{self, HeaderName, HeaderValue},
};
use tidings::{Start, SubscribeError, Subscription};

use crate::{
    counters::{Held, increment},
    problem::Problem,
    query::Query,
    reply::Reply,
    server::Shared,
    stream::{EventStream, Streams},
};

pub(crate) async fn subscribe(
    shared: &Arc<Shared>,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<Response<Reply>, Problem> {
    let query = Query::parse(uri, headers, &shared.stream.config)?;
    if method == Method::HEAD {
        return Ok(event_stream(Reply::empty()));
    }
    let (held, streams) = Held::new(Streams(shared.stream.counters.clone()));
    if streams > shared.stream.config.subscribers_max || shared.is_draining() {
        return Ok(shed(shared));
    }
    let subscription = match place(shared, &query).await {
        Err(SubscribeError::Closed) => return Ok(shed(shared)),
        outcome => outcome?,
    };
    let stream = EventStream::new(
        subscription,
        shared.stream.clone(),
        held,
        query.heartbeat_ms,
        query.ping,
    );
    Ok(event_stream(Reply::Events(Box::new(stream))))
}

/// Tells a subscriber to come back later. `EventSource` gives up for good on any status but 200.
pub(crate) fn shed(shared: &Shared) -> Response<Reply> {
    increment(&shared.stream.counters.shed);
    let retry_ms = shared.stream.retry_ms();
    let mut response = event_stream(Reply::text(format!("retry: {retry_ms}\n\n")));
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(header::CONNECTION, close);
    response
}

/// Finding some places reads the disk, which must not hold up the other connections.
async fn place(shared: &Shared, query: &Query) -> Result<Subscription, SubscribeError> {
    let hub = &shared.hub;
    let now_ms = (shared.stream.environment.now_ms)();
    if !query.start.may_read(hub.epoch()) {
        return hub.subscribe(&query.selectors, &query.start, now_ms);
    }
    let (hub, selectors, start): (_, _, Start) =
        (hub.clone(), query.selectors.clone(), query.start.clone());
    tokio::task::spawn_blocking(move || hub.subscribe(&selectors, &start, now_ms))
        .await
        .unwrap_or(Err(SubscribeError::Closed))
}

pub(crate) fn event_stream(body: Reply) -> Response<Reply> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
