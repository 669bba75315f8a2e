//! Sequences of operations on a log, on a disk that tears, loses, fails and runs full, beside a
//! vector of what must be there: the model of `crates/log/tests`. Its operations are made from a
//! seed each; here the fuzzer chooses the seeds, so that it can put together, repeat and move
//! operations until they lead to what was not reached before.

#![no_main]

#[allow(
    dead_code,
    unused_imports,
    reason = "the tests' own runners are left out"
)]
#[path = "../../crates/log/tests/model/main.rs"]
mod model;

use libfuzzer_sys::fuzz_target;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

const OPERATIONS_MAX: usize = 80;
/// As many are told apart, of each kind of thing.
const SEED_BYTES: usize = 3;

/// What the strategy makes of a seed.
fn made<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, seed: &[u8]) -> T {
    let mut bytes = [0; 32];
    bytes
        .iter_mut()
        .zip(seed)
        .for_each(|(to, from)| *to = *from);
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    let tree = strategy.new_tree(&mut runner);
    tree.expect("the model filters nothing").current()
}

fuzz_target!(|input: (u8, bool, [u8; SEED_BYTES], &[u8])| {
    let (seed, attended, setup, operations) = input;
    let op = model::op();
    let seeds = operations.chunks_exact(SEED_BYTES).take(OPERATIONS_MAX);
    let case = model::Case {
        setup: made(&model::setup(), &setup),
        attended,
        ops: seeds.map(|seed| made(&op, seed)).collect(),
    };
    model::play(seed.into(), &case);
});
