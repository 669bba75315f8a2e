//! The fuzz targets of `fuzz/`, with cargo-fuzz on a nightly toolchain, from the vectors on.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::{packages, process, repository};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Only this target
    target: Option<String>,
}

/// One allocation of more than this fails a target: nobody may take memory by what a length field
/// says.
const ALLOCATION_MIB_MAX: u32 = 64;

pub(crate) fn run(options: &Options) -> Result<()> {
    require_tools()?;
    let targets = match &options.target {
        Some(target) => vec![target.clone()],
        None => targets()?,
    };
    for target in targets {
        let reads_streams = seed(&target)?;
        let limit = format!("-max_total_time={}", options.seconds);
        let memory = format!("-malloc_limit_mb={ALLOCATION_MIB_MAX}");
        let mut command = cargo_fuzz();
        command.args(["run", &target, "--", &limit, &memory]);
        if reads_streams {
            command.arg("-dict=fuzz/stream.dict");
        }
        process::run(&mut command)?;
    }
    Ok(())
}

/// What `decode` reads before the stream: no limits, no chunks, no seed ID.
const DECODE_HEAD: [u8; 3] = [0; 3];

/// Puts the vectors into the target's corpus, where there are some for it. What the fuzzer itself
/// has found there before, it keeps. Returns whether there are some.
fn seed(target: &str) -> Result<bool> {
    let vectors = repository::root().join(format!("conformance/vectors/{target}.jsonl"));
    let Ok(text) = fs::read_to_string(&vectors) else {
        return Ok(false);
    };
    let corpus = repository::root().join("fuzz/corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("could not make {}", corpus.display()))?;
    for (number, line) in text.lines().enumerate() {
        let vector: Value = serde_json::from_str(line)
            .with_context(|| format!("{}:{}", vectors.display(), number + 1))?;
        if let Some(input) = input(&vector)? {
            let path = corpus.join(format!("vector-{number}"));
            fs::write(&path, input)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
    }
    Ok(true)
}

/// A stream as `decode` takes it; or a text for `encode` to make pieces of, as it can.
fn input(vector: &Value) -> Result<Option<Vec<u8>>> {
    let text = |key| vector.get(key).and_then(Value::as_str);
    if let Some(base64) = text("stream_base64") {
        let stream = BASE64_STANDARD.decode(base64)?;
        return Ok(Some([&DECODE_HEAD[..], &stream].concat()));
    }
    if let Some(stream) = text("stream") {
        return Ok(Some([&DECODE_HEAD[..], stream.as_bytes()].concat()));
    }
    Ok(text("bytes").map(|bytes| bytes.as_bytes().to_vec()))
}

fn require_tools() -> Result<()> {
    if packages::find("cargo-fuzz").is_none() {
        bail!("cargo-fuzz is missing: run `cargo install cargo-fuzz --locked` and try again");
    }
    let mut probe = Command::new("cargo");
    probe
        .args(["+nightly", "--version"])
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if !probe.status().is_ok_and(|status| status.success()) {
        bail!("fuzzing wants a nightly toolchain: run `rustup toolchain install nightly`");
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let list = process::stdout(cargo_fuzz().arg("list"))?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// Through rustup's `cargo`, which alone understands `+nightly`.
fn cargo_fuzz() -> Command {
    let mut command = Command::new("cargo");
    command
        .args(["+nightly", "fuzz"])
        .current_dir(repository::root());
    // Set by the cargo that runs this program, these would pin the toolchain to its own.
    command
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO")
        .env_remove("RUSTC");
    command
}
