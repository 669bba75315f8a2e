use std::fs;

use anyhow::{Context, Result};

/// The kernel counts processor time in hundredths of a second for programs that ask in /proc.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    pub user_s: f64,
    pub system_s: f64,
    /// Proportional set size.
    pub memory_kib: f64,
}

impl Usage {
    /// # Errors
    /// There is no such process.
    pub fn of(process: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
        let strange = "/proc/PID/stat looks strange";
        let (_, fields) = stat.rsplit_once(')').context(strange)?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let seconds = |index: usize| {
            let ticks = fields
                .get(index)
                .and_then(|field| field.parse::<f64>().ok());
            ticks.map(|ticks| ticks / TICKS_PER_SECOND).context(strange)
        };
        Ok(Self {
            user_s: seconds(11)?,
            system_s: seconds(12)?,
            memory_kib: memory_kib(process)?,
        })
    }

    /// Of this process.
    ///
    /// # Errors
    /// There is no /proc.
    pub fn own() -> Result<Self> {
        Self::of(std::process::id())
    }

    #[must_use]
    pub fn cpu_s(&self) -> f64 {
        self.user_s + self.system_s
    }

    /// Both together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            user_s: self.user_s + other.user_s,
            system_s: self.system_s + other.system_s,
            memory_kib: self.memory_kib + other.memory_kib,
        }
    }

    /// What was used between `before` and this.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            user_s: self.user_s - before.user_s,
            system_s: self.system_s - before.system_s,
            memory_kib: self.memory_kib - before.memory_kib,
        }
    }
}

/// The proportional set size of a process.
///
/// # Errors
/// There is no such process.
pub fn memory_kib(process: u32) -> Result<f64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
    let memory = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let memory = memory.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok());
    memory.context("/proc/PID/smaps_rollup looks strange")
}
