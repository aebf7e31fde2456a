//! The rule of every method.

use serde::Deserialize;

use crate::role::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// These services.
    Services(&'static [Role]),
    /// Users to whom the policy gives this verb.
    Users(Verb),
}

/// What a user does with objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Read an object, or the history of a set.
    Get,
    /// Read all objects of a kind.
    List,
    /// Follow the objects of a kind.
    Watch,
    /// Create or change objects.
    Apply,
    /// Delete an object.
    Delete,
    /// Change the number of replicas.
    Scale,
    /// Replace the pods of a set one after the other.
    Restart,
    /// Go back to an earlier template.
    Undo,
    /// Let an update stand still.
    Pause,
    /// Let it go on.
    Resume,
    /// Read the log of a container.
    Logs,
    /// Connect to a port of a pod.
    PortForward,
    /// Look at the system itself.
    System,
    /// Stop every pod.
    Drain,
    /// Say of a machine that nothing runs there any more.
    Fence,
    /// Copy everything that is stored.
    Backup,
}

impl Verb {
    /// As policies write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Apply => "apply",
            Self::Delete => "delete",
            Self::Scale => "scale",
            Self::Restart => "restart",
            Self::Undo => "undo",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Logs => "logs",
            Self::PortForward => "port-forward",
            Self::System => "system",
            Self::Drain => "drain",
            Self::Fence => "fence",
            Self::Backup => "backup",
        }
    }
}

const COORDINATOR: Rule = Rule::Services(&[Role::Coordinator]);
const POD_RUNTIME: Rule = Rule::Services(&[Role::PodRuntime]);

/// Every method there is. One that is missing may be called by the owner alone, and fails the test below.
const RULES: &[(&str, Rule)] = &[
    ("setkeeper.coordinator.v1.ObjectService/Apply", Rule::Users(Verb::Apply)),
    ("setkeeper.coordinator.v1.ObjectService/Get", Rule::Users(Verb::Get)),
    ("setkeeper.coordinator.v1.ObjectService/List", Rule::Users(Verb::List)),
    ("setkeeper.coordinator.v1.ObjectService/Watch", Rule::Users(Verb::Watch)),
    ("setkeeper.coordinator.v1.ObjectService/Delete", Rule::Users(Verb::Delete)),
    ("setkeeper.coordinator.v1.StatefulSetService/Apply", Rule::Users(Verb::Apply)),
    ("setkeeper.coordinator.v1.StatefulSetService/Get", Rule::Users(Verb::Get)),
    ("setkeeper.coordinator.v1.StatefulSetService/List", Rule::Users(Verb::List)),
    ("setkeeper.coordinator.v1.StatefulSetService/Watch", Rule::Users(Verb::Watch)),
    ("setkeeper.coordinator.v1.StatefulSetService/Delete", Rule::Users(Verb::Delete)),
    ("setkeeper.coordinator.v1.StatefulSetService/Scale", Rule::Users(Verb::Scale)),
    ("setkeeper.coordinator.v1.StatefulSetService/UpdateStatus", Rule::Users(Verb::Apply)),
    ("setkeeper.coordinator.v1.StatefulSetService/Restart", Rule::Users(Verb::Restart)),
    ("setkeeper.coordinator.v1.StatefulSetService/Undo", Rule::Users(Verb::Undo)),
    ("setkeeper.coordinator.v1.StatefulSetService/Pause", Rule::Users(Verb::Pause)),
    ("setkeeper.coordinator.v1.StatefulSetService/Resume", Rule::Users(Verb::Resume)),
    ("setkeeper.coordinator.v1.StatefulSetService/History", Rule::Users(Verb::Get)),
    ("setkeeper.coordinator.v1.StatefulSetService/RolloutStatus", Rule::Users(Verb::Watch)),
    ("setkeeper.coordinator.v1.PodService/Apply", Rule::Users(Verb::Apply)),
    ("setkeeper.coordinator.v1.PodService/Get", Rule::Users(Verb::Get)),
    ("setkeeper.coordinator.v1.PodService/List", Rule::Users(Verb::List)),
    ("setkeeper.coordinator.v1.PodService/Watch", Rule::Users(Verb::Watch)),
    ("setkeeper.coordinator.v1.PodService/Delete", Rule::Users(Verb::Delete)),
    ("setkeeper.coordinator.v1.PodService/Logs", Rule::Users(Verb::Logs)),
    ("setkeeper.coordinator.v1.PodService/PortForward", Rule::Users(Verb::PortForward)),
    ("setkeeper.coordinator.v1.SystemService/GetSystem", Rule::Users(Verb::System)),
    ("setkeeper.coordinator.v1.SystemService/Drain", Rule::Users(Verb::Drain)),
    ("setkeeper.coordinator.v1.SystemService/FenceNode", Rule::Users(Verb::Fence)),
    ("setkeeper.coordinator.v1.SystemService/Backup", Rule::Users(Verb::Backup)),
    ("setkeeper.coordinator.v1.NodeService/RegisterNode", POD_RUNTIME),
    ("setkeeper.coordinator.v1.NodeService/WatchAssignments", POD_RUNTIME),
    ("setkeeper.coordinator.v1.NodeService/ReportPodStatus", POD_RUNTIME),
    ("setkeeper.coordinator.v1.NodeService/ReportEvent", POD_RUNTIME),
    ("setkeeper.ordinal_scheduler.v1.OrdinalSchedulerService/Plan", COORDINATOR),
    ("setkeeper.update_planner.v1.UpdatePlannerService/Plan", COORDINATOR),
    ("setkeeper.volume_claim.v1.VolumeClaimService/PlanSet", COORDINATOR),
    ("setkeeper.volume_claim.v1.VolumeClaimService/PlanVolumes", COORDINATOR),
    ("setkeeper.volume_claim.v1.VolumeClaimService/Provision", COORDINATOR),
    ("setkeeper.volume_claim.v1.VolumeClaimService/Deprovision", COORDINATOR),
    ("setkeeper.identity_dns.v1.IdentityDnsService/Assign", COORDINATOR),
    ("setkeeper.identity_dns.v1.IdentityDnsService/Publish", COORDINATOR),
    ("setkeeper.identity_dns.v1.IdentityDnsService/GetZone", COORDINATOR),
    ("setkeeper.pod_runtime.v1.PodRuntimeService/ListPods", COORDINATOR),
    ("setkeeper.pod_runtime.v1.PodRuntimeService/Logs", COORDINATOR),
    ("setkeeper.pod_runtime.v1.PodRuntimeService/PortForward", COORDINATOR),
    ("setkeeper.pod_runtime.v1.PodRuntimeService/StopAll", COORDINATOR),
];

/// The rule of the method at `path`, such as `/setkeeper.coordinator.v1.PodService/Logs`. None: only its owner may.
#[must_use]
pub fn rule(path: &str) -> Option<Rule> {
    let method = path.strip_prefix('/')?;
    RULES.iter().find(|(known, _)| *known == method).map(|(_, rule)| *rule)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::methods::paths;

    #[test]
    fn every_method_has_one_rule_and_every_rule_a_method() {
        let methods: BTreeSet<String> = paths().map(ToOwned::to_owned).collect();
        let ruled: BTreeSet<String> = RULES.iter().map(|(method, _)| format!("/{method}")).collect();
        let without: Vec<_> = methods.difference(&ruled).collect();
        assert!(without.is_empty(), "methods without a rule in access/rules.rs: {without:?}");
        let gone: Vec<_> = ruled.difference(&methods).collect();
        assert!(gone.is_empty(), "rules without a method: {gone:?}");
        assert_eq!(RULES.len(), ruled.len(), "a method has two rules");
    }

    #[test]
    fn executors_and_planners_obey_the_coordinator_alone() {
        for path in paths().filter(|path| !path.starts_with("/setkeeper.coordinator.")) {
            assert_eq!(rule(path), Some(COORDINATOR), "{path}");
        }
        for path in paths().filter(|path| path.starts_with("/setkeeper.coordinator.v1.NodeService/")) {
            assert_eq!(rule(path), Some(POD_RUNTIME), "{path}");
        }
    }
}
