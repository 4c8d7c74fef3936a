//! What is expected, what was seen, and whether the two agree.

use std::fmt;

/// When something is expected to be seen, in Harbor's seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum When {
    /// Not sooner than the first, not later than the second.
    Within(f64, f64),
    /// Not at all; it is waited for this long.
    Never(f64),
}

impl When {
    /// How long to look.
    pub(crate) fn patience(self, slack_seconds: f64) -> f64 {
        match self {
            Self::Within(_, latest) => latest + slack_seconds,
            Self::Never(watched) => watched,
        }
    }

    /// Whether that is what was expected.
    fn agrees(self, seen: Option<f64>, slack_seconds: f64) -> bool {
        match (self, seen) {
            (Self::Within(earliest, latest), Some(seen)) => earliest <= seen && seen <= latest + slack_seconds,
            (Self::Never(_), None) => true,
            (Self::Within(..), None) | (Self::Never(_), Some(_)) => false,
        }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(earliest, latest) => write!(f, "{earliest:.0} to {latest:.0} s"),
            Self::Never(watched) => write!(f, "never within {watched:.0} s"),
        }
    }
}

/// Whether what was seen is what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Agrees,
    /// It isn't.
    Differs,
    /// It could not be tried here.
    Skipped,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The scenario's name.
    pub scenario: String,
    /// What is looked at.
    pub what: String,
    /// What is expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// Whether they agree.
    pub verdict: Verdict,
    /// The moment, where one was seen: Harbor's seconds.
    pub seconds: Option<f64>,
}

impl Row {
    /// A moment against its window.
    pub(crate) fn moment(scenario: &str, what: &str, when: When, seen: Option<f64>, slack_seconds: f64) -> Self {
        let text = match (seen, when) {
            (Some(seen), _) => format!("{seen:.1} s"),
            (None, When::Never(_)) => "never".to_owned(),
            (None, When::Within(..)) => format!("not within {:.0} s", when.patience(slack_seconds)),
        };
        let agrees = when.agrees(seen, slack_seconds);
        Self { seconds: seen, ..Self::fact(scenario, what, when.to_string(), text, agrees) }
    }

    /// A fact.
    pub(crate) fn fact(
        scenario: &str,
        what: &str,
        expected: impl Into<String>,
        seen: impl Into<String>,
        agrees: bool,
    ) -> Self {
        Self {
            scenario: scenario.to_owned(),
            what: what.to_owned(),
            expected: expected.into(),
            seen: seen.into(),
            verdict: if agrees { Verdict::Agrees } else { Verdict::Differs },
            seconds: None,
        }
    }

    /// A scenario that can't be tried here.
    pub(crate) fn skipped(scenario: &str, why: &str) -> Self {
        Self { verdict: Verdict::Skipped, ..Self::fact(scenario, "", "", why, true) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slack_forgives_lateness_and_never_earliness() {
        let window = When::Within(20.0, 30.0);
        assert!(window.agrees(Some(33.0), 5.0));
        assert!(!window.agrees(Some(36.0), 5.0));
        assert!(!window.agrees(Some(19.0), 5.0));
        assert!(!window.agrees(None, 5.0));
    }

    #[test]
    fn what_never_comes_must_not_be_seen() {
        assert!(When::Never(660.0).agrees(None, 0.0));
        assert!(!When::Never(660.0).agrees(Some(410.0), 0.0));
    }
}
