//! HTTP/2 without TLS.

use anyhow::Result;

use super::Section;
use super::figures::{Figures, Floor};
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

/// A process may open 20,000 files here and there: so many streams go over fewer connections.
pub(super) fn streams(tools: &Tools, quick: bool) -> Result<Section> {
    let (connections, streams, events) = if quick { (20, 10, 4) } else { (1000, 100, 5) };
    let mut table = Table::new(&[
        "server",
        "connections",
        "streams",
        "all answered after, s",
        "memory a stream, idle, KiB",
        "after the events, KiB",
        "CPU per delivery, µs",
        "p50, ms",
        "p99, ms",
        "faults",
    ]);
    for kind in tools.servers(&[Kind::Axum, Kind::Hub]) {
        let load = Load {
            connections,
            streams,
            events,
            rate: "0.5",
        };
        let figures = load.run(kind, tools)?;
        table.row([
            kind.name().to_owned(),
            connections.to_string(),
            (connections * streams).to_string(),
            figures.fixed("connect_s", 2),
            figures.fixed("kb_per_conn", 2),
            figures.fixed("kb_per_conn_after", 2),
            figures.fixed("us_cpu_per_delivery", 2),
            figures.ms("lat_us.p50"),
            figures.ms("lat_us.p99"),
            figures.faults(),
        ]);
    }
    let method = format!(
        "{connections} connections with {streams} streams each, then {events} events of 128 bytes, one \
         every two seconds. Memory is the growth of the server's proportional set size, connections \
         included."
    );
    Ok(Section {
        title: "HTTP/2, many streams",
        method,
        table,
    })
}

pub(super) fn paced(tools: &Tools, quick: bool) -> Result<Section> {
    let (connections, events) = if quick { (200, 20) } else { (5000, 100) };
    let mut table = Table::new(&[
        "server",
        "connections",
        "CPU per delivery, µs",
        "× floor",
        "p50, ms",
        "p99, ms",
        "memory each, KiB",
        "faults",
    ]);
    let mut floor = Floor::default();
    for kind in tools.servers(&[Kind::Floor, Kind::Axum, Kind::Hub]) {
        let load = Load {
            connections,
            streams: 1,
            events,
            rate: "10",
        };
        let figures = load.run(kind, tools)?;
        if kind == Kind::Floor {
            floor.set(&figures);
        }
        table.row([
            kind.name().to_owned(),
            connections.to_string(),
            figures.fixed("us_cpu_per_delivery", 2),
            floor.times(&figures, "us_cpu_per_delivery"),
            figures.ms("lat_us.p50"),
            figures.ms("lat_us.p99"),
            figures.fixed("kb_per_conn", 2),
            figures.faults(),
        ]);
    }
    let method = format!(
        "As the paced fan-out, {events} events, over HTTP/2 with one stream on each connection. The \
         floor is that of HTTP/1.1: one write for each delivery."
    );
    Ok(Section {
        title: "HTTP/2, paced",
        method,
        table,
    })
}

struct Load {
    connections: u64,
    streams: u64,
    events: u64,
    rate: &'static str,
}

impl Load {
    fn run(&self, kind: Kind, tools: &Tools) -> Result<Figures> {
        let server = Server::start(kind, tools)?;
        let [connections, streams, events] =
            [self.connections, self.streams, self.events].map(|number| number.to_string());
        let mut arguments = vec!["--url", &server.subscribe, "--pub-url", &server.publish];
        arguments.extend(["--events", &events, "--rate", self.rate]);
        if kind == Kind::Floor {
            arguments.extend(["--subs", &connections]);
            return tools.peer("fanout", &server, &arguments);
        }
        arguments.extend(["--connections", &connections, "--streams", &streams]);
        tools.peer("h2", &server, &arguments)
    }
}
