//! One topic, many followers.

use anyhow::Result;

use super::Section;
use super::figures::Figures;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

const HEADS: [&str; 7] = [
    "server",
    "followers",
    "CPU per delivery, µs",
    "deliveries/s",
    "p50, ms",
    "p99, ms",
    "faults",
];

/// Ten events a second: one write per delivery cannot be avoided, so this is what a delivery costs
/// where events are rare.
pub(super) fn paced(tools: &Tools, quick: bool) -> Result<Section> {
    let (crowds, events): (&[usize], _) = if quick {
        (&[200, 1000], 20)
    } else {
        (&[1000, 5000], 100)
    };
    let mut table = Table::new(&HEADS);
    for &crowd in crowds {
        for kind in Kind::ALL {
            let load = Load {
                followers: crowd,
                events,
                rate: 10,
                publishers: 1,
            };
            row(&mut table, kind, crowd, &load.run(kind, tools)?);
        }
    }
    let method = format!(
        "{events} events of 128 bytes at 10 a second, by one publisher, a request each. The latency \
         is from before the publish request to the arrival at each follower; the hub answers and \
         delivers only what is on disk."
    );
    Ok(Section {
        title: "Fan-out, paced",
        method,
        table,
    })
}

/// As fast as eight publishers get their answers: many events can share a write.
pub(super) fn full_speed(tools: &Tools, quick: bool) -> Result<Section> {
    let (crowd, events) = if quick { (200, 1000) } else { (1000, 8000) };
    let mut table = Table::new(&HEADS);
    for kind in Kind::ALL {
        let load = Load {
            followers: crowd,
            events,
            rate: 0,
            publishers: 8,
        };
        row(&mut table, kind, crowd, &load.run(kind, tools)?);
    }
    let method = format!(
        "{events} events of 128 bytes, by 8 publishers, each as fast as it is answered, a request \
         per event; {crowd} followers. The floor sends as many events in prepared blocks of 64 KiB: \
         the least that a delivery can cost when writes are shared."
    );
    Ok(Section {
        title: "Fan-out, full speed",
        method,
        table,
    })
}

struct Load {
    followers: usize,
    events: u64,
    /// Events per second; 0: as fast as they are answered.
    rate: u32,
    publishers: usize,
}

impl Load {
    fn run(&self, kind: Kind, tools: &Tools) -> Result<Figures> {
        let server = Server::start(kind, tools)?;
        let [followers, events, rate, publishers] = [
            self.followers as u64,
            self.events,
            self.rate.into(),
            self.publishers as u64,
        ]
        .map(|number| number.to_string());
        let (process, blast) = (
            server.process_id(),
            format!("{}/blast/{events}", server.base),
        );
        let mut arguments = vec!["--name", kind.name(), "--pid", &process];
        arguments.extend([
            "--url",
            &server.subscribe,
            "--subs",
            &followers,
            "--events",
            &events,
        ]);
        if kind == Kind::Floor && self.rate == 0 {
            arguments.extend(["--posts", "1", "--pub-url", &blast]);
        } else {
            arguments.extend(["--rate", &rate, "--publishers", &publishers]);
            arguments.extend(["--pub-url", &server.publish]);
        }
        tools.fanout(&arguments)
    }
}

fn row(table: &mut Table, kind: Kind, followers: usize, figures: &Figures) {
    table.row([
        kind.name().to_owned(),
        followers.to_string(),
        figures.fixed("us_cpu_per_delivery", 2),
        figures.rate("per_s"),
        figures.ms("lat_us.p50"),
        figures.ms("lat_us.p99"),
        figures.faults(),
    ]);
}
