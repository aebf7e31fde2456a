//! Making a volume for a claim that no existing one fits (volume rules 4 and 7.1).

use domain::volume::{
    AccessMode, BindingMode, Claim, DIRECTORY_PROVISIONER, LOCAL_PATH_PROVISIONER, NO_PROVISIONER, PendingReason,
    Rejection, StorageClass, VolumeAction, VolumeMode, provisioned_name,
};

use super::{Planner, claim_version, key};

impl<'a> Planner<'a> {
    /// Provisions, or says why not.
    pub(super) fn provision(&mut self, claim: &'a Claim, class: &'a StorageClass, rejected: Vec<Rejection>) {
        match self.refusal(claim, class) {
            Some((reason, message)) => self.report_rejected(claim, reason, message, rejected),
            None => self.make(claim, class),
        }
    }

    pub(super) fn make(&mut self, claim: &'a Claim, class: &'a StorageClass) {
        self.served.insert(key(claim));
        self.plan.actions.push(VolumeAction::Provision {
            claim: claim_version(claim),
            class: class.name.clone(),
            provisioner: class.provisioner.clone(),
            volume: provisioned_name(&claim.uid),
            capacity: claim.request,
            access_modes: claim.access_modes.clone(),
            volume_mode: claim.volume_mode,
            reclaim_policy: class.reclaim_policy,
            mount_options: class.mount_options.clone(),
            node: self.request.node.name.clone(),
            waited_for_pod: class.binding_mode == BindingMode::WaitForFirstConsumer,
        });
    }

    /// Why a class cannot make a volume for a claim on this machine; none if it can.
    pub(super) fn refusal(&self, claim: &Claim, class: &StorageClass) -> Option<(PendingReason, String)> {
        let provisioner = class.provisioner.as_str();
        if provisioner == NO_PROVISIONER {
            let message = format!("class {:?} never makes volumes, and no existing one fits", class.name);
            return Some((PendingReason::StaticOnly, message));
        }
        if !matches!(provisioner, DIRECTORY_PROVISIONER | LOCAL_PATH_PROVISIONER) {
            let message = format!(
                "waiting for a volume to be created either by the external provisioner {provisioner:?} or manually by \
                 the system administrator; provisioners here: {DIRECTORY_PROVISIONER}, {LOCAL_PATH_PROVISIONER}"
            );
            return Some((PendingReason::ExternalProvisioner, message));
        }
        if let Some(message) = unsupported(claim, provisioner) {
            return Some((PendingReason::Unsupported, message));
        }
        let node = &self.request.node;
        if node.name.is_empty() {
            return Some((PendingReason::WaitForPodScheduled, "no machine has registered yet".to_owned()));
        }
        if !class.allowed_topologies.is_empty() && !class.allowed_topologies.iter().any(|term| term.admits(node)) {
            let message = format!("class {:?} may not provision for node {:?}", class.name, node.name);
            return Some((PendingReason::NodeNotAllowed, message));
        }
        // Made for this claim, it would have been found as reserved; so this is something else, or on its way out.
        let name = provisioned_name(&claim.uid);
        self.volumes
            .contains_key(name.as_str())
            .then(|| (PendingReason::Provisioning, format!("volume {name:?} exists and cannot be used for this claim")))
    }
}

/// What a directory cannot be.
fn unsupported(claim: &Claim, provisioner: &str) -> Option<String> {
    if claim.volume_mode == VolumeMode::Block {
        return Some(format!("{provisioner} makes directories, not devices: volumeMode must be Filesystem"));
    }
    if claim.selector.is_some() {
        return Some(format!(
            "{provisioner} cannot make a volume that a selector selects: remove the claim's selector"
        ));
    }
    if !claim.data_source.is_empty() {
        return Some(format!("{provisioner} cannot fill a volume from {}", claim.data_source));
    }
    if !claim.attributes_class.is_empty() {
        return Some(format!("{provisioner} knows no volumeAttributesClassName"));
    }
    // Local path volumes are promised to one node only. On this one machine a directory of ours can be shared.
    let one_node = [AccessMode::ReadWriteOnce, AccessMode::ReadWriteOncePod];
    let shared = claim.access_modes.iter().find(|mode| !one_node.contains(mode));
    let shared = shared.filter(|_| provisioner == LOCAL_PATH_PROVISIONER)?;
    Some(format!("{provisioner} offers ReadWriteOnce and ReadWriteOncePod only, not {shared}"))
}
