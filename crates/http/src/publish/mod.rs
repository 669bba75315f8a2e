//! `POST /events`: publishing, by content type.

mod body;
mod draft;
mod form;
mod json;
mod lines;
mod receipt;

use std::{fmt::Write, sync::Arc};

use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{self, HeaderValue},
};
use tidings::{Idempotency, Publish, Receipt};

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
    let (publish, form) = group(kind, &body, &defaults, key)?;
    let receipt = shared.hub.publish(publish)?.await?;
    Ok(form.answer(&receipt, shared.hub.epoch()))
}

/// The group that a whole request publishes, if it is good. `None`: it is not, or it is a stream.
pub(crate) fn parse(query: &str, headers: &HeaderMap, body: &[u8]) -> Option<(Publish, Form)> {
    let kind = Kind::of(headers).ok()?;
    let key = idempotency_key(headers).ok()?;
    let defaults = Defaults::parse(query).ok()?;
    match kind {
        Kind::Lines => None,
        kind => group(kind, body, &defaults, key).ok(),
    }
}

fn group(
    kind: Kind,
    body: &[u8],
    defaults: &Defaults,
    key: Option<Arc<str>>,
) -> Result<(Publish, Form), Problem> {
    let (events, is_array) = match kind {
        Kind::Text => (vec![draft::from_text(body, defaults)?], false),
        Kind::Form => (vec![form::parse(body, defaults)?], false),
        Kind::Json | Kind::Lines => match json::parse(body, defaults)? {
            json::Parsed::One(event) => (vec![event], false),
            json::Parsed::Many(events) => (events, true),
        },
    };
    let own_ids = events.iter().map(|e| e.own_id().map(Into::into)).collect();
    let idempotency = key.map(|key| Idempotency {
        key,
        offset: 0,
        fingerprint: 0,
        whole: true,
    });
    let publish = Publish {
        events,
        idempotency,
    };
    Ok((publish, Form { own_ids, is_array }))
}

/// The form of the answer to a whole request.
#[derive(Debug)]
pub(crate) struct Form {
    own_ids: Vec<Option<Box<str>>>,
    is_array: bool,
}

impl Form {
    /// The event IDs of a receipt.
    pub(crate) fn answer(&self, receipt: &Receipt, epoch: &str) -> Response<Reply> {
        let mut body = String::with_capacity(8 + 32 * self.own_ids.len());
        for (i, (sequence, own)) in receipt.sequences().zip(&self.own_ids).enumerate() {
            if self.is_array {
                body.push(if i == 0 { '[' } else { ',' });
            }
            match own {
                Some(own) => receipt::push_json(own, &mut body),
                // An epoch is letters and digits.
                None => drop(write!(body, "{{\"id\":\"{epoch}:{sequence}\"}}")),
            }
        }
        if self.is_array {
            body.push(']');
        }
        answer(Reply::text(body), "application/json")
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

fn answer(body: Reply, kind: &'static str) -> Response<Reply> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
