//! A hub that answers, but not with what was asked for.

use std::{fmt, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::{Response, StatusCode, body::Incoming, header};
use serde::Deserialize;

/// How much of an error's body is read.
const BODY_BYTES_MAX: usize = 64 << 10;

/// How long that is waited for.
const BODY_PATIENCE: Duration = Duration::from_secs(5);

/// `Retry-After` beyond this is cut: a person waits.
const RETRY_AFTER_MS_MAX: u64 = 60_000;

/// An error that a hub told, as `application/problem+json` or as a line of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// What the hub said to do.
    pub(crate) detail: String,
    /// How long it wants to be left alone.
    pub(crate) retry_after_ms: u64,
}

#[derive(Deserialize)]
struct Problem {
    status: u16,
    title: Option<String>,
    detail: Option<String>,
}

impl Refusal {
    /// Reads a response that is not a success.
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let (head, body) = response.into_parts();
        let text = |name| {
            head.headers
                .get(name)
                .and_then(|v| v.to_str().ok())
                .unwrap_or_default()
        };
        let retry_after_ms = retry_after_ms(text(header::RETRY_AFTER));
        let is_problem = text(header::CONTENT_TYPE).starts_with("application/problem+json");
        let body = Limited::new(body, BODY_BYTES_MAX).collect();
        let body = match tokio::time::timeout(BODY_PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            _ => Bytes::new(),
        };
        let problem = is_problem.then(|| Self::from_line(&body)).flatten();
        let detail = match problem {
            Some(problem) => problem.detail,
            None => foreign("it says no problem in JSON"),
        };
        Self {
            status: head.status,
            detail,
            retry_after_ms,
        }
    }

    /// A problem as one JSON object; `None` if it is none.
    pub(crate) fn from_line(line: &[u8]) -> Option<Self> {
        let problem: Problem = serde_json::from_slice(line).ok()?;
        Some(Self {
            status: StatusCode::from_u16(problem.status).ok()?,
            detail: problem.detail.or(problem.title).unwrap_or_default(),
            retry_after_ms: 0,
        })
    }

    /// Whether the same request may well succeed later.
    pub(crate) fn is_temporary(&self) -> bool {
        match self.status {
            StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
            StatusCode::REQUEST_TIMEOUT
            | StatusCode::CONFLICT
            | StatusCode::TOO_EARLY
            | StatusCode::TOO_MANY_REQUESTS => true,
            status => status.is_server_error(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { detail, status, .. } = self;
        let advice = match *status {
            StatusCode::UNAUTHORIZED => "; give a token with --token",
            StatusCode::NOT_FOUND => "; check --url",
            status if status.is_redirection() => {
                "; redirects are not followed: give the final URL with --url"
            }
            _ => "",
        };
        write!(f, "{detail} ({}){advice}", status.as_u16())
    }
}

/// Whoever answered is no hub.
pub(crate) fn foreign(why: &str) -> String {
    format!("the answer is not that of a Tidings hub ({why}); is something else at this URL?")
}

/// Only seconds are understood: a date would need both clocks to agree.
fn retry_after_ms(text: &str) -> u64 {
    let seconds: u64 = text.trim().parse().unwrap_or(0);
    seconds.saturating_mul(1000).min(RETRY_AFTER_MS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_from_a_receipt() {
        assert_eq!(Refusal::from_line(br#"{"id":"e1:1"}"#), None);
        assert_eq!(Refusal::from_line(b"<html>"), None);
        let line = br#"{"status":503,"title":"The hub cannot do this now","detail":"try again"}"#;
        let refusal = Refusal::from_line(line).unwrap();
        assert_eq!(refusal.to_string(), "try again (503)");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (status, advice) in [
            (302, "final URL"),
            (401, "--token"),
            (404, "check --url"),
            (503, ""),
        ] {
            let line = format!(r#"{{"status":{status},"detail":"no"}}"#);
            let told = Refusal::from_line(line.as_bytes()).unwrap().to_string();
            let rest = told.strip_prefix(&format!("no ({status})")).unwrap();
            assert_eq!(rest.is_empty(), advice.is_empty(), "{told}");
            assert!(rest.contains(advice), "{told}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let temporary = |status| {
            let status = StatusCode::from_u16(status).unwrap();
            let (detail, retry_after_ms) = (String::new(), 0);
            Refusal {
                status,
                detail,
                retry_after_ms,
            }
            .is_temporary()
        };
        assert!(
            [408, 409, 425, 429, 500, 502, 503, 504, 507]
                .into_iter()
                .all(temporary)
        );
        assert!(
            ![301, 400, 401, 403, 404, 405, 413, 415, 421, 422, 501]
                .into_iter()
                .any(temporary)
        );
    }

    #[test]
    fn retry_after_is_bounded() {
        assert_eq!(retry_after_ms("2"), 2000);
        assert_eq!(retry_after_ms("999999999999999999"), 60_000);
        assert_eq!(retry_after_ms("Sun, 06 Nov 1994 08:49:37 GMT"), 0);
        assert_eq!(retry_after_ms(""), 0);
    }
}
