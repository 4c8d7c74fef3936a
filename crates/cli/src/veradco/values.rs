//! Prints the values.

use std::collections::BTreeSet;

use harbor_warmer_workload::{Mapping, Reference, RuleSet};

use super::plugin::Plugin;
use super::rule::ConvertedRule;
use super::scope::policy_lines;

/// A Harbor of the values.
#[derive(Debug)]
pub(super) struct HarborValues {
    name: String,
    origin: String,
    projects: BTreeSet<String>,
    /// Whether a rule takes the project from the image, so that more may be needed.
    open: bool,
}

/// Images as Veradco's own documents have them; the comments say where the rules send them.
const SAMPLES: [&str; 2] =
    ["nginx:1.27", "123456789012.dkr.ecr.eu-central-1.amazonaws.com/proxy_docker.io/library/nginx:1.27"];

const HEAD: &str = "\
# Values of the chart harbor-warmer, made from a configuration of Veradco's plugin HarborProxyCachePopulator.
# Each comment names something that works differently. Read them all. While Veradco still runs, give it the environment
# variable HARBORPCP_DEBUG, so that only one of the two asks Harbor (docs/from-veradco.md says why). Then:
#   helm upgrade --install harbor-warmer oci://ghcr.io/harbor-warmer/charts/harbor-warmer -n kubewarden -f values.yaml
";

/// One Harbor for each origin, in the order in which they come.
pub(super) fn harbors(rules: &[ConvertedRule], projects: &[String]) -> Vec<HarborValues> {
    let mut harbors: Vec<HarborValues> = Vec::new();
    for rule in rules {
        let index = harbors.iter().position(|harbor| harbor.origin == rule.origin).unwrap_or_else(|| {
            let name = if harbors.is_empty() { "main".to_owned() } else { format!("harbor-{}", harbors.len() + 1) };
            let projects = projects.iter().cloned().collect();
            harbors.push(HarborValues { name, origin: rule.origin.clone(), projects, open: false });
            harbors.len() - 1
        });
        let Some(harbor) = harbors.get_mut(index) else { continue };
        match &rule.projects {
            Some(projects) => harbor.projects.extend(projects.iter().cloned()),
            None => harbor.open = true,
        }
    }
    harbors
}

/// The name of the Harbor at an origin.
pub(super) fn name_of<'h>(harbors: &'h [HarborValues], origin: &str) -> &'h str {
    harbors.iter().find(|harbor| harbor.origin == origin).map_or("main", |harbor| &harbor.name)
}

/// The whole file.
pub(super) fn print(
    plugins: &[Plugin],
    rules: &[ConvertedRule],
    harbors: &[HarborValues],
    username: Option<&str>,
    checked: &RuleSet,
) -> String {
    let mut lines = vec![HEAD.to_owned()];
    if let Some(jobs) = plugins.iter().find_map(|plugin| plugin.parallel_jobs) {
        lines.push(format!(
            "# maxNumberOfParallelJobs was {jobs}. The warmer finds out by itself how much each Harbor bears;"
        ));
        lines.push("# harbors.NAME.concurrency has its bounds.".to_owned());
    }
    lines.push("harbors:".to_owned());
    for harbor in harbors {
        print_harbor(harbor, username.unwrap_or_default(), &mut lines);
    }
    lines.push(String::new());
    lines.push(
        "# Pods were seen, and only they. Here Deployments and the other kinds are seen too, sooner than their Pods."
            .to_owned(),
    );
    lines.push(
        "# Veradco forgot everything at a restart, and counted a manifest as the image. Here every layer is proved"
            .to_owned(),
    );
    lines.push("# to be in Harbor, and the queue outlives restarts.".to_owned());
    lines.push("# A pattern that asks for `:tag` doesn't match an image that is pinned by digest alone.".to_owned());
    lines.push("rules:".to_owned());
    for rule in rules {
        print_rule(rule, name_of(harbors, &rule.origin), &mut lines);
    }
    lines.extend(samples(checked));
    if rules.iter().any(|rule| rule.pattern.contains("amazonaws")) {
        lines.push("# These workloads pull from ECR. Harbor's own replication may go on as it is; to have the warmer start it as".to_owned());
        lines.push("# soon as a tag is there, add `targets`, and `target: NAME` to the rule.".to_owned());
    }
    lines.push(String::new());
    let platforms: BTreeSet<_> = rules.iter().map(|rule| rule.platform.as_str()).collect();
    let platforms = platforms.into_iter().map(quoted).collect::<Vec<_>>().join(", ");
    lines.push("# One list for all rules.".to_owned());
    lines.push(format!("platforms: [{platforms}]"));
    let policy: Vec<_> = plugins.iter().flat_map(|plugin| policy_lines(&plugin.scope)).collect();
    if plugins.len() > 1 && !policy.is_empty() {
        lines.push(String::new());
        lines.push(
            "# Several plugins had a scope of their own. One policy has one scope: merge these by hand.".to_owned(),
        );
        lines.extend(policy.iter().map(|line| format!("# {}", line.trim_start_matches("  # "))));
    } else if !policy.is_empty() {
        lines.push(String::new());
        let only_comments = policy.iter().all(|line| line.trim_start().starts_with('#'));
        lines.push(if only_comments { "policy: {}" } else { "policy:" }.to_owned());
        lines.extend(policy);
    }
    lines.join("\n") + "\n"
}

fn print_harbor(harbor: &HarborValues, username: &str, lines: &mut Vec<String>) {
    lines.push(format!("  {}:", harbor.name));
    lines.push(
        "    # Veradco accepted any certificate. Here it is checked: for an authority of your own add `caBundle`."
            .to_owned(),
    );
    lines.push(format!("    url: {}", quoted(&harbor.origin)));
    if harbor.origin.starts_with("http://") {
        lines.push("    # Credentials cross the network in the clear.".to_owned());
        lines.push("    allowHttp: true".to_owned());
    }
    lines.push("    credentials:".to_owned());
    if username.is_empty() {
        let comment = "      # The value of hUSER; `--username NAME` fills it in. The chart refuses an empty one.";
        lines.push(comment.to_owned());
    }
    lines.push(format!("      username: {}", quoted(username)));
    lines.push("      # The Secret of Veradco's documentation; copy it into this release's namespace. The robot should also have".to_owned());
    lines.push("      # `artifact: read`, so that Harbor can be asked what it has.".to_owned());
    lines.push("      existingSecret: {name: harbor, key: hPW}".to_owned());
    lines.push("    # No other project is ever asked for, whatever an image's name says.".to_owned());
    if harbor.open {
        lines.push(
            "    # A rule takes the project from the image: add every proxy-cache project that it may name.".to_owned(),
        );
    }
    if harbor.projects.is_empty() {
        lines.push("    # The chart refuses an empty map. `--project NAME` fills it in.".to_owned());
        lines.push("    projects: {}".to_owned());
    } else {
        lines.push("    projects:".to_owned());
        lines.extend(harbor.projects.iter().map(|project| format!("      {}: {{}}", quoted(project))));
    }
}

fn print_rule(rule: &ConvertedRule, harbor: &str, lines: &mut Vec<String>) {
    lines.extend(rule.notes.iter().map(|note| format!("  # {note}.")));
    lines.push(format!("  - pattern: {}", quoted(&rule.pattern)));
    lines.push(format!("    harbor: {harbor}"));
    for (key, template) in [("project", &rule.project), ("repository", &rule.repository), ("tag", &rule.tag)] {
        lines.push(format!("    {key}: {}", quoted(template)));
    }
}

/// Where the samples go.
fn samples(rules: &RuleSet) -> Vec<String> {
    let mut lines = Vec::new();
    for sample in SAMPLES {
        let Ok(reference) = sample.parse::<Reference>() else { continue };
        match rules.map(&reference) {
            Mapping::Mapped(mapped) => lines.push(format!("#   {sample}\n#     is warmed as {}", mapped.image)),
            Mapping::Failed(error) => lines.push(format!("#   {sample}\n#     is not warmed: {error}")),
            Mapping::Skipped | Mapping::Unmatched => {}
        }
    }
    if !lines.is_empty() {
        lines.insert(0, "# With these rules, for example:".to_owned());
    }
    lines
}

/// A text in double quotes. JSON's are YAML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
