//! What a Harbor says of the replication to a target, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use harbor_warmer_protocol::TargetName;

use super::arrivals::judge_arrivals;
use super::harbor::{TIMEOUT, judge_expiry, unanswered};
use super::policies::judge_others;
use super::report::{Finding, Section};
use super::settings::describe_target;
use harbor_warmer::clock;
use harbor_warmer::config::{Config, Harbor, Replication, Target};
use harbor_warmer_harbor::OwnPolicy;
use harbor_warmer_harbor::{Client, Destination, HarborError, Policy, ReplicationClient, ReplicationRight, Uncounted};

/// Asks everything about one target.
pub(super) async fn check_target(name: &TargetName, target: &Target, config: &Config) -> Section {
    let mut findings = vec![describe_target(target)];
    if let Some(harbor) = config.harbors.get(&target.harbor) {
        match tokio::time::timeout(TIMEOUT, ask_target(name, target, harbor, config)).await {
            Ok(answers) => findings.extend(answers),
            Err(_) => {
                let text = format!("Harbor did not answer within {} s", TIMEOUT.as_secs());
                findings.push(Finding::bad(text, "look at Harbor's load"));
            }
        }
    }
    Section { title: format!("Target {name}"), findings }
}

async fn ask_target(name: &TargetName, target: &Target, harbor: &Harbor, config: &Config) -> Vec<Finding> {
    let client = Client::new(target.harbor.clone(), &harbor.options, Arc::new(Uncounted))
        .and_then(|client| client.replication(&target.credentials));
    let client = match client {
        Ok(client) => client,
        Err(error) => return vec![Finding::bad(error.to_string(), "mend this in the configuration")],
    };
    let policies = match client.policies().await {
        Ok(policies) => policies,
        // Without the right to list policies there may be others missing, and each wants a way of its own to Harbor.
        Err(HarborError::Forbidden(_)) => Vec::new(),
        Err(error @ HarborError::Unauthorized(_)) => {
            let text = format!("the credentials are refused: {error}");
            return vec![Finding::bad(text, "refresh the secret of the system robot")];
        }
        Err(error) => return vec![unanswered(&error)],
    };
    let policy = policies.iter().find(|policy| policy.name() == policy_name(target));
    let missing = match client.missing_rights(&needed_rights(target, policy.is_some())).await {
        Ok(missing) => missing,
        Err(error) => return vec![unanswered(&error)],
    };
    let mut findings = vec![judge_rights(&missing)];
    findings.extend(judge_expiry(client.robot_expiry().await, clock::now()));
    if missing.contains(&ReplicationRight::ListPolicies) {
        return findings;
    }
    let destination = match policy {
        Some(policy) => {
            findings.extend(judge_policy(target, policy));
            Some(policy.destination())
        }
        None if missing.contains(&ReplicationRight::ListEndpoints) => None,
        None => match find_destination(target, &client).await {
            Ok((finding, destination)) => {
                findings.push(finding);
                Some(destination)
            }
            Err(finding) => {
                findings.push(finding);
                None
            }
        },
    };
    if let Some(destination) = destination {
        findings.extend(judge_arrivals(name, config, &destination, policy.is_none()));
    }
    if config.targets.iter().find(|(_, other)| other.harbor == target.harbor).is_some_and(|(first, _)| first == name) {
        // Once for each Harbor.
        let replications =
            config.targets.values().filter(|other| other.harbor == target.harbor).map(|other| &other.replication);
        let own: BTreeSet<_> = replications
            .filter_map(|replication| match replication {
                Replication::Own(own) => Some(own.name.as_str()),
                Replication::Existing { .. } => None,
            })
            .collect();
        findings.extend(judge_others(&policies, &own, harbor));
    }
    findings
}

fn policy_name(target: &Target) -> &str {
    match &target.replication {
        Replication::Own(OwnPolicy { name: policy, .. }) | Replication::Existing { policy } => policy,
    }
}

/// What the warmer asks for at this target. Only a policy that is not there yet has to be made.
fn needed_rights(target: &Target, policy_is_there: bool) -> Vec<ReplicationRight> {
    use ReplicationRight::{
        CreatePolicy, ListEndpoints, ListExecutions, ListPolicies, ReadExecution, ReadPolicy, Start, UpdatePolicy,
    };
    let mut rights = vec![ListPolicies, Start, ListExecutions, ReadExecution];
    if let Replication::Own(own) = &target.replication {
        rights.extend([ReadPolicy, UpdatePolicy]);
        if !policy_is_there && own.registry.is_some() {
            rights.extend([CreatePolicy, ListEndpoints]);
        }
    }
    rights
}

fn judge_rights(missing: &[ReplicationRight]) -> Finding {
    if missing.is_empty() {
        return Finding::good("the credentials have every right that replicating needs");
    }
    let names: Vec<_> = missing.iter().map(|right| format!("`{}`", right.name())).collect();
    Finding::bad(
        format!("these credentials lack {}", names.join(", ")),
        "under Administration, Robot Accounts, edit the system robot and give it these system permissions",
    )
}

fn judge_policy(target: &Target, policy: &Policy) -> Vec<Finding> {
    let name = policy.name();
    if policy.registry_id().is_none() {
        return vec![Finding::bad(
            format!("the policy {name} pulls into Harbor instead of pushing to a registry"),
            "make a push-based policy whose destination is the registry that workloads pull from",
        )];
    }
    if !policy.is_enabled() {
        let cure = "enable it under Administration, Replications";
        return vec![Finding::bad(format!("the policy {name} is disabled"), cure)];
    }
    if policy.trigger() == "event_based" {
        return vec![Finding::bad(
            format!("the policy {name} starts by events, which carry no tag in a proxy cache"),
            "set its trigger mode to manual",
        )];
    }
    let mut findings = vec![Finding::good(format!("the policy {name} is there"))];
    if let Replication::Own(own) = &target.replication {
        findings.extend(judge_drift(own, policy));
    }
    findings
}

/// What the configuration says of the names at the target holds when the policy is made, and not later.
fn judge_drift(own: &OwnPolicy, policy: &Policy) -> Option<Finding> {
    let naming = policy.destination().naming;
    let (namespace, replaced) = (&own.dest_namespace, own.dest_namespace_replace_count);
    let other_namespace = namespace.is_some() && *namespace != naming.namespace;
    let other_count = replaced.is_some() && replaced.and_then(|count| usize::try_from(count).ok()) != naming.replaced;
    (other_namespace || other_count).then(|| {
        Finding::doubtful(
            format!("the policy {} has another destination namespace than the configuration", own.name),
            "Harbor's counts: change it there, or delete the policy and let the warmer make it anew",
        )
    })
}

/// Where the policy that is not there yet would copy to.
async fn find_destination(target: &Target, client: &ReplicationClient) -> Result<(Finding, Destination), Finding> {
    let own = match &target.replication {
        Replication::Existing { policy } => {
            return Err(Finding::bad(
                format!("there is no policy {policy}"),
                "create it under Administration, Replications: push-based, manual or scheduled, to the registry that \
                 workloads pull from; or correct its name under replication.existing",
            ));
        }
        Replication::Own(own) => own,
    };
    let Some(registry) = &own.registry else {
        return Err(Finding::bad(
            format!("there is no policy {}", own.name),
            "write `registry` under replication, the name of the registry endpoint, and the warmer makes it; or create \
             it under Administration, Replications: push-based, manual, to the registry that workloads pull from, with \
             any filter",
        ));
    };
    match client.find_endpoint(registry).await {
        Ok(Some(endpoint)) => {
            let destination = endpoint.destination_of(own);
            let place = destination.registry.as_ref().map(|host| format!(" at {host}")).unwrap_or_default();
            let text = format!("the policy {} will be made, to the endpoint {registry}{place}", own.name);
            Ok((Finding::good(text), destination))
        }
        Ok(None) => Err(Finding::bad(
            format!("there is no registry endpoint {registry}"),
            "create it under Administration, Registries, or correct replication.registry",
        )),
        Err(error) => Err(unanswered(&error)),
    }
}

#[cfg(test)]
mod tests;
