//! What `check` found, and how it is printed.

use crate::{Screen, Tone};

/// What `check` found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    pub(super) sections: Vec<Section>,
}

/// What was found of one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) findings: Vec<Finding>,
}

/// One line, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) verdict: Verdict,
    pub(super) text: String,
    pub(super) cure: Option<String>,
}

/// What a finding means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// No more than what the configuration says.
    Stated,
    /// As it should be.
    Good,
    /// Works, but there is something better or something unknown.
    Doubtful,
    /// Keeps the warmer from its work.
    Bad,
}

impl Report {
    /// Whether anything keeps the warmer from its work.
    pub(crate) fn has_problems(&self) -> bool {
        self.count(Verdict::Bad) > 0
    }

    /// The report as text.
    pub(crate) fn render(&self, screen: &Screen) -> String {
        let mut text = String::new();
        for section in &self.sections {
            text.push_str(&format!("{}\n", screen.paint(&section.title, Tone::Heading)));
            for finding in &section.findings {
                let mark = match finding.verdict {
                    Verdict::Stated => " ".to_owned(),
                    Verdict::Good => screen.paint("✓", Tone::Good),
                    Verdict::Doubtful => screen.paint("!", Tone::Warning),
                    Verdict::Bad => screen.paint("✗", Tone::Bad),
                };
                text.push_str(&format!("  {mark} {}\n", finding.text));
                for line in finding.cure.iter().flat_map(|cure| cure.lines()) {
                    text.push_str(&format!("      {}\n", screen.paint(line, Tone::Faint)));
                }
            }
            text.push('\n');
        }
        let (bad, doubtful) = (self.count(Verdict::Bad), self.count(Verdict::Doubtful));
        let sum = match bad {
            0 => screen.paint("No problem found.", Tone::Good),
            1 => screen.paint("1 problem.", Tone::Bad),
            bad => screen.paint(&format!("{bad} problems."), Tone::Bad),
        };
        text.push_str(&sum);
        match doubtful {
            0 => {}
            1 => text.push_str(" 1 line to look at."),
            lines => text.push_str(&format!(" {lines} lines to look at.")),
        }
        text.push('\n');
        text
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.sections.iter().flat_map(|section| &section.findings).filter(|finding| finding.verdict == verdict).count()
    }
}

impl Finding {
    pub(super) fn stated(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Stated, text: text.into(), cure: None }
    }

    pub(super) fn good(text: impl Into<String>) -> Self {
        Self { verdict: Verdict::Good, text: text.into(), cure: None }
    }

    pub(super) fn doubtful(text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Doubtful, text: text.into(), cure: Some(cure.into()) }
    }

    pub(super) fn bad(text: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { verdict: Verdict::Bad, text: text.into(), cure: Some(cure.into()) }
    }
}
