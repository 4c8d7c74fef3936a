//! How long an admission spends in the policy's own code, when the warmer's receipt says that there is nothing to do.

use std::path::Path;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::table::Row;

const TARGET_MS: f64 = 0.3;

/// Runs `policy-host bench` with a recorded receipt.
pub(crate) async fn evaluation(policy_host: &Path, wasm: &Path, recordings: &Path) -> anyhow::Result<Vec<Row>> {
    let output = Command::new(policy_host)
        .arg("bench")
        .arg(wasm)
        .args(["--num-samples", "2000", "--settings-path"])
        .arg(recordings.join("settings.json"))
        .arg("--request-path")
        .arg(recordings.join("request_deployment.json"))
        .arg("--replay-host-capabilities-interactions")
        .arg(recordings.join("session_warm.yml"))
        .output()
        .await
        .with_context(|| format!("failed to run {}", policy_host.display()))?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default());
    let [p50_us, p99_us] =
        guest_code(&String::from_utf8_lossy(&output.stdout)).context("its table has no `guest code`")?;
    let (p50, p99) = (p50_us / 1e3, p99_us / 1e3);
    let seen = format!("p50 {p50:.3} ms, p99 {p99:.3} ms");
    Ok(vec![Row::new(
        "an evaluation in the guest, receipt cached",
        format!("≤ {TARGET_MS} ms"),
        seen,
        p50 <= TARGET_MS,
    )])
}

/// p50 and p99 in microseconds.
fn guest_code(table: &str) -> Option<[f64; 2]> {
    let mut numbers = table.lines().find_map(|line| line.strip_prefix("guest code"))?.split_whitespace();
    Some([numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_of_the_guest_is_found() {
        let table = "2 evaluations, microseconds      p50       p99       max\n\
                     guest code                           88.1     120.5     301.0\n\
                     fresh instance                       10.0      11.0      12.0\n";
        assert_eq!(guest_code(table), Some([88.1, 120.5]));
        assert_eq!(guest_code("no table"), None);
    }
}
