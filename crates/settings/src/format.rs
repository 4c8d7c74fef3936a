//! What texts look like.

use serde_json::{Map, Value};

/// What a text looks like.
#[derive(Debug)]
pub struct Format {
    /// In a few words, such as `host:port`; Markdown.
    pub words: &'static str,
    /// A regular expression for all of it; empty where any text will do. Without what Go's `regexp` lacks, since Helm
    /// checks the chart's values by it.
    pub pattern: &'static str,
    /// The most characters; 0 where any number will do.
    pub longest: usize,
    /// What would be reserved.
    pub except: &'static [&'static str],
    /// The only ones there are; empty where there are more than can be listed.
    pub only: &'static [&'static str],
}

impl Format {
    const fn new(words: &'static str, pattern: &'static str) -> Self {
        Self { words, pattern, longest: 0, except: &[], only: &[] }
    }

    /// As JSON schema.
    pub fn schema(&self) -> Value {
        let mut schema = Map::from_iter([("type".to_owned(), "string".into())]);
        if !self.pattern.is_empty() {
            schema.insert("pattern".to_owned(), self.pattern.into());
        }
        if self.longest > 0 {
            schema.insert("maxLength".to_owned(), self.longest.into());
        }
        if !self.except.is_empty() {
            schema.insert("not".to_owned(), serde_json::json!({ "enum": self.except }));
        }
        if !self.only.is_empty() {
            schema.insert("enum".to_owned(), serde_json::json!(self.only));
        }
        Value::Object(schema)
    }
}

/// Any text.
pub static TEXT: Format = Format::new("text", "");

/// Any text but an empty one.
pub static WRITTEN: Format = Format::new("text", "^[\\s\\S]+$");

/// A directory's path.
pub static PATH: Format = Format::new("path", "^[\\s\\S]+$");

/// The name of a Harbor.
pub static HARBOR_NAME: Format = Format { longest: 32, ..Format::new("name", "^[a-z0-9]+(-[a-z0-9]+)*$") };

/// The name of a replication target. `none` stands for none in the contract.
pub static TARGET_NAME: Format =
    Format { longest: 32, except: &["none"], ..Format::new("name", "^[a-z0-9]+(-[a-z0-9]+)*$") };

/// The name of a project in Harbor.
pub static PROJECT_NAME: Format =
    Format { longest: 255, ..Format::new("a project's name", "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*$") };

/// The name of a cluster: fit for a user name, a metric's label and a log field.
pub static CLUSTER_NAME: Format =
    Format { except: &["anonymous", "command-line"], ..Format::new("name", "^[A-Za-z0-9._-]{1,63}$") };

/// A platform.
pub static PLATFORM: Format =
    Format::new("`os/architecture[/variant]`", "^[a-z0-9]{1,16}/[a-z0-9]{1,16}(/[a-z0-9]{1,16})?$");

/// A registry's place, as it stands in front of an image reference. It needs a dot, a port or to be `localhost`.
pub static HOST_PORT: Format = Format::new(
    "`host:port`",
    "^([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}|[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+|localhost)$",
);

/// The URL of a Harbor: a place and nothing else.
pub static URL: Format = Format::new(
    "URL",
    "^https?://([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\\[[0-9A-Fa-f:.]+\\])(:[1-9][0-9]{0,4})?/?$",
);

/// The URL of a token server: with a path, and without a user.
pub static TOKEN_URL: Format = Format::new("URL", "^https?://[^@/?#\\s]+(/[^?#\\s]*)?$");

/// A host, or all below a domain.
pub static HOST_PATTERN: Format = Format::new("hosts", "^(\\*\\.)?[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$");

/// The user name of Basic credentials (RFC 7617, 2).
pub static USER_NAME: Format = Format::new("text", "^[^:]+$");

/// An image, as a workload would write it.
pub static IMAGE: Format = Format::new("images", "^[^\\s]+$");

/// Text with `{variables}`.
pub static TEMPLATE: Format = Format::new("[template](#templates)", "^[\\s\\S]+$");

/// The same for a repository, which neither starts nor ends with a slash.
pub static REPOSITORY_TEMPLATE: Format = Format::new("[template](#templates)", "^[^/$\\\\]([^$\\\\]*[^/$\\\\])?$");

/// A regular expression.
pub static REGULAR_EXPRESSION: Format = Format::new("regular expression", "^[\\s\\S]+$");

/// An AWS account.
pub static ACCOUNT: Format = Format::new("accounts", "^[0-9]{12}$");

/// An AWS region.
pub static REGION: Format = Format::new("regions", "^[a-z0-9-]+$");

/// A JSON pointer (RFC 6901), without what is JSONPath's.
pub static POINTER: Format = Format::new("JSON pointer", "^(/[^/\\[\\]]+)+$");

/// The same, one of several.
pub static IMAGE_POINTER: Format = Format::new("JSON pointers", "^(/[^/\\[\\]]+)+$");

/// An API group of Kubernetes, without its version.
pub static API_GROUP: Format = Format::new("text", "^[a-z0-9.-]*$");

/// A kind of Kubernetes.
pub static KIND: Format = Format::new("text", "^[A-Z][A-Za-z0-9]*$");

/// The name of a preset.
pub static PRESET: Format = Format {
    only: &[
        "argo-workflows",
        "argo-rollouts",
        "kruise",
        "knative",
        "kubeflow",
        "cloudnative-pg",
        "strimzi",
        "spark",
        "flink",
        "keda",
        "tekton",
        "kubevirt",
        "jobset",
        "ray",
    ],
    ..Format::new("[presets](#presets)", "")
};

#[cfg(test)]
mod tests {
    use harbor_warmer_protocol::{HarborName, Platform, ProjectName, TargetName};
    use jsonschema::draft7;
    use proptest::prelude::*;

    use super::{Format, HARBOR_NAME, PLATFORM, PROJECT_NAME, TARGET_NAME};

    fn fits(format: &Format, text: &str) -> bool {
        draft7::is_valid(&format.schema(), &text.into())
    }

    proptest! {
        #[test]
        fn names_are_those_of_the_contract(text in "[a-zA-Z0-9._/-]{0,6}|[a-z0-9]{30,34}|none|[a-z]+(/[a-z0-9]+){1,3}") {
            prop_assert_eq!(fits(&HARBOR_NAME, &text), text.parse::<HarborName>().is_ok());
            prop_assert_eq!(fits(&TARGET_NAME, &text), text.parse::<TargetName>().is_ok());
            prop_assert_eq!(fits(&PROJECT_NAME, &text), text.parse::<ProjectName>().is_ok());
            prop_assert_eq!(fits(&PLATFORM, &text), text.parse::<Platform>().is_ok());
        }
    }
}
