//! What a person types.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

use harbor_warmer_core::view::Phase;
use harbor_warmer_settings::parse_duration;
use harbor_warmer_workload::{Preset, UnknownPreset};

const EXIT_CODES: &str = "\
Exit codes:
  0  done; with --wait: every image is warm
  1  some image failed or was refused, or `check` found a problem
  2  wrong arguments, or a mistake in the configuration or in a manifest
  3  the running service can't be reached
  4  the time given with --timeout ran out
  130  interrupted";

/// Makes Harbor's proxy caches fill before anybody pulls, and proves that they have.
#[derive(Debug, Parser)]
#[command(name = "harbor-warmer", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    /// What to log
    #[command(flatten)]
    pub logging: LoggingArguments,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// How much is logged, and in which form. The log goes to standard error.
#[derive(Args, Debug)]
pub struct LoggingArguments {
    /// How much to log: error, warn, info, debug or trace, also by module, such as info,harbor_warmer_harbor=debug
    #[arg(long, value_name = "LEVEL", env = "HARBOR_WARMER_LOG", default_value = "info", global = true, value_parser = parse_log_level)]
    pub log_level: String,
    /// In which form: by default text on a terminal, and JSON elsewhere
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<LogFormat>,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for a person.
    Text,
    /// An object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the service
    #[command(after_help = "Example:\n  harbor-warmer serve --config /etc/harbor-warmer/config.yaml")]
    Serve(ConfigArguments),
    /// Read the configuration, say what it means, and ask each Harbor whether it is as it should be
    #[command(
        after_help = "Examples:\n  harbor-warmer check --config config.yaml\n  harbor-warmer check --config config.yaml --offline"
    )]
    Check(CheckArguments),
    /// Show the images of the running service, or everything about one
    #[command(
        after_help = "Examples:\n  harbor-warmer status\n  harbor-warmer status --phase failed\n  harbor-warmer status nginx:1.27"
    )]
    Status(StatusArguments),
    /// Have images warmed, as an admission would
    #[command(
        after_help = "Examples:\n  harbor-warmer warm nginx:1.27 quay.io/org/app:v3 --wait\n  harbor-warmer warm deployment.yaml --wait --timeout 10m\n  helm template chart | harbor-warmer warm - --wait"
    )]
    Warm(WarmArguments),
    /// Try rules without a service: say which one is for an image, and what it gives
    #[command(
        after_help = "Examples:\n  harbor-warmer map --settings settings.yaml nginx:1.27\n  helm template chart | harbor-warmer map --config config.yaml -"
    )]
    Map(MapArguments),
    /// Say what warming images would bring: what Harbor lacks, and how many bytes
    #[command(after_help = "Examples:\n  harbor-warmer plan nginx:1.27\n  kustomize build . | harbor-warmer plan -")]
    Plan(PlanArguments),
    /// Try images again that were given up
    #[command(after_help = "Examples:\n  harbor-warmer requeue i-17 i-20\n  harbor-warmer requeue --all-failed")]
    Requeue(RequeueArguments),
    /// Turn a configuration of Veradco's HarborProxyCachePopulator into values of the chart
    #[command(after_help = "Example:\n  harbor-warmer import-veradco veradco_conf.yaml > values.yaml")]
    ImportVeradco(ImportVeradcoArguments),
}

/// Which configuration.
#[derive(Args, Debug)]
pub struct ConfigArguments {
    /// The configuration file
    #[arg(short, long, value_name = "FILE", env = "HARBOR_WARMER_CONFIG")]
    pub config: PathBuf,
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub struct CheckArguments {
    /// Which configuration
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Read the configuration only; ask no Harbor
    #[arg(long)]
    pub offline: bool,
}

/// Which running service.
#[derive(Args, Clone, Debug)]
pub struct ServiceArguments {
    /// The admin API of the running service: a URL, or unix:PATH for its socket
    #[arg(long, value_name = "URL", env = "HARBOR_WARMER_ADMIN", default_value = "http://127.0.0.1:9090")]
    pub admin: String,
    /// A file with the token that the service wants over a URL
    #[arg(long, value_name = "FILE", env = "HARBOR_WARMER_ADMIN_TOKEN_FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
pub struct StatusArguments {
    /// Which service
    #[command(flatten)]
    pub service: ServiceArguments,
    /// An image, part of its name, or an id: one match is shown with everything about it
    #[arg(value_name = "IMAGE|ID")]
    pub image: Option<String>,
    /// Only images in this phase
    #[arg(long, value_name = "PHASE", value_parser = parse_phase)]
    pub phase: Option<Phase>,
    /// Show at most so many, the newest
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Print the service's own JSON
    #[arg(long)]
    pub json: bool,
}

/// Which images.
#[derive(Args, Debug)]
pub struct ImageArguments {
    /// Images as a workload writes them, Kubernetes manifests, or - for manifests on standard input
    #[arg(value_name = "IMAGE|MANIFEST.yaml", required = true)]
    pub images: Vec<String>,
    /// A custom resource with the JSON pointer to its pod spec (by default /spec/template/spec), or to an image, by a
    /// last part such as image or imageName
    #[arg(long, value_name = "GROUP/KIND[=POINTER]")]
    pub custom_resource: Vec<String>,
    /// The custom resources of a well-known project, such as argo-rollouts
    #[arg(long, value_name = "NAME", value_parser = parse_preset)]
    pub preset: Vec<&'static Preset>,
    /// Refuse manifests with images that are not read, instead of noting them; for pipelines
    #[arg(long)]
    pub strict: bool,
}

/// Arguments of `warm`.
#[derive(Args, Debug)]
pub struct WarmArguments {
    /// Which service
    #[command(flatten)]
    pub service: ServiceArguments,
    /// Which images
    #[command(flatten)]
    pub images: ImageArguments,
    /// Wait until each image is warm or given up
    #[arg(long)]
    pub wait: bool,
    /// Wait at most so long, such as 90s or 10m
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    pub timeout: Option<Duration>,
}

/// Arguments of `map`.
#[derive(Args, Debug)]
pub struct MapArguments {
    /// Where the rules are
    #[command(flatten)]
    pub rules: RulesArguments,
    /// Which images
    #[command(flatten)]
    pub images: ImageArguments,
}

/// Which file has the rules.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct RulesArguments {
    /// The warmer's configuration
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The policy's settings, or a manifest with the policy
    #[arg(short, long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

/// Arguments of `plan`.
#[derive(Args, Debug)]
pub struct PlanArguments {
    /// Which service
    #[command(flatten)]
    pub service: ServiceArguments,
    /// Which images
    #[command(flatten)]
    pub images: ImageArguments,
    /// Read manifests that Harbor hasn't recorded yet, to tell more; some minutes later Harbor fetches the image by
    /// itself
    #[arg(long)]
    pub read_manifests: bool,
    /// Print the service's own JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `requeue`.
#[derive(Args, Debug)]
pub struct RequeueArguments {
    /// Which service
    #[command(flatten)]
    pub service: ServiceArguments,
    /// Ids, as `status` shows them
    #[arg(value_name = "ID", required_unless_present = "all_failed", conflicts_with = "all_failed", value_parser = parse_id)]
    pub ids: Vec<String>,
    /// Every image that was given up
    #[arg(long)]
    pub all_failed: bool,
}

/// Arguments of `import-veradco`.
#[derive(Args, Debug)]
pub struct ImportVeradcoArguments {
    /// The plugin's configuration, Veradco's own, or the ConfigMap with it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The robot's name: the value of the environment variable hUSER
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// A proxy-cache project to allow, for rules that take the project from the image; may be repeated
    #[arg(long, value_name = "NAME")]
    pub project: Vec<String>,
}

fn parse_preset(text: &str) -> Result<&'static Preset, UnknownPreset> {
    text.parse()
}

/// A word that is no level would count as a module whose every line is logged.
fn parse_log_level(text: &str) -> Result<String, String> {
    // The filter's own reader takes numbers and nothing at all for levels too.
    let is_level =
        |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.parse::<LevelFilter>().is_ok();
    let directives = text.split(',').all(|part| match part.split_once('=') {
        Some((module, level)) => is_module(module) && is_level(level),
        None => is_level(part),
    });
    match directives && text.parse::<Targets>().is_ok() {
        true => Ok(text.to_owned()),
        false => {
            Err("write error, warn, info, debug, trace or off, also by module: info,harbor_warmer_harbor=debug"
                .to_owned())
        }
    }
}

/// A path of Rust, such as `harbor_warmer::worker`.
fn is_module(text: &str) -> bool {
    text.split("::").all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'))
}

/// `i-7` of an image and `a-7` of an announcement; the letter, its case or the hyphen is easily left out.
fn parse_id(text: &str) -> Result<String, String> {
    let (letter, number) = text.split_at(text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len()));
    let letter = match letter {
        "" | "i" | "I" | "i-" | "I-" => Some('i'),
        "a" | "A" | "a-" | "A-" => Some('a'),
        _ => None,
    };
    match (letter, number.parse::<u64>()) {
        (Some(letter), Ok(number)) => Ok(format!("{letter}-{number}")),
        _ => Err("an id is one of those that `harbor-warmer status` shows, such as i-7".to_owned()),
    }
}

fn parse_phase(text: &str) -> Result<Phase, String> {
    serde_json::from_value(text.into())
        .map_err(|_| "write announced, queued, warming, local, warm, tagged, replicated or failed".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory as _, Parser as _};
    use rstest::rstest;

    use super::{Arguments, Command};
    use harbor_warmer_core::view::Phase;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_timeout_is_a_duration_and_belongs_to_wait() {
        let arguments =
            Arguments::try_parse_from(["harbor-warmer", "warm", "nginx", "--wait", "--timeout", "10m"]).unwrap();
        let Command::Warm(warm) = arguments.command else { panic!("{arguments:?}") };
        assert_eq!(warm.timeout, Some(Duration::from_secs(600)));

        assert!(Arguments::try_parse_from(["harbor-warmer", "warm", "nginx", "--timeout", "10m"]).is_err());
    }

    #[test]
    fn a_phase_is_written_as_status_shows_it() {
        let arguments = Arguments::try_parse_from(["harbor-warmer", "status", "--phase", "failed"]).unwrap();
        let Command::Status(status) = arguments.command else { panic!("{arguments:?}") };
        assert_eq!(status.phase, Some(Phase::Failed));

        let error = Arguments::try_parse_from(["harbor-warmer", "status", "--phase", "broken"]).unwrap_err();
        assert!(error.to_string().contains("announced, queued"), "{error}");
    }

    #[rstest]
    #[case::as_shown("i-7", Some("i-7"))]
    #[case::without_hyphen("i7", Some("i-7"))]
    #[case::number("7", Some("i-7"))]
    #[case::capital("I-7", Some("i-7"))]
    #[case::image("nginx:1.27", None)]
    #[case::letter_alone("i-", None)]
    #[case::other_letter("x-7", None)]
    #[case::announcement("A3", Some("a-3"))]
    fn an_id_is_understood_as_people_write_it(#[case] written: &str, #[case] expected: Option<&str>) {
        let requeue =
            Arguments::try_parse_from(["harbor-warmer", "requeue", written]).map(|arguments| arguments.command);
        let ids = requeue.ok().and_then(|command| match command {
            Command::Requeue(requeue) => requeue.ids.first().cloned(),
            _ => None,
        });
        assert_eq!(ids.as_deref(), expected);
    }

    #[rstest]
    #[case::level("debug", true)]
    #[case::capitals("INFO", true)]
    #[case::off("off", true)]
    #[case::by_module("info,harbor_warmer_harbor=debug", true)]
    #[case::by_path("warn,harbor_warmer::worker=trace", true)]
    #[case::nonsense("nonsense", false)]
    #[case::typing_error("inof", false)]
    #[case::empty("", false)]
    #[case::number("3", false)]
    #[case::module_alone("info,harbor_warmer", false)]
    #[case::no_level_of_a_module("harbor_warmer=loud", false)]
    #[case::no_module("info,=debug", false)]
    #[case::blank("info, harbor_warmer=debug", false)]
    fn a_log_level_is_one_or_is_refused(#[case] level: &str, #[case] accepted: bool) {
        let parsed = Arguments::try_parse_from(["harbor-warmer", "--log-level", level, "status"]);
        assert_eq!(parsed.is_ok(), accepted);
        if let Err(error) = parsed {
            assert!(error.to_string().contains("write error, warn, info"), "{error}");
        }
    }

    #[test]
    fn requeue_wants_ids_or_all_but_not_both() {
        assert!(Arguments::try_parse_from(["harbor-warmer", "requeue"]).is_err());
        assert!(Arguments::try_parse_from(["harbor-warmer", "requeue", "i-1", "--all-failed"]).is_err());
        assert!(Arguments::try_parse_from(["harbor-warmer", "requeue", "--all-failed"]).is_ok());
    }
}
