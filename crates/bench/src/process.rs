//! A process that is measured: started, seen ready, looked at through `/proc`, and ended with the value.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

/// Nothing here takes longer to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Ticks of `/proc/PID/stat` a second: Linux has told user space 100 on every architecture since 2.6.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running program.
pub(crate) struct Process {
    child: Child,
}

/// Which of its outputs a program says on that it is ready.
#[derive(Clone, Copy)]
pub(crate) enum Output {
    /// Standard output.
    Out,
    /// Standard error.
    Error,
}

impl Process {
    /// Starts a program and waits until `ready` finds what it looks for in a line.
    ///
    /// # Errors
    /// It can't be started, ends, or isn't ready in 20 s.
    pub(crate) async fn start<T>(
        program: &Path,
        arguments: &[&str],
        output: Output,
        ready: impl Fn(&str) -> Option<T>,
    ) -> anyhow::Result<(Self, T)> {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        match output {
            Output::Out => command.stdout(Stdio::piped()).stderr(Stdio::null()),
            Output::Error => command.stdout(Stdio::null()).stderr(Stdio::piped()),
        };
        let mut child = command.spawn().with_context(|| format!("failed to start {}", program.display()))?;
        let found = match output {
            Output::Out => find(child.stdout.take(), ready).await,
            Output::Error => find(child.stderr.take(), ready).await,
        };
        Ok((Self { child }, found.with_context(|| format!("{} did not become ready", program.display()))?))
    }

    /// SIGKILL; the process is gone when this returns.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Resident memory now and at most since the start, in MB of 10^6 bytes.
    pub(crate) fn memory(&self) -> anyhow::Result<Memory> {
        let status = self.proc("status")?;
        let megabytes = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            let kibibytes: f64 = line?.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kibibytes * 1024.0 / 1e6)
        };
        let (now, peak) = megabytes("VmRSS").zip(megabytes("VmHWM")).context("/proc/PID/status has no memory")?;
        Ok(Memory { now, peak })
    }

    /// Time on the processors until now, in seconds.
    pub(crate) fn processor_seconds(&self) -> anyhow::Result<f64> {
        let stat = self.proc("stat")?;
        // The second field is the program's name in parentheses and may hold anything; utime and stime are 14 and 15.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let [user, system] = [11, 12].map(|index| fields.get(index).and_then(|field| field.parse::<f64>().ok()));
        let (user, system) = user.zip(system).context("/proc/PID/stat has no times")?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    fn proc(&self, file: &str) -> anyhow::Result<String> {
        let pid = self.child.id().context("the process has ended")?;
        Ok(fs::read_to_string(format!("/proc/{pid}/{file}"))?)
    }
}

/// Resident memory in MB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// At this moment.
    pub(crate) now: f64,
    /// At most since the start.
    pub(crate) peak: f64,
}

/// Reads until `ready` finds something, and goes on reading so that the process never waits for its output.
async fn find<T>(
    output: Option<impl AsyncRead + Unpin + Send + 'static>,
    ready: impl Fn(&str) -> Option<T>,
) -> anyhow::Result<T> {
    let mut lines = BufReader::new(output.context("its output is not ours")?).lines();
    let reading = async {
        while let Some(line) = lines.next_line().await? {
            if let Some(found) = ready(&line) {
                return Ok(found);
            }
        }
        bail!("it ended")
    };
    let found = tokio::time::timeout(PATIENCE, reading).await.context("it took too long")??;
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(found)
}
