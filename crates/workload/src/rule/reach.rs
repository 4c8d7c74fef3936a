//! Rules that no image gets to, as far as that is certain without any image.

use super::prefix::rest_after;
use super::{Matcher, Rule};
use crate::{Ecr, Mistake};

/// A mistake for each rule before which another one decides for all of its images.
pub(super) fn unreachable(rules: &[Rule]) -> Vec<Mistake> {
    let dead = rules.iter().enumerate().filter_map(|(index, rule)| {
        let before = rules.get(..index)?;
        let decides = before.iter().position(|earlier| earlier.matcher.covers(&rule.matcher))?;
        let message = format!(
            "no image gets to it, since rules[{decides}] decides for all of its images; put it before rules[{decides}], or \
             remove it"
        );
        Some(Mistake::new(format!("rules[{index}]"), message))
    });
    dead.collect()
}

impl Matcher {
    /// Whether every image that `later` matches is matched by this one. `false` where that is not certain.
    fn covers(&self, later: &Self) -> bool {
        match (self, later) {
            (Self::Prefix(earlier), Self::Prefix(later)) => {
                let official = later.official.as_ref();
                earlier.rest_of(&later.name).is_some() && official.is_none_or(|name| earlier.rest_of(name).is_some())
            }
            (Self::Prefix(earlier), Self::Pattern(pattern)) => {
                // Behind a whole registry or part, so that `ghcr.io/acme` is no start of `ghcr.io/acme-labs`.
                let start = pattern.literal_start();
                start.strip_prefix(&earlier.name).is_some_and(|rest| rest.starts_with(['/', ':']))
                    && earlier.name.contains('.')
                    && !earlier.name.contains(':')
            }
            (
                Self::Ecr { accounts, regions, prefix },
                Self::Ecr { accounts: later_accounts, regions: later_regions, prefix: later_prefix },
            ) => {
                let within = |later: &[String], earlier: &[String]| {
                    earlier.is_empty() || (!later.is_empty() && later.iter().all(|name| earlier.contains(name)))
                };
                within(later_accounts, accounts)
                    && within(later_regions, regions)
                    && is_within(later_prefix.as_deref(), prefix.as_deref())
            }
            (Self::Ecr { accounts, regions, prefix }, Self::Prefix(later)) => {
                let (host, path) =
                    later.name.split_once('/').map_or((later.name.as_str(), None), |(h, p)| (h, Some(p)));
                let listed = |list: &[String], name: &str| list.is_empty() || list.iter().any(|known| known == name);
                Ecr::from_host(host).is_some_and(|ecr| {
                    listed(accounts, ecr.account())
                        && listed(regions, ecr.region())
                        && is_within(path, prefix.as_deref())
                })
            }
            (Self::Pattern(earlier), later) => match later {
                Self::Pattern(later) if later.is_same(earlier) => true,
                _ => earlier.is_for_all(),
            },
            (Self::Prefix(_), Self::Ecr { .. }) | (Self::Ecr { .. }, Self::Pattern(_)) => false,
        }
    }
}

/// Whether a prefix of repositories is at or below another one.
fn is_within(later: Option<&str>, earlier: Option<&str>) -> bool {
    match (later, earlier) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(later), Some(earlier)) => rest_after(earlier, later).is_some(),
    }
}
