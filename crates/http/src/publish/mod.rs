//! `POST /events`: publishing, by content type.

mod body;
mod draft;
mod form;
mod json;
mod lines;
mod receipt;

use std::sync::Arc;

use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};
use tidings::{Idempotency, NewEvent, Publish};

use self::draft::Defaults;
pub(crate) use self::receipt::ReceiptStream;
use crate::{problem::Problem, reply::Reply, server::Shared};

pub(crate) async fn publish(
    shared: &Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Problem> {
    let (head, body) = request.into_parts();
    let kind = Kind::of(&head.headers)?;
    let key = idempotency_key(&head.headers)?;
    let defaults = Defaults::parse(head.uri.query().unwrap_or_default())?;
    if let Kind::Lines = kind {
        return lines::ingest(shared.clone(), body, defaults, key).await;
    }
    let body = body::whole(body, &shared.stream.config).await?;
    match kind {
        Kind::Text => one(shared, draft::from_text(&body, &defaults)?, key).await,
        Kind::Form => one(shared, form::parse(&body, &defaults)?, key).await,
        Kind::Json | Kind::Lines => match json::parse(&body, &defaults)? {
            json::Parsed::One(event) => one(shared, event, key).await,
            json::Parsed::Many(events) => many(shared, events, key).await,
        },
    }
}

/// How the body is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Form,
    Json,
    Lines,
}

impl Kind {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let value = headers
            .get(header::CONTENT_TYPE)
            .and_then(|v| v.to_str().ok());
        let mut parts = value.unwrap_or_default().split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let kind = match essence.as_str() {
            "text/plain" => Self::Text,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/json" => Self::Json,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Self::Lines,
            _ => {
                return Err(unsupported(format!(
                    "the content type `{essence}` is not known here; send text/plain, \
                     application/x-www-form-urlencoded, application/json or application/x-ndjson"
                )));
            }
        };
        let charset =
            parts.find_map(|part| part.trim().strip_prefix("charset=").map(str::to_owned));
        match charset.map(|c| c.trim_matches('"').to_ascii_lowercase()) {
            Some(charset) if !["utf-8", "utf8", "us-ascii"].contains(&charset.as_str()) => {
                Err(unsupported(format!(
                    "an event stream is UTF-8, the body is said to be `{charset}`; send it as UTF-8"
                )))
            }
            _ => Ok(kind),
        }
    }
}

fn unsupported(detail: String) -> Problem {
    let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    Problem::new(status, "The content type is not supported", detail)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.is_empty() && values.next().is_none() => Ok(Some(key.into())),
        _ => Err(Problem::bad_request(
            "`Idempotency-Key` takes one value of visible ASCII characters, such as a UUID",
        )),
    }
}

/// Publishes a request that is one group and waits for its receipt. Returns the event IDs.
async fn commit(
    shared: &Shared,
    events: Vec<NewEvent>,
    key: Option<Arc<str>>,
) -> Result<Vec<String>, Problem> {
    let own: Vec<Option<String>> = events
        .iter()
        .map(|e| e.own_id().map(str::to_owned))
        .collect();
    let idempotency = key.map(|key| Idempotency {
        key,
        offset: 0,
        fingerprint: 0,
        whole: true,
    });
    let receipt = shared
        .hub
        .publish(Publish {
            events,
            idempotency,
        })?
        .await?;
    let epoch = shared.hub.epoch();
    let ids = receipt.sequences().zip(own);
    Ok(ids
        .map(|(sequence, own)| own.unwrap_or_else(|| format!("{epoch}:{sequence}")))
        .collect())
}

async fn one(
    shared: &Shared,
    event: NewEvent,
    key: Option<Arc<str>>,
) -> Result<Response<Reply>, Problem> {
    let ids = commit(shared, vec![event], key).await?;
    let mut body = String::with_capacity(64);
    ids.first()
        .map(String::as_str)
        .into_iter()
        .for_each(|id| receipt::push_json(id, &mut body));
    Ok(answer(Reply::text(body), "application/json"))
}

async fn many(
    shared: &Shared,
    events: Vec<NewEvent>,
    key: Option<Arc<str>>,
) -> Result<Response<Reply>, Problem> {
    let ids = commit(shared, events, key).await?;
    let mut body = String::with_capacity(2 + ids.len() * 32);
    for (i, id) in ids.iter().enumerate() {
        body.push(if i == 0 { '[' } else { ',' });
        receipt::push_json(id, &mut body);
    }
    body.push(']');
    Ok(answer(Reply::text(body), "application/json"))
}

fn answer(body: Reply, kind: &'static str) -> Response<Reply> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
