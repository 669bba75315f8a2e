//! Where it was measured.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

pub fn describe(folder: &Path) -> Result<String> {
    fs::create_dir_all(folder)?;
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let processor = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism()?;
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory: Option<u64> = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next())
        .and_then(|kib| kib.parse().ok());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let file_system = said("stat", &["--file-system", "--format=%T", "."], folder);
    let (date, compiler) = (
        said("date", &["--utc", "+%F"], folder),
        said("rustc", &["--version"], folder),
    );
    Ok(format!(
        "{date}: {}, {cores} cores, {} GiB, Linux {}, {file_system}; {compiler}",
        processor.map_or("an unknown processor", |(_, name)| name),
        memory.unwrap_or(0) >> 20,
        kernel.trim(),
    ))
}

fn said(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output();
    output.map_or_else(
        |_| format!("no {program}"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
