//! What a run came to, for people and for programs.

use std::{fmt, time::Duration};

use serde_json::{Value, json};

use super::{
    histogram::Histogram,
    plan::Plan,
    run::{Run, Tally},
};
use crate::{notice::counted, span};

/// Thousandths within which latencies are told.
const SHARES: [(&str, u64); 4] = [("p50", 500), ("p90", 900), ("p99", 990), ("p99.9", 999)];

/// From how much of its processor on the load is called the bound.
const BUSY_PERCENT: u64 = 90;

#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) url: String,
    pub(crate) plan: Plan,
    pub(crate) tally: Tally,
    pub(crate) opened_in: Duration,
    pub(crate) began_ns: u64,
    pub(crate) owed: u64,
    pub(crate) lost: u64,
    /// By subscribers whose streams were cut.
    pub(crate) missed: u64,
    /// How busy this process was.
    pub(crate) busy_percent: u64,
}

impl Outcome {
    pub(crate) fn new(
        run: &Run,
        url: String,
        opened_in: Duration,
        began_ns: u64,
        busy_percent: u64,
    ) -> Self {
        Self {
            url,
            plan: run.plan.clone(),
            tally: run.tally(),
            opened_in,
            began_ns,
            owed: run.owed(),
            lost: run.lost(),
            missed: run.missed(),
            busy_percent,
        }
    }

    /// What was wrong with the deliveries, if anything was.
    pub(crate) fn fault(&self) -> Option<String> {
        let Tally {
            doubled,
            out_of_order,
            gaps,
            closed,
            ..
        } = self.tally;
        let plain = |count: u64, what: &str| (count, format!("{count} {what}"));
        let noun = |count, noun, what: &str| (count, format!("{} {what}", counted(count, noun)));
        let faults = [
            plain(self.lost, "lost"),
            plain(doubled, "doubled"),
            plain(out_of_order, "out of order"),
            noun(gaps, "gap", "announced"),
            noun(closed as u64, "stream", "cut"),
            plain(self.missed, "missed thereby"),
        ];
        let faults = faults.into_iter().filter(|(count, _)| *count > 0);
        let faults: Vec<String> = faults.map(|(_, told)| told).collect();
        (!faults.is_empty()).then(|| faults.join(", "))
    }

    fn publish_ns(&self) -> u64 {
        self.tally.last_receipt_ns.saturating_sub(self.began_ns)
    }

    fn deliver_ns(&self) -> u64 {
        self.tally.last_delivery_ns.saturating_sub(self.began_ns)
    }

    fn is_bound(&self) -> bool {
        self.busy_percent >= BUSY_PERCENT
    }

    pub(crate) fn json(&self) -> Value {
        let Self { plan, tally, .. } = self;
        json!({
            "url": self.url,
            "http": if plan.http2 { "2" } else { "1.1" },
            "subscribers": plan.subscribers, "topics": plan.topics,
            "publishers": plan.publishers, "size": plan.size,
            "opened_ms": span::millis(self.opened_in),
            "published": tally.published, "publish_ms": self.publish_ns() / 1_000_000,
            "published_per_s": per_second(tally.published, self.publish_ns()),
            "busy_answers": tally.busy,
            "owed": self.owed, "delivered": tally.delivered,
            "deliver_ms": self.deliver_ns() / 1_000_000,
            "delivered_per_s": per_second(tally.delivered, self.deliver_ns()),
            "lost": self.lost, "doubled": tally.doubled, "out_of_order": tally.out_of_order,
            "gaps": tally.gaps, "closed": tally.closed, "missed_by_closed": self.missed,
            "publish_us": latencies(&tally.receipts),
            "delivery_us": latencies(&tally.deliveries),
            "load_busy_percent": self.busy_percent,
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, tally, .. } = self;
        let http = if plan.http2 { "HTTP/2" } else { "HTTP/1.1" };
        writeln!(f, "hub          {}, {http}", self.url)?;
        writeln!(
            f,
            "subscribers  {} of {}, let in within {} s",
            plan.subscribers,
            counted(plan.topics as u64, "topic"),
            seconds(self.opened_in)
        )?;
        writeln!(
            f,
            "published    {} of {} bytes by {} in {} s: {}/s",
            counted(tally.published, "event"),
            plan.size,
            counted(plan.publishers as u64, "publisher"),
            seconds(Duration::from_nanos(self.publish_ns())),
            per_second(tally.published, self.publish_ns())
        )?;
        if tally.busy > 0 {
            writeln!(f, "             the hub was too busy {} times", tally.busy)?;
        }
        writeln!(
            f,
            "delivered    {} of {}: {}/s",
            tally.delivered,
            self.owed,
            per_second(tally.delivered, self.deliver_ns())
        )?;
        let fault = self.fault();
        let fault = fault
            .as_deref()
            .unwrap_or("none lost, doubled or out of order");
        writeln!(f, "faults       {fault}")?;
        writeln!(f)?;
        table(f, tally)?;
        if self.is_bound() {
            writeln!(
                f,
                "\nThis command itself used {} % of a core: it may be the bound, not the hub.",
                self.busy_percent
            )?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    write!(f, "{:<13}", "latency, ms")?;
    for (name, _) in SHARES {
        write!(f, "{name:>10}")?;
    }
    writeln!(f, "{:>10}", "max")?;
    for (name, times) in [
        ("publish", &tally.receipts),
        ("delivery", &tally.deliveries),
    ] {
        write!(f, "{name:<13}")?;
        for (_, per_mille) in SHARES {
            write!(f, "{:>10}", ms(times.within(per_mille)))?;
        }
        writeln!(f, "{:>10}", ms(times.max()))?;
    }
    Ok(())
}

fn latencies(times: &Histogram) -> Value {
    let us = span::micros;
    json!({
        "p50": us(times.within(500)), "p90": us(times.within(900)), "p99": us(times.within(990)),
        "p999": us(times.within(999)), "max": us(times.max()),
    })
}

pub(crate) fn per_second(count: u64, ns: u64) -> u64 {
    let per_second = u128::from(count) * 1_000_000_000 / u128::from(ns.max(1));
    u64::try_from(per_second).unwrap_or(u64::MAX)
}

pub(crate) fn ms(time: Duration) -> String {
    let us = time.as_micros();
    format!("{}.{:02}", us / 1000, us % 1000 / 10)
}

fn seconds(time: Duration) -> String {
    format!("{}.{:02}", time.as_secs(), time.subsec_millis() / 10)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn outcome() -> Outcome {
        let parsed = Arguments::try_parse_from(["tidings", "bench", "--subscribers", "2"]);
        let Ok(Some(Command::Bench(bench))) = parsed.map(|arguments| arguments.command) else {
            panic!("not a bench")
        };
        let mut tally = Tally {
            answered: 2,
            published: 10,
            delivered: 20,
            last_receipt_ns: 3_000_000_000,
            last_delivery_ns: 5_000_000_000,
            ..Tally::default()
        };
        tally.deliveries.add(1_500_000);
        Outcome {
            url: "http://hub".to_owned(),
            plan: Plan::new(&bench),
            tally,
            opened_in: Duration::from_millis(70),
            began_ns: 1_000_000_000,
            owed: 20,
            lost: 0,
            missed: 0,
            busy_percent: 0,
        }
    }

    #[test]
    fn rates_are_of_the_time_that_each_took() {
        let json = outcome().json();
        let number = |name| json.get(name).and_then(Value::as_u64);
        assert_eq!(number("published_per_s"), Some(5));
        assert_eq!(number("delivered_per_s"), Some(5));
        assert_eq!(number("deliver_ms"), Some(4000));
        assert_eq!(per_second(7, 0), 7_000_000_000);
    }

    #[test]
    fn people_are_told_the_same() {
        let told = outcome().to_string();
        for words in [
            "subscribers  2 of 1 topic, let in within 0.07 s",
            "published    10 events of 128 bytes by 1 publisher in 2.00 s: 5/s",
            "delivered    20 of 20: 5/s",
            "faults       none lost, doubled or out of order",
            "p99.9",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert!(!told.contains("may be the bound"), "{told}");
    }

    #[test]
    fn faults_are_counted_and_named() {
        let mut outcome = outcome();
        assert_eq!(outcome.fault(), None);
        outcome.lost = 3;
        outcome.tally.closed = 1;
        outcome.busy_percent = 99;
        assert_eq!(outcome.fault().as_deref(), Some("3 lost, 1 stream cut"));
        let told = outcome.to_string();
        assert!(told.contains("faults       3 lost, 1 stream cut"), "{told}");
        assert!(told.contains("may be the bound"), "{told}");
    }
}
