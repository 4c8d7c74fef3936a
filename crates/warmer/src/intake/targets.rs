//! Whether a hand-off's replication target is one of its Harbor's.

use std::collections::BTreeMap;

use harbor_warmer_protocol::{HandOff, HarborName, TargetName};

use crate::config::Target;

/// The configured targets, each with the Harbor that replicates to it.
pub(crate) struct Targets(BTreeMap<TargetName, HarborName>);

/// A hand-off's target can't be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TargetNotAllowed {
    /// No target has that name.
    #[error("no target `{0}` is configured; add it to `targets` or mend the rule")]
    Unknown(TargetName),
    /// Another Harbor replicates to it.
    #[error("target `{target}` belongs to Harbor `{belongs_to}`, not `{harbor}`; mend the rule")]
    OfAnotherHarbor {
        /// What was asked for.
        target: TargetName,
        /// Whose it is.
        belongs_to: HarborName,
        /// Where the image is.
        harbor: HarborName,
    },
}

impl Targets {
    pub(crate) fn new(targets: &BTreeMap<TargetName, Target>) -> Self {
        Self(targets.iter().map(|(name, target)| (name.clone(), target.harbor.clone())).collect())
    }

    /// # Errors
    /// Says what to change.
    pub(crate) fn allow(&self, hand_off: &HandOff) -> Result<(), TargetNotAllowed> {
        let Some(target) = &hand_off.target else { return Ok(()) };
        let harbor = &hand_off.image.harbor;
        match self.0.get(target) {
            None => Err(TargetNotAllowed::Unknown(target.clone())),
            Some(belongs_to) if belongs_to == harbor => Ok(()),
            Some(belongs_to) => Err(TargetNotAllowed::OfAnotherHarbor {
                target: target.clone(),
                belongs_to: belongs_to.clone(),
                harbor: harbor.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use harbor_warmer_protocol::{HarborImage, Platforms, Subject};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::none(None, None)]
    #[case::its_own(Some("ecr"), None)]
    #[case::unknown(Some("gar"), Some("no target `gar` is configured; add it to `targets` or mend the rule"))]
    #[case::anothers(Some("ecr-west"), Some("target `ecr-west` belongs to Harbor `west`, not `east`; mend the rule"))]
    fn a_target_is_one_of_the_images_harbor(#[case] target: Option<&str>, #[case] refused: Option<&str>) {
        let name = |text: &str| text.parse::<TargetName>().unwrap();
        let targets = Targets(BTreeMap::from([
            (name("ecr"), "east".parse().unwrap()),
            (name("ecr-west"), "west".parse().unwrap()),
        ]));
        let hand_off = HandOff {
            image: HarborImage {
                harbor: "east".parse().unwrap(),
                project: "hub".parse().unwrap(),
                repository: "library/nginx".parse().unwrap(),
            },
            target: target.map(name),
            platforms: Platforms::new(["linux/amd64".parse().unwrap()]).unwrap(),
            subject: Subject::Tag("1".parse().unwrap()),
        };
        let error = targets.allow(&hand_off).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), refused);
    }
}
