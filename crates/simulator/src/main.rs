//! `harbor-simulator`: the simulator as a process of its own, for demos and for tests of separate processes.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use harbor_warmer_simulator::{HarborVersion, ImageSpec, ProjectSpec, RobotSpec, Simulator, UpstreamKind};
use tracing_subscriber::EnvFilter;

/// A Harbor proxy cache in memory.
#[derive(Debug, Parser)]
#[command(name = "harbor-simulator", version)]
struct Args {
    /// Address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// What one second of Harbor's takes in real seconds.
    #[arg(long, default_value_t = 1.0)]
    time_scale: f64,
    /// A proxy project; a second one can serve to read indexes through. `NAME:public` may be pulled by anyone.
    #[arg(long = "project", value_name = "NAME", default_value = "proxy")]
    projects: Vec<String>,
    /// A robot, `robot$PROJECT+NAME:SECRET` for one project or `robot$NAME:SECRET` for the whole system.
    #[arg(long = "robot", value_name = "NAME:SECRET")]
    robots: Vec<String>,
    /// A registry endpoint to replicate to.
    #[arg(long = "replication-target", value_name = "NAME")]
    targets: Vec<String>,
    /// `memory`, `layout:FOLDER` (an OCI image layout) or the URL of a real registry.
    #[arg(long, default_value = "memory")]
    upstream: String,
    /// An image in the memory upstream, `REPOSITORY:TAG=PLATFORM,…@LAYER_BYTES,…`.
    #[arg(long = "seed-image", value_name = "IMAGE")]
    images: Vec<String>,
    /// Cap of every upstream stream, in bytes a second of Harbor time.
    #[arg(long, value_name = "BYTES_PER_S")]
    rate: Option<u64>,
    /// Which version of Harbor it is, from 2.12 to 2.16.
    #[arg(long, default_value_t)]
    harbor_version: HarborVersion,
    /// Blobs that Harbor has are redirected to an object storage on another host.
    #[arg(long)]
    object_storage: bool,
    /// Latency of every answer of the upstream, in milliseconds of Harbor time.
    #[arg(long, default_value_t = 0)]
    latency_ms: u64,
}

/// When robots of the command line expire, as the API tells: a robot of Harbor's has a date unless told otherwise.
const YEAR_2100: i64 = 4_102_444_800;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let args = Args::parse();

    let mut builder =
        Simulator::builder().listen(args.listen).time_scale(args.time_scale).upstream(parse_upstream(&args.upstream)?);
    builder = builder.version(args.harbor_version);
    if args.object_storage {
        builder = builder.object_storage();
    }
    for project in &args.projects {
        builder = builder.project(match project.strip_suffix(":public") {
            Some(name) => ProjectSpec::proxy(name).public(),
            None => ProjectSpec::proxy(project),
        });
    }
    for robot in &args.robots {
        builder = builder.robot(parse_robot(robot)?);
    }
    for target in args.targets {
        builder = builder.replication_target(target);
    }
    let simulator = builder.start().await?;
    for image in &args.images {
        simulator.upstream().push(parse_image(image)?);
    }
    simulator.upstream().rate(args.rate);
    simulator.upstream().latency(Duration::from_millis(args.latency_ms));

    // Whoever started this waits for the line to learn the port.
    let mut output = std::io::stdout();
    writeln!(output, "listening on {}", simulator.url())?;
    output.flush()?;

    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    simulator.shutdown().await;
    Ok(())
}

fn parse_upstream(text: &str) -> anyhow::Result<UpstreamKind> {
    Ok(match text.strip_prefix("layout:") {
        Some(folder) => UpstreamKind::Layout(PathBuf::from(folder)),
        None if text == "memory" => UpstreamKind::Memory,
        None => UpstreamKind::Registry(text.parse().with_context(|| format!("{text} is not an upstream"))?),
    })
}

fn parse_robot(text: &str) -> anyhow::Result<RobotSpec> {
    let (name, secret) = text.split_once(':').context("a robot is NAME:SECRET")?;
    let Some(short) = name.strip_prefix("robot$") else { bail!("the name of a robot begins with robot$") };
    let robot = match short.split_once('+') {
        Some((project, name)) => RobotSpec::project(project, name, secret),
        None => RobotSpec::system(short, secret),
    };
    Ok(robot.expires_at(YEAR_2100))
}

fn parse_image(text: &str) -> anyhow::Result<ImageSpec> {
    let wrong = || format!("{text} is not REPOSITORY:TAG=PLATFORM,…@LAYER_BYTES,…");
    let (name, rest) = text.split_once('=').with_context(wrong)?;
    let (repository, tag) = name.rsplit_once(':').with_context(wrong)?;
    let (platforms, sizes) = rest.split_once('@').with_context(wrong)?;
    let sizes = sizes.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>().with_context(wrong)?;
    Ok(ImageSpec::new(repository, tag).platforms(platforms.split(',')).layer_sizes(sizes))
}
