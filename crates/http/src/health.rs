//! `/healthz` and `/readyz`.

use hyper::{Response, header};

use crate::{problem::Problem, reply::Reply, server::Shared};

/// The process answers.
pub(crate) fn healthz() -> Response<Reply> {
    plain("ok\n")
}

/// It can take publishers and subscribers: what a load balancer wants to know.
pub(crate) fn readyz(shared: &Shared) -> Result<Response<Reply>, Problem> {
    if shared.is_draining() {
        return Err(Problem::unavailable("the hub is shutting down", 5));
    }
    let stats = shared.hub.stats();
    if stats.log_failed > 0 {
        let detail = "the log failed and accepts no events until the hub is restarted: check the \
                      disk first; subscribers are still served";
        return Err(Problem::unavailable(detail, 30));
    }
    if stats.log_full > 0 {
        let detail = "the disk is full and nothing can be published until there is room: free \
                      some space or lower the retention; subscribers are still served, and the hub \
                      goes on by itself";
        return Err(Problem::unavailable(detail, 5));
    }
    if stats.log_unwritable > 0 {
        let detail = "the last events could not be written: check the disk; subscribers are still \
                      served, and the hub goes on by itself once it can write";
        return Err(Problem::unavailable(detail, 5));
    }
    Ok(plain("ready\n"))
}

fn plain(text: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::text(text));
    let headers = response.headers_mut();
    let kind = header::HeaderValue::from_static("text/plain; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    response
}
