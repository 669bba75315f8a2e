//! Durable appends: how many events a second, by how many are in a commit.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::disk;
use crate::figures::{count, median};
use crate::stores::{Kind, Store};
use crate::table::Table;
use crate::workload::{FRAME_BYTES, Workload};

const BATCHES: [usize; 3] = [1, 32, 512];

pub fn run(folder: &Path, stores: &[Kind], rounds: usize, seconds: f64) -> Result<()> {
    println!(
        "\n## Durable append\n\nEvents of {FRAME_BYTES} bytes; a commit of so many, then its sync, \
         then the next, from one thread. Events a second: the median of {rounds} rounds of \
         {seconds} s, in which all stores take turns (and, in brackets, of what the floor does).\n"
    );
    let workload = Workload::new();
    let mut contestants = Vec::new();
    for kind in stores {
        let folder = folder.join(format!("append-{kind:?}"));
        disk::empty(&folder)?;
        contestants.push(Contestant {
            kind: *kind,
            store: kind.open(&folder, &workload)?,
            next: 1,
            medians: Vec::new(),
        });
    }
    for batch in BATCHES {
        let mut rates = vec![Vec::new(); contestants.len()];
        for _ in 0..rounds {
            for (contestant, rates) in contestants.iter_mut().zip(&mut rates) {
                rates.push(contestant.run(&workload, batch, Duration::from_secs_f64(seconds))?);
            }
        }
        for (contestant, rates) in contestants.iter_mut().zip(rates) {
            contestant.medians.push(median(rates));
        }
    }
    print!("{}", table(&contestants));
    Ok(())
}

struct Contestant {
    kind: Kind,
    store: Box<dyn Store>,
    next: u64,
    medians: Vec<f64>,
}

impl Contestant {
    /// Events a second. Making the events is not in it.
    fn run(&mut self, workload: &Workload, batch: usize, time: Duration) -> Result<f64> {
        let (mut events, mut took) = (0, Duration::ZERO);
        while took < time {
            let commit = workload.events(self.next, batch);
            let start = Instant::now();
            self.store.append(&commit)?;
            took += start.elapsed();
            self.next += batch as u64;
            events += batch;
        }
        Ok(events as f64 / took.as_secs_f64())
    }
}

fn table(contestants: &[Contestant]) -> Table {
    let heads = BATCHES.map(|batch| format!("batch {batch}"));
    let heads = std::iter::once("store").chain(heads.iter().map(String::as_str));
    let mut table = Table::new(&heads.collect::<Vec<_>>());
    let mut floors = contestants.iter().filter(|it| it.kind == Kind::Floor);
    let floor = floors.next().map_or(&[][..], |floor| &floor.medians);
    for Contestant { kind, medians, .. } in contestants {
        let cells = medians.iter().enumerate().map(|(place, rate)| {
            let floor = floor.get(place).filter(|_| *kind != Kind::Floor);
            let part = floor.map(|floor| format!(" ({:.0} %)", rate / floor * 100.0));
            count(*rate) + &part.unwrap_or_default()
        });
        table.row(std::iter::once(kind.to_string()).chain(cells));
    }
    table
}
