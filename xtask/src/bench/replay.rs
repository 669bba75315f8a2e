//! Followers that come back and get what they missed.

use anyhow::Result;

use super::Section;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

const TOPIC: &str = "bench0";

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (events, crowds): (_, &[&str]) = if quick {
        ("500", &["20"])
    } else {
        ("5000", &["1", "100", "1000"])
    };
    let mut table = Table::new(&[
        "server",
        "followers",
        "all caught up after, s",
        "events/s",
        "CPU per delivery, µs",
        "memory growth, KiB",
        "faults",
    ]);
    for followers in crowds {
        let server = Server::start(Kind::Hub, tools)?;
        let (process, publish) = (server.process_id(), format!("{}/events", server.base));
        let mut arguments = vec!["--name", "hub", "--pid", &process, "--topic", TOPIC];
        arguments.extend(["--url", &server.subscribe, "--pub-url", &publish]);
        arguments.extend(["--subs", followers, "--events", events]);
        let figures = tools.peer("replay", &arguments)?;
        table.row([
            Kind::Hub.name().to_owned(),
            (*followers).to_owned(),
            figures.fixed("secs", 2),
            figures.rate("per_s"),
            figures.fixed("us_cpu_per_delivery", 2),
            figures.fixed("memory_growth_kib", 0),
            figures.faults(),
        ]);
    }
    let method = format!(
        "Followers that all come at once and send the `Last-Event-ID` of {events} events of 128 \
         bytes ago. The time includes connecting. The floor is that of the fan-out at full speed."
    );
    Ok(Section {
        title: "Replay",
        method,
        table,
    })
}
