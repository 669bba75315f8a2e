use std::fs;

use anyhow::{Context, Result};

/// The kernel counts processor time in hundredths of a second for programs that ask in /proc.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub cpu_s: f64,
    /// Proportional set size.
    pub memory_kib: f64,
}

impl Usage {
    /// # Errors
    /// There is no such process.
    pub fn of(process: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let (_, fields) = stat
            .rsplit_once(')')
            .context("/proc/PID/stat looks strange")?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|f| f.parse::<f64>().ok());
        let ticks = ticks(11).zip(ticks(12)).map(|(user, system)| user + system);
        let cpu_s = ticks.context("/proc/PID/stat looks strange")? / TICKS_PER_SECOND;
        let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let memory = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
        Ok(Self {
            cpu_s,
            memory_kib: memory.context("/proc/PID/smaps_rollup looks strange")?,
        })
    }
}
