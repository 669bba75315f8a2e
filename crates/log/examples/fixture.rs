//! Writes a small log that has one of everything: what later versions must be able to read.
//!
//! `cargo run -p tidings-log --example fixture -- DIR`
//!
//! The directories in `tests/fixtures` were written by this, each by the version that it is named
//! after. They are never written again.

use std::error::Error;
use std::sync::Arc;

use tidings_log::{DirectoryStorage, Head, Options, open};

const START_MS: u64 = 1_700_000_000_000;
const COMMITS: u64 = 12;

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: fixture DIR")?;
    let options = Options {
        segment_bytes_max: 1500,
        ..Options::default()
    };
    let storage = Arc::new(DirectoryStorage::open(directory)?);
    let (mut writer, _, _) = open(storage, options, "Efixture", START_MS)?;
    for commit in 0..COMMITS {
        let mut batch = writer.begin(START_MS + commit * 1000);
        let (topic, alias) = (format!("orders/{}", commit % 3), format!("alias-{commit}"));
        let first = Head {
            topics: &[&topic, "all"],
            alias: Some(&alias),
            key: Some("key"),
            expires_ms: (commit % 4 == 0).then_some(START_MS + 3_600_000),
            mark: Some(b"mark"),
            continues: true,
        };
        let second = Head {
            topics: &["ünïcode"],
            ..Head::default()
        };
        for head in [&first, &second] {
            batch.push(head, |sequence, out| {
                out.extend_from_slice(
                    format!("id: Efixture:{sequence}\ndata: {commit}\n\n").as_bytes(),
                );
            })?;
        }
        writer.commit(batch)?;
    }
    writer.close()?;
    Ok(())
}
