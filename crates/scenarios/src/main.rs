//! Plays the scenarios on a real Harbor and prints what was seen.

mod own_project;

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use futures_util::FutureExt;
use harbor_warmer_harbor::install_crypto_provider;
use harbor_warmer_scenarios::{
    Credentials, LookAtTarget, Scenario, Site, SiteOptions, Target, Upstream, Verdict, print, run_all, scenarios,
};
use reqwest::{Client, Url, header};

/// The types that what was replicated may have.
const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
                              application/vnd.docker.distribution.manifest.list.v2+json, \
                              application/vnd.docker.distribution.manifest.v2+json";

/// One layer that fits into the buffers on the way, and one that doesn't.
const LAYER_SIZES: [usize; 2] = [64 << 10, 4 << 20];

/// Plays every scenario on a real Harbor, with Harbor's real waiting times (13 minutes), and prints a table of what was
/// expected and what was seen. Images of this run are pushed to `scenarios/<run>/…` in the upstream.
#[derive(Parser)]
#[command(name = "harbor-scenarios")]
struct Arguments {
    /// The Harbor: `https://host[:port]`
    #[arg(long, env = "HARBOR_URL")]
    harbor_url: Url,
    /// A proxy-cache project of the upstream
    #[arg(long, env = "HARBOR_PROJECT")]
    harbor_project: String,
    /// The registry behind the project's endpoint, where images are pushed to
    #[arg(long, env = "UPSTREAM")]
    upstream: Url,
    /// Another proxy-cache project of the same endpoint
    #[arg(long, env = "RESOLVE_PROJECT")]
    resolve_project: Option<String>,
    /// A registry endpoint in Harbor to replicate to, by its name
    #[arg(long, env = "TARGET")]
    target: Option<String>,
    /// The address of that registry as seen from here, where it is another than Harbor's
    #[arg(long, env = "TARGET_URL")]
    target_url: Option<Url>,
    /// An address of this machine that Harbor reaches; relays to the upstream listen there
    #[arg(long, env = "REACHABLE_AS")]
    reachable_as: Option<IpAddr>,
    /// How many seconds later than expected something may be seen: the looks, the way there and back, a busy Harbor
    #[arg(long, env = "SLACK", default_value_t = 5.0)]
    slack: f64,
    /// Only scenarios whose name has this text
    #[arg(long)]
    only: Vec<String>,
    /// The robot that pulls
    #[arg(long, env = "HARBOR_USERNAME")]
    harbor_username: String,
    #[arg(long, env = "HARBOR_PASSWORD", hide = true, hide_env_values = true)]
    harbor_password: String,
    #[arg(long, env = "HARBOR_ADMIN_USERNAME", hide = true)]
    harbor_admin_username: Option<String>,
    #[arg(long, env = "HARBOR_ADMIN_PASSWORD", hide = true, hide_env_values = true)]
    harbor_admin_password: Option<String>,
    #[arg(long, env = "UPSTREAM_USERNAME", hide = true)]
    upstream_username: Option<String>,
    #[arg(long, env = "UPSTREAM_PASSWORD", hide = true, hide_env_values = true)]
    upstream_password: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let mut arguments = Arguments::parse();
    install_crypto_provider();
    let http = Client::builder().build().context("failed to set up the HTTP client")?;
    if let (Some(name), None) = (&arguments.target, &arguments.target_url) {
        arguments.target_url = arguments.endpoint_url(name, &http).await?;
    }
    let chosen: Vec<Scenario> = scenarios().into_iter().filter(|scenario| arguments.plays(scenario.name())).collect();
    let run = format!("{:x}", jiff::Timestamp::now().as_millisecond());
    eprintln!("run {run}: {} scenarios; the longest take 11 minutes", chosen.len());
    let site = Site::new(arguments.into_options(run, http));
    let rows = run_all(&site, &chosen).await;
    print!("{}", print(&rows));
    let differs = rows.iter().any(|row| row.verdict == Verdict::Differs);
    Ok(if differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Arguments {
    fn plays(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| name.contains(text.as_str()))
    }

    /// The address that a registry endpoint has in Harbor; none without an administrator to ask for it.
    async fn endpoint_url(&self, name: &str, http: &Client) -> anyhow::Result<Option<Url>> {
        let Some(username) = &self.harbor_admin_username else { return Ok(None) };
        let request = http
            .get(self.harbor_url.join("/api/v2.0/registries?page_size=100")?)
            .basic_auth(username, self.harbor_admin_password.as_ref());
        let answer = request.send().await?.error_for_status().context("failed to list Harbor's registry endpoints")?;
        let endpoints: serde_json::Value = serde_json::from_slice(&answer.bytes().await?)?;
        let known = endpoints.as_array().and_then(|all| all.iter().find(|endpoint| endpoint["name"] == name));
        let url = known.and_then(|endpoint| endpoint["url"].as_str());
        let url = url.with_context(|| format!("Harbor has no registry endpoint {name}"))?;
        Ok(Some(url.parse().with_context(|| format!("the address of {name} is no URL"))?))
    }

    fn into_options(self, run: String, http: Client) -> SiteOptions {
        let administrator = pair(self.harbor_admin_username, self.harbor_admin_password);
        let grounds = match (self.reachable_as, &administrator) {
            (Some(listen), Some(administrator)) => {
                Some(own_project::grounds(self.harbor_url.clone(), administrator.clone(), listen, http.clone()))
            }
            _ => None,
        };
        let target = match (self.target, self.target_url, administrator) {
            (Some(name), Some(url), Some(administrator)) => {
                Some(Target { name, administrator, look: look_at(url, http.clone()) })
            }
            _ => None,
        };
        let upstream_credentials = pair(self.upstream_username, self.upstream_password);
        SiteOptions {
            harbor: self.harbor_url,
            project: self.harbor_project,
            resolve_project: self.resolve_project,
            robot: Credentials { username: self.harbor_username, password: self.harbor_password },
            upstream: Upstream::new(self.upstream, upstream_credentials, http.clone()),
            target,
            grounds,
            layer_sizes: LAYER_SIZES.to_vec(),
            time_scale: 1.0,
            slack_seconds: self.slack,
            run,
            http,
        }
    }
}

fn pair(username: Option<String>, password: Option<String>) -> Option<Credentials> {
    Some(Credentials { username: username?, password: password? })
}

/// Asks the target itself, anonymously.
fn look_at(url: Url, http: Client) -> LookAtTarget {
    Box::new(move |repository, reference| {
        let (mut url, http) = (url.clone(), http.clone());
        url.set_path(&format!("/v2/{repository}/manifests/{reference}"));
        async move {
            let answer = http.head(url).header(header::ACCEPT, MANIFEST_TYPES).send().await.ok()?;
            let answer = answer.error_for_status().ok()?;
            Some(answer.headers().get("docker-content-digest")?.to_str().ok()?.to_owned())
        }
        .boxed()
    })
}
