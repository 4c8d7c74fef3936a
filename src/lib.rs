//! The policy: at admission, it tells the warmer which images a workload needs.
//!
//! It accepts every request, garbage included, and never waits for Harbor: it plans which images there are and where
//! Harbor has them ([`plan`]), hands them to the warmer as OCI manifest requests, the only requests that Kubewarden
//! lets a policy make ([`handoff`]), and says what came of it in log lines, warnings and audit annotations
//! ([`report`]). All of that is pure; [`host`] alone calls the policy server.
//!
//! Invariant: nothing that a workload's author, the warmer or Harbor does makes [`validate`] return an error or panic.
//! Either would reject the request, or count as a failed evaluation.

mod handoff;
mod host;
mod host_error;
mod legible;
mod plan;
mod report;
mod request;
mod settings;
#[cfg(test)]
mod testing;

use harbor_warmer_workload::{PolicySettings, sentences};
use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::wapc_guest::{CallResult, register_function};
use kubewarden_policy_sdk::{protocol_version_guest, validate_settings};
use serde_json::Value;

use crate::handoff::{Answer, Call, Session};
use crate::host_error::HostError;
use crate::plan::Plan;
use crate::report::{LogLine, Report};
use crate::request::AdmissionRequest;
use crate::settings::RawSettings;

/// Registers the functions that a policy server calls.
#[expect(unsafe_code, reason = "the waPC entry point is found by its name")]
#[unsafe(no_mangle)]
pub extern "C" fn wapc_init() {
    register_function("validate", validate);
    register_function("validate_settings", validate_settings::<RawSettings>);
    register_function("protocol_version", protocol_version_guest);
}

fn validate(payload: &[u8]) -> CallResult {
    let report = evaluate(payload, host::call, host::log);
    report.log.iter().for_each(host::log);
    Ok(serde_json::to_vec(&accept(report)).unwrap_or_else(|_| br#"{"accepted":true}"#.to_vec()))
}

fn accept(report: Report) -> ValidationResponse {
    let some = |warnings: Vec<_>| (!warnings.is_empty()).then_some(warnings);
    ValidationResponse {
        accepted: true,
        message: None,
        code: None,
        mutated_object: None,
        audit_annotations: (!report.audit.is_empty()).then_some(report.audit),
        warnings: some(report.warnings),
    }
}

/// Evaluates one request. `call` makes the host calls; `log` writes what has to be written before the first look-up, since
/// an evaluation that runs out of time is cut off, and all that it would have said with it.
fn evaluate(
    payload: &[u8],
    mut call: impl FnMut(&Call) -> Result<Answer, HostError>,
    log: impl FnMut(&LogLine),
) -> Report {
    let Ok(payload) = serde_json::from_slice::<Value>(payload) else {
        return Report::of_failure(LogLine::error("the request is not JSON, or nested too deeply"));
    };
    // The policy server has validated the settings before, so this is its mistake or a newer policy's.
    let settings = match PolicySettings::try_from(payload.get("settings").unwrap_or(&Value::Null)) {
        Ok(settings) => settings,
        Err(mistakes) => {
            let message = format!("the settings are not valid: {}", sentences(&mistakes));
            return Report::of_failure(LogLine::error(message));
        }
    };
    let request = AdmissionRequest::read(payload.get("request").unwrap_or(&Value::Null));
    let plan = Plan::of(&request, &settings);
    let mut session = Session::new(&plan, &settings, request.dry_run);
    let mut log = Some(log);
    let mut told = Vec::new();
    while let Some(next) = session.next() {
        if !session.is_announcing()
            && let Some(log) = log.take()
        {
            told = report::log_lines(&request, &plan, session.handed());
            told.iter().for_each(log);
        }
        let answer = call(&next);
        session.answer(answer);
    }
    Report::new(&request, &settings, &plan, &session.finish(), &told)
}

#[cfg(test)]
mod tests;
