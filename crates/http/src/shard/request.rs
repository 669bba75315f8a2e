//! Requests as a shard reads them: which are its own, and the bytes that answer them.

use std::time::{Duration, UNIX_EPOCH};

use hyper::{
    HeaderMap, Response, Uri,
    header::{self, HeaderName, HeaderValue},
};
use tidings::{Publish, PublishError, Receipt, SubscribeError};

use crate::{
    origin::{Origin, check_host},
    problem::Problem,
    publish::{self, Form},
    query::Query,
    reply::Reply,
    server::Shared,
    subscribe::{event_stream, shed},
};

/// Fields of a head that a shard looks at. With more it is hyper's.
const FIELDS_MAX: usize = 64;

/// What a connection has sent so far.
#[derive(Debug)]
pub(crate) enum Request {
    /// Not all of it is there. With a whole head, only the body is not.
    Partial {
        is_head_whole: bool,
    },
    Subscribe(Subscribe),
    Publish(Post),
    /// It is for hyper to say what this is.
    Other,
}

/// `GET /events` over HTTP/1.1, without a body, that may be answered.
#[derive(Debug)]
pub(crate) struct Subscribe {
    pub(crate) query: Query,
    pub(crate) origin: Origin,
    /// The client wants the connection closed after the answer.
    pub(crate) close: bool,
    /// The client sent more, though there is nothing more to say.
    pub(crate) is_more: bool,
}

/// `POST /events` over HTTP/1.1 with all of its body, that may be committed.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) publish: Publish,
    pub(crate) form: Form,
    pub(crate) origin: Origin,
    pub(crate) close: bool,
}

/// The request that `bytes` are.
///
/// Nothing is refused here. Whatever is unusual or wrong goes to hyper, which has an answer to
/// everything.
pub(crate) fn parse(bytes: &[u8], server: &Shared) -> Request {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => {
            plain(&request, length, bytes, server).unwrap_or(Request::Other)
        }
        Ok(httparse::Status::Partial) => Request::Partial {
            is_head_whole: false,
        },
        Err(_) => Request::Other,
    }
}

/// The request with a head of `length` bytes, if it is plain.
fn plain(
    request: &httparse::Request<'_, '_>,
    length: usize,
    bytes: &[u8],
    server: &Shared,
) -> Option<Request> {
    let config = &server.stream.config;
    let is_plain = request.version == Some(1)
        && length <= config.head_bytes_max
        && request.headers.len() <= config.head_fields_max;
    let target = request.path.filter(|_| is_plain)?;
    let query = match target.strip_prefix("/events")? {
        "" => "",
        rest => rest.strip_prefix('?')?,
    };
    let body = bytes.get(length..).unwrap_or_default();
    let (headers, body_length) = headers(request.headers)?;
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok());
    check_host(host, config).ok()?;
    let origin = Origin::of(&headers, host, config).ok()?;
    let close = closes(&headers)?;
    match (request.method?, body_length) {
        ("GET", None) => {
            let uri: Uri = target.parse().ok()?;
            Some(Request::Subscribe(Subscribe {
                query: Query::parse(&uri, &headers, config).ok()?,
                origin,
                close,
                is_more: !body.is_empty(),
            }))
        }
        ("POST", Some(length)) if length > config.body_bytes_max => None,
        ("POST", Some(length)) if length > body.len() => Some(Request::Partial {
            is_head_whole: true,
        }),
        ("POST", Some(length)) if length == body.len() => {
            // A fragment is no part of a request's target, and hyper drops it.
            let (publish, form) = publish::parse(query.split('#').next()?, &headers, body)?;
            Some(Request::Publish(Post {
                publish,
                form,
                origin,
                close,
            }))
        }
        _ => None,
    }
}

/// The fields, and the length of the body. `None`: there is more to this request than is plain.
fn headers(fields: &[httparse::Header<'_>]) -> Option<(HeaderMap, Option<usize>)> {
    let mut headers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
        let beyond = [header::TRANSFER_ENCODING, header::EXPECT, header::UPGRADE];
        if beyond.contains(&name) {
            return None;
        }
        headers.append(name, HeaderValue::from_bytes(field.value).ok()?);
    }
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(length), None) => {
            let digits = length.to_str().ok()?;
            let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
            Some(digits.parse().ok().filter(|_| is_plain)?)
        }
        _ => return None,
    };
    Some((headers, length))
}

/// Whether `Connection` asks to close. `None`: it asks for something else.
fn closes(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(header::CONNECTION).iter();
    let Some(value) = values.next() else {
        return Some(false);
    };
    match value.to_str().ok()? {
        _ if values.next().is_some() => None,
        value if value.eq_ignore_ascii_case("keep-alive") => Some(false),
        value if value.eq_ignore_ascii_case("close") => Some(true),
        _ => None,
    }
}

/// Appends the head of a stream's answer.
pub(crate) fn write_stream_head(request: &Subscribe, now_ms: u64, out: &mut Vec<u8>) {
    let mut response = event_stream(Reply::empty());
    request.origin.answer(response.headers_mut());
    let headers = response.headers_mut();
    let chunked = HeaderValue::from_static("chunked");
    headers.insert(header::TRANSFER_ENCODING, chunked);
    if request.close {
        let close = HeaderValue::from_static("close");
        headers.insert(header::CONNECTION, close);
    }
    write_head(&response, now_ms, out);
}

/// The whole answer to a subscription that cannot be served.
pub(crate) fn refusal(error: SubscribeError, server: &Shared) -> Response<Reply> {
    match error {
        SubscribeError::Closed => shed(server),
        error => Problem::from(error).into_response(),
    }
}

/// The whole answer to a publish.
pub(crate) fn receipt(
    answer: Result<Receipt, PublishError>,
    form: &Form,
    epoch: &str,
) -> Response<Reply> {
    match answer {
        Ok(receipt) => form.answer(&receipt, epoch),
        Err(error) => Problem::from(error).into_response(),
    }
}

/// The bytes of a whole answer.
pub(crate) fn whole(
    mut response: Response<Reply>,
    origin: &Origin,
    close: bool,
    now_ms: u64,
) -> Vec<u8> {
    let Reply::Whole(body) = std::mem::replace(response.body_mut(), Reply::empty()) else {
        return Vec::new();
    };
    let headers = response.headers_mut();
    origin.answer(headers);
    if close {
        let close = HeaderValue::from_static("close");
        headers.insert(header::CONNECTION, close);
    }
    headers.insert(header::CONTENT_LENGTH, body.len().into());
    let mut out = Vec::with_capacity(384 + body.len());
    write_head(&response, now_ms, &mut out);
    out.extend_from_slice(&body);
    out
}

fn write_head(response: &Response<Reply>, now_ms: u64, out: &mut Vec<u8>) {
    let status = response.status();
    for part in [
        "HTTP/1.1 ",
        status.as_str(),
        " ",
        status.canonical_reason().unwrap_or_default(),
    ] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in response.headers() {
        for part in [b"\r\n", name.as_str().as_bytes(), b": ", value.as_bytes()] {
            out.extend_from_slice(part);
        }
    }
    let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(now_ms));
    for part in ["\r\ndate: ", &date, "\r\n\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends `piece` as a chunk of HTTP/1.1 (RFC 9112, section 7.1).
///
/// Each piece of an event is a chunk of its own. So a socket that takes only a part of what is
/// ready leaves a piece to be finished and no promise beyond it, and nothing has to be kept.
pub(crate) fn chunk(piece: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0; 16];
    let mut first = digits.len();
    let mut left = piece.len();
    for (i, digit) in digits.iter_mut().enumerate().rev() {
        *digit = DIGITS.get(left % 16).copied().unwrap_or_default();
        left /= 16;
        first = i;
        if left == 0 {
            break;
        }
    }
    out.reserve(piece.len() + digits.len() + 4);
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(piece);
    out.extend_from_slice(b"\r\n");
}

/// The end of a body of chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_says_how_long_it_is() {
        for length in [1, 9, 15, 16, 255, 256, 4096, 70_000] {
            let piece = vec![b'x'; length];
            let mut out = Vec::new();
            chunk(&piece, &mut out);
            let expected = format!("{length:x}\r\n{}\r\n", "x".repeat(length));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
