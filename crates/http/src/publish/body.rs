//! A whole request body, bounded in size and time.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use tokio::time::timeout;

use crate::{config::Config, problem::Problem};

pub(crate) async fn whole(body: Incoming, config: &Config) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::too_large(format!(
            "a body may have {} bytes; send less, or stream it as application/x-ndjson",
            config.body_bytes_max
        ))
    };
    // Reading a byte of it would tell a client that waits for `100 Continue` to send it all.
    if body.size_hint().lower() > config.body_bytes_max as u64 {
        return Err(too_large());
    }
    let limited = Limited::new(body, config.body_bytes_max).collect();
    match timeout(Duration::from_millis(config.body_ms_max), limited).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Problem::bad_request(format!(
            "the body could not be read: {error}"
        ))),
        Err(_) => Err(Problem::timed_out(format!(
            "the body took longer than {} s; stream slow input as application/x-ndjson",
            config.body_ms_max / 1000
        ))),
    }
}
