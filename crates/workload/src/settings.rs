//! The settings of the policy.
//!
//! They are read here, so that whatever else reads them, such as the command line that tries rules offline, accepts and
//! refuses the same.

use harbor_warmer_protocol::Platforms;
use serde_json::Value;

use crate::{Address, CustomKinds, Fields, Judge, Mistake, NodePlatform, Preset, RuleSet};

/// The settings of the policy, all of them valid.
#[derive(Clone, Debug)]
pub struct PolicySettings {
    /// The warmer's registry port.
    pub warmer: Address,
    /// Which image is where in Harbor.
    pub rules: RuleSet,
    /// What the cluster's nodes run.
    pub platforms: Platforms,
    /// Custom resources that run Pods.
    pub custom_kinds: CustomKinds,
    /// How many images of a workload are looked up.
    pub max_images: usize,
    /// Who answers the look-ups.
    pub lookup: LookupAt,
    /// Whether people who apply workloads are told.
    pub warnings: bool,
}

impl PolicySettings {
    /// What an admission does about images under these settings.
    pub fn judge(&self) -> Judge<'_> {
        Judge { rules: &self.rules, platforms: &self.platforms }
    }
}

/// Who answers the look-ups of digests and manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupAt {
    /// Nobody is asked; the warmer resolves what is announced.
    Nobody,
    /// The warmer's bounded front for Harbor's manifests.
    Warmer,
    /// Harbor itself.
    Registry(Address),
}

/// A look-up is four calls, six for two platforms: with its announcement some 56 of the 80 that a request may make.
const DEFAULT_MAX_IMAGES: usize = 8;

/// Whoever allows more than fit into a request's calls gets those that fit.
const LARGEST_MAX_IMAGES: usize = 50;

/// All mistakes in one line, as policy server and kwctl print them.
pub fn sentences(mistakes: &[Mistake]) -> String {
    let sentences: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    sentences.join("; ")
}

impl TryFrom<&Value> for PolicySettings {
    type Error = Vec<Mistake>;

    fn try_from(value: &Value) -> Result<Self, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let nothing = Value::Object(serde_json::Map::new());
        let value = if value.is_null() { &nothing } else { value };
        let Some(mut fields) = Fields::of(value, "", &mut mistakes) else {
            return Err(vec![Mistake::new("settings", "must be a map of keys")]);
        };
        let warmer = read_warmer(&mut fields, &mut mistakes);
        let rules = read_rules(&mut fields, &mut mistakes);
        let platforms = read_platforms(&mut fields, &mut mistakes);
        let custom_kinds = collect(fields.get("customResources").map(CustomKinds::from_value), &mut mistakes);
        let presets: Vec<&'static Preset> = fields.parsed_list("presets", &mut mistakes).unwrap_or_default();
        let max_images = read_max_images(&mut fields, &mut mistakes);
        let lookup = read_lookup(&mut fields, rules.as_ref(), &mut mistakes);
        let warnings = fields.boolean("warnings", &mut mistakes).unwrap_or(true);
        fields.finish(&mut mistakes);
        match (warmer, rules, platforms) {
            (Some(warmer), Some(rules), Some(platforms)) if mistakes.is_empty() => {
                let custom_kinds = custom_kinds.unwrap_or_default().with_presets(presets);
                Ok(Self { warmer, rules, platforms, custom_kinds, max_images, lookup, warnings })
            }
            _ => Err(mistakes),
        }
    }
}

fn collect<T>(read: Option<Result<T, Vec<Mistake>>>, mistakes: &mut Vec<Mistake>) -> Option<T> {
    match read? {
        Ok(value) => Some(value),
        Err(found) => {
            mistakes.extend(found);
            None
        }
    }
}

fn read_warmer(fields: &mut Fields<'_>, mistakes: &mut Vec<Mistake>) -> Option<Address> {
    if fields.get("warmer").is_none() {
        let message = "missing; write the host:port of the warmer, for example harbor-warmer.kubewarden.svc:8443";
        mistakes.push(Mistake::new("warmer", message));
    }
    fields.parsed("warmer", mistakes)
}

fn read_rules(fields: &mut Fields<'_>, mistakes: &mut Vec<Mistake>) -> Option<RuleSet> {
    let rules = collect(fields.get("rules").map(RuleSet::from_value), mistakes);
    if fields.get("rules").is_none() || rules.as_ref().is_some_and(RuleSet::is_empty) {
        let message = "missing; without a rule no image is warmed. Write at least one, for example \
                       {prefix: docker.io/, harbor: main, project: dockerhub}";
        mistakes.push(Mistake::new("rules", message));
    }
    rules
}

fn read_platforms(fields: &mut Fields<'_>, mistakes: &mut Vec<Mistake>) -> Option<Platforms> {
    if fields.get("platforms").is_none() {
        return Platforms::new("linux/amd64".parse()).ok();
    }
    let before = mistakes.len();
    let written: Vec<NodePlatform> = fields.parsed_list("platforms", mistakes)?;
    let platforms = Platforms::new(written.into_iter().map(NodePlatform::into_platform));
    match platforms {
        Ok(platforms) => Some(platforms),
        Err(error) => {
            // An empty list of valid ones is told only where nothing else is wrong with it.
            if mistakes.len() == before {
                mistakes.push(Mistake::new("platforms", error.to_string()));
            }
            None
        }
    }
}

fn read_max_images(fields: &mut Fields<'_>, mistakes: &mut Vec<Mistake>) -> usize {
    let Some(value) = fields.get("maxImages") else { return DEFAULT_MAX_IMAGES };
    let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
    match number.filter(|number| (1..=LARGEST_MAX_IMAGES).contains(number)) {
        Some(number) => number,
        None => {
            let message = format!("must be a whole number from 1 to {LARGEST_MAX_IMAGES}");
            mistakes.push(Mistake::new("maxImages", message));
            DEFAULT_MAX_IMAGES
        }
    }
}

fn read_lookup(fields: &mut Fields<'_>, rules: Option<&RuleSet>, mistakes: &mut Vec<Mistake>) -> LookupAt {
    let lookup = match fields.text("lookup", mistakes) {
        None | Some("warmer") => LookupAt::Warmer,
        Some("none") => LookupAt::Nobody,
        Some(other) => {
            let message = format!("`{other}`: write warmer, or none to let the warmer resolve every image");
            mistakes.push(Mistake::new("lookup", message));
            LookupAt::Warmer
        }
    };
    let Some(registry) = fields.parsed("lookupRegistry", mistakes) else { return lookup };
    if lookup == LookupAt::Nobody {
        mistakes.push(Mistake::new("lookupRegistry", "of no use with `lookup: none`; remove one of the two"));
    }
    if rules.is_some_and(|rules| rules.harbors().count() > 1) {
        let message = "it is one Harbor's address, but the rules name several; remove it, and the warmer answers";
        mistakes.push(Mistake::new("lookupRegistry", message));
    }
    LookupAt::Registry(registry)
}
