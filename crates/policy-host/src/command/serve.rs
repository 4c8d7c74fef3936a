//! `policy-host serve`: the webhook, until it is told to stop.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use harbor_warmer_policy_host::{Mode, TlsIdentity, Webhook};
use tokio::signal::unix::{SignalKind, signal};

use super::{Hosting, require_valid_settings};

/// The arguments of `serve`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    addr: SocketAddr,
    /// The policy
    #[arg(long, value_name = "WASM")]
    policy: PathBuf,
    /// The name under /validate/, as Kubewarden 1.37.2 forms it; up to 1.37.1 it was clusterwide-harbor-warmer
    #[arg(long, default_value = "kw.cap.harbor-warmer")]
    policy_id: String,
    #[command(flatten)]
    hosting: Hosting,
    /// PEM certificate chain; plain HTTP without one
    #[arg(long, value_name = "FILE", requires = "key_file")]
    cert_file: Option<PathBuf>,
    /// PEM key of the certificate
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    key_file: Option<PathBuf>,
    /// Evaluations at a time
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..))]
    workers: u16,
    /// Evaluation timeout in seconds; the clock ticks once a second, so 2 means 1 to 2
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..))]
    policy_timeout: u64,
    /// What a rejection, a timeout or a trap means
    #[arg(long, value_enum, default_value_t = ModeArg::Protect)]
    mode: ModeArg,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ModeArg {
    /// Everything is admitted
    Monitor,
    /// The verdict is applied
    Protect,
}

/// Serves; settings that the policy refuses stop it before it listens, as they stop policy-server.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let mode = match args.mode {
        ModeArg::Monitor => Mode::Monitor,
        ModeArg::Protect => Mode::Protect,
    };
    let host = args
        .hosting
        .builder(&args.policy)?
        .mode(mode)
        .workers(usize::from(args.workers))
        .eval_timeout(Duration::from_secs(args.policy_timeout))
        .build()?;
    require_valid_settings(&host).await?;
    let tls = match (&args.cert_file, &args.key_file) {
        (Some(certificate), Some(key)) => Some(TlsIdentity::from_files(certificate, key)?),
        _ => None,
    };
    let scheme = if tls.is_some() { "https" } else { "http" };
    let webhook = Webhook::bind(args.addr, tls, &args.policy_id, host)
        .await
        .with_context(|| format!("cannot listen on {}", args.addr))?;
    let mut terminate = signal(SignalKind::terminate())?;
    println!("listening on {scheme}://{}", webhook.local_addr());
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    webhook.serve(stop).await.context("cannot serve")
}
