//! `tidings log repair`: a damaged log made whole, as far as it can be read.

use std::io::{Write, stdout};

use tidings_log::{DirectoryStorage, Repair, repair};

use super::{advice, output_ended, storage};
use crate::{arguments::Repairing, failure::Failure, notice};

pub(super) fn run(repairing: &Repairing) -> Result<(), Failure> {
    // Before the lock is taken, which would leave a file where there is no log.
    storage(&repairing.dir)?;
    let dir = repairing.dir.display();
    // The lock says who has the log open: repairing beneath a hub would damage more than it mends.
    let log = DirectoryStorage::open(&repairing.dir)
        .map_err(|error| Failure::failed(format!("cannot repair: {error}{}", advice(&error))))?;
    notice::say(format_args!("tidings: reading all of {dir}"));
    let (mut out, mut printed) = (stdout(), Ok(()));
    let mut tell = |repair: &Repair| {
        if printed.is_ok() {
            printed = writeln!(out, "{}", describe(repair));
        }
    };
    let repairs = repair(&log, repairing.dry_run, &mut tell)
        .map_err(|error| Failure::failed(format!("cannot repair the log in {dir}: {error}")))?;
    printed.or_else(|error| output_ended(&error))?;
    let said = match (repairs, repairing.dry_run) {
        (0, _) => "nothing to repair".to_owned(),
        (_, true) => format!("{repairs} repairs would be made, as told above; nothing was changed"),
        (_, false) => format!("{repairs} repairs made; the hub can start"),
    };
    notice::say(format_args!("tidings: {dir}: {said}"));
    Ok(())
}

fn describe(repair: &Repair) -> String {
    match repair {
        Repair::Rewrite {
            segment,
            kept_as,
            records,
            left_out,
        } => {
            let parts: Vec<String> = left_out
                .iter()
                .map(|range| format!("{} to {}", range.start, range.end))
                .collect();
            format!(
                "{segment}\twrite anew with the {records} records that can be read\tleave out bytes \
                 {}\tkeep the file as it is as {kept_as}",
                if parts.is_empty() {
                    "none".to_owned()
                } else {
                    parts.join(", ")
                }
            )
        }
        Repair::Bridge { segment, sequences } => format!(
            "{segment}\tsay that sequences {} to {} are missing",
            sequences.start,
            sequences.end.saturating_sub(1)
        ),
        Repair::MoveAside { segment, kept_as } => format!(
            "{segment}\tmove to {kept_as}: its header is not readable, and it held nothing when the \
             next was begun"
        ),
        Repair::Begin { segment } => format!("{segment}\tbegin a new segment for what comes next"),
        other => format!("{other:?}"),
    }
}
