//! Subscribers that never read.

use anyhow::Result;

use super::Section;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (crowd, events, calm) = if quick {
        ("50", "4000", "4000")
    } else {
        ("2000", "100000", "100000")
    };
    // The hub keeps 64 MiB of recent events: so many of 128 bytes are more.
    let (rate, filler) = if quick {
        ("5000", "1000")
    } else {
        ("5000", "500000")
    };
    let mut table = Table::new(&[
        "server",
        "that never read",
        "events",
        "memory growth before, KiB",
        "memory growth meanwhile, KiB",
        "others' p99 before, ms",
        "others' p99 meanwhile, ms",
        "in the first twentieth, ms",
        "median twentieth before, ms",
        "median twentieth meanwhile, ms",
        "faults",
    ]);
    for kind in tools.servers(&[Kind::Hub]) {
        let server = Server::start(kind, tools)?;
        let lines = format!("{}/events", server.base);
        let mut arguments = vec!["--url", &server.subscribe, "--pub-url", &lines];
        arguments.extend(["--subs", crowd, "--events", events, "--rate", rate]);
        arguments.extend(["--calm-events", calm, "--filler-events", filler]);
        let figures = tools.peer("stalled", &server, &arguments)?;
        table.row([
            kind.name().to_owned(),
            crowd.to_owned(),
            events.to_owned(),
            figures.fixed("calm_growth_kib", 0),
            figures.fixed("peak_growth_kib", 0),
            figures.ms("calm_us.p99"),
            figures.ms("busy_us.p99"),
            figures.ms("first_part_p99_us"),
            figures.ms("calm_part_p99_us"),
            figures.ms("busy_part_p99_us"),
            figures.faults(),
        ]);
    }
    let method = format!(
        "{crowd} subscribers that take the beginning of their response and then nothing, while \
         {events} events of 128 bytes are published to them at {rate} a second; 100 others of the same \
         topic read, and are compared with themselves before the {crowd} came. The hub's memory of \
         recent events was filled before; what it still grows by for as many events without the {crowd} \
         is told too. Those that never read are served like all until the kernel takes no more for them, which \
         is within the first twentieth of the time: so the p99 of each twentieth is told, too."
    );
    Ok(Section {
        title: "Subscribers that never read",
        method,
        table,
    })
}
