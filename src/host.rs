//! The one place that calls the policy server.

use kubewarden_policy_sdk::host_capabilities::oci;
use kubewarden_policy_sdk::wapc_guest;

use crate::handoff::{Answer, Call};
use crate::host_error::HostError;
use crate::report::LogLine;

/// Makes one call. It blocks for as long as the registry takes; a policy has no way to give up on it.
pub(crate) fn call(call: &Call) -> Result<Answer, HostError> {
    let answer = match call {
        Call::Digest(reference) => oci::get_manifest_digest(reference).map(|response| Answer::Digest(response.digest)),
        Call::Manifest(reference) => oci::get_manifest(reference).map(Answer::Manifest),
    };
    answer.map_err(|error| HostError::from_text(&error.to_string()))
}

/// Writes a line to the policy server's log.
///
/// This is the call that the SDK's `KubewardenDrain` makes. The drain isn't used because its constructor wraps it into
/// slog's `Fuse`, which panics when a line can't be written, and that would reject the request.
pub(crate) fn log(line: &LogLine) {
    let Ok(message) = serde_json::to_vec(line) else { return };
    // A line that can't be written has nowhere else to go.
    drop(wapc_guest::host_call("kubewarden", "tracing", "log", &message));
}
