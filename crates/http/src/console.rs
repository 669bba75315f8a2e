//! `/`: the console, embedded in the binary.

use bytes::Bytes;
use hyper::{Response, header};

use crate::reply::Reply;

/// The page loads nothing from elsewhere, runs no script but its own, and cannot be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// The asset at `path`, if there is one.
pub(crate) fn asset(path: &str) -> Option<Response<Reply>> {
    let (kind, text) = match path {
        "/" => (
            "text/html; charset=utf-8",
            include_str!("console/index.html"),
        ),
        "/console/style.css" => ("text/css; charset=utf-8", include_str!("console/style.css")),
        "/console/app.js" => (
            "text/javascript; charset=utf-8",
            include_str!("console/app.js"),
        ),
        "/console/snippets.js" => (
            "text/javascript; charset=utf-8",
            include_str!("console/snippets.js"),
        ),
        "/console/favicon.svg" => ("image/svg+xml", include_str!("console/favicon.svg")),
        _ => return None,
    };
    let mut response = Response::new(Reply::Whole(Bytes::from_static(text.as_bytes())));
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    Some(response)
}
