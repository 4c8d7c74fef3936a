//! After how long without a pull a project's retention rules drop an image. Pure, of the rules as Harbor's API shows
//! them.
//!
//! Rules only ever say what is kept: of each repository that a rule is for, whatever no rule keeps is dropped
//! (`src/pkg/retention` in Harbor). A pull keeps what a rule with the template `nDaysSinceLastPull` is for, and nothing
//! else.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use harbor_warmer_settings::duration_text;

/// What the rules drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing.
    Nothing,
    /// What was not pulled for so long, and nothing that was pulled since.
    Unpulled(Duration),
    /// Some of what is pulled, too: by its number, by when it was pushed, or because no rule is for it.
    Pulled {
        /// The shortest time of those rules that keep what is pulled.
        unpulled: Option<Duration>,
    },
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("no retention rule drops anything"),
            Self::Unpulled(time) => write!(f, "what nobody pulled for {} is dropped", duration_text(*time)),
            Self::Pulled { .. } => {
                f.write_str("the retention rules drop images although they are pulled, by number, by push or by tag")
            }
        }
    }
}

/// One rule that is switched on.
struct Rule {
    keeps: Keeps,
    /// Whether it is for every repository.
    every_repository: bool,
    /// Whether it is for every tag, and for what has none.
    every_tag: bool,
}

enum Keeps {
    All,
    PulledWithin(Duration),
    Other,
}

/// A project's images are looked after at least so often, whatever its rules say.
const LONGEST: Duration = Duration::from_secs(365 * DAY);

/// And at most so often: Harbor runs its rules once an hour at most.
const SHORTEST: Duration = Duration::from_secs(3_600);

const DAY: u64 = 86_400;

impl Retention {
    /// Of a retention policy as `GET /api/v2.0/retentions/{id}` shows it.
    pub fn of(policy: &Value) -> Self {
        let rules = policy.get("rules").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let rules: Vec<_> = rules.iter().filter(|rule| !is_disabled(rule)).map(Rule::of).collect();
        let for_all = |rule: &&Rule| rule.every_repository && rule.every_tag;
        if rules.is_empty() || rules.iter().filter(for_all).any(|rule| matches!(rule.keeps, Keeps::All)) {
            return Self::Nothing;
        }
        // What one rule keeps is kept: a rule for everything holds for everything, whatever narrower ones say.
        if let Some(longest) = rules.iter().filter(for_all).filter_map(Rule::pulled_within).max() {
            return Self::Unpulled(longest);
        }
        let shortest = rules.iter().filter_map(Rule::pulled_within).min();
        let by_pulls = rules.iter().all(|rule| rule.every_tag && !matches!(rule.keeps, Keeps::Other));
        match shortest {
            Some(shortest) if by_pulls => Self::Unpulled(shortest),
            None if by_pulls => Self::Nothing,
            unpulled => Self::Pulled { unpulled },
        }
    }

    /// How long after its last pull an image is pulled again, so that the rules keep it: half of their time. None where
    /// they have none.
    pub fn keep_warm_every(self) -> Option<Duration> {
        match self {
            Self::Unpulled(time) | Self::Pulled { unpulled: Some(time) } => Some((time / 2).clamp(SHORTEST, LONGEST)),
            Self::Nothing | Self::Pulled { unpulled: None } => None,
        }
    }
}

impl Rule {
    fn of(rule: &Value) -> Self {
        let keeps = match rule.get("template").and_then(Value::as_str) {
            Some("always") => Keeps::All,
            Some(template @ "nDaysSinceLastPull") => {
                // 30 is Harbor's own where the rule has no number (`dayspl.DefaultN`).
                let days = rule.get("params").and_then(|params| params.get(template)).and_then(Value::as_u64);
                Keeps::PulledWithin(Duration::from_secs(days.unwrap_or(30).min(LONGEST.as_secs()) * DAY))
            }
            _ => Keeps::Other,
        };
        let repositories = rule.get("scope_selectors").and_then(|scopes| scopes.get("repository"));
        Self {
            keeps,
            every_repository: selects_all(repositories, "repoMatches"),
            every_tag: selects_all(rule.get("tag_selectors"), "matches"),
        }
    }

    fn pulled_within(&self) -> Option<Duration> {
        match self.keeps {
            Keeps::PulledWithin(time) => Some(time),
            Keeps::All | Keeps::Other => None,
        }
    }
}

fn is_disabled(rule: &Value) -> bool {
    rule.get("disabled").and_then(Value::as_bool).unwrap_or(false)
}

/// Whether all selectors of a list let everything through. `extras` may leave out what has no tag.
fn selects_all(selectors: Option<&Value>, matches: &str) -> bool {
    let selectors = selectors.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    selectors.iter().all(|selector| {
        let is = |key: &str, text: &str| selector.get(key).and_then(Value::as_str) == Some(text);
        let extras = selector.get("extras").and_then(Value::as_str).unwrap_or_default();
        let extras: Value = serde_json::from_str(extras).unwrap_or_default();
        is("decoration", matches) && is("pattern", "**") && extras.get("untagged") != Some(&Value::Bool(false))
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * DAY)
    }

    /// A rule as Harbor shows it, for these repositories and tags.
    fn rule(template: &str, number: u64, repositories: &str, tags: &str) -> Value {
        json!({
            "action": "retain", "template": template, "params": { template: number },
            "scope_selectors": {"repository": [{"decoration": "repoMatches", "kind": "doublestar", "pattern": repositories}]},
            "tag_selectors": [{"decoration": "matches", "kind": "doublestar", "pattern": tags}],
        })
    }

    fn with(mut rule: Value, key: &str, value: Value) -> Value {
        rule[key] = value;
        rule
    }

    fn untagged(extras: &str) -> Value {
        json!([{"decoration": "matches", "kind": "doublestar", "pattern": "**", "extras": extras}])
    }

    const PULL: &str = "nDaysSinceLastPull";

    #[rstest]
    #[case::no_rule(vec![], Retention::Nothing)]
    #[case::as_it_comes_with_a_proxy_project(vec![rule(PULL, 7, "**", "**")], Retention::Unpulled(days(7)))]
    #[case::its_day_is_over_at_once(vec![rule(PULL, 0, "**", "**")], Retention::Unpulled(days(0)))]
    #[case::switched_off(vec![with(rule(PULL, 7, "**", "**"), "disabled", json!(true))], Retention::Nothing)]
    #[case::no_number(vec![with(rule(PULL, 7, "**", "**"), "params", json!({}))], Retention::Unpulled(days(30)))]
    #[case::everything(vec![rule("always", 0, "**", "**"), rule(PULL, 7, "**", "**")], Retention::Nothing)]
    #[case::the_longer_of_two_for_all(vec![rule(PULL, 7, "**", "**"), rule(PULL, 30, "**", "**")], Retention::Unpulled(days(30)))]
    #[case::a_narrow_one_takes_nothing_away(vec![rule(PULL, 30, "**", "**"), rule(PULL, 2, "team/**", "**")], Retention::Unpulled(days(30)))]
    #[case::a_number_takes_nothing_away(vec![rule(PULL, 30, "**", "**"), rule("latestPushedK", 5, "**", "**")], Retention::Unpulled(days(30)))]
    #[case::the_shortest_that_can_drop(vec![rule(PULL, 30, "a/**", "**"), rule(PULL, 2, "team/**", "**")], Retention::Unpulled(days(2)))]
    #[case::some_repositories_are_kept(vec![rule("always", 0, "a/**", "**")], Retention::Nothing)]
    #[case::other_tags_are_dropped(vec![rule(PULL, 7, "**", "v*")], Retention::Pulled { unpulled: Some(days(7)) })]
    #[case::by_number(vec![rule("latestPushedK", 10, "**", "**")], Retention::Pulled { unpulled: None })]
    #[case::by_the_number_of_pulled_ones(vec![rule("latestPulledN", 10, "**", "**")], Retention::Pulled { unpulled: None })]
    #[case::by_push(vec![rule("nDaysSinceLastPush", 14, "**", "**")], Retention::Pulled { unpulled: None })]
    #[case::by_push_elsewhere(vec![rule(PULL, 7, "a/**", "**"), rule("nDaysSinceLastPush", 14, "b/**", "**")], Retention::Pulled { unpulled: Some(days(7)) })]
    #[case::of_a_newer_harbor(vec![rule("byMoonPhase", 1, "**", "**")], Retention::Pulled { unpulled: None })]
    #[case::with_the_untagged(vec![with(rule(PULL, 7, "**", "**"), "tag_selectors", untagged("{\"untagged\":true}"))], Retention::Unpulled(days(7)))]
    #[case::without_the_untagged(vec![with(rule(PULL, 7, "**", "**"), "tag_selectors", untagged("{\"untagged\":false}"))], Retention::Pulled { unpulled: Some(days(7)) })]
    #[case::no_selectors(vec![json!({"template": PULL, "params": {PULL: 7}})], Retention::Unpulled(days(7)))]
    fn rules_drop_what_none_of_them_keeps(#[case] rules: Vec<Value>, #[case] expected: Retention) {
        assert_eq!(Retention::of(&json!({ "algorithm": "or", "rules": rules })), expected);
    }

    #[rstest]
    #[case(json!(null))]
    #[case(json!({"rules": "all"}))]
    #[case(json!([]))]
    fn what_is_no_retention_policy_drops_nothing(#[case] policy: Value) {
        assert_eq!(Retention::of(&policy), Retention::Nothing);
    }

    #[rstest]
    #[case::a_week(Retention::Unpulled(days(7)), Some(Duration::from_secs(84 * 3_600)))]
    #[case::no_time_at_all(Retention::Unpulled(days(0)), Some(SHORTEST))]
    #[case::ages(Retention::Unpulled(days(20_190_904)), Some(LONGEST))]
    #[case::partly(Retention::Pulled { unpulled: Some(days(2)) }, Some(days(1)))]
    #[case::not_by_pulls(Retention::Pulled { unpulled: None }, None)]
    #[case::never(Retention::Nothing, None)]
    fn an_image_is_pulled_once_in_half_of_the_rules_time(
        #[case] retention: Retention,
        #[case] expected: Option<Duration>,
    ) {
        assert_eq!(retention.keep_warm_every(), expected);
    }
}
