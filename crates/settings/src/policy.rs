//! What the policy's settings are, rules included, which the warmer reads too.

use crate::{Absent, Choice, Count, Flag, Group, List, Nested, Setting, Text, Texts, format};

/// All of them.
pub static SETTINGS: Group = Group {
    name: "policy",
    heading: "Settings of the policy",
    settings: &[
        &WARMER,
        &POLICY_RULES,
        &PLATFORMS,
        &CUSTOM_RESOURCES,
        &PRESETS,
        &MAX_IMAGES,
        &LOOKUP,
        &LOOKUP_REGISTRY,
        &WARNINGS,
    ],
    together: r#"{"not": {"required": ["lookup", "lookupRegistry"], "properties": {"lookup": {"const": "none"}}}}"#,
};

/// One rule.
pub static RULE: Group = Group {
    name: "rule",
    heading: "Rules",
    settings: &[&PREFIX, &PATTERN, &ECR, &SKIP, &HARBOR, &PROJECT, &REPOSITORY, &TAG, &TARGET],
    together: r#"{
        "oneOf": [{"required": ["prefix"]}, {"required": ["pattern"]}, {"required": ["ecr"]}],
        "if": {"required": ["skip"], "properties": {"skip": {"const": true}}},
        "then": {"not": {"anyOf": [
            {"required": ["harbor"]}, {"required": ["project"]}, {"required": ["repository"]}, {"required": ["tag"]},
            {"required": ["target"]}
        ]}},
        "else": {"required": ["harbor", "project"]}
    }"#,
};

/// Which private ECR registries a rule is for.
pub static ECR_REGISTRIES: Group =
    Group { name: "ecr", heading: "`rules[].ecr`", settings: &[&ACCOUNTS, &REGIONS, &ECR_PREFIX], together: "" };

/// A kind of custom resource that runs Pods.
pub static CUSTOM_RESOURCE: Group = Group {
    name: "customResource",
    heading: "Custom resources",
    settings: &[&GROUP, &KIND, &POD_SPEC, &IMAGES],
    together: "",
};

static WARMER: Setting<Text> = Setting {
    key: "warmer",
    absent: Absent::Required("write the host:port of the warmer, for example harbor-warmer.kubewarden.svc:8443"),
    meaning: "Address of the warmer's registry port, as it stands in an image reference: no scheme, no path, no IPv6 \
              literal. It needs a dot, a port or to be `localhost`; otherwise it would be taken for a name at Docker \
              Hub. The keys of `sourceAuthorities` and of the policy server's registry credentials must be exactly \
              this text.",
    example: "harbor-warmer.kubewarden.svc:8443",
    kind: Text { format: &format::HOST_PORT, default: None },
};

static POLICY_RULES: Setting<List> = Setting {
    key: "rules",
    absent: Absent::Required("without a rule no image is warmed"),
    meaning: "Which images are warmed, and where Harbor has them. The first rule that matches decides; an image that \
              no rule matches is left alone. At least one.",
    example: "",
    kind: List { group: &RULE, least: 1 },
};

static PLATFORMS: Setting<Texts> = Setting {
    key: "platforms",
    absent: Absent::Default,
    meaning: "What the cluster's nodes run. Narrowed by each workload (see [Platforms](#platforms)), never widened.",
    example: "[linux/amd64, linux/arm64]",
    kind: Texts { format: &format::PLATFORM, least: 1, default: &["linux/amd64"] },
};

static CUSTOM_RESOURCES: Setting<List> = Setting {
    key: "customResources",
    absent: Absent::Default,
    meaning: "Custom resources that run Pods. Also add them to the `rules` of the ClusterAdmissionPolicy.",
    example: "",
    kind: List { group: &CUSTOM_RESOURCE, least: 0 },
};

static PRESETS: Setting<Texts> = Setting {
    key: "presets",
    absent: Absent::Default,
    meaning: "Well-known projects whose custom resources are read without a pointer of yours; [their kinds](#presets). Also \
              add those to the `rules` of the ClusterAdmissionPolicy, which the chart does by itself.",
    example: "[argo-workflows, cloudnative-pg]",
    kind: Texts { format: &format::PRESET, least: 0, default: &[] },
};

static MAX_IMAGES: Setting<Count> = Setting {
    key: "maxImages",
    absent: Absent::Default,
    meaning: "How many images of one workload are looked up. The rest are only announced, and a warning says so: the \
              warmer resolves them a moment later. A request makes 80 calls in all, which 8 images of two platforms use \
              up.",
    example: "10",
    kind: Count { default: 8, bounds: 1..=50 },
};

static LOOKUP: Setting<Choice<()>> = Setting {
    key: "lookup",
    absent: Absent::Default,
    meaning: "Who resolves an image that is new to the warmer: the policy, by asking the warmer's bounded front for \
              Harbor's manifests, or nobody during the admission: the warmer then resolves every image itself, a \
              moment later.",
    example: "none",
    kind: Choice {
        options: &[("warmer", ()), ("none", ())],
        advice: "write warmer, or none to let the warmer resolve every image",
    },
};

static LOOKUP_REGISTRY: Setting<Text> = Setting {
    key: "lookupRegistry",
    absent: Absent::Default,
    meaning: "Sends the look-ups to Harbor itself instead. **A slow Harbor then delays admissions**, and Kubewarden's \
              host repeats a failed `HEAD` of a tag as a `GET`, after which Harbor may not record that tag for 7 \
              days. Only where all rules name one Harbor.",
    example: "harbor.example.com",
    kind: Text { format: &format::HOST_PORT, default: None },
};

static WARNINGS: Setting<Flag> = Setting {
    key: "warnings",
    absent: Absent::Default,
    meaning: "Whether people who apply workloads see admission warnings. The log has everything either way.",
    example: "false",
    kind: Flag { default: true },
};

static PREFIX: Setting<Text> = Setting {
    key: "prefix",
    absent: Absent::Depends("one of the three"),
    meaning: "The start of `registry/repository` in normal form, in whole parts: `ghcr.io/acme` is no prefix of \
              `ghcr.io/acme-labs/app`. Docker Hub's short names count as `docker.io/library/…`, its other hosts (such \
              as `index.docker.io`) as `docker.io`; capitals in a host and the port 443 don't count.",
    example: "docker.io/",
    kind: Text { format: &format::WRITTEN, default: None },
};

static PATTERN: Setting<Text> = Setting {
    key: "pattern",
    absent: Absent::Depends("one of the three"),
    meaning: "Matches anywhere in the image unless anchored with `^` and `$`. It is tried on the normal form \
              `registry/repository:tag`, which is the same however the image is written; at Docker Hub then on the short \
              forms `library/nginx:1` and `nginx:1`; and for `latest` also without the tag. None has a digest; a digest is \
              carried over by itself. Groups are named: `(?<name>…)`.",
    example: "^.*amazonaws.com/(?<project>proxy_[^:/]+)/",
    kind: Text { format: &format::REGULAR_EXPRESSION, default: None },
};

static ECR: Setting<Nested> = Setting {
    key: "ecr",
    absent: Absent::Depends("one of the three"),
    meaning: "Private ECR registries of all partitions, FIPS and dual-stack endpoints included. `{}` is all of them.",
    example: "{prefix: dockerhub}",
    kind: Nested { group: &ECR_REGISTRIES },
};

static SKIP: Setting<Flag> = Setting {
    key: "skip",
    absent: Absent::Default,
    meaning: "Leaves the matching images alone. Put such a rule before the wider ones. None of the keys below stands \
              beside it.",
    example: "true",
    kind: Flag { default: false },
};

static HARBOR: Setting<Text> = Setting {
    key: "harbor",
    absent: Absent::Depends("**required**"),
    meaning: "The Harbor's name in the warmer's configuration. Never a host: a workload can't choose whom the warmer \
              talks to.",
    example: "main",
    kind: Text { format: &format::HARBOR_NAME, default: None },
};

static PROJECT: Setting<Text> = Setting {
    key: "project",
    absent: Absent::Depends("**required**"),
    meaning: "The Harbor project that is the proxy cache.",
    example: "dockerhub",
    kind: Text { format: &format::TEMPLATE, default: None },
};

static REPOSITORY: Setting<Text> = Setting {
    key: "repository",
    absent: Absent::Depends(
        "the whole repository; with `ecr` what follows its prefix, with `pattern` the group `repository` if there is one",
    ),
    meaning: "The repository inside the project, as its upstream names it. `{rest}` where a mirror's path stands before \
              it.",
    example: "library/{name}",
    kind: Text { format: &format::REPOSITORY_TEMPLATE, default: None },
};

static TAG: Setting<Text> = Setting {
    key: "tag",
    absent: Absent::Depends("the image's tag"),
    meaning: "The tag in Harbor.",
    example: "\"{version}\"",
    kind: Text { format: &format::TEMPLATE, default: None },
};

static TARGET: Setting<Text> = Setting {
    key: "target",
    absent: Absent::Default,
    meaning: "The replication target in the warmer's configuration from which these workloads pull.",
    example: "ecr-eu",
    kind: Text { format: &format::TARGET_NAME, default: None },
};

static ACCOUNTS: Setting<Texts> = Setting {
    key: "accounts",
    absent: Absent::Depends("any"),
    meaning: "AWS accounts, each in quotes.",
    example: "[\"123456789012\"]",
    kind: Texts { format: &format::ACCOUNT, least: 0, default: &[] },
};

static REGIONS: Setting<Texts> = Setting {
    key: "regions",
    absent: Absent::Depends("any"),
    meaning: "AWS regions.",
    example: "[eu-central-1]",
    kind: Texts { format: &format::REGION, least: 0, default: &[] },
};

static ECR_PREFIX: Setting<Text> = Setting {
    key: "prefix",
    absent: Absent::Default,
    meaning: "The first parts of the repository, such as those of a pull-through cache.",
    example: "dockerhub",
    kind: Text { format: &format::WRITTEN, default: None },
};

static GROUP: Setting<Text> = Setting {
    key: "group",
    absent: Absent::Required("write the API group, for example argoproj.io"),
    meaning: "The API group. Versions don't count.",
    example: "argoproj.io",
    kind: Text { format: &format::API_GROUP, default: None },
};

static KIND: Setting<Text> = Setting {
    key: "kind",
    absent: Absent::Required("write the kind, for example Rollout"),
    meaning: "The kind. One with several pod specs stands there several times.",
    example: "Rollout",
    kind: Text { format: &format::KIND, default: None },
};

static POD_SPEC: Setting<Text> = Setting {
    key: "podSpec",
    absent: Absent::Depends("`/spec/template/spec`; none beside `images`"),
    meaning: "Where the pod spec is. A part `*` stands for every element of a list and every value of a map.",
    example: "/spec/tasks/*/template/spec",
    kind: Text { format: &format::POINTER, default: None },
};

static IMAGES: Setting<Texts> = Setting {
    key: "images",
    absent: Absent::Default,
    meaning: "Where images stand outside of a pod spec, beside `podSpec` or instead of it.",
    example: "[/spec/imageName]",
    kind: Texts { format: &format::IMAGE_POINTER, least: 0, default: &[] },
};
