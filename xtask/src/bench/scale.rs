//! The same load on ever more subscribers: does a delivery cost more, and does a subscriber?

use std::fs;

use anyhow::{Context, Result};

use super::Section;
use super::figures::Figures;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::chart::{Chart, Line};
use crate::repository;
use crate::table::Table;

const KINDS: [Kind; 3] = [Kind::Hub, Kind::Axum, Kind::Floor];
const CROWDS: [u32; 7] = [100, 300, 1000, 3000, 6000, 10_000, 18_000];
/// So many at most come per second, whatever the number of subscribers.
const DELIVERIES_PER_SECOND: u32 = 50_000;
const RATE_MAX: u32 = 200;
const SECONDS: u32 = 5;

const CPU: &str = "cpu-per-delivery.svg";
const MEMORY: &str = "memory-per-subscriber.svg";

/// Measures, and writes the plots to `docs`.
pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (crowds, seconds) = if quick {
        (&CROWDS[..3], 1)
    } else {
        (&CROWDS[..], SECONDS)
    };
    let mut table = Table::new(&[
        "server",
        "subscribers",
        "events/s",
        "CPU per delivery, µs",
        "memory each, KiB",
        "p99, ms",
        "faults",
    ]);
    let (mut cpu, mut memory) = (Vec::new(), Vec::new());
    for kind in tools.servers(&KINDS) {
        let (mut cpu_points, mut memory_points) = (Vec::new(), Vec::new());
        for crowd in crowds {
            let rate = (DELIVERIES_PER_SECOND / crowd).min(RATE_MAX);
            let figures = run(kind, tools, *crowd, rate, seconds)?;
            let count = f64::from(*crowd);
            cpu_points.push((count, figures.number("us_cpu_per_delivery")));
            // A page is the least that can be seen.
            let least = 4.0 / count;
            memory_points.push((count, figures.number("kb_per_conn").max(least)));
            table.row([
                kind.name().to_owned(),
                crowd.to_string(),
                rate.to_string(),
                figures.fixed("us_cpu_per_delivery", 2),
                figures.fixed("kb_per_conn", 2),
                figures.ms("lat_us.p99"),
                figures.faults(),
            ]);
        }
        let line = |points| Line {
            name: kind.short_name().to_owned(),
            points,
        };
        cpu.push(line(cpu_points));
        memory.push(line(memory_points));
    }
    write(
        CPU,
        &chart(
            "CPU per delivery",
            "µs of processor time per delivery",
            false,
            cpu,
        ),
    )?;
    write(
        MEMORY,
        &chart(
            "Memory per subscriber",
            "KiB of proportional set size per subscriber",
            true,
            memory,
        ),
    )?;
    let method = format!(
        "![CPU per delivery against the number of subscribers]({CPU})\n\n![Memory per subscriber \
         against the number of subscribers]({MEMORY})\n\nOne topic, events of 128 bytes by one \
         publisher at up to {RATE_MAX} a second, and so few that about {DELIVERIES_PER_SECOND} \
         deliveries a second come of them, for {seconds} s. Memory is the growth of the server's \
         proportional set size until all are connected."
    );
    Ok(Section {
        title: "From 100 to 18,000 subscribers",
        method,
        table,
    })
}

fn run(kind: Kind, tools: &Tools, crowd: u32, rate: u32, seconds: u32) -> Result<Figures> {
    let server = Server::start(kind, tools)?;
    let [crowd, events, rate] = [crowd, rate * seconds, rate].map(|number| number.to_string());
    let mut arguments = vec!["--url", &server.subscribe, "--pub-url", &server.publish];
    arguments.extend(["--subs", &crowd, "--events", &events, "--rate", &rate]);
    tools.peer("fanout", &server, &arguments)
}

fn chart(title: &str, y_name: &str, y_is_log: bool, lines: Vec<Line>) -> Chart {
    Chart {
        title: format!("{title}, against the number of subscribers"),
        x_name: "subscribers of one topic".to_owned(),
        y_name: y_name.to_owned(),
        y_is_log,
        lines,
    }
}

fn write(name: &str, chart: &Chart) -> Result<()> {
    let path = repository::root().join("docs").join(name);
    let written = fs::write(&path, chart.to_string());
    written.with_context(|| format!("could not write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}
