//! One topic, many subscribers.

use anyhow::Result;

use super::Section;
use super::figures::{Figures, Floor};
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

const HEADS: [&str; 9] = [
    "server",
    "subscribers",
    "CPU per delivery, µs",
    "× floor",
    "deliveries/s",
    "p50, ms",
    "p99, ms",
    "× floor",
    "faults",
];

/// A floor to hold against, those that can do with many subscribers, and those that cannot.
const FAST: [Kind; 4] = [Kind::Floor, Kind::Nchan, Kind::Axum, Kind::Hub];

/// Ten events a second: one write per delivery cannot be avoided, so this is what a delivery costs
/// where events are rare.
pub(super) fn paced(tools: &Tools, quick: bool) -> Result<Section> {
    // Of a hundred events one that had to wait for the disk is the slowest hundredth of them all.
    let crowds: &[(usize, &[Kind], u64)] = if quick {
        &[(200, &Kind::ALL, 20)]
    } else {
        &[(1000, &Kind::ALL, 100), (5000, &FAST, 300)]
    };
    let mut table = Table::new(&HEADS);
    for (crowd, kinds, events) in crowds {
        let mut floor = Floor::default();
        for kind in tools.servers(kinds) {
            let load = Load {
                subscribers: *crowd,
                events: *events,
                rate: 10,
                publishers: 1,
            };
            row(
                &mut table,
                kind,
                *crowd,
                &load.run(kind, tools)?,
                &mut floor,
            );
        }
    }
    let events: Vec<String> = crowds.iter().map(|it| it.2.to_string()).collect();
    let method = format!(
        "{} events of 128 bytes at 10 a second, by one publisher, a request each. The latency is from \
         before the publish request to the arrival at each subscriber; the hub answers and delivers \
         only what is on disk.",
        events.join(" and ")
    );
    Ok(Section {
        title: "Fan-out, paced",
        method,
        table,
    })
}

/// As fast as eight publishers get their answers: many events can share a write.
pub(super) fn full_speed(tools: &Tools, quick: bool) -> Result<Section> {
    let (crowd, hundredths) = if quick { (200, 10) } else { (1000, 100) };
    let mut table = Table::new(&HEADS);
    let mut floor = Floor::default();
    for kind in tools.servers(&Kind::ALL) {
        let load = Load {
            subscribers: crowd,
            events: full_speed_events(kind) * hundredths / 100,
            rate: 0,
            publishers: 8,
        };
        row(&mut table, kind, crowd, &load.run(kind, tools)?, &mut floor);
    }
    let method = format!(
        "Up to {} events of 128 bytes (fewer for the slower servers), by 8 publishers, each as fast \
         as it is answered, a request per event; {crowd} subscribers. The floor sends as many in \
         prepared blocks of 64 KiB: the least that a delivery can cost when writes are shared.",
        full_speed_events(Kind::Hub) * hundredths / 100
    );
    Ok(Section {
        title: "Fan-out, full speed",
        method,
        table,
    })
}

/// Enough for a few seconds of each.
fn full_speed_events(kind: Kind) -> u64 {
    match kind {
        Kind::Floor | Kind::Hub | Kind::Axum => 8000,
        Kind::Nchan => 2000,
        Kind::Express => 400,
        Kind::Fastapi => 200,
    }
}

/// One stream of events: as much sharing of writes as there can be.
pub(super) fn ndjson(tools: &Tools, quick: bool) -> Result<Section> {
    let (crowd, events) = if quick { (200, 2000) } else { (1000, 30_000) };
    let mut table = Table::new(&HEADS);
    let mut floor = Floor::default();
    for kind in tools.servers(&[Kind::Floor, Kind::Hub]) {
        let server = Server::start(kind, tools)?;
        let [subscribers, events] = [crowd, events].map(|number| number.to_string());
        let lines = format!("{}/events", server.base);
        let blast = format!("{}/blast/{events}", server.base);
        let mut arguments = vec!["--url", &server.subscribe, "--subs", &subscribers];
        arguments.extend(["--events", &events]);
        if kind == Kind::Floor {
            arguments.extend(["--posts", "1", "--pub-url", &blast]);
        } else {
            arguments.extend(["--lines", "--pub-url", &lines]);
        }
        let figures = tools.peer("fanout", &server, &arguments)?;
        row(&mut table, kind, crowd, &figures, &mut floor);
    }
    let method = format!(
        "{events} events of 128 bytes by one publisher, as one NDJSON stream with at most 8,192 lines \
         without a receipt; {crowd} subscribers. The latency has the time in which events wait for \
         those before. The floor is that of full speed."
    );
    Ok(Section {
        title: "Fan-out, one NDJSON stream",
        method,
        table,
    })
}

struct Load {
    subscribers: usize,
    events: u64,
    /// Events per second; 0: as fast as they are answered.
    rate: u32,
    publishers: usize,
}

impl Load {
    fn run(&self, kind: Kind, tools: &Tools) -> Result<Figures> {
        let server = Server::start(kind, tools)?;
        let [subscribers, events, rate, publishers] = [
            self.subscribers as u64,
            self.events,
            self.rate.into(),
            self.publishers as u64,
        ]
        .map(|number| number.to_string());
        let blast = format!("{}/blast/{events}", server.base);
        let mut arguments = vec!["--url", &server.subscribe, "--subs", &subscribers];
        arguments.extend(["--events", &events]);
        if kind == Kind::Floor && self.rate == 0 {
            arguments.extend(["--posts", "1", "--pub-url", &blast]);
            return tools.fanout(&server, &arguments);
        }
        arguments.extend(["--rate", &rate, "--publishers", &publishers]);
        arguments.extend(["--pub-url", &server.publish]);
        let figures = tools.fanout(&server, &arguments)?;
        Ok(match self.publishers {
            1 => figures,
            _ => figures.unordered(),
        })
    }
}

fn row(table: &mut Table, kind: Kind, subscribers: usize, figures: &Figures, floor: &mut Floor) {
    if kind == Kind::Floor {
        floor.set(figures);
    }
    table.row([
        kind.name().to_owned(),
        subscribers.to_string(),
        figures.fixed("us_cpu_per_delivery", 2),
        floor.times(figures, "us_cpu_per_delivery"),
        figures.rate("per_s"),
        figures.ms("lat_us.p50"),
        figures.ms("lat_us.p99"),
        floor.times(figures, "lat_us.p99"),
        figures.faults(),
    ]);
}
