//! The proof that the wire crate needs no standard library: `crates/wire/doc/no_std.rs`, which says
//! how, is compiled against it. A target without one would prove the same, but must be installed.

use std::process::Command;

use anyhow::Result;

use crate::{process, repository};

pub(crate) fn run() -> Result<()> {
    // Of its own, so that no other build's features are unified with these.
    let target = repository::target()?.join("no_std");
    let mut build = repository::cargo();
    build
        .args(["build", "--package", "tidings-wire", "--lib"])
        .args(["--no-default-features", "--target-dir"])
        .arg(&target);
    process::run(&mut build)?;
    let output = target.join("debug");
    let mut compile = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    compile
        .args(["--edition", "2024", "--crate-type", "rlib"])
        .args(["--emit", "metadata", "--extern"])
        .arg(format!(
            "tidings_wire={}",
            output.join("libtidings_wire.rlib").display()
        ))
        .arg("-L")
        .arg(format!("dependency={}", output.join("deps").display()))
        .arg("--out-dir")
        .arg(&target)
        .arg(repository::root().join("crates/wire/doc/no_std.rs"));
    process::run(&mut compile)
}
