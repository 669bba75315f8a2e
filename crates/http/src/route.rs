//! From a request to its handler.

use std::sync::Arc;

use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, http::uri::Authority};

use crate::{
    console, health, metrics,
    origin::{Origin, answer_preflight, check_host},
    problem::Problem,
    publish::publish,
    reply::Reply,
    server::Shared,
    subscribe::{shed, subscribe},
};

/// Answers a request. `over_limit`: there are too many connections to keep this one.
pub(crate) async fn route(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    over_limit: bool,
) -> Response<Reply> {
    let host = host(&request);
    let origin = check_host(host.as_deref(), &shared.stream.config)
        .and_then(|()| Origin::of(request.headers(), host.as_deref(), &shared.stream.config));
    let mut response = match origin {
        Ok(origin) => {
            let outcome = dispatch(shared, request, over_limit).await;
            let mut response = outcome.unwrap_or_else(Problem::into_response);
            origin.answer(response.headers_mut());
            response
        }
        Err(problem) => problem.into_response(),
    };
    if over_limit {
        let close = header::HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    shared.stream.counters.response(response.status().as_u16());
    response
}

/// HTTP/1.1 has it in a header, HTTP/2 in the request's URI.
fn host(request: &Request<Incoming>) -> Option<String> {
    let header = request.headers().get(header::HOST);
    match header {
        Some(value) => value.to_str().ok().map(str::to_owned),
        None => request.uri().authority().map(Authority::to_string),
    }
}

async fn dispatch(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
    over_limit: bool,
) -> Result<Response<Reply>, Problem> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    if request.method() == Method::OPTIONS {
        return Ok(preflight());
    }
    match request.uri().path() {
        // A hub that is full lives: who restarts it for that sends everyone away at once. And
        // whoever watches it wants to see that it is full.
        "/healthz" if is_read => Ok(health::healthz()),
        "/metrics" if is_read => Ok(metrics::metrics(shared)),
        "/events" if over_limit && is_read => Ok(shed(shared)),
        _ if over_limit => Err(Problem::unavailable(
            "the hub has all the connections it can hold",
            1,
        )),
        "/events" if request.method() == Method::POST => publish(shared, request).await,
        "/events" if is_read => {
            subscribe(shared, request.method(), request.uri(), request.headers()).await
        }
        "/events" => Err(Problem::method("GET, HEAD, POST, OPTIONS")),
        "/readyz" if is_read => health::readyz(shared),
        path => match console::asset(path).filter(|_| shared.stream.config.console) {
            Some(response) if is_read => Ok(response),
            Some(_) => Err(Problem::method("GET, HEAD")),
            None if matches!(path, "/healthz" | "/readyz" | "/metrics") => {
                Err(Problem::method("GET, HEAD"))
            }
            None => Err(Problem::new(
                StatusCode::NOT_FOUND,
                "There is nothing at this path",
                "subscribe with `GET /events?topic=…`, publish with `POST /events`",
            )),
        },
    }
}

fn preflight() -> Response<Reply> {
    let mut response = Response::new(Reply::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let allow = header::HeaderValue::from_static("GET, HEAD, POST, OPTIONS");
    response.headers_mut().insert(header::ALLOW, allow);
    answer_preflight(response.headers_mut());
    response
}
