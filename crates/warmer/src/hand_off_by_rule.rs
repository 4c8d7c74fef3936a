//! An image as a person writes it, by the rules of the configuration: what `warm` and `plan` have in common. Pure.

use harbor_warmer_protocol::{HandOff, Platforms};
use harbor_warmer_workload::{Mapping, Reference, RuleSet};

/// The hand-off that a policy with the same rules and platforms would make for this image.
///
/// # Errors
/// A sentence that says why there is none, and what to change.
pub(crate) fn hand_off(rules: &RuleSet, platforms: &Platforms, image: &str) -> Result<HandOff, String> {
    let reference: Reference =
        image.parse().map_err(|error: harbor_warmer_workload::ReferenceError| error.to_string())?;
    match rules.map(&reference) {
        Mapping::Mapped(mapped) => Ok(HandOff {
            image: mapped.image,
            target: mapped.target,
            platforms: platforms.clone(),
            subject: mapped.subject,
        }),
        Mapping::Skipped => Err("a rule with `skip: true` matches it".to_owned()),
        Mapping::Unmatched => Err("no rule matches it; add one to `rules` in the warmer's configuration".to_owned()),
        Mapping::Failed(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::mapped("nginx:1.27", Ok("main/hub/library/nginx"))]
    #[case::skipped("quay.io/a/b", Err("a rule with `skip: true` matches it"))]
    #[case::unmatched("ghcr.io/a/b", Err("no rule matches it; add one to `rules` in the warmer's configuration"))]
    #[case::empty("", Err("the image is empty"))]
    fn an_image_is_mapped_as_the_policy_maps_it(#[case] image: &str, #[case] expected: Result<&str, &str>) {
        let rules = RuleSet::from_value(&serde_json::json!([
            {"prefix": "quay.io/", "skip": true},
            {"prefix": "docker.io/", "harbor": "main", "project": "hub"},
        ]))
        .unwrap();
        let platforms = Platforms::new(["linux/amd64".parse().unwrap()]).unwrap();
        let mapped = hand_off(&rules, &platforms, image).map(|hand_off| hand_off.image.to_string());
        assert_eq!(mapped.as_deref().map_err(String::as_str), expected);
    }
}
