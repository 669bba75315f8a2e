//! What replay and open are measured on.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::disk;
use crate::figures::count;
use crate::stores::Kind;
use crate::table::Table;
use crate::workload::{FRAME_BYTES, TOPICS, Workload};

/// Few syncs: nobody looks at the clock here.
const COMMIT_EVENTS: usize = 10_000;

/// Those of the stores that find a topic's events.
pub fn indexed(stores: &[Kind]) -> impl Iterator<Item = Kind> {
    let indexed = [
        Kind::Floor,
        Kind::Tidings,
        Kind::Fjall,
        Kind::Redb,
        Kind::Sqlite,
    ];
    stores
        .iter()
        .copied()
        .filter(move |it| indexed.contains(it))
}

pub fn folder(within: &Path, kind: Kind) -> PathBuf {
    within.join(format!("load-{kind:?}"))
}

pub fn run(within: &Path, stores: &[Kind], events: usize) -> Result<()> {
    let bytes = (events * FRAME_BYTES) as f64;
    println!(
        "\n## The load\n\n{} events of {FRAME_BYTES} bytes ({:.2} GB), every tenth of one busy \
         topic, the others of {TOPICS} topics in no order, stored in commits of {COMMIT_EVENTS}. \
         Disk: what is allocated after closing, topic index and all.\n",
        count(events as f64),
        bytes / 1e9
    );
    let workload = Workload::new();
    let mut table = Table::new(&["store", "disk, GB", "bytes for each event"]);
    for kind in indexed(stores) {
        let folder = folder(within, kind);
        disk::empty(&folder)?;
        let mut store = kind.open(&folder, &workload)?;
        for first in (0..events).step_by(COMMIT_EVENTS) {
            let count = COMMIT_EVENTS.min(events - first);
            store.load(&workload.events(first as u64 + 1, count))?;
        }
        drop(store);
        let disk = disk::bytes(&folder)? as f64;
        let each = format!("{:.0}", disk / events as f64);
        table.row([kind.to_string(), format!("{:.2}", disk / 1e9), each]);
    }
    print!("{table}");
    Ok(())
}
