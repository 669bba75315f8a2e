//! Requests that are not measured: what a run needs before it begins.

use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::{Target, write_data};

/// Events in one request.
const BATCH: u64 = 500;

/// Posts JSON on a connection of its own.
///
/// # Errors
/// It was refused, or the answer is no JSON.
pub fn post(target: &Target, body: &Value) -> Result<Value> {
    let (path, address, body) = (target.path(0), target.address, body.to_string());
    let mut stream = TcpStream::connect(address)?;
    let length = body.len();
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.contains(" 200 "), "refused: {answer}");
    serde_json::from_str(body.trim()).with_context(|| format!("no JSON in the answer: {answer}"))
}

/// Publishes events `0..count` to a topic; answers the ID of an event just before them.
///
/// # Errors
/// As [`post`].
pub fn fill(target: &Target, topic: &str, count: u64) -> Result<String> {
    let event = |data: &str| json!({ "topic": topic, "data": data });
    let first = post(target, &event("before all others"))?;
    let first = first.get("id").and_then(Value::as_str);
    let first = first.context("no ID in the receipt")?.to_owned();
    for from in (0..count).step_by(BATCH as usize) {
        let batch = (from..count.min(from + BATCH)).map(|sequence| {
            let mut data = Vec::new();
            write_data(&mut data, sequence, crate::now_ns());
            event(&String::from_utf8_lossy(&data))
        });
        post(target, &batch.collect())?;
    }
    Ok(first)
}
