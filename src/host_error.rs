use std::fmt;

use crate::legible::legible;

/// Why a host call failed, as far as the text tells that the host hands to a policy.
///
/// The text is the debug form of the policy server's own error: a chain over several lines, with a backtrace where
/// `RUST_BACKTRACE` is set. Only its first line is ever shown. The words that are looked for are those of oci-client's
/// `OciDistributionError`; where they change, the reason becomes [`HostError::Other`] and nothing else is lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostError {
    /// The policy may not use the capability.
    NotGranted,
    /// Nobody answered at the address, or not in time, or TLS failed.
    Unreachable(String),
    /// 401 or 403.
    Unauthorized,
    /// 404: no such tag or digest.
    NotFound,
    /// 503: the warmer doesn't wait for Harbor now.
    Deferred,
    /// Refused with an error of the distribution spec; the registry's own words.
    Refused(String),
    /// Another status.
    Status(u16),
    /// Something else.
    Other(String),
}

/// How much of an error's text is looked at. The words are at its start; bodies and backtraces can be long.
const TEXT_MAX: usize = 4096;
/// How much of a reason is shown: with the image it has to fit into a warning.
const REASON_MAX: usize = 80;

impl HostError {
    pub(crate) fn from_text(text: &str) -> Self {
        let text: String = text.chars().take(TEXT_MAX).collect();
        if text.contains("has not been granted access") {
            return Self::NotGranted;
        }
        if text.contains("Not authorized: url") || text.contains("Authentication failure") {
            return Self::Unauthorized;
        }
        if let Some((_, envelope)) = text.split_once(", envelope: ") {
            return Self::Refused(reason(envelope_message(first_line(envelope))));
        }
        if let Some(status) = status(&text) {
            return match status {
                401 | 403 => Self::Unauthorized,
                404 => Self::NotFound,
                503 => Self::Deferred,
                other => Self::Status(other),
            };
        }
        let line = first_line(&text);
        let last = line.rsplit("Callback evaluation failure: ").next().unwrap_or(line);
        let short = last.strip_prefix("Fail to interact with OCI registry: ").unwrap_or(last);
        if short.contains("error sending request") {
            return Self::Unreachable(reason(innermost_cause(&text).unwrap_or(short)));
        }
        Self::Other(reason(short))
    }

    /// Whether every further call would fail in the same way.
    pub(crate) fn is_lasting(&self) -> bool {
        match self {
            Self::NotGranted | Self::Unauthorized => true,
            Self::Unreachable(_)
            | Self::NotFound
            | Self::Deferred
            | Self::Refused(_)
            | Self::Status(_)
            | Self::Other(_) => false,
        }
    }
}

fn first_line(text: &str) -> &str {
    text.trim_start().lines().next().unwrap_or_default()
}

/// `Server error: url U, code: C, message: M`.
fn status(text: &str) -> Option<u16> {
    let (_, error) = text.split_once("Server error: url ")?;
    let (_, code) = error.split_once(", code: ")?;
    code.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `OCI API errors: [OCI API error: M]`; several are separated by commas.
fn envelope_message(envelope: &str) -> &str {
    let message = envelope.strip_prefix("OCI API errors: [").map_or(envelope, |list| list.trim_end_matches(']'));
    message.strip_prefix("OCI API error: ").unwrap_or(message)
}

/// The last line of the "Caused by" list that anyhow prints, without its number: `2: tcp connect error: …`.
fn innermost_cause(text: &str) -> Option<&str> {
    let (_, causes) = text.split_once("Caused by:")?;
    let causes = causes.split_once("Stack backtrace").map_or(causes, |(causes, _)| causes);
    let last = causes.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(last.trim_start_matches(|c: char| c.is_ascii_digit()).trim_start_matches(": "))
}

fn reason(text: &str) -> String {
    legible(text, REASON_MAX)
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the policy is not granted the OCI host capabilities"),
            Self::Unreachable(reason) => write!(f, "not reachable: {reason}"),
            Self::Unauthorized => f.write_str("the policy server's credentials are refused"),
            Self::NotFound => f.write_str("not found"),
            Self::Deferred => f.write_str("deferred, Harbor is slow or busy"),
            Self::Refused(reason) | Self::Other(reason) => f.write_str(reason),
            Self::Status(status) => write!(f, "HTTP status {status}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const HOST: &str = "error invoking host capability oci.oci_manifest: Host error: Callback evaluation failure: ";
    const REGISTRY: &str = "Fail to interact with OCI registry: ";

    #[rstest]
    #[case::refused_connection(
        "error sending request for url (https://w:8443/v2/)\n\nCaused by:\n    0: error sending request for url (https://w:8443/v2/)\n    1: client error (Connect)\n    2: tcp connect error: Connection refused (os error 111)",
        HostError::Unreachable("tcp connect error: Connection refused (os error 111)".to_owned())
    )]
    #[case::backtrace_is_cut(
        "error sending request for url (https://w/v2/)\n\nCaused by:\n    dns error\n\nStack backtrace:\n   0: std::backtrace\n   1: secret::function",
        HostError::Unreachable("dns error".to_owned())
    )]
    #[case::credentials("Not authorized: url https://w:8443/v2/v1/tag/x/manifests/1", HostError::Unauthorized)]
    #[case::forbidden("Server error: url https://w/v2/x, code: 403, message: no", HostError::Unauthorized)]
    #[case::no_such_tag("Server error: url https://w/v2/x/manifests/1, code: 404, message: ", HostError::NotFound)]
    #[case::deferred("Server error: url https://w/v2/x, code: 503, message: {\"errors\":[]}", HostError::Deferred)]
    #[case::other_status("Server error: url https://w/v2/x, code: 500, message: code: 404", HostError::Status(500))]
    #[case::refused(
        "Registry error: url https://w/v2/x, envelope: OCI API errors: [OCI API error: no such project]",
        HostError::Refused("no such project".to_owned())
    )]
    #[case::other("Digest error: expected sha256:0, got sha256:1\nmore", HostError::Other("Digest error: expected sha256:0, got sha256:1".to_owned()))]
    fn the_hosts_texts_are_told_apart(#[case] text: &str, #[case] error: HostError) {
        assert_eq!(HostError::from_text(&format!("{HOST}{REGISTRY}{text}")), error);
    }

    #[test]
    fn a_capability_that_is_not_granted_is_lasting() {
        let text = format!(
            "{HOST}Policy has not been granted access to the 'oci/v1/manifest_digest' host capability. The violation has been reported."
        );
        let error = HostError::from_text(&text);
        assert_eq!(error, HostError::NotGranted);
        assert!(error.is_lasting());
    }

    #[test]
    fn a_text_of_megabytes_becomes_one_short_line() {
        let error = HostError::from_text(&format!("{HOST}{}\n{}", "x".repeat(3_000_000), "y".repeat(100)));
        let HostError::Other(reason) = error else { panic!("{error:?}") };
        assert!(reason.chars().count() <= REASON_MAX, "{reason}");
    }

    #[test]
    fn an_empty_text_is_told_without_a_panic() {
        assert_eq!(HostError::from_text(""), HostError::Other(String::new()));
    }
}
