//! The floor of durable publishing: what this disk does when a program only appends and syncs.
//!
//! `disk FOLDER SECONDS`: events of 256 bytes, into a file written before (so that a sync has no
//! new blocks to record), with one write and one fdatasync for 1, 32 and 512 events.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

const EVENT_BYTES: usize = 256;
const FILE_BYTES: usize = 64 << 20;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().context("usage: disk FOLDER SECONDS")?);
    let seconds: f64 = arguments
        .next()
        .context("usage: disk FOLDER SECONDS")?
        .parse()?;
    let mut file = File::create(folder.join("floor"))?;
    file.write_all(&vec![0; FILE_BYTES])?;
    file.sync_all()?;
    for batch in [1, 32, 512] {
        let (events, took) = append(&mut file, batch, Duration::from_secs_f64(seconds))?;
        println!(
            "{}",
            json!({ "batch": batch, "per_s": events as f64 / took.as_secs_f64() })
        );
    }
    Ok(())
}

fn append(file: &mut File, batch: usize, time: Duration) -> Result<(usize, Duration)> {
    let bytes = vec![b'x'; batch * EVENT_BYTES];
    let (mut events, mut place) = (0, 0);
    file.seek(SeekFrom::Start(0))?;
    let start = Instant::now();
    while start.elapsed() < time {
        if place + bytes.len() > FILE_BYTES {
            place = 0;
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&bytes)?;
        file.sync_data()?;
        place += bytes.len();
        events += batch;
    }
    Ok((events, start.elapsed()))
}
