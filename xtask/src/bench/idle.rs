//! Subscribers that come at once and wait: how fast they get in, and what each costs.

use anyhow::Result;

use super::Section;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (subscribers, idle, beat) = if quick {
        ("1000", "1", "1")
    } else {
        ("15000", "10", "10")
    };
    let mut table = Table::new(&[
        "server",
        "subscribers",
        "all answered after, s",
        "CPU to let one in, µs",
        "memory each, KiB",
        "CPU between heartbeats, s",
        "CPU with a heartbeat, s",
        "heard from then",
        "faults",
    ]);
    for kind in tools.servers(&[Kind::Floor, Kind::Nchan, Kind::Axum, Kind::Hub]) {
        let server = Server::start(kind, tools)?;
        let mut arguments = vec!["--url", &server.subscribe, "--subs", subscribers];
        arguments.extend(["--idle", idle, "--beat", beat]);
        let figures = tools.peer("fanout", &server, &arguments)?;
        table.row([
            kind.name().to_owned(),
            subscribers.to_owned(),
            figures.fixed("connect_s", 2),
            figures.fixed("connect_us_cpu", 1),
            figures.fixed("kb_per_conn", 2),
            figures.fixed("idle_cpu_s", 2),
            figures.fixed("beat_cpu_s", 2),
            figures.fixed("beats", 0),
            figures.faults(),
        ]);
    }
    let method = format!(
        "{subscribers} subscribers connect at once (where the listener's queue is full, the kernel \
         tries again after a second), wait for {idle} s without a heartbeat, then for \
         {beat} s in which the hub sends one to each (every 15 s; likewise axum; the others have \
         none). Memory is the growth of the server's proportional set size from before the first to \
         the end; what the kernel keeps for a socket is not in it. `heard from then` are \
         subscribers that were sent anything in the time with a heartbeat: Nchan greets each with a \
         comment when it comes, which is before."
    );
    Ok(Section {
        title: "Idle subscribers",
        method,
        table,
    })
}
