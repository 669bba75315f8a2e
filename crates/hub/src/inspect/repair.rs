//! `tidings log repair`: a damaged log made whole, as far as it can be read.

use std::{
    io::{Write, stdout},
    ops::Range,
    path::Path,
};

use tidings_log::{DirectoryError, DirectoryStorage, Repair, inspect::SegmentReport, repair};

use super::{Progress, advice, output_ended, storage};
use crate::{
    arguments::Repairing,
    failure::Failure,
    notice::{self, counted},
};

pub(super) fn run(repairing: &Repairing) -> Result<(), Failure> {
    let dir = repairing.dir.display();
    let log = opened(&repairing.dir, repairing.dry_run)?;
    notice::say(format_args!("tidings: reading all of {dir}"));
    let (mut out, mut printed) = (stdout(), Ok(()));
    let (mut progress, mut segments, mut bytes) = (Progress::new(), 0_u64, 0_u64);
    let mut told = |report: &SegmentReport| {
        segments += 1;
        bytes += report.bytes;
        progress.tell(segments, "segment", bytes);
    };
    let mut tell = |repair: &Repair| {
        let told = describe(repair);
        if printed.is_ok() {
            printed = writeln!(out, "{told}");
        }
        // Nothing is done that was not said.
        if printed.is_err() {
            notice::say(told);
        }
    };
    let repairs = repair(&log, repairing.dry_run, &mut told, &mut tell);
    progress.line.clear();
    let repairs = repairs.map_err(|error| {
        let advice = advice(&error);
        Failure::failed(format!("cannot repair the log in {dir}: {error}{advice}"))
    })?;
    printed.or_else(|error| output_ended(&error))?;
    let count = counted(repairs as u64, "repair");
    let said = match (repairs, repairing.dry_run) {
        (0, _) => "nothing to repair".to_owned(),
        (_, true) => format!("{count} to be made, as told above; nothing was changed"),
        (_, false) => format!("{count} made; the hub can start"),
    };
    notice::say(format_args!("tidings: {dir}: {said}"));
    Ok(())
}

/// The log in this directory: for reading only where nothing is going to be changed, so that a copy
/// which cannot be written, or one that a hub has open, can be looked at; else for this process alone.
fn opened(dir: &Path, dry: bool) -> Result<DirectoryStorage, Failure> {
    // Also before the lock is taken, which would leave a file where there is no log.
    let storage = storage(dir)?;
    if dry {
        return Ok(storage);
    }
    // Repairing beneath a hub would damage more than it mends.
    DirectoryStorage::open(dir).map_err(|error| {
        let advice = match &error {
            DirectoryError::Locked { .. } => "; --dry-run can be used beside it",
            error => advice(error),
        };
        Failure::failed(format!("cannot repair: {error}{advice}"))
    })
}

fn describe(repair: &Repair) -> String {
    match repair {
        Repair::Rewrite {
            segment,
            kept_as,
            sequences,
            records,
            left_out,
        } => {
            let (of, left_out) = (shown(sequences), bytes(left_out));
            format!(
                "{segment}\twrite anew with the records that can be read: {records} of {of}\tleave out \
                 {left_out}\tkeep the file as it is as {kept_as}"
            )
        }
        Repair::Bridge { segment, sequences } => {
            format!("{segment}\tsay that {} are missing", shown(sequences))
        }
        Repair::MoveAside { segment, kept_as } => format!(
            "{segment}\tmove to {kept_as}: its header is not readable, and it held nothing when the \
             next was begun"
        ),
        Repair::Begin { segment } => format!("{segment}\tbegin a new segment for what comes next"),
        other => format!("{other:?}"),
    }
}

fn shown(sequences: &Range<u64>) -> String {
    let last = sequences.end.saturating_sub(1);
    format!("sequences {} to {last}", sequences.start)
}

fn bytes(left_out: &[Range<u64>]) -> String {
    let range = |range: &Range<u64>| format!("{} to {}", range.start, range.end);
    let ranges: Vec<String> = left_out.iter().map(range).collect();
    if ranges.is_empty() {
        "no bytes".to_owned()
    } else {
        format!("bytes {}", ranges.join(", "))
    }
}
