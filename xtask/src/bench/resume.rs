//! Subscribers that come back and get what they missed.

use anyhow::Result;

use super::Section;
use super::figures::Figures;
use super::server::{Kind, Server};
use super::tools::Tools;
use crate::table::Table;

const HEADS: [&str; 12] = [
    "server",
    "events are",
    "subscribers",
    "all caught up after, s",
    "deliveries/s",
    "CPU per delivery, µs",
    "reads of the log",
    "load busy, %",
    "memory growth at most, KiB",
    "others' p99 before, ms",
    "others' p99 meanwhile, ms",
    "faults",
];

/// More than the hub keeps in memory by default.
const PUSH_OUT_MIB: &str = "96";

pub(super) fn measure(tools: &Tools, quick: bool) -> Result<Section> {
    let (events, crowd) = if quick {
        ("500", "20")
    } else {
        ("5000", "2000")
    };
    let mut table = Table::new(&HEADS);
    for kind in tools.servers(&[Kind::Floor, Kind::Hub]) {
        if kind == Kind::Floor {
            let figures = floor(tools, events, crowd)?;
            row(&mut table, kind, "prepared blocks", crowd, &figures, "-");
            continue;
        }
        for (place, push_out) in [("in memory", "0"), ("on disk", PUSH_OUT_MIB)] {
            let (figures, reads) = resume(tools, events, crowd, push_out)?;
            row(&mut table, kind, place, crowd, &figures, &reads);
        }
    }
    let method = format!(
        "Subscribers that all come at once and send the `Last-Event-ID` of {events} events of 128 \
         bytes ago, get them, and go; five times, with a second between. The time is the mean, and \
         includes connecting. The others' latencies are of all five seconds before and all five \
         times, with the closing of the connections. The floor's subscribers are connected already, and it \
         sends once. \"On disk\": {PUSH_OUT_MIB} MiB of another topic \
         came after, so that the hub has to read its log (which the kernel may have in memory). 100 \
         others follow a third topic of 200 events a second, on a thread of their own. The load has \
         one core for all of this: where it is busy, it is the bound."
    );
    Ok(Section {
        title: "Resuming",
        method,
        table,
    })
}

/// The figures, and how often the hub says that it read its log.
fn resume(tools: &Tools, events: &str, crowd: &str, push_out: &str) -> Result<(Figures, String)> {
    let server = Server::start(Kind::Hub, tools)?;
    let mut arguments = vec!["--url", &server.subscribe, "--pub-url", &server.publish];
    arguments.extend(["--subs", crowd, "--events", events]);
    arguments.extend(["--push-out-mib", push_out]);
    let figures = tools.peer("resume", &server, &arguments)?;
    Ok((figures, server.metric("tidings_log_reads_total")?))
}

fn floor(tools: &Tools, events: &str, crowd: &str) -> Result<Figures> {
    let server = Server::start(Kind::Floor, tools)?;
    let blast = format!("{}/blast/{events}", server.base);
    let mut arguments = vec!["--url", &server.subscribe, "--pub-url", &blast];
    arguments.extend(["--subs", crowd, "--events", events, "--posts", "1"]);
    tools.peer("fanout", &server, &arguments)
}

fn row(table: &mut Table, kind: Kind, place: &str, crowd: &str, figures: &Figures, reads: &str) {
    table.row([
        kind.name().to_owned(),
        place.to_owned(),
        crowd.to_owned(),
        figures.fixed("secs", 2),
        figures.rate("per_s"),
        figures.fixed("us_cpu_per_delivery", 2),
        reads.to_owned(),
        figures.percent("load_busy"),
        figures.fixed("peak_growth_kib", 0),
        figures.ms("calm_us.p99"),
        figures.ms("busy_us.p99"),
        figures.faults(),
    ]);
}
