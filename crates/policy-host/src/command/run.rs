//! `policy-host run`: one request, one response on standard output.

use std::path::PathBuf;

use anyhow::Context as _;
use harbor_warmer_policy_host::{Recording, print_interactions};

use super::{Hosting, read_interactions, read_request, require_valid_settings};

/// The arguments of `run`.
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
    /// Answer host calls from this recording
    #[arg(long, value_name = "FILE", conflicts_with = "record_host_capabilities_interactions")]
    replay_host_capabilities_interactions: Option<PathBuf>,
    /// Record host calls and their answers
    #[arg(long, value_name = "FILE")]
    record_host_capabilities_interactions: Option<PathBuf>,
}

/// Evaluates the request. The policy's log lines go to standard error. As in kwctl there is no evaluation timeout.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let request = read_request(&args.request_path)?;
    let recording = Recording::default();
    let mut builder = args.hosting.builder(&args.policy)?.eval_timeout(None);
    if let Some(path) = &args.replay_host_capabilities_interactions {
        builder = builder.replay(read_interactions(path)?);
    }
    if args.record_host_capabilities_interactions.is_some() {
        builder = builder.record(recording.clone());
    }
    let host = builder.build()?;
    require_valid_settings(&host).await?;

    let evaluation = host.validate(&request).await;

    for line in &evaluation.logs {
        eprintln!("{line}");
    }
    for exchange in host.unreplayed() {
        tracing::warn!(request = %exchange.request, "a recorded exchange has not been replayed");
    }
    if let Some(path) = &args.record_host_capabilities_interactions {
        let text = print_interactions(&recording.exchanges());
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{}", serde_json::to_string(&evaluation.response)?);
    Ok(())
}
