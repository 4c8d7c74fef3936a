//! What the tests of several modules need: settings, requests, and a registry that answers from a table.

use std::collections::HashMap;

use harbor_warmer_protocol::{ImageState, Lookup, Receipt};
use harbor_warmer_workload::PolicySettings;
use kubewarden_policy_sdk::host_capabilities::oci::OciManifestResponse;
use serde_json::{Value, json};

use crate::handoff::{Answer, Call};
use crate::host_error::HostError;
use crate::report::Report;

pub(crate) const ROOT: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
pub(crate) const AMD64: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
pub(crate) const ARM64: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";
pub(crate) const ATTESTATION: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";

/// Valid settings with `changes` laid over them.
pub(crate) fn settings_json(changes: &Value) -> Value {
    let mut settings = json!({
        "warmer": "warmer:8443",
        "rules": [{"prefix": "docker.io", "harbor": "main", "project": "hub"}],
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    settings
}

pub(crate) fn settings(changes: &Value) -> PolicySettings {
    PolicySettings::try_from(&settings_json(changes)).unwrap()
}

/// Evaluates a request; the report's log has all lines, in order.
pub(crate) fn evaluate(payload: &[u8], call: impl FnMut(&Call) -> Result<Answer, HostError>) -> Report {
    let mut early = Vec::new();
    let mut report = crate::evaluate(payload, call, |line| early.push(line.clone()));
    report.log.splice(0..0, early);
    report
}

/// The payload of an admission of this object.
pub(crate) fn payload(operation: &str, kind: &str, object: &Value, settings: &Value) -> Value {
    let (group, version) = match kind {
        "Pod" => ("", "v1"),
        "Job" => ("batch", "v1"),
        _ => ("apps", "v1"),
    };
    json!({
        "settings": settings_json(settings),
        "request": {
            "uid": "u-1", "operation": operation, "name": "web", "namespace": "shop",
            "kind": {"group": group, "version": version, "kind": kind},
            "object": object,
        },
    })
}

pub(crate) fn pod(images: &[&str]) -> Value {
    let containers: Vec<_> = images.iter().map(|image| json!({"name": "c", "image": image})).collect();
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": containers}})
}

pub(crate) fn receipt(state: ImageState, lookup: Lookup, reason: Option<&str>) -> Answer {
    let reason = reason.map(str::to_owned);
    manifest(&Receipt { state, lookup, image: Some("7".to_owned()), reason }.to_manifest())
}

fn manifest(bytes: &[u8]) -> Answer {
    Answer::Manifest(serde_json::from_slice::<OciManifestResponse>(bytes).unwrap())
}

/// An index of these platforms, `os/architecture[/variant]`.
pub(crate) fn index(children: &[(&str, &str)]) -> Answer {
    let children: Vec<_> = children
        .iter()
        .map(|(digest, platform)| {
            let mut parts = platform.split('/');
            let (os, architecture) = (parts.next(), parts.next());
            let mut platform = json!({"os": os, "architecture": architecture});
            if let Some(variant) = parts.next() {
                platform["variant"] = json!(variant);
            }
            json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 2,
                "platform": platform,
            })
        })
        .collect();
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": children,
    });
    manifest(index.to_string().as_bytes())
}

/// The manifest of one platform.
pub(crate) fn image_manifest() -> Answer {
    let manifest_json = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": AMD64, "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": ARM64, "size": 9}],
    });
    manifest(manifest_json.to_string().as_bytes())
}

/// Answers host calls from a table, by a part of the reference, and notes them.
#[derive(Default)]
pub(crate) struct Registry {
    answers: Vec<(String, Result<Answer, HostError>)>,
    pub(crate) calls: Vec<String>,
}

impl Registry {
    /// Every reference that contains `part` is answered so; the first entry that fits counts.
    pub(crate) fn with(mut self, part: &str, answer: Result<Answer, HostError>) -> Self {
        self.answers.push((part.to_owned(), answer));
        self
    }

    pub(crate) fn answer(&mut self, call: &Call) -> Result<Answer, HostError> {
        let (kind, reference) = match call {
            Call::Digest(reference) => ("digest", reference),
            Call::Manifest(reference) => ("manifest", reference),
        };
        self.calls.push(format!("{kind} {reference}"));
        let known = self.answers.iter().find(|(part, _)| reference.contains(part.as_str()));
        known.map_or(Err(HostError::NotFound), |(_, answer)| answer.clone())
    }

    /// How many calls were made of each verb of the contract.
    pub(crate) fn counts(&self) -> HashMap<&str, usize> {
        let mut counts = HashMap::new();
        for call in &self.calls {
            let verb = call.split('/').nth(2).unwrap_or_default();
            *counts.entry(verb).or_default() += 1;
        }
        counts
    }
}

/// A registry in which every image is new to the warmer, to be looked up, and an index of two platforms.
pub(crate) fn registry_with_everything() -> Registry {
    Registry::default()
        .with("/v1/tag/", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/pin", Ok(receipt(ImageState::New, Lookup::Yes, None)))
        .with("/v1/layers", Ok(receipt(ImageState::Queued, Lookup::No, None)))
        .with(
            &format!("@{ROOT}"),
            Ok(index(&[(AMD64, "linux/amd64"), (ARM64, "linux/arm64/v8"), (ATTESTATION, "unknown/unknown")])),
        )
        .with("@sha256:", Ok(image_manifest()))
        .with("/v1/harbor/", Ok(Answer::Digest(ROOT.to_owned())))
}
