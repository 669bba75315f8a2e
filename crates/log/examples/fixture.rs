//! Writes a small log that has one of everything: what later versions must be able to read.
//!
//! `cargo run -p tidings-log --example fixture -- DIR`
//!
//! The directories in `tests/fixtures` were written by this, each by the version that it is named
//! after. They are never written again.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use tidings_log::{
    DirectoryStorage, Durability, Head, Options, Retention, TopicRetention, Topics, Writer, open,
};

const START_MS: u64 = 1_700_000_000_000;

/// How many commits are made before a crash, and behind it.
const COMMITS: [u64; 2] = [48, 6];

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let directory = std::env::args().nth(1).ok_or("usage: fixture DIR")?;
    let [before, behind] = COMMITS;
    let mut writer = begin(directory.as_ref())?;
    for number in 0..before {
        commit(&mut writer, number)?;
    }
    writer.retain(START_MS)?;
    // As a crash would: records are left out behind what may not have been synced.
    drop(writer);
    let mut writer = begin(directory.as_ref())?;
    let upkeep = writer.upkeep();
    for number in before..before + behind {
        commit(&mut writer, number)?;
        while upkeep.step() {}
    }
    writer.close()?;
    Ok(())
}

/// Segments of a few commits; of the oldest only one topic is kept.
fn begin(directory: &Path) -> Outcome<Writer> {
    let rule = TopicRetention {
        topics: Topics::new("orders/0", |topic| topic == "orders/0"),
        bytes_max: None,
        events_max: None,
        age_ms_max: None,
    };
    let options = Options {
        segment_bytes_max: 1500,
        durability: Durability::Interval {
            unsynced_ms_max: 100,
        },
        retention: Retention {
            events_max: Some(64),
            topics: vec![rule],
            ..Retention::default()
        },
        ..Options::default()
    };
    let storage = Arc::new(DirectoryStorage::open(directory)?);
    let (writer, _, _) = open(storage, options, "Efixture", START_MS)?;
    Ok(writer)
}

fn commit(writer: &mut Writer, number: u64) -> Outcome<()> {
    let mut batch = writer.begin(START_MS + number * 1000);
    let (topic, alias) = (format!("orders/{}", number % 3), format!("alias-{number}"));
    let first = Head {
        topics: &[&topic, "all"],
        alias: Some(&alias),
        key: Some("key"),
        expires_ms: number.is_multiple_of(4).then_some(START_MS + 3_600_000),
        mark: Some(b"mark"),
        continues: true,
    };
    let second = Head {
        topics: &["ünïcode"],
        ..Head::default()
    };
    for head in [&first, &second] {
        batch.push(head, |sequence, out| {
            let frame = format!("id: Efixture:{sequence}\ndata: {number}\n\n");
            out.extend_from_slice(frame.as_bytes());
        })?;
    }
    writer.commit(batch)?;
    Ok(())
}
