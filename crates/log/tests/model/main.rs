//! The log against the simplest thing that could be right: a vector of records.
//!
//! Random operations run on a disk that tears, loses, fails and runs full. Whatever happens:
//! nothing acknowledged is lost, nothing is invented, groups are whole or absent, a sequence that
//! a reader may have seen is never given to another record, and every read gives exactly what the
//! vector gives.
//!
//! `TIDINGS_LOG_RUNS=10000 cargo test -p tidings-log --test model` runs more cases. A failing case
//! is printed in its smallest form, and kept in `proptest-regressions`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic in a test is a failed test"
)]

mod run;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use run::Run;
use tidings_log::{Call, Options, Retention, Select};

const TOPICS: [&str; 5] = ["a", "b", "orders/1", "orders/2", "ü"];

#[derive(Clone, Debug, PartialEq)]
struct Spec {
    topics: Vec<&'static str>,
    alias: Option<u8>,
    expires_in_ms: Option<u64>,
    mark: Option<u8>,
    frame_bytes: usize,
}

#[derive(Clone, Debug)]
enum Choice {
    Exact(Vec<&'static str>),
    Prefix(&'static str),
}

#[derive(Clone, Debug)]
enum Op {
    Append(Vec<Vec<Spec>>),
    Read {
        choice: Choice,
        from: u64,
        limits: (usize, usize, u64),
    },
    Last {
        choice: Choice,
        n: u64,
    },
    AtTime(u64),
    FindAlias(u8),
    Marks {
        ago_ms: u64,
        max: usize,
    },
    Tick(u64),
    Retain,
    Reopen,
    Crash,
    Fail(Call, u64),
    CutPower(u64),
    LeaveRoom(usize),
    Mend,
}

impl Select for Choice {
    fn exact(&self) -> Option<&[&str]> {
        match self {
            Self::Exact(topics) => Some(topics),
            Self::Prefix(_) => None,
        }
    }

    fn matches(&self, topic: &str) -> bool {
        match self {
            Self::Exact(topics) => topics.contains(&topic),
            Self::Prefix(prefix) => topic.starts_with(prefix),
        }
    }
}

fn topics() -> impl Strategy<Value = Vec<&'static str>> {
    vec(prop::sample::select(&TOPICS[..]), 1..3)
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        topics().prop_map(Choice::Exact),
        prop::sample::select(&["", "orders/", "none"][..]).prop_map(Choice::Prefix),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let frame_bytes = prop_oneof![4 => 0..80_usize, 1 => 500..1500_usize];
    (
        topics(),
        option::weighted(0.2, 0..6_u8),
        option::weighted(0.2, 0..200_u64),
        option::weighted(0.2, any::<u8>()),
        frame_bytes,
    )
        .prop_map(|(topics, alias, expires_in_ms, mark, frame_bytes)| Spec {
            topics,
            alias,
            expires_in_ms,
            mark,
            frame_bytes,
        })
}

fn call() -> impl Strategy<Value = Call> {
    use Call::{Create, Len, Open, Read, Remove, SetLen, Sync, SyncDirectory, Write};
    prop::sample::select(
        &[
            Create,
            Len,
            Open,
            Read,
            Remove,
            SetLen,
            Sync,
            SyncDirectory,
            Write,
        ][..],
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => vec(vec(spec(), 1..4), 1..5).prop_map(Op::Append),
        6 => (choice(), 0..110_u64, (0..3000_usize, 0..20_usize, 0..40_000_u64))
            .prop_map(|(choice, from, limits)| Op::Read { choice, from, limits }),
        2 => (choice(), 0..30_u64).prop_map(|(choice, n)| Op::Last { choice, n }),
        1 => (0..110_u64).prop_map(Op::AtTime),
        1 => (0..8_u8).prop_map(Op::FindAlias),
        1 => (0..400_u64, 0..10_usize).prop_map(|(ago_ms, max)| Op::Marks { ago_ms, max }),
        2 => (0..100_u64).prop_map(Op::Tick),
        2 => Just(Op::Retain),
        1 => Just(Op::Reopen),
        1 => Just(Op::Crash),
        2 => (call(), 0..4_u64).prop_map(|(call, skip)| Op::Fail(call, skip)),
        1 => (0..8_u64).prop_map(Op::CutPower),
        1 => (0..3000_usize).prop_map(Op::LeaveRoom),
        1 => Just(Op::Mend),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let retention = (
        option::of(2_000..60_000_u64),
        option::of(1..60_u64),
        option::of(1..500_u64),
    )
        .prop_map(|(bytes_max, events_max, age_ms_max)| Retention {
            bytes_max,
            events_max,
            age_ms_max,
        });
    (300..4000_u64, retention).prop_map(|(segment_bytes_max, retention)| Options {
        segment_bytes_max,
        record_bytes_max: 64 << 10,
        retention,
    })
}

fn cases() -> u32 {
    std::env::var("TIDINGS_LOG_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok())
        .unwrap_or(256)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_vector(seed: u64, options in options(), ops in vec(op(), 1..80)) {
        let mut run = Run::new(seed, options);
        for op in &ops {
            run.apply(op);
        }
        run.disk.mend();
        run.check_all();
        run.open();
        run.crash();
    }
}
