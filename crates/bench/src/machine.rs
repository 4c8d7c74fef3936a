//! The machine that the numbers are of.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::time::Instant;

use anyhow::Context as _;

use crate::latency::median;

/// Writes that are synced one by one, to know what a sync costs here: a durable answer can't be faster than that.
const SYNCS: u32 = 51;

/// What a number is worth nothing without.
pub(crate) struct Machine {
    cores: usize,
    processor: String,
    kernel: String,
    sync_ms: f64,
    load: String,
}

impl Machine {
    /// Looks at it; takes some syncs of the temporary directory's disk.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown processor", |(_, name)| name.trim());
        let load = fs::read_to_string("/proc/loadavg")?;
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            processor: processor.to_owned(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            sync_ms: sync_ms()?,
            load: load.split(' ').next().unwrap_or_default().to_owned(),
        })
    }
}

fn sync_ms() -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let mut file = File::create(directory.path().join("synced")).context("failed to write a file")?;
    let mut times = Vec::new();
    for _ in 0..SYNCS {
        let start = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(times))
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Machine: {} cores of {}, Linux {}; a synced write of 4 KiB takes {:.2} ms; load over the last minute {}.",
            self.cores, self.processor, self.kernel, self.sync_ms, self.load
        )
    }
}
