use std::collections::HashSet;
use std::fmt;

use harbor_warmer_protocol::{HandOff, NameTooLong, Platforms, Subject};
use serde_json::Value;

use crate::{CustomKinds, MapError, Mapping, PodTemplate, ReferenceError, RuleSet, Unpulled, Workload, WorkloadImage};

/// Says what an admission would do about images. The policy asks it of every admission, and the command line of what a
/// person gives it, so the two can't differ.
#[derive(Clone, Copy, Debug)]
pub struct Judge<'s> {
    /// Which image is where in Harbor.
    pub rules: &'s RuleSet,
    /// What the cluster's nodes run.
    pub platforms: &'s Platforms,
}

/// What is done about one image. Its text is what the policy logs of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is handed over.
    HandOver {
        /// By which rule, counted from 0 as in `rules[0]`.
        rule: usize,
        /// What is asked for.
        hand_off: HandOff,
    },
    /// The announcement would not be a valid reference.
    TooLong(NameTooLong),
    /// No reference, so no node can pull it, although a rule seems to be meant for it.
    Unreadable(ReferenceError),
    /// No reference, but nobody is to be told: no rule is meant for it, or something else may fill it in.
    LeftUnread(ReferenceError),
    /// None of the rules is for it.
    Unmatched,
    /// This rule says to leave it alone.
    Excluded(usize),
    /// The workload's annotations or labels say so.
    OptedOut,
    /// Nothing is pulled by this text.
    Unpulled(Unpulled),
    /// A rule makes of it what is no valid name.
    Unmappable(MapError),
    /// The workload runs on none of these platforms, which are the settings' own.
    NoPlatform(Platforms),
}

/// An image of an object, and what is done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The image, where it stands first.
    pub image: WorkloadImage,
    /// What is done about it.
    pub decision: Decision,
}

impl Judge<'_> {
    /// What is done about the images of an object of the kind that it says of itself: each image once for each outcome,
    /// in the order in which a kubelet needs them. Those that are one in Harbor aren't merged here.
    pub fn object(&self, object: &Value, custom: &CustomKinds) -> Vec<Judged> {
        let mut seen = HashSet::new();
        let mut judged = Vec::new();
        for pod in Workload::of(object, custom).pods() {
            let platforms = pod.narrow(self.platforms);
            for image in pod.images() {
                let decision = self.of(pod, &image, platforms.as_ref());
                if seen.insert((image.name(), decision.to_string())) {
                    judged.push(Judged { image, decision });
                }
            }
        }
        judged
    }

    /// What is done about an image of a pod template, whose node selection leaves these platforms.
    pub fn of(&self, pod: &PodTemplate<'_>, image: &WorkloadImage, platforms: Option<&Platforms>) -> Decision {
        if pod.opts_out() {
            return Decision::OptedOut;
        }
        if let Some(unpulled) = image.unpulled {
            return Decision::Unpulled(unpulled);
        }
        match self.text(&image.written, platforms) {
            // Of a workflow's parameter, say.
            Decision::Unreadable(error @ ReferenceError::Template) if pod.may_be_filled_in() => {
                Decision::LeftUnread(error)
            }
            decision => decision,
        }
    }

    /// What is done about an image without any workload, for all platforms.
    pub fn image(&self, written: &str) -> Decision {
        self.text(written, Some(self.platforms))
    }

    fn text(&self, written: &str, platforms: Option<&Platforms>) -> Decision {
        let reference = match written.parse() {
            Ok(reference) => reference,
            Err(error) => return self.unreadable(written, error),
        };
        match (self.rules.map_by(&reference), platforms) {
            ((Some(rule), Mapping::Skipped), _) => Decision::Excluded(rule),
            ((_, Mapping::Failed(error)), _) => Decision::Unmappable(error),
            ((Some(_), Mapping::Mapped(_)), None) => Decision::NoPlatform(self.platforms.clone()),
            ((Some(rule), Mapping::Mapped(mapped)), Some(platforms)) => {
                let (image, target, subject) = (mapped.image, mapped.target, mapped.subject);
                let hand_off = HandOff { image, target, platforms: platforms.clone(), subject };
                match hand_off.to_name() {
                    Ok(_) => Decision::HandOver { rule, hand_off },
                    Err(error) => Decision::TooLong(error),
                }
            }
            _ => Decision::Unmatched,
        }
    }

    fn unreadable(&self, written: &str, error: ReferenceError) -> Decision {
        match self.rules.meant_for(written) {
            Some((rule, true)) => Decision::Excluded(rule),
            Some((_, false)) => Decision::Unreadable(error),
            // Whoever applies it has forgotten a step, whichever registry would have come out.
            None if matches!(error, ReferenceError::Template | ReferenceError::Ko) => Decision::Unreadable(error),
            None => Decision::LeftUnread(error),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HandOver { rule, hand_off } => {
                write!(f, "rules[{rule}] gives {}", hand_off.image)?;
                if let Some(tag) = hand_off.subject.tag() {
                    write!(f, ":{tag}")?;
                }
                if let Subject::Pin { digest, .. } = &hand_off.subject {
                    write!(f, "@{digest}")?;
                }
                write!(f, " for {}", list(&hand_off.platforms))?;
                match &hand_off.target {
                    Some(target) => write!(f, ", replicated to {target}"),
                    None => Ok(()),
                }
            }
            Self::TooLong(error) => error.fmt(f),
            Self::Unreadable(error) => error.fmt(f),
            Self::LeftUnread(error) => write!(f, "left alone: {error}"),
            Self::Unmatched => f.write_str("no rule matches"),
            Self::Excluded(rule) => write!(f, "rules[{rule}] says skip"),
            Self::OptedOut => f.write_str("the annotation says skip"),
            Self::Unpulled(Unpulled::Never) => f.write_str("imagePullPolicy is Never"),
            Self::Unpulled(Unpulled::Placeholder) => {
                f.write_str("a webhook is asked to fill it in; with a tag it would be warmed")
            }
            Self::Unmappable(error) => error.fmt(f),
            Self::NoPlatform(platforms) => {
                write!(f, "runs on none of {}, the platforms of the settings", list(platforms))
            }
        }
    }
}

fn list(platforms: &Platforms) -> String {
    let platforms: Vec<_> = platforms.iter().map(ToString::to_string).collect();
    platforms.join(", ")
}

#[cfg(test)]
mod tests;
