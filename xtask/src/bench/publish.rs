//! Durable publishing.

use anyhow::Result;

use super::Section;
use super::figures::Figures;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::hub::confined;
use crate::process;
use crate::table::Table;

/// Connections, lines without a receipt on each, events.
const LOADS: [(usize, usize, u64); 4] = [
    (1, 1, 10_000),
    (1, 1000, 1_000_000),
    (64, 1, 200_000),
    (64, 100, 1_000_000),
];

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let mut table = Table::new(&[
        "",
        "connections",
        "in flight on each",
        "events/s",
        "CPU per event, µs",
        "p50, ms",
        "p99, ms",
    ]);
    floor(tools, quick, &mut table)?;
    for (connections, window, events) in LOADS {
        let events = if quick { events / 50 } else { events };
        let figures = publish(tools, connections, window, events)?;
        table.row([
            Kind::Hub.name().to_owned(),
            connections.to_string(),
            window.to_string(),
            figures.rate("per_s"),
            figures.fixed("us_cpu_per_event", 2),
            figures.ms("lat_us.p50"),
            figures.ms("lat_us.p99"),
        ]);
    }
    let method = "Events of 256 bytes of data as NDJSON streams (`application/x-ndjson`), each line \
        answered with its receipt once it is on disk. The times are from sending a line to its \
        receipt. The floor is what this disk does for a program that only appends to a file written \
        before: one write and one fdatasync for each batch."
        .to_owned();
    Ok(Section {
        title: "Publishing, durable",
        method,
        table,
    })
}

fn publish(tools: &Tools, connections: usize, window: usize, events: u64) -> Result<Figures> {
    let server = Server::start(Kind::Hub, tools)?;
    let url = format!("{}/events", server.base);
    let (process, connections) = (server.process_id(), connections.to_string());
    let (window, events) = (window.to_string(), events.to_string());
    let mut arguments = vec!["--name", "hub", "--pid", &process, "--pub-url", &url];
    arguments.extend(["--connections", &connections, "--window", &window]);
    arguments.extend(["--events", &events, "--size", "256"]);
    tools.peer("publish", &arguments)
}

fn floor(tools: &Tools, quick: bool, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut disk = confined(&tools.peers.join("disk"), tools.server_core());
    let printed = process::stdout(disk.arg(folder.path()).arg(if quick { "0.3" } else { "3" }))?;
    for line in printed.lines() {
        let figures = Figures::parse(line)?;
        let name = format!(
            "floor: append and sync, batches of {}",
            figures.number("batch")
        );
        let blank = || "-".to_owned();
        let rate = figures.rate("per_s");
        table.row([name, blank(), blank(), rate, blank(), blank(), blank()]);
    }
    Ok(())
}
