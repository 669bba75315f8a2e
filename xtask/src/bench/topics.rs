//! As many topics as subscribers: nothing is shared but the log.

use anyhow::Result;

use super::Section;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (topics, publishers, rounds) = if quick {
        (500, 16, 4)
    } else {
        (18_000, 256, 10)
    };
    let mut table = Table::new(&[
        "server",
        "topics",
        "publishers",
        "published and delivered/s",
        "CPU per event, µs",
        "p50, ms",
        "p99, ms",
        "server busy, %",
        "load busy, %",
        "faults",
    ]);
    for kind in tools.servers(&[Kind::Nchan, Kind::Hub]) {
        let server = Server::start(kind, tools)?;
        let [topics, publishers, events] =
            [topics, publishers, topics * rounds].map(|number| number.to_string());
        let mut arguments = vec!["--url", &server.subscribe, "--pub-url", &server.publish];
        arguments.extend(["--subs", &topics, "--topics", &topics]);
        arguments.extend(["--publishers", &publishers, "--events", &events]);
        let figures = tools.peer("fanout", &server, &arguments)?;
        table.row([
            kind.name().to_owned(),
            topics,
            publishers,
            figures.rate("per_s"),
            figures.fixed("us_cpu_per_delivery", 2),
            figures.ms("lat_us.p50"),
            figures.ms("lat_us.p99"),
            figures.percent("server_busy"),
            figures.percent("load_busy"),
            figures.faults(),
        ]);
    }
    let method = format!(
        "{topics} topics with one subscriber each; {publishers} publishers, each as fast as it is \
         answered, a request per event of 128 bytes, to all topics in turn. The core that is busy is \
         the bound."
    );
    Ok(Section {
        title: "Many topics",
        method,
        table,
    })
}
