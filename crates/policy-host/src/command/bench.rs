//! `policy-host bench`: how long an admission spends in the policy's own code.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{bail, ensure};
use harbor_warmer_policy_host::{Outcome, PolicyHost, Timings};
use serde_json::Value;

use super::{Hosting, read_interactions, read_request, require_valid_settings};

/// The arguments of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The policy
    #[arg(value_name = "WASM")]
    policy: PathBuf,
    /// File with the AdmissionRequest, bare or inside an AdmissionReview
    #[arg(short, long, value_name = "FILE")]
    request_path: PathBuf,
    #[command(flatten)]
    hosting: Hosting,
    /// Answer host calls from this recording, anew for each evaluation; without it registries are asked once and their
    /// cached answers after that
    #[arg(long, value_name = "FILE")]
    replay_host_capabilities_interactions: Option<PathBuf>,
    /// Evaluations that are measured
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    num_samples: u32,
    /// Evaluations before that
    #[arg(long, default_value_t = 50)]
    warm_up_samples: u32,
}

/// Measures and prints a table.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let request = read_request(&args.request_path)?;
    let exchanges = match &args.replay_host_capabilities_interactions {
        Some(path) => Some(read_interactions(path)?),
        None => None,
    };
    let shared = args.hosting.builder(&args.policy)?.build()?;
    require_valid_settings(&shared).await?;

    let mut samples = Vec::new();
    for index in 0..args.warm_up_samples.saturating_add(args.num_samples) {
        let host = match &exchanges {
            // The module stays compiled, so a new host costs nothing that is measured.
            Some(exchanges) => args.hosting.builder(&args.policy)?.replay(exchanges.clone()).build()?,
            None => shared.clone(),
        };
        let timings = evaluate(&host, &request).await?;
        if index >= args.warm_up_samples {
            samples.push(timings);
        }
    }

    println!("{} evaluations, microseconds      p50       p99       max", samples.len());
    print_row("guest code", &samples, |timings| timings.guest);
    print_row("fresh instance", &samples, |timings| timings.instantiation);
    print_row("host calls", &samples, |timings| timings.host_calls);
    Ok(())
}

async fn evaluate(host: &PolicyHost, request: &Value) -> anyhow::Result<Timings> {
    let evaluation = host.validate(request).await;
    match evaluation.outcome {
        Outcome::Completed => {}
        Outcome::TimedOut => bail!("the evaluation timed out"),
        Outcome::Trapped { reason } => bail!("the evaluation failed: {reason}"),
    }
    ensure!(host.unreplayed().is_empty(), "the policy did not ask for everything that was recorded");
    Ok(evaluation.timings)
}

fn print_row(name: &str, samples: &[Timings], of: impl Fn(&Timings) -> Duration) {
    let mut durations: Vec<Duration> = samples.iter().map(of).collect();
    durations.sort_unstable();
    let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&durations, percent).as_secs_f64() * 1e6);
    println!("{name:<32} {p50:>9.1} {p99:>9.1} {max:>9.1}");
}

/// The nearest-rank percentile of a sorted, non-empty list.
fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.saturating_sub(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Duration::from_millis(100));
        assert_eq!(percentile(&sorted, 99), Duration::from_millis(198));
        assert_eq!(percentile(&sorted[..1], 99), Duration::from_millis(1));
    }
}
