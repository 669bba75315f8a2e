//! Durable publishing.

use anyhow::Result;

use super::Section;
use super::figures::Figures;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::hub::confined;
use crate::process;
use crate::table::Table;

/// Connections; lines without a receipt on each, or a request for each event; events.
const LOADS: [(usize, Option<usize>, u64); 5] = [
    (1, None, 10_000),
    (64, None, 200_000),
    (1, Some(1), 10_000),
    (1, Some(4096), 1_000_000),
    (64, Some(100), 1_000_000),
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
        "server busy, %",
        "load busy, %",
    ]);
    floor(tools, quick, &mut table)?;
    for (connections, window, events) in LOADS {
        let events = if quick { events / 50 } else { events };
        let figures = publish(tools, connections, window, events)?;
        let in_flight = match window {
            Some(window) => format!("NDJSON, {window} lines"),
            None => "one request".to_owned(),
        };
        table.row([
            Kind::Hub.name().to_owned(),
            connections.to_string(),
            in_flight,
            figures.rate("per_s"),
            figures.fixed("us_cpu_per_delivery", 2),
            figures.ms("lat_us.p50"),
            figures.ms("lat_us.p99"),
            figures.percent("server_busy"),
            figures.percent("load_busy"),
        ]);
    }
    let method = "Events of 128 bytes of data, each answered once it is on disk: as a request each, or \
        as lines of NDJSON streams (`application/x-ndjson`). The times are from sending an event to \
        its receipt. The floor is what this disk does for a program that only appends to a file \
        written before, 256 bytes an event: one write and one fdatasync for each batch."
        .to_owned();
    Ok(Section {
        title: "Publishing, durable",
        method,
        table,
    })
}

fn publish(
    tools: &Tools,
    connections: usize,
    window: Option<usize>,
    events: u64,
) -> Result<Figures> {
    let server = Server::start(Kind::Hub, tools)?;
    let [connections, events] = [connections as u64, events].map(|number| number.to_string());
    let lines = format!("{}/events", server.base);
    let mut arguments = vec!["--connections", &connections, "--events", &events];
    let window = window.map(|window| window.to_string());
    match &window {
        Some(window) => arguments.extend(["--pub-url", &lines, "--window", window]),
        None => arguments.extend(["--pub-url", &server.publish]),
    }
    tools.peer("publish", &server, &arguments)
}

fn floor(tools: &Tools, quick: bool, table: &mut Table) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut disk = confined(&tools.peers.join("disk"), tools.server_core());
    let printed = process::stdout(disk.arg(folder.path()).arg(if quick { "0.3" } else { "2" }))?;
    for line in printed.lines() {
        let figures = Figures::parse(line)?;
        let name = format!(
            "floor: append and sync, batches of {}",
            figures.number("batch")
        );
        let mut cells = vec![name, "-".to_owned(), "-".to_owned(), figures.rate("per_s")];
        cells.resize(9, "-".to_owned());
        table.row(cells);
    }
    Ok(())
}
