//! Followers that wait: how fast they get in, and what each costs.

use anyhow::Result;

use super::Section;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (followers, seconds) = if quick {
        ("1000", "1")
    } else {
        ("15000", "20")
    };
    let mut table = Table::new(&[
        "server",
        "followers",
        "all in after, s",
        "memory each, KiB",
        "CPU while idle, s",
        "faults",
    ]);
    for kind in Kind::ALL {
        let server = Server::start(kind, tools)?;
        let process = server.process_id();
        let mut arguments = vec!["--name", kind.name(), "--pid", &process];
        arguments.extend([
            "--url",
            &server.subscribe,
            "--subs",
            followers,
            "--idle",
            seconds,
        ]);
        let figures = tools.fanout(&arguments)?;
        table.row([
            kind.name().to_owned(),
            followers.to_owned(),
            figures.fixed("connect_s", 2),
            figures.fixed("kb_per_conn", 2),
            figures.fixed("idle_cpu_s", 2),
            figures.faults(),
        ]);
    }
    let method = format!(
        "{followers} followers connect one after the other as fast as they are let in, then wait \
         for {seconds} s. Memory is the growth of the server's proportional set size; what the \
         kernel keeps for a socket is not in it."
    );
    Ok(Section {
        title: "Idle followers",
        method,
        table,
    })
}
