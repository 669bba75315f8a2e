//! Errors, as `application/problem+json` ([RFC 9457]) that says what to do.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use hyper::{Response, StatusCode, header};
use serde::Serialize;
use tidings::{PublishError, SubscribeError};

use crate::reply::Reply;

/// One error, on its way to a client.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Problem {
    #[serde(serialize_with = "as_number")]
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) detail: String,
    /// The line of a stream that it is about, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
    #[serde(skip)]
    pub(crate) retry_after_s: Option<u64>,
    #[serde(skip)]
    pub(crate) allow: Option<&'static str>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn as_number<S: serde::Serializer>(status: &StatusCode, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u16(status.as_u16())
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            title,
            detail: detail.into(),
            line: None,
            retry_after_s: None,
            allow: None,
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "The request is not valid", detail)
    }

    pub(crate) fn too_large(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "The request is too large",
            detail,
        )
    }

    pub(crate) fn timed_out(detail: impl Into<String>) -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "The request did not arrive in time",
            detail,
        )
    }

    pub(crate) fn unavailable(detail: impl Into<String>, retry_after_s: u64) -> Self {
        Self {
            retry_after_s: Some(retry_after_s),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The hub cannot do this now",
                detail,
            )
        }
    }

    pub(crate) fn method(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "This method is not for this path",
                format!("use {allow}"),
            )
        }
    }

    pub(crate) fn at_line(self, line: u64) -> Self {
        Self {
            line: Some(line),
            ..self
        }
    }

    /// The problem as one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        // Strings and numbers only: this cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn into_response(self) -> Response<Reply> {
        let mut response = Response::new(Reply::text(self.to_json()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let json = header::HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, json);
        headers.insert(
            header::CACHE_CONTROL,
            header::HeaderValue::from_static("no-store"),
        );
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, header::HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let detail = error.to_string();
        match error {
            PublishError::EventTooLarge { .. } | PublishError::GroupTooLarge { .. } => {
                Self::too_large(detail)
            }
            PublishError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "The idempotency key belongs to another request",
                detail,
            ),
            PublishError::OutOfTurn => {
                Self::new(StatusCode::CONFLICT, "The request overtook itself", detail)
            }
            PublishError::Busy | PublishError::Closed | PublishError::WriteFailed(_) => {
                Self::unavailable(detail, 1)
            }
            PublishError::LogFailed(_) => Self::unavailable(detail, 30),
            PublishError::StorageFull(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "The disk is full", detail)
            }
            _ => Self::bad_request(detail),
        }
    }
}

impl From<SubscribeError> for Problem {
    fn from(error: SubscribeError) -> Self {
        let detail = error.to_string();
        match error {
            SubscribeError::Log(_) | SubscribeError::Closed => Self::unavailable(detail, 1),
            _ => Self::bad_request(detail),
        }
    }
}
